// How well positions show a graph's distances: the sampled scale-normalised stress of a layout.
// Data flow: graph and positions in, one figure out, for the layout report at start and end.
// Threads: pure functions; about (pivots * (nodes + edges)) steps on the calling thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "tools/graph.hpp"

namespace ackbus::tools {

struct StressOptions {
  std::uint32_t pivot_count = 64;  // Nodes whose distances to all others are sampled; at least 1.
  std::uint64_t seed = 1337;  // The same seed and graph choose the same pivots, so figures compare.
};

struct StressEstimate {
  double stress = 0.0;  // 0 (perfect) to 1 (as bad as all nodes in one point).
  double scale = 0.0;   // Hops for each unit of length that make the layout fit best.
  std::uint64_t sampled_pairs = 0;
};

// The scale-normalised stress of `positions` over sampled pairs of nodes.
//
// With r the Euclidean distance of a pair, d its distance in hops and w = 1/d^2 (the weights of
// Gansner, Koren and North, "Graph Drawing by Stress Majorization", 2004), the normalised stress of
// the layout enlarged by a factor s is
//   S(s) = sum w (s r - d)^2 / sum w d^2 = (s^2 A - 2 s B + N) / N,  A = sum (r/d)^2,  B = sum r/d,
//   N pairs.
// Layouts differ in size, which says nothing about their quality, so the minimum over s is taken
// (the scale-normalised stress of Smelser, Miller and Kobourov, "Normalized Stress is Not
// Normalized", 2024). S is a parabola in s with its minimum at s = B/A, where S = 1 - B^2 / (A N);
// by Cauchy and Schwarz that lies between 0 and 1.
//
// The pairs are those of pivot_count distinct nodes, drawn uniformly, with every node they reach.
// Pairs without a path have no distance and are left out. Nothing is returned when no pair remains
// or a position is not finite. `positions` must hold one entry for each node (asserted).
[[nodiscard]] std::optional<StressEstimate> sampled_stress(const Graph& graph,
                                                           std::span<const Position> positions,
                                                           const StressOptions& options = {});

}  // namespace ackbus::tools
