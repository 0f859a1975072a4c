#include "gpu_proc/physics/grid.hpp"

#include <algorithm>

namespace ackbus::gpu {
namespace {

// Cells along an axis. The width is at least extent / 1e6, so the quotient fits.
std::size_t cells_along(float extent, float width) {
  return static_cast<std::size_t>(extent / width) + 1;
}

}  // namespace

void Grid::choose_size(const Bounds& bounds, float cutoff, std::size_t nodes) {
  const Vector3 extent = bounds.high - bounds.low;
  const float longest = std::max({extent.x, extent.y, extent.z});
  const std::size_t limit = 2 * nodes + 64;
  // A little wider than the cutoff, so that rounding in cell_of never parts a pair by two cells.
  width_ = std::max(cutoff * 1.0001F, longest * 1.0e-6F);
  low_ = bounds.low;
  // Each round shrinks the number of cells by up to 8; 20 rounds reach one cell from a million per
  // axis.
  constexpr int kMaxRounds = 24;
  for (int round = 0; round < kMaxRounds; ++round) {
    size_ = {cells_along(extent.x, width_), cells_along(extent.y, width_),
             cells_along(extent.z, width_)};
    if (size_[0] * size_[1] * size_[2] <= limit) return;
    width_ *= 2.0F;
  }
  size_ = {1, 1, 1};
}

std::uint32_t Grid::cell_of(const Vector3& position) const {
  const auto along = [this](float offset, std::size_t size) {
    return std::min(static_cast<std::size_t>(std::max(offset / width_, 0.0F)), size - 1);
  };
  const std::size_t x = along(position.x - low_.x, size_[0]);
  const std::size_t y = along(position.y - low_.y, size_[1]);
  const std::size_t z = along(position.z - low_.z, size_[2]);
  return static_cast<std::uint32_t>((z * size_[1] + y) * size_[0] + x);
}

void Grid::build(const VectorArrays& positions, float cutoff) {
  const std::size_t nodes = positions.size();
  choose_size(bounds_of(positions), cutoff, nodes);
  first_.assign(size_[0] * size_[1] * size_[2] + 1, 0);
  cell_of_.resize(nodes);
  sorted_.resize(nodes + 1);  // One more than needed: an empty last cell still has an address.
  for (std::size_t node = 0; node < nodes; ++node) {
    cell_of_[node] = cell_of(positions.at(node));
    ++first_[cell_of_[node] + 1];
  }
  for (std::size_t cell = 1; cell < first_.size(); ++cell) first_[cell] += first_[cell - 1];
  std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
  for (std::size_t node = 0; node < nodes; ++node) {
    sorted_[next[cell_of_[node]]++] = static_cast<std::uint32_t>(node);
  }
}

}  // namespace ackbus::gpu
