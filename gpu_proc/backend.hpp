// What the engine needs from whatever computes the physics: CPU threads here, a CUDA plug-in
// elsewhere. Only plain structs, pointers and counts cross it, so that a table of C functions can
// stand behind it. Data flow: engine's host arrays -> backend's own arrays -> steps -> engine's
// host arrays. One thread calls a backend, one call at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu_proc/payload/format.hpp"
#include "gpu_proc/payload/settings.hpp"
#include "gpu_proc/physics/spring.hpp"

namespace ackbus::gpu {

enum class BackendStatus : std::uint32_t {
  kReserved = 0,
  kOk = 1,
  kOutOfMemory = 2,  // Nothing was changed; say Failed and go on.
  kDeviceLost = 3,   // The process must end and be started again.
};

// All arrays are checked: rows monotone, neighbours below `nodes`, masses above 0.
struct BackendGraph {
  std::size_t nodes;
  std::size_t neighbours;  // Entries of the rows' arrays.
  CsrRows rows;
  const float* masses;
  const std::uint32_t* flags;
};

struct StepRequest {
  const Settings* settings;
  std::uint64_t
      steps_before;  // Steps since the simulation began; the first one computed is the next.
  std::uint32_t steps;
  void (*progress)(void* context);  // Called between steps; may be null.
  void* progress_context;
};

struct StepReport {
  std::uint32_t steps_done;
  std::uint32_t diverged;  // 1: the step after steps_done was not applied.
  double kinetic_energy;  // Sum of m v^2 / 2 over nodes that are not pinned, after the last applied
                          // step.
  double max_displacement;     // The furthest that a node moved in one of these steps.
  std::uint64_t active_nodes;  // Not pinned.
};

class Backend {
 public:
  Backend() = default;
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // "cpu" or "cuda"; the device as text for acks and logs; and how many numbered devices there are
  // (0 on the CPU).
  [[nodiscard]] virtual const char* name() const = 0;
  [[nodiscard]] virtual const char* device() const = 0;
  [[nodiscard]] virtual std::int32_t device_count() const = 0;
  // Bytes that a graph of this size takes here, for the check at InitializeGPU.
  [[nodiscard]] virtual std::uint64_t required_bytes(std::uint64_t nodes,
                                                     std::uint64_t edges) const = 0;

  // Replaces the graph; all motion becomes 0 and the constraints are cleared.
  virtual BackendStatus upload_graph(const BackendGraph& graph) = 0;
  // Replaces the constraints; nodes are below the graph's number of nodes.
  virtual BackendStatus upload_constraints(const payload::ConstraintRecord* records,
                                           std::size_t count) = 0;
  // Position and velocity of every node, x y z by node.
  virtual BackendStatus write_motion(const float* positions, const float* velocities) = 0;
  virtual BackendStatus read_motion(float* positions, float* velocities) = 0;
  // Only the nodes at these places; positions and velocities as above, by row.
  virtual BackendStatus write_nodes(std::size_t count, const std::uint32_t* places,
                                    const float* positions, const float* velocities) = 0;
  // Computes the steps, stopping before one that would diverge. Needs a graph.
  virtual BackendStatus run(const StepRequest& request, StepReport& report) = 0;
};

}  // namespace ackbus::gpu
