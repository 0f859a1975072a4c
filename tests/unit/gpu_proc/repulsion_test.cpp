// Repulsion: the exact sum against float64, the grid against the cutoff model, the tree's error
// against the exact sum.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "gpu_proc/physics/morton.hpp"
#include "gpu_proc/physics/repulsion_fields.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu {
namespace {

using test::Double3;
using test::wide;

constexpr double kEverything = 1e30;

struct Cloud {
  VectorArrays positions;
  std::vector<float> masses;
  [[nodiscard]] RepulsionInput input() const { return {positions, masses, 120.0F, 1e-4F, 150.0F}; }
  [[nodiscard]] Double3 reference(std::size_t node, double cutoff) const {
    Double3 sum;
    for (std::size_t other = 0; other < positions.size(); ++other) {
      const Double3 apart = wide(positions.at(node)) - wide(positions.at(other));
      const double r = test::norm(apart);
      if (other == node || r >= cutoff || r == 0) continue;
      const double strength =
          120.0 * static_cast<double>(masses[node]) * static_cast<double>(masses[other]);
      sum += (std::min(strength / (r * r + 1e-4), 150.0) / r) * apart;
    }
    return sum;
  }
};

Cloud random_cloud(test::Random& random, std::size_t nodes, float radius) {
  Cloud cloud{test::random_positions(random, nodes, radius), {}};
  for (std::size_t node = 0; node < nodes; ++node)
    cloud.masses.push_back(random.between(0.5F, 3.0F));
  return cloud;
}

double error_against(const Cloud& cloud, const VectorArrays& forces, double cutoff) {
  test::RelativeError error;
  for (std::size_t node = 0; node < cloud.positions.size(); ++node) {
    error.add(wide(forces.at(node)), cloud.reference(node, cutoff));
  }
  return error.value();
}

double tree_error(const Cloud& cloud, float opening_angle) {
  ThreadPool pool(1);
  VectorArrays forces;
  forces.resize(cloud.positions.size());
  Tree tree;
  repulsion_tree(cloud.input(), opening_angle, tree, pool, forces);
  return error_against(cloud, forces, kEverything);
}

TEST(RepulsionTest, ExactSumMatchesTheReference) {
  test::Random random;
  const Cloud cloud = random_cloud(random, 777, 60.0F);
  ThreadPool pool(2);
  VectorArrays forces;
  forces.resize(777);
  repulsion_exact(cloud.input(), pool, forces);
  EXPECT_LT(error_against(cloud, forces, kEverything), 1e-5);
}

TEST(RepulsionTest, GridMatchesTheCutoffModel) {
  test::Random random;
  for (const float radius : {20.0F, 150.0F, 900.0F}) {
    const Cloud cloud = random_cloud(random, 1500, radius);
    ThreadPool pool(2);
    Grid grid;
    VectorArrays forces;
    forces.resize(1500);
    repulsion_grid(cloud.input(), 50.0F, grid, pool, forces);
    EXPECT_LT(error_against(cloud, forces, 50.0), 1e-5) << radius;
    EXPECT_GE(grid.cell_width(), 50.0F);
  }
}

TEST(RepulsionTest, GridStaysSmallWhenTheBoxIsHuge) {
  test::Random random;
  const Cloud cloud = random_cloud(random, 100, 57000.0F);
  Grid grid;
  grid.build(cloud.positions, 0.001F);
  EXPECT_LE(grid.cells(), 2U * 100 + 64);
}

TEST(RepulsionTest, TreeStaysWithinItsStatedErrorBound) {
  test::Random random;
  const Cloud even = random_cloud(random, 4000, 500.0F);
  EXPECT_LT(tree_error(even, 0.5F), 5e-3);
  EXPECT_LT(tree_error(even, 0.3F), 2e-3);
  // Tight clusters far apart, the case in which a uniform grid would fail: pairs there reach the
  // cap, which a cell can only apply as a whole, so the bound is wider.
  Cloud clusters = random_cloud(random, 4000, 3.0F);
  for (std::size_t node = 0; node < 4000; ++node) {
    const float shift = static_cast<float>(node % 4) * 400.0F - 600.0F;
    clusters.positions.x[node] += shift;
    clusters.positions.y[node] -= shift;
  }
  EXPECT_LT(tree_error(clusters, 0.5F), 2e-2);
}

TEST(RepulsionTest, TreeWithOpeningAngleZeroIsExact) {
  test::Random random;
  EXPECT_LT(tree_error(random_cloud(random, 1200, 100.0F), 0.0F), 1e-5);
}

TEST(RepulsionTest, CoincidentNodesPartInOppositeDirections) {
  Cloud cloud{{}, {1.0F, 1.0F}};
  cloud.positions.resize(2);
  ThreadPool pool(1);
  VectorArrays forces;
  forces.resize(2);
  repulsion_exact(cloud.input(), pool, forces);
  EXPECT_EQ(forces.at(0).x, -150.0F);
  EXPECT_EQ(forces.at(1).x, 150.0F);
}

TEST(RepulsionTest, ManyNodesAtOnePlaceStayFiniteAndBounded) {
  Cloud cloud;
  cloud.positions.resize(9000);
  cloud.masses.assign(9000, 1.0F);
  cloud.positions.set(0, {100.0F, 0.0F, 0.0F});
  ThreadPool pool(2);
  Tree tree;
  VectorArrays forces;
  forces.resize(9000);
  repulsion_tree(cloud.input(), 0.5F, tree, pool, forces);
  for (std::size_t node = 0; node < 9000; ++node) {
    EXPECT_LE(length(forces.at(node)), 150.0F * 9000.0F * 1.001F);
  }
  EXPECT_GT(forces.at(0).x, 0.0F);
  EXPECT_LT(forces.at(1).x, 0.0F);
  EXPECT_GT(forces.at(8999).x, 0.0F);
}

TEST(TreeTest, LeavesHoldEveryNodeOnceInsideTheirCells) {
  test::Random random;
  const Cloud cloud = random_cloud(random, 5000, 300.0F);
  Tree tree;
  tree.build(cloud.positions, cloud.masses);
  std::set<std::uint32_t> seen;
  for (const std::uint32_t index : tree.leaves()) {
    const TreeCell& leaf = tree.cells()[index];
    EXPECT_LE(leaf.count, Tree::kLeafNodes);
    EXPECT_EQ(leaf.skip, index + 1);
    for (std::uint32_t place = leaf.first; place < leaf.first + leaf.count; ++place) {
      EXPECT_LE(length(tree.position(place) - leaf.centre), leaf.radius * 1.0001F + 1e-4F);
      EXPECT_TRUE(seen.insert(tree.order()[place]).second);
    }
  }
  EXPECT_EQ(seen.size(), 5000U);
  EXPECT_EQ(tree.cells()[0].skip, tree.cells().size());
  EXPECT_EQ(tree.cells()[0].count, 5000U);
}

TEST(MortonTest, SpreadPutsEveryThirdBit) {
  EXPECT_EQ(spread_bits(1), 1U);
  EXPECT_EQ(spread_bits(0b111), 0b1001001U);
  EXPECT_EQ(spread_bits(0x8000), std::uint64_t{1} << 45);
  EXPECT_EQ(spread_bits(0xFFFF), 0x249249249249U);
}

TEST(MortonTest, RadixSortIsStableAndSorted) {
  test::Random random;
  std::vector<std::uint64_t> keys;
  std::vector<std::uint32_t> order;
  for (std::uint32_t place = 0; place < 3000; ++place) {
    keys.push_back(std::uint64_t{random.below(50)} << random.below(43));
    order.push_back(place);
  }
  const std::vector<std::uint64_t> before = keys;
  std::vector<std::uint64_t> spare_keys;
  std::vector<std::uint32_t> spare_order;
  radix_sort(keys, order, spare_keys, spare_order);
  for (std::size_t place = 0; place < keys.size(); ++place) {
    EXPECT_EQ(keys[place], before[order[place]]);
    if (place == 0) continue;
    EXPECT_LE(keys[place - 1], keys[place]);
    if (keys[place - 1] == keys[place]) {
      EXPECT_LT(order[place - 1], order[place]);
    }
  }
}

}  // namespace
}  // namespace ackbus::gpu
