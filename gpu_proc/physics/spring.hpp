// Springs over one CSR row: k_s * w_ij * (r - L0) towards j. Host and device. Two nodes at one
// place pull nowhere (there is no direction); repulsion parts them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu_proc/physics/vector3.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::gpu {

// A graph's rows: the neighbours of node i are places row[i] to row[i + 1] - 1 of the two other
// arrays.
struct CsrRows {
  const std::uint32_t* row;
  const std::uint32_t* neighbour;
  const float* weight;
};

ACKBUS_HD inline Vector3 spring_pull(const Vector3& own, const Vector3& other, float weight,
                                     float spring_strength, float rest_length) {
  const Vector3 towards = other - own;
  const float distance = length(towards);
  if (distance == 0.0F) return {};
  return (spring_strength * weight * (distance - rest_length) / distance) * towards;
}

ACKBUS_HD inline Vector3 spring_force(std::size_t node, const CsrRows& rows,
                                      const Positions& positions, float spring_strength,
                                      float rest_length) {
  const Vector3 own = positions.at(node);
  Vector3 sum;
  for (std::uint32_t place = rows.row[node]; place < rows.row[node + 1]; ++place) {
    sum += spring_pull(own, positions.at(rows.neighbour[place]), rows.weight[place],
                       spring_strength, rest_length);
  }
  return sum;
}

}  // namespace ackbus::gpu
