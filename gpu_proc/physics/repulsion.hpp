// Repulsion of one pair: magnitude min(k_r * m_i * m_j / (r^2 + eps), cap) along d/r, d = p_i -
// p_j. Source of the formula: docs/gpu-process.md, "One step". Host and device; called by the block
// kernel (accumulate.hpp), which serves the exact sum, the grid and the tree alike.
#pragma once

#include <cmath>

#include "gpu_proc/physics/vector3.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::gpu {

struct RepulsionSource {
  float x, y, z;
  float mass;
  float cap;    // f_max for a node; for a cell f_max times its nodes.
  float order;  // The node's number as a float: exact up to 2^24, above the limit of nodes.
};

struct RepulsionLimits {
  float epsilon;
  float cutoff_squared;  // Infinite with the far field on.
};

// The factor s of the force s * d. `charge` is k_r * m_i. One square root and one division:
// min(c/q, cap)/r with q = r^2 + eps is min(c, cap * q) / (q * r).
ACKBUS_HD inline float repulsion_factor(float square, float charge, const RepulsionSource& source,
                                        const RepulsionLimits& limits) {
  const float quotient = square + limits.epsilon;
  const float strength = charge * source.mass;
  const float bound = source.cap * quotient;
  const float root = std::sqrt(square > 0.0F ? square : 1.0F);
  const float factor = (strength < bound ? strength : bound) / (quotient * root);
  return square < limits.cutoff_squared ? factor : 0.0F;
}

// Two nodes at the same place have no direction d/r. They part along x, the greater number to the
// right, which is deterministic and opposite for the two; a node and itself get 0.
ACKBUS_HD inline float coincident_direction(float own_order, float other_order) {
  const float difference = own_order - other_order;
  const float above = difference < 1.0F ? difference : 1.0F;
  return above > -1.0F ? above : -1.0F;
}

}  // namespace ackbus::gpu
