// A uniform grid over the nodes' box: cells at least as wide as the cutoff, so a node's near pairs
// lie in its own cell and the 26 around it. Built anew each step, from the identity permutation.
// Owned by the backend; built by one thread, then read by all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu_proc/physics/node_arrays.hpp"

namespace ackbus::gpu {

class Grid {
 public:
  // Sorts the nodes by cell. `cutoff` above 0. Cells grow beyond the cutoff where a spread-out
  // graph would need more cells than 2 n + 64.
  void build(const VectorArrays& positions, float cutoff);

  [[nodiscard]] std::size_t cells() const { return first_.size() - 1; }
  // The nodes of one cell, in node order.
  [[nodiscard]] const std::uint32_t* begin(std::size_t cell) const {
    return &sorted_[first_[cell]];
  }
  [[nodiscard]] const std::uint32_t* end(std::size_t cell) const {
    return begin(cell) + (first_[cell + 1] - first_[cell]);
  }
  // Calls visit(cell) for the cell itself and its neighbours, in ascending order.
  template <typename Visit>
  void for_each_near(std::size_t cell, const Visit& visit) const {
    const std::size_t x = cell % size_[0];
    const std::size_t y = cell / size_[0] % size_[1];
    const std::size_t z = cell / size_[0] / size_[1];
    for (std::size_t at_z = z > 0 ? z - 1 : 0; at_z <= z + 1 && at_z < size_[2]; ++at_z) {
      for (std::size_t at_y = y > 0 ? y - 1 : 0; at_y <= y + 1 && at_y < size_[1]; ++at_y) {
        for (std::size_t at_x = x > 0 ? x - 1 : 0; at_x <= x + 1 && at_x < size_[0]; ++at_x) {
          visit((at_z * size_[1] + at_y) * size_[0] + at_x);
        }
      }
    }
  }
  [[nodiscard]] float cell_width() const { return width_; }

 private:
  void choose_size(const Bounds& bounds, float cutoff, std::size_t nodes);
  [[nodiscard]] std::uint32_t cell_of(const Vector3& position) const;

  Vector3 low_;
  float width_ = 1.0F;
  std::array<std::size_t, 3> size_ = {1, 1, 1};
  std::vector<std::uint32_t> cell_of_;
  std::vector<std::uint32_t> first_;
  std::vector<std::uint32_t> sorted_;
};

}  // namespace ackbus::gpu
