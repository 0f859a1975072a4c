// The graph's construction and its walks. No recursion: a path of ten million nodes must not
// exhaust the stack.
#include "tools/graph.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "shm_layout/assert.hpp"

namespace ackbus::tools {
namespace {

bool same_pair(const Edge& left, const Edge& right) {
  return left.source == right.source && left.target == right.target;
}

// Heavier first among equals, so that merging by std::unique keeps the largest weight.
bool comes_before(const Edge& left, const Edge& right) {
  if (left.source != right.source) return left.source < right.source;
  if (left.target != right.target) return left.target < right.target;
  return left.weight > right.weight;
}

void index_rows(Graph& graph) {
  graph.row_offsets.assign(std::size_t{graph.node_count} + 1, 0);
  for (const Edge& edge : graph.edges) {
    ++graph.row_offsets[edge.source + 1];
    ++graph.row_offsets[edge.target + 1];
  }
  std::partial_sum(graph.row_offsets.begin(), graph.row_offsets.end(), graph.row_offsets.begin());
  graph.neighbors.resize(2 * graph.edges.size());
  std::vector<std::uint64_t> next(graph.row_offsets.begin(), graph.row_offsets.end() - 1);
  // Sources of a node are all smaller than its targets, so this order leaves every row ascending.
  for (const Edge& edge : graph.edges) graph.neighbors[next[edge.target]++] = edge.source;
  for (const Edge& edge : graph.edges) graph.neighbors[next[edge.source]++] = edge.target;
}

// Visits what `start` reaches, breadth first, and gives each visited node its hops in `distances`.
// `queue` is the caller's, so that walking every component allocates once.
void walk_from(const Graph& graph, NodeIndex start, std::vector<std::uint32_t>& distances,
               std::vector<NodeIndex>& queue) {
  queue.clear();
  queue.push_back(start);
  distances[start] = 0;
  for (std::size_t head = 0; head < queue.size(); ++head) {
    const NodeIndex node = queue[head];
    for (const NodeIndex neighbor : graph.neighbors_of(node)) {
      if (distances[neighbor] != kUnreached) continue;
      distances[neighbor] = distances[node] + 1;
      queue.push_back(neighbor);
    }
  }
}

}  // namespace

Graph build_graph(std::uint32_t node_count, std::vector<Edge> edges) {
  for (Edge& edge : edges) {
    ACKBUS_ASSERT(edge.source < node_count && edge.target < node_count);
    if (edge.source > edge.target) std::swap(edge.source, edge.target);
  }
  Graph graph;
  graph.node_count = node_count;
  graph.dropped_self_loops =
      std::erase_if(edges, [](const Edge& edge) { return edge.source == edge.target; });
  std::sort(edges.begin(), edges.end(), comes_before);
  const auto first_duplicate = std::unique(edges.begin(), edges.end(), same_pair);
  graph.merged_duplicates = static_cast<std::uint64_t>(edges.end() - first_duplicate);
  edges.erase(first_duplicate, edges.end());
  graph.edges = std::move(edges);
  index_rows(graph);
  return graph;
}

std::vector<NodeIndex> top_hubs(const Graph& graph, std::size_t count) {
  std::vector<NodeIndex> nodes(graph.node_count);
  std::iota(nodes.begin(), nodes.end(), NodeIndex{0});
  const std::size_t kept = std::min<std::size_t>(count, nodes.size());
  std::partial_sort(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(kept), nodes.end(),
                    [&graph](NodeIndex left, NodeIndex right) {
                      const auto left_degree = graph.degree(left);
                      const auto right_degree = graph.degree(right);
                      return left_degree != right_degree ? left_degree > right_degree
                                                         : left < right;
                    });
  nodes.resize(kept);
  return nodes;
}

std::vector<std::uint32_t> distances_from(const Graph& graph, NodeIndex source) {
  ACKBUS_ASSERT(source < graph.node_count);
  std::vector<std::uint32_t> distances(graph.node_count, kUnreached);
  std::vector<NodeIndex> queue;
  walk_from(graph, source, distances, queue);
  return distances;
}

std::uint32_t Components::largest() const {
  ACKBUS_ASSERT(!sizes.empty());
  return static_cast<std::uint32_t>(std::max_element(sizes.begin(), sizes.end()) - sizes.begin());
}

Components connected_components(const Graph& graph) {
  Components components;
  components.component_of.assign(graph.node_count, kUnreached);
  std::vector<std::uint32_t> distances(graph.node_count, kUnreached);
  std::vector<NodeIndex> queue;
  for (NodeIndex start = 0; start < graph.node_count; ++start) {
    if (distances[start] != kUnreached) continue;
    walk_from(graph, start, distances, queue);
    const auto number = static_cast<std::uint32_t>(components.sizes.size());
    for (const NodeIndex node : queue) components.component_of[node] = number;
    components.sizes.push_back(static_cast<std::uint32_t>(queue.size()));
  }
  return components;
}

}  // namespace ackbus::tools
