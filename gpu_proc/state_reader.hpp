// The sums over a state segment's copies, shared by the writer and by the restore, so that they
// can't differ. Computed over private arrays. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gpu_proc/payload/format.hpp"
#include "gpu_proc/physics/graph.hpp"
#include "shm_layout/state.hpp"

namespace ackbus::gpu {

std::uint64_t graph_checksum(layout::StateGraphHeader header, const Graph& graph,
                             const std::vector<payload::ConstraintRecord>& constraints);

std::uint64_t motion_checksum(layout::StateMotionHeader header,
                              std::span<const payload::ParameterRecord> parameters,
                              const std::vector<layout::StateLink>& links,
                              const std::vector<float>& positions,
                              const std::vector<float>& velocities);

}  // namespace ackbus::gpu
