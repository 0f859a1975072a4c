// The stress of layouts whose value is known beforehand.
#include "tools/stress.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <limits>
#include <random>
#include <utility>

namespace ackbus::tools {
namespace {

Graph path_graph(std::uint32_t nodes) {
  std::vector<Edge> edges;
  for (NodeIndex node = 1; node < nodes; ++node) edges.push_back({node - 1, node, 1.0F});
  return build_graph(nodes, std::move(edges));
}

std::vector<Position> straight_line(std::uint32_t nodes, float spacing) {
  std::vector<Position> positions;
  for (std::uint32_t node = 0; node < nodes; ++node) {
    positions.push_back({spacing * static_cast<float>(node), 0.0F, 0.0F});
  }
  return positions;
}

TEST(Stress, OfAStraightPathIsZeroWhateverItsSize) {
  const Graph graph = path_graph(50);
  for (const float spacing : {0.01F, 1.0F, 300.0F}) {
    const auto estimate = sampled_stress(graph, straight_line(50, spacing));
    ASSERT_TRUE(estimate.has_value());
    EXPECT_NEAR(estimate->stress, 0.0, 1e-9) << "spacing " << spacing;
    EXPECT_NEAR(estimate->scale * double{spacing}, 1.0, 1e-5) << "spacing " << spacing;
  }
}

TEST(Stress, OfATriangleDrawnRightAngledIsWhatTheFormulaSays) {
  // All three pairs are one hop apart; their lengths are 3, 4 and 5: A = 50, B = 12, N = 3, S = 1 -
  // 144 / 150.
  const Graph graph = build_graph(3, {{0, 1, 1.0F}, {1, 2, 1.0F}, {0, 2, 1.0F}});
  const std::vector<Position> positions{{0, 0, 0}, {3, 0, 0}, {0, 4, 0}};
  const auto estimate = sampled_stress(graph, positions);
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->sampled_pairs, 3U);
  EXPECT_NEAR(estimate->stress, 1.0 - 144.0 / 150.0, 1e-12);
  EXPECT_NEAR(estimate->scale, 12.0 / 50.0, 1e-12);
}

TEST(Stress, WeighsAPairByTheInverseSquareOfItsHops) {
  // A path of three with its ends folded together: pairs at r/d = 1, 1 and 0/2, so A = 2, B = 2, N
  // = 3, S = 1 - 4/6.
  const std::vector<Position> folded{{0, 0, 0}, {1, 0, 0}, {0, 0, 0}};
  const auto estimate = sampled_stress(path_graph(3), folded);
  ASSERT_TRUE(estimate.has_value());
  EXPECT_NEAR(estimate->stress, 1.0 / 3.0, 1e-12);
}

TEST(Stress, OfARandomLayoutIsWorseThanOfAStraightPath) {
  constexpr std::uint64_t kSeed = 20261;
  std::cout << "seed " << kSeed << '\n';
  std::mt19937 engine(kSeed);
  std::uniform_real_distribution<float> coordinate(-100.0F, 100.0F);
  std::vector<Position> positions;
  positions.reserve(200);
  for (int node = 0; node < 200; ++node) {
    positions.push_back({coordinate(engine), coordinate(engine), coordinate(engine)});
  }
  const auto estimate = sampled_stress(path_graph(200), positions);
  ASSERT_TRUE(estimate.has_value());
  EXPECT_GT(estimate->stress, 0.2);
  EXPECT_LE(estimate->stress, 1.0);
}

TEST(Stress, OfAllNodesInOnePointIsOne) {
  const auto estimate = sampled_stress(path_graph(10), std::vector<Position>(10));
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->stress, 1.0);
}

TEST(Stress, LeavesOutPairsWithoutAPath) {
  const Graph graph = build_graph(4, {{0, 1, 1.0F}, {2, 3, 1.0F}});
  // The two edges have the same length, so the distance between the parts must not matter.
  const std::vector<Position> positions{{0, 0, 0}, {1, 0, 0}, {900, 0, 0}, {901, 0, 0}};
  const auto estimate = sampled_stress(graph, positions);
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->sampled_pairs, 2U);
  EXPECT_NEAR(estimate->stress, 0.0, 1e-9);
}

TEST(Stress, SamplesThePairsOfDistinctPivotsOnce) {
  // Three pivots of ten: 9 + 8 + 7 pairs.
  const auto estimate = sampled_stress(path_graph(10), straight_line(10, 1.0F), {3, 1337});
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->sampled_pairs, 24U);
}

TEST(Stress, IsTheSameForTheSameSeed) {
  const std::vector<Position> bent = [] {
    std::vector<Position> positions = straight_line(100, 1.0F);
    for (std::size_t node = 0; node < 100; ++node) {
      positions[node].y = static_cast<float>(node % 7 * node % 11);
    }
    return positions;
  }();
  const Graph graph = path_graph(100);
  const auto first = sampled_stress(graph, bent, {5, 7});
  const auto second = sampled_stress(graph, bent, {5, 7});
  const auto other = sampled_stress(graph, bent, {5, 8});
  ASSERT_TRUE(first.has_value() && second.has_value() && other.has_value());
  EXPECT_EQ(first->stress, second->stress);
  EXPECT_NE(first->stress, other->stress);
}

TEST(Stress, HasNoValueWithoutPairsOrWithPositionsThatAreNotFinite) {
  EXPECT_FALSE(sampled_stress(build_graph(3, {}), std::vector<Position>(3)).has_value());
  EXPECT_FALSE(sampled_stress(build_graph(0, {}), {}).has_value());
  std::vector<Position> broken = straight_line(5, 1.0F);
  broken[3].z = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(sampled_stress(path_graph(5), broken).has_value());
}

}  // namespace
}  // namespace ackbus::tools
