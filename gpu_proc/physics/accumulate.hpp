// The one hot loop: repulsion of a block of target nodes by a block of sources. The exact sum, the
// grid and the tree all feed it. Each target's sum runs over the sources in the order given and
// targets are lanes, so the result does not depend on how wide the processor's vectors are. One
// caller per block; blocks are private to their thread.
#pragma once

#include <array>
#include <cstddef>

#include "gpu_proc/physics/repulsion.hpp"

namespace ackbus::gpu {

inline constexpr std::size_t kTargets = 32;
inline constexpr std::size_t kLanes = 8;  // Targets are padded to a multiple.
inline constexpr std::size_t kSources = 1024;

struct alignas(64) TargetBlock {
  std::array<float, kTargets> x, y, z;
  std::array<float, kTargets> charge;  // k_r * m_i
  std::array<float, kTargets> order;
  std::array<float, kTargets> force_x, force_y, force_z;
  std::size_t count;

  void clear() {
    for (auto* lanes : {&x, &y, &z, &charge, &order, &force_x, &force_y, &force_z})
      lanes->fill(0.0F);
    count = 0;
  }
  void add(float at_x, float at_y, float at_z, float own_charge, float own_order) {
    x[count] = at_x;
    y[count] = at_y;
    z[count] = at_z;
    charge[count] = own_charge;
    order[count] = own_order;
    ++count;
  }
  [[nodiscard]] bool full() const { return count == kTargets; }
};

struct SourceBlock {
  std::array<RepulsionSource, kSources> sources;
  std::size_t count = 0;
  [[nodiscard]] bool full() const { return count == kSources; }
};

// Adds the sources' forces to the targets' and empties the source block.
void accumulate(TargetBlock& targets, SourceBlock& sources, const RepulsionLimits& limits);

}  // namespace ackbus::gpu
