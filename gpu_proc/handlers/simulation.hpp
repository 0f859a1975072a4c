// What the handlers share: the state in use, the backend that computes on it, and the segments it
// is written to. Owned by the engine, used from its thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gpu_proc/backend.hpp"
#include "gpu_proc/engine.hpp"
#include "gpu_proc/frame_publisher.hpp"
#include "gpu_proc/id_index.hpp"
#include "gpu_proc/reply.hpp"
#include "gpu_proc/simulation_state.hpp"
#include "gpu_proc/state_store.hpp"

namespace ackbus::gpu {

Reply failed(std::string error);
Reply succeeded();
void add_metadata(Reply& reply, std::string key, std::uint64_t value);
void add_metadata(Reply& reply, std::string key, double value);
void add_metadata(Reply& reply, std::string key, std::string value);

inline constexpr const char* kNotInitialised = "not initialised: send InitializeGPU first";
inline constexpr const char* kNoGraph = "no graph: send UpdateGPUGraphData first";

struct Simulation {
  Simulation(Backend& used_backend, SegmentProvider& provider, EngineOptions used_options)
      : backend(used_backend),
        options(std::move(used_options)),
        store(provider),
        frames(provider, options.epoch) {}

  // A restored state becomes the one in use, in segments of this process. Returns an error or
  // nothing.
  std::string adopt(SimulationState restored);
  // The backend gets this graph and motion; what was in use there is gone only if this succeeds.
  BackendStatus upload(const Graph& graph, const std::vector<float>& positions,
                       const std::vector<float>& velocities);
  // The motion alone, as the state has it: backend, state segment and a frame.
  BackendStatus upload_motion();
  void commit_all();
  void commit_motion();
  void publish_frame() { frames.publish(state, options.time_ns()); }
  // A redelivery of what the positions already contain.
  [[nodiscard]] bool already_applied(const DeliveryContext& context) const {
    return context.attempt > 1 && state.applied.contains(context.link, context.sequence);
  }

  Backend& backend;
  EngineOptions options;
  StateStore store;
  FramePublisher frames;
  SimulationState state;
  IdIndex ids;
  std::uint64_t unsaved_steps = 0;  // Since the last commit of the motion.
};

// The reply to a backend that refused: Failed, or the order to leave.
Reply backend_failed(BackendStatus status, std::string what);
// The answer to a redelivery of an applied message.
Reply applied_before(const Simulation& simulation);

}  // namespace ackbus::gpu
