#include "gpu_proc/engine.hpp"

#include <time.h>

#include <fstream>
#include <limits>
#include <new>

#include "gpu_proc/handlers/handlers.hpp"
#include "gpu_proc/handlers/simulation.hpp"

namespace ackbus::gpu {
namespace {

Reply dispatch(Simulation& simulation, Kind kind, std::span<const std::byte> payload,
               const DeliveryContext& context) {
  switch (kind) {
    case Kind::kInitializeGpu:
      return handle_initialize(simulation, payload);
    case Kind::kUpdateGpuGraphData:
      return handle_graph(simulation, payload, context);
    case Kind::kUploadConstraintsToGpu:
      return handle_constraints(simulation, payload);
    case Kind::kComputeForces:
      return handle_compute(simulation, payload, context);
    case Kind::kUpdateNodePositions:
      return handle_positions(simulation, payload, context);
    case Kind::kSetSharedGpuContext:
      return handle_shared_context(simulation, payload);
    case Kind::kReserved:
      break;
  }
  return failed("kind " + std::to_string(static_cast<std::uint32_t>(kind)) +
                " is not one of the GPU process's; send it to a queue that serves it");
}

}  // namespace

std::uint64_t monotonic_time_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::uint64_t kibibytes = 0;
  std::string unit;
  constexpr int kMaxLines = 256;
  for (int line = 0; line < kMaxLines && file >> name >> kibibytes; ++line) {
    if (name == "MemAvailable:") return kibibytes * 1024;
    std::getline(file, unit);
  }
  return std::numeric_limits<std::uint64_t>::max();
}

Engine::Engine(Backend& backend, SegmentProvider& provider, EngineOptions options)
    : simulation_(std::make_unique<Simulation>(backend, provider, std::move(options))) {}

Engine::~Engine() = default;

std::string Engine::restore(std::span<const std::byte> predecessor, Links links) {
  try {
    RestoredState restored = restore_state(predecessor);
    if (!restored.state.has_value()) return restored.error;
    if (links == Links::kNumberedAnew) restored.state->applied = AppliedTable();
    return simulation_->adopt(std::move(*restored.state));
  } catch (const std::bad_alloc&) {
    return "not enough memory to restore the state; send the graph again";
  }
}

Reply Engine::handle(Kind kind, std::span<const std::byte> payload_copy,
                     const DeliveryContext& context) {
  try {
    return dispatch(*simulation_, kind, payload_copy, context);
  } catch (const std::bad_alloc&) {
    return failed(std::string(kind_name(kind)) +
                  ": not enough memory in the GPU process; send a smaller graph or free memory");
  }
}

const SimulationState& Engine::state() const { return simulation_->state; }
std::uint64_t Engine::frame_sequence() const { return simulation_->frames.sequence(); }
std::uint64_t Engine::state_commits() const { return simulation_->store.commits(); }

}  // namespace ackbus::gpu
