// The graph's index, hubs, components and distances, on graphs small enough to check by hand.
#include "tools/graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "tools/communities.hpp"

namespace ackbus::tools {
namespace {

using testing::ElementsAre;

std::vector<NodeIndex> neighbors(const Graph& graph, NodeIndex node) {
  const auto row = graph.neighbors_of(node);
  return {row.begin(), row.end()};
}

TEST(Graph, IndexesEveryEdgeInBothRowsInAscendingOrder) {
  const Graph graph = build_graph(5, {{3, 1, 1.0F}, {0, 3, 1.0F}, {4, 3, 1.0F}, {2, 3, 1.0F}});
  EXPECT_THAT(neighbors(graph, 3), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(neighbors(graph, 0), ElementsAre(3));
  EXPECT_EQ(graph.degree(3), 4U);
  EXPECT_EQ(graph.degree(4), 1U);
  EXPECT_THAT(graph.edges,
              ElementsAre(Edge{0, 3, 1.0F}, Edge{1, 3, 1.0F}, Edge{2, 3, 1.0F}, Edge{3, 4, 1.0F}));
}

TEST(Graph, MergesDuplicatesOfEitherDirectionKeepingTheLargestWeight) {
  const Graph graph = build_graph(2, {{0, 1, 2.0F}, {1, 0, 5.0F}, {0, 1, 3.0F}});
  EXPECT_THAT(graph.edges, ElementsAre(Edge{0, 1, 5.0F}));
  EXPECT_EQ(graph.merged_duplicates, 2U);
}

TEST(Graph, DropsAndCountsSelfLoops) {
  const Graph graph = build_graph(2, {{0, 0, 1.0F}, {0, 1, 1.0F}, {1, 1, 1.0F}});
  EXPECT_EQ(graph.edges.size(), 1U);
  EXPECT_EQ(graph.dropped_self_loops, 2U);
  EXPECT_EQ(graph.degree(0), 1U);
}

TEST(Graph, NamesHubsByFallingDegreeAndEqualOnesByIndex) {
  const Graph graph =
      build_graph(6, {{0, 5, 1.0F}, {1, 5, 1.0F}, {2, 5, 1.0F}, {0, 1, 1.0F}, {3, 4, 1.0F}});
  EXPECT_THAT(top_hubs(graph, 4), ElementsAre(5, 0, 1, 2));
  EXPECT_EQ(top_hubs(graph, 100).size(), 6U);
}

TEST(Graph, CountsHopsAndMarksWhatIsNotReached) {
  const Graph graph = build_graph(6, {{0, 1, 1.0F}, {1, 2, 1.0F}, {2, 3, 1.0F}, {0, 4, 1.0F}});
  EXPECT_THAT(distances_from(graph, 0), ElementsAre(0, 1, 2, 3, 1, kUnreached));
}

TEST(Graph, NumbersComponentsByTheirSmallestNode) {
  const Graph graph = build_graph(6, {{0, 4, 1.0F}, {1, 2, 1.0F}, {2, 3, 1.0F}});
  const Components components = connected_components(graph);
  EXPECT_THAT(components.component_of, ElementsAre(0, 1, 1, 1, 0, 2));
  EXPECT_THAT(components.sizes, ElementsAre(2, 3, 1));
  EXPECT_EQ(components.largest(), 1U);
}

TEST(Graph, WalksAPathOfAMillionNodesWithoutRecursion) {
  constexpr std::uint32_t kNodes = 1'000'000;
  std::vector<Edge> edges;
  for (NodeIndex node = 1; node < kNodes; ++node) edges.push_back({node - 1, node, 1.0F});
  const Graph graph = build_graph(kNodes, std::move(edges));
  EXPECT_EQ(distances_from(graph, 0).back(), kNodes - 1);
  EXPECT_EQ(connected_components(graph).sizes.size(), 1U);
}

// Two cliques of ten nodes, joined by one edge.
Graph two_cliques() {
  std::vector<Edge> edges{{0, 10, 1.0F}};
  for (const NodeIndex base : {0U, 10U}) {
    for (NodeIndex left = 0; left < 10; ++left) {
      for (NodeIndex right = left + 1; right < 10; ++right) {
        edges.push_back({base + left, base + right, 1.0F});
      }
    }
  }
  return build_graph(20, std::move(edges));
}

TEST(Communities, AreTheCliquesOfAGraphOfTwoCliques) {
  const Communities communities = find_communities(two_cliques(), 1337);
  EXPECT_THAT(communities.sizes, ElementsAre(10, 10));
  for (NodeIndex node = 1; node < 10; ++node) {
    EXPECT_EQ(communities.community_of[node], communities.community_of[0]);
    EXPECT_EQ(communities.community_of[10 + node], communities.community_of[10]);
  }
  EXPECT_NE(communities.community_of[0], communities.community_of[10]);
}

TEST(Communities, AreTheSameForTheSameSeed) {
  const Graph graph = two_cliques();
  EXPECT_EQ(find_communities(graph, 5).community_of, find_communities(graph, 5).community_of);
}

TEST(Communities, OfAGraphWithoutEdgesAreItsNodes) {
  const Communities communities = find_communities(build_graph(3, {}), 1);
  EXPECT_THAT(communities.sizes, ElementsAre(1, 1, 1));
}

}  // namespace
}  // namespace ackbus::tools
