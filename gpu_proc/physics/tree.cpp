#include "gpu_proc/physics/tree.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "gpu_proc/physics/morton.hpp"

namespace ackbus::gpu {
namespace {

void join(Bounds& bounds, const Bounds& other) {
  bounds.low = {std::min(bounds.low.x, other.low.x), std::min(bounds.low.y, other.low.y),
                std::min(bounds.low.z, other.low.z)};
  bounds.high = {std::max(bounds.high.x, other.high.x), std::max(bounds.high.y, other.high.y),
                 std::max(bounds.high.z, other.high.z)};
}

}  // namespace

void Tree::sort_by_key(const VectorArrays& positions) {
  const std::size_t nodes = positions.size();
  const MortonFrame frame(bounds_of(positions));
  keys_.resize(nodes);
  order_.resize(nodes);
  std::iota(order_.begin(), order_.end(), 0U);
  for (std::size_t node = 0; node < nodes; ++node) keys_[node] = frame.key(positions.at(node));
  radix_sort(keys_, order_, spare_keys_, spare_order_);
}

void Tree::build(const VectorArrays& positions, const std::vector<float>& masses) {
  const std::size_t nodes = positions.size();
  sort_by_key(positions);
  sorted_.resize(nodes);
  mass_.resize(nodes);
  for (std::size_t place = 0; place < nodes; ++place) {
    sorted_.set(place, positions.at(order_[place]));
    mass_[place] = masses[order_[place]];
  }
  cells_.clear();
  leaves_.clear();
  if (nodes > 0) add_cell(0, static_cast<std::uint32_t>(nodes), 0);
}

// Recursion is at most kLevels deep.
Tree::Summary Tree::add_cell(std::uint32_t first, std::uint32_t count, int level) {
  const std::size_t index = cells_.size();
  const bool is_leaf = count <= kLeafNodes || level == kLevels;
  cells_.push_back({{}, 0.0F, 0.0F, first, count, 0, is_leaf ? 1U : 0U});
  if (is_leaf) leaves_.push_back(static_cast<std::uint32_t>(index));
  const Summary summary = is_leaf ? summarise(first, count) : add_children(first, count, level);
  finish(cells_[index], summary);
  cells_[index].skip = static_cast<std::uint32_t>(cells_.size());
  return summary;
}

Tree::Summary Tree::summarise(std::uint32_t first, std::uint32_t count) const {
  Summary summary;
  summary.bounds = {sorted_.at(first), sorted_.at(first)};
  for (std::uint32_t place = first; place < first + count; ++place) {
    const Vector3 at = sorted_.at(place);
    const auto mass = static_cast<double>(mass_[place]);
    summary.mass += mass;
    summary.x += mass * static_cast<double>(at.x);
    summary.y += mass * static_cast<double>(at.y);
    summary.z += mass * static_cast<double>(at.z);
    join(summary.bounds, {at, at});
  }
  return summary;
}

Tree::Summary Tree::add_children(std::uint32_t first, std::uint32_t count, int level) {
  const int shift = 3 * (kLevels - 1 - level);
  Summary total;
  bool any = false;
  std::uint32_t at = first;
  while (at < first + count) {  // At most eight octants.
    const std::uint64_t octant = keys_[at] >> shift;
    const auto next = std::upper_bound(
        keys_.begin() + at, keys_.begin() + (first + count), octant,
        [shift](std::uint64_t wanted, std::uint64_t key) { return wanted < (key >> shift); });
    const auto end = static_cast<std::uint32_t>(next - keys_.begin());
    const Summary child = add_cell(at, end - at, level + 1);
    total.mass += child.mass;
    total.x += child.x;
    total.y += child.y;
    total.z += child.z;
    if (any) {
      join(total.bounds, child.bounds);
    } else {
      total.bounds = child.bounds;
    }
    any = true;
    at = end;
  }
  return total;
}

void Tree::finish(TreeCell& cell, const Summary& summary) {
  cell.mass = static_cast<float>(summary.mass);
  cell.centre = {static_cast<float>(summary.x / summary.mass),
                 static_cast<float>(summary.y / summary.mass),
                 static_cast<float>(summary.z / summary.mass)};
  const Bounds& bounds = summary.bounds;
  const Vector3 furthest = {std::max(bounds.high.x - cell.centre.x, cell.centre.x - bounds.low.x),
                            std::max(bounds.high.y - cell.centre.y, cell.centre.y - bounds.low.y),
                            std::max(bounds.high.z - cell.centre.z, cell.centre.z - bounds.low.z)};
  cell.radius = length(furthest);
}

}  // namespace ackbus::gpu
