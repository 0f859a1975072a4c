// An undirected graph in memory: a sorted edge list and the same edges as compressed sparse rows.
// Data flow: matrix_market reads the edges, build_graph cleans and indexes them, the layout command
// uploads them, and stress and picture walk the rows. Threads: a Graph is immutable once built, so
// any number of threads may read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace ackbus::tools {

// Limits of the workload: a larger graph is refused with a message, never half read.
inline constexpr std::uint32_t kNodeCountMax = 10'000'000;
inline constexpr std::uint64_t kEdgeCountMax = 100'000'000;

// The distance of a node that a breadth-first search did not reach.
inline constexpr std::uint32_t kUnreached = std::numeric_limits<std::uint32_t>::max();

using NodeIndex = std::uint32_t;  // 0 to node_count - 1

// An undirected edge; in a Graph, source < target.
struct Edge {
  NodeIndex source = 0;
  NodeIndex target = 0;
  float weight = 1.0F;

  friend bool operator==(const Edge&, const Edge&) = default;
};

// A node's place in the layout, in the simulation's units of length.
struct Position {
  float x = 0.0F;
  float y = 0.0F;
  float z = 0.0F;

  friend bool operator==(const Position&, const Position&) = default;
};

struct Graph {
  std::uint32_t node_count = 0;
  std::vector<Edge> edges;  // Sorted by (source, target), each pair once, no loops.
  std::vector<std::uint64_t>
      row_offsets;                   // node_count + 1; node n's neighbours start at row_offsets[n].
  std::vector<NodeIndex> neighbors;  // Two entries for each edge, ascending in each row.
  std::uint64_t merged_duplicates = 0;  // Edges given more than once (either direction) and merged.
  std::uint64_t dropped_self_loops = 0;  // Edges from a node to itself, which pull nothing.

  [[nodiscard]] std::span<const NodeIndex> neighbors_of(NodeIndex node) const {
    return std::span(neighbors).subspan(row_offsets[node],
                                        row_offsets[node + 1] - row_offsets[node]);
  }
  [[nodiscard]] std::uint32_t degree(NodeIndex node) const {
    return static_cast<std::uint32_t>(row_offsets[node + 1] - row_offsets[node]);
  }
};

// Builds a graph from edges in any order and direction. Self loops are dropped and counted; edges
// between the same two nodes are merged, counted, and keep the largest weight, so the result does
// not depend on their order in the file. Every endpoint must be below node_count (asserted: the
// reader has checked its file already).
[[nodiscard]] Graph build_graph(std::uint32_t node_count, std::vector<Edge> edges);

// The `count` nodes of highest degree, highest first, the smaller index first among equals; fewer
// if there are fewer.
[[nodiscard]] std::vector<NodeIndex> top_hubs(const Graph& graph, std::size_t count);

// Hops from `source` to every node; kUnreached where there is no path. Takes O(nodes + edges).
[[nodiscard]] std::vector<std::uint32_t> distances_from(const Graph& graph, NodeIndex source);

struct Components {
  std::vector<std::uint32_t> component_of;  // For each node, a component number.
  std::vector<std::uint32_t> sizes;         // Nodes by component number; numbered by first node.

  // The number of the component with the most nodes; the first among equals. There must be one.
  [[nodiscard]] std::uint32_t largest() const;
};

// The connected components, numbered in the order of their smallest node.
[[nodiscard]] Components connected_components(const Graph& graph);

}  // namespace ackbus::tools
