// Everything that the GPU process has promised to keep: what the state segment holds and a
// successor restores. Plain data of the engine's thread.
#pragma once

#include <cstdint>
#include <vector>

#include "gpu_proc/applied_table.hpp"
#include "gpu_proc/payload/format.hpp"
#include "gpu_proc/payload/settings.hpp"
#include "gpu_proc/physics/graph.hpp"

namespace ackbus::gpu {

struct SimulationState {
  bool initialised = false;
  std::uint64_t node_capacity = 0;  // As InitializeGPU asked.
  std::uint64_t edge_capacity = 0;
  Settings settings;
  Graph graph;
  std::vector<payload::ConstraintRecord> constraints;
  std::uint64_t generation = 0;  // Counts graphs with different nodes; frames carry it.
  std::uint64_t steps = 0;
  std::vector<float> positions;   // x y z by node
  std::vector<float> velocities;  // x y z by node
  AppliedTable applied;
};

}  // namespace ackbus::gpu
