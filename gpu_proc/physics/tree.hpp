// An octree over the nodes in Morton order: cells in depth-first order, each with its mass, centre
// of mass and radius. Built anew each step from the identity permutation, by one thread; then read
// by all. Walked without a stack: open a cell by going to the next one, skip it by going to `skip`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu_proc/physics/node_arrays.hpp"

namespace ackbus::gpu {

struct TreeCell {
  Vector3 centre;  // Of mass.
  float mass;
  float radius;         // From the centre to the furthest corner of the nodes' own box.
  std::uint32_t first;  // Its nodes are places first to first + count - 1 in Morton order.
  std::uint32_t count;
  std::uint32_t skip;  // The cell after this one's whole subtree.
  std::uint32_t is_leaf;
};

class Tree {
 public:
  static constexpr std::uint32_t kLeafNodes = 32;
  static constexpr int kLevels =
      16;  // Bits per axis: nodes closer than 1/65536 of the box share a leaf.

  void build(const VectorArrays& positions, const std::vector<float>& masses);

  [[nodiscard]] const std::vector<TreeCell>& cells() const { return cells_; }
  // Cells that are leaves, in Morton order.
  [[nodiscard]] const std::vector<std::uint32_t>& leaves() const { return leaves_; }
  // By place in Morton order.
  [[nodiscard]] const std::vector<std::uint32_t>& order() const { return order_; }
  [[nodiscard]] Vector3 position(std::size_t place) const { return sorted_.at(place); }
  [[nodiscard]] float mass(std::size_t place) const { return mass_[place]; }

 private:
  struct Summary {
    double mass = 0;
    double x = 0, y = 0, z = 0;  // Times mass.
    Bounds bounds;
  };

  void sort_by_key(const VectorArrays& positions);
  Summary add_cell(std::uint32_t first, std::uint32_t count, int level);
  Summary summarise(std::uint32_t first, std::uint32_t count) const;
  Summary add_children(std::uint32_t first, std::uint32_t count, int level);
  static void finish(TreeCell& cell, const Summary& summary);

  std::vector<TreeCell> cells_;
  std::vector<std::uint32_t> leaves_;
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint32_t> order_;
  VectorArrays sorted_;
  std::vector<float> mass_;
  std::vector<std::uint64_t> spare_keys_;
  std::vector<std::uint32_t> spare_order_;
};

}  // namespace ackbus::gpu
