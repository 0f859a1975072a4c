// UploadConstraintsToGPU: replaces the whole set.
#include "gpu_proc/handlers/handlers.hpp"
#include "gpu_proc/handlers/simulation.hpp"
#include "gpu_proc/payload/validate.hpp"

namespace ackbus::gpu {

Reply handle_constraints(Simulation& simulation, std::span<const std::byte> payload) {
  SimulationState& state = simulation.state;
  const auto checked = payload::check_constraints(payload, state.graph.nodes());
  if (!checked.ok()) return failed(checked.error);
  if (!state.initialised) return failed(kNotInitialised);
  const std::span<const payload::ConstraintRecord> records = checked.value->constraints;
  std::vector<payload::ConstraintRecord> fresh(records.begin(), records.end());
  const std::string error = simulation.store.prepare(state.graph.nodes(), state.graph.edges.size(),
                                                     fresh.size(), Room::kGrow);
  if (!error.empty()) return failed(error);
  const BackendStatus status = simulation.backend.upload_constraints(fresh.data(), fresh.size());
  if (status != BackendStatus::kOk) return backend_failed(status, "constraints");
  state.constraints.swap(fresh);
  simulation.commit_all();
  Reply reply = succeeded();
  add_metadata(reply, "constraints", std::uint64_t{state.constraints.size()});
  return reply;
}

}  // namespace ackbus::gpu
