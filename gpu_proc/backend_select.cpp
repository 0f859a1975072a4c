#include "gpu_proc/backend_select.hpp"

#include "gpu_proc/backend_cpu.hpp"

namespace ackbus::gpu {

BackendChoice select_backend(std::string_view option, unsigned threads) {
  if (option == "cuda") {
    return {nullptr,
            "--backend cuda: this build has no CUDA backend; use --backend cpu, or auto to take "
            "what there is"};
  }
  if (option != "auto" && option != "cpu") {
    return {nullptr, "--backend " + std::string(option) + ": unknown; use auto, cpu or cuda"};
  }
  auto backend = std::make_unique<BackendCpu>(threads);
  const std::string device = backend->device();
  std::string reason = "backend cpu (" + device + "): ";
  reason += option == "cpu" ? "asked for by --backend cpu"
                            : "taken by --backend auto, this build has no CUDA backend";
  return {std::move(backend), std::move(reason)};
}

}  // namespace ackbus::gpu
