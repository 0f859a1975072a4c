// ComputeForces: runs steps. A settled graph is computed like any other, and only reported as
// settled.
#include "gpu_proc/handlers/handlers.hpp"
#include "gpu_proc/handlers/simulation.hpp"
#include "gpu_proc/payload/validate.hpp"

namespace ackbus::gpu {
namespace {

Settings changed_settings(const Settings& before,
                          std::span<const payload::ParameterRecord> changes) {
  Settings after = before;
  for (const payload::ParameterRecord& record : changes) set_parameter(after, record);
  return after;
}

BackendStatus run(Simulation& simulation, const Settings& settings, std::uint32_t steps,
                  const DeliveryContext& context, StepReport& report) {
  StepRequest request{&settings, simulation.state.steps, steps, nullptr, nullptr};
  if (context.progress) {
    request.progress = [](void* progress) {
      (*static_cast<const std::function<void()>*>(progress))();
    };
    request.progress_context = const_cast<std::function<void()>*>(&context.progress);
  }
  const BackendStatus status = simulation.backend.run(request, report);
  if (status != BackendStatus::kOk) return status;
  SimulationState& state = simulation.state;
  state.steps += report.steps_done;
  simulation.unsaved_steps += report.steps_done;
  return simulation.backend.read_motion(state.positions.data(), state.velocities.data());
}

// Settings that changed are acked, so they are committed; positions every checkpoint_steps.
void checkpoint(Simulation& simulation, const Settings& settings) {
  const bool changed = !(settings == simulation.state.settings);
  simulation.state.settings = settings;
  if (changed || simulation.unsaved_steps >= settings.checkpoint_steps) simulation.commit_motion();
}

void describe(Reply& reply, const Simulation& simulation, const StepReport& report,
              std::uint64_t started_ns) {
  const auto active = static_cast<double>(report.active_nodes);
  add_metadata(reply, "steps", std::uint64_t{report.steps_done});
  add_metadata(reply, "kinetic_energy", report.kinetic_energy);
  add_metadata(reply, "max_displacement", report.max_displacement);
  add_metadata(reply, "step", simulation.state.steps);
  add_metadata(reply, "processing_time_us", (simulation.options.time_ns() - started_ns) / 1000);
  const double threshold = static_cast<double>(simulation.state.settings.settled_threshold);
  if (report.diverged == 0 && report.kinetic_energy <= threshold * active) {
    add_metadata(reply, "settled", std::string("true"));
  }
}

}  // namespace

Reply handle_compute(Simulation& simulation, std::span<const std::byte> payload,
                     const DeliveryContext& context) {
  const std::uint64_t started_ns = simulation.options.time_ns();
  const auto checked = payload::check_compute(payload);
  if (!checked.ok()) return failed(checked.error);
  if (!simulation.state.initialised) return failed(kNotInitialised);
  if (simulation.state.graph.nodes() == 0) return failed(kNoGraph);
  if (simulation.already_applied(context)) return applied_before(simulation);
  const Settings settings = changed_settings(simulation.state.settings, checked.value->parameters);
  StepReport report{};
  const BackendStatus status = run(simulation, settings, checked.value->steps, context, report);
  if (status != BackendStatus::kOk) return backend_failed(status, "steps");
  if (report.diverged != 0) {
    if (report.steps_done > 0) simulation.publish_frame();
    Reply reply = failed("diverged: step " + std::to_string(simulation.state.steps + 1) +
                         " would leave the bounds; the last good frame is kept, use a smaller "
                         "time_step or weaker forces");
    describe(reply, simulation, report, started_ns);
    return reply;
  }
  simulation.state.applied.record(context.link, context.sequence);
  checkpoint(simulation, settings);
  simulation.publish_frame();
  Reply reply = succeeded();
  describe(reply, simulation, report, started_ns);
  return reply;
}

}  // namespace ackbus::gpu
