// The sampled stress: breadth-first searches from pivots, and two sums.
#include "tools/stress.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <unordered_set>
#include <vector>

#include "shm_layout/assert.hpp"

namespace ackbus::tools {
namespace {

struct Sums {
  double squares = 0.0;  // A in the formula.
  double ratios = 0.0;   // B in the formula.
  std::uint64_t pairs = 0;
};

// Distinct nodes, uniformly, by Floyd's method: one draw for each pivot whatever the size of the
// graph. The draws use the engine alone, because the standard leaves its distributions' results to
// the library.
std::vector<NodeIndex> choose_pivots(std::uint32_t node_count, const StressOptions& options) {
  const std::uint32_t count = std::min(std::max(options.pivot_count, 1U), node_count);
  std::mt19937_64 engine(options.seed);
  std::unordered_set<NodeIndex> chosen;
  std::vector<NodeIndex> pivots;
  for (std::uint32_t last = node_count - count; last < node_count; ++last) {
    const auto drawn = static_cast<NodeIndex>(engine() % (std::uint64_t{last} + 1));
    const NodeIndex pivot = chosen.contains(drawn) ? last : drawn;
    chosen.insert(pivot);
    pivots.push_back(pivot);
  }
  return pivots;
}

double distance_between(const Position& left, const Position& right) {
  return std::hypot(double{left.x} - double{right.x}, double{left.y} - double{right.y},
                    double{left.z} - double{right.z});
}

// `earlier` are the pivots already summed: a pair of two pivots must count once.
void add_pivot(const Graph& graph, std::span<const Position> positions, NodeIndex pivot,
               const std::unordered_set<NodeIndex>& earlier, Sums& sums) {
  const std::vector<std::uint32_t> hops = distances_from(graph, pivot);
  for (NodeIndex node = 0; node < graph.node_count; ++node) {
    if (node == pivot || hops[node] == kUnreached || earlier.contains(node)) continue;
    const double ratio = distance_between(positions[pivot], positions[node]) / hops[node];
    sums.squares += ratio * ratio;
    sums.ratios += ratio;
    ++sums.pairs;
  }
}

}  // namespace

std::optional<StressEstimate> sampled_stress(const Graph& graph,
                                             std::span<const Position> positions,
                                             const StressOptions& options) {
  ACKBUS_ASSERT(positions.size() == graph.node_count);
  if (graph.node_count == 0) return std::nullopt;
  const bool finite = std::all_of(positions.begin(), positions.end(), [](const Position& at) {
    return std::isfinite(at.x) && std::isfinite(at.y) && std::isfinite(at.z);
  });
  if (!finite) return std::nullopt;

  Sums sums;
  std::unordered_set<NodeIndex> earlier;
  for (const NodeIndex pivot : choose_pivots(graph.node_count, options)) {
    add_pivot(graph, positions, pivot, earlier, sums);
    earlier.insert(pivot);
  }
  if (sums.pairs == 0) return std::nullopt;
  // All nodes in one point: no scale helps, and the stress is that of s = 0.
  if (sums.squares == 0.0) return StressEstimate{1.0, 0.0, sums.pairs};
  const double stress =
      1.0 - sums.ratios * sums.ratios / (sums.squares * static_cast<double>(sums.pairs));
  return StressEstimate{std::clamp(stress, 0.0, 1.0), sums.ratios / sums.squares, sums.pairs};
}

}  // namespace ackbus::tools
