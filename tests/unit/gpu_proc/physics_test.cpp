// Each formula of the step against a plain float64 reference on random inputs, and cases with a
// closed form.
#include <gtest/gtest.h>

#include <numbers>

#include "gpu_proc/physics/boundary.hpp"
#include "gpu_proc/physics/centering.hpp"
#include "gpu_proc/physics/constraint.hpp"
#include "gpu_proc/physics/constraint_index.hpp"
#include "gpu_proc/physics/integration.hpp"
#include "gpu_proc/physics/spring.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu {
namespace {

using payload::ConstraintKind;
using payload::ConstraintRecord;
using test::Double3;
using test::wide;

constexpr double kTolerance = 1e-5;

TEST(PhysicsTest, SpringsMatchTheReference) {
  test::Random random;
  const std::size_t nodes = 500;
  const VectorArrays positions = test::random_positions(random, nodes, 200.0F);
  std::vector<IndexedEdge> edges;
  for (int edge = 0; edge < 3000; ++edge) {
    edges.push_back({random.below(nodes), random.below(nodes), random.between(0.1F, 2.0F)});
  }
  std::vector<Double3> wanted(nodes);
  for (const IndexedEdge& edge : edges) {
    if (edge.source == edge.target) continue;
    const Double3 towards = wide(positions.at(edge.target)) - wide(positions.at(edge.source));
    const double distance = test::norm(towards);
    const double pull = 12.0 * static_cast<double>(edge.weight) * (distance - 50.0) / distance;
    wanted[edge.source] += pull * towards;
    wanted[edge.target] += -pull * towards;
  }
  const Csr csr = make_csr(nodes, edges);
  const CsrRows rows{csr.row.data(), csr.neighbour.data(), csr.weight.data()};
  test::RelativeError error;
  for (std::size_t node = 0; node < nodes; ++node) {
    error.add(wide(spring_force(node, rows, positions.view(), 12.0F, 50.0F)), wanted[node]);
  }
  EXPECT_LT(error.value(), kTolerance);
}

TEST(PhysicsTest, CenteringAndGravityMatchTheReference) {
  test::Random random;
  test::RelativeError error;
  const VectorArrays positions = test::random_positions(random, 500, 900.0F);
  for (std::size_t node = 0; node < positions.size(); ++node) {
    const Double3 wanted = -(0.005 + 0.3) * wide(positions.at(node));
    error.add(wide(centering_force(positions.at(node), 0.005F, 0.3F)), wanted);
  }
  EXPECT_LT(error.value(), kTolerance);
}

// The reference of one record on one of its nodes, from the definition of each kind.
Double3 reference_violation(const ConstraintRecord& record, std::uint32_t node,
                            const VectorArrays& positions, const Double3& centroid) {
  const Double3 own = wide(positions.at(node));
  const auto param = [&record](std::size_t at) { return static_cast<double>(record.params[at]); };
  const auto outside = [](double value, double low, double high) {
    return std::clamp(value, low, high) - value;
  };
  Double3 sum;
  switch (static_cast<ConstraintKind>(record.kind)) {
    case ConstraintKind::kFixedPosition:
      return Double3{param(0), param(1), param(2)} - own;
    case ConstraintKind::kAlignmentX:
      return {param(0) - own.x, 0, 0};
    case ConstraintKind::kAlignmentY:
      return {0, param(0) - own.y, 0};
    case ConstraintKind::kAlignmentZ:
    case ConstraintKind::kLayerDepth:
      return {0, 0, param(0) - own.z};
    case ConstraintKind::kClustering:
      return param(0) * (centroid - own);
    case ConstraintKind::kBoundary:
      return {outside(own.x, param(0), param(1)), outside(own.y, param(2), param(3)),
              outside(own.z, param(4), param(5))};
    case ConstraintKind::kRadialDistance:
      return ((param(0) - test::norm(own)) / test::norm(own)) * own;
    case ConstraintKind::kSeparation:
    case ConstraintKind::kDistance:
      for (std::int32_t place = 0; place < record.count; ++place) {
        if (static_cast<std::uint32_t>(record.node[place]) == node) continue;
        const Double3 apart =
            own - wide(positions.at(static_cast<std::size_t>(record.node[place])));
        const double missing = param(0) - test::norm(apart);
        const bool only_push =
            record.kind == static_cast<std::int32_t>(ConstraintKind::kSeparation);
        if (only_push && missing <= 0) continue;
        sum += (missing / test::norm(apart)) * apart;
      }
      return sum;
  }
  return sum;
}

class ConstraintKindTest : public testing::TestWithParam<std::int32_t> {};

TEST_P(ConstraintKindTest, MatchesTheReference) {
  test::Random random;
  const std::size_t nodes = 400;
  const VectorArrays positions = test::random_positions(random, nodes, 60.0F);
  std::vector<ConstraintRecord> records;
  for (std::int32_t first = 0; first + 4 <= static_cast<std::int32_t>(nodes); first += 4) {
    const std::array<std::int32_t, 4> members = {first, first + 1, first + 2, first + 3};
    const std::array<float, 6> params = {random.between(5.0F, 50.0F), random.between(50.0F, 60.0F),
                                         random.between(-9.0F, 0.0F), random.between(0.0F, 9.0F),
                                         random.between(-9.0F, 0.0F), random.between(0.0F, 9.0F)};
    records.push_back(
        payload::make_constraint(static_cast<ConstraintKind>(GetParam()), members, params));
  }
  ConstraintIndex index;
  index.build(records.data(), records.size(), nodes);
  index.update_centroids(positions);
  test::RelativeError error;
  for (std::uint32_t node = 0; node < nodes; ++node) {
    const ConstraintRecord& record = records[node / 4];
    Double3 centroid;
    for (const std::int32_t member : record.node) {
      centroid += 0.25 * wide(positions.at(static_cast<std::size_t>(member)));
    }
    const double ramp = 30.0 / 60.0;
    const Double3 wanted = (static_cast<double>(record.weight) * ramp) *
                           reference_violation(record, node, positions, centroid);
    const Vector3 got = constraint_force(node, index.rows(), positions.view(), 30, 60, 50.0F);
    error.add(wide(got), test::cap(wanted, 50.0));
  }
  EXPECT_LT(error.value(), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(AllKinds, ConstraintKindTest,
                         testing::Range(0, payload::kConstraintKinds));

TEST(PhysicsTest, ClusteringJoinsRecordsOfOneGroupAndOnlyThose) {
  VectorArrays positions;
  positions.resize(6);
  for (std::size_t node = 0; node < 6; ++node) {
    positions.set(node, {static_cast<float>(node * node), 0.0F, 0.0F});
  }
  const auto cluster = [](std::int32_t first, std::int32_t second, float group) {
    const std::array<std::int32_t, 2> members = {first, second};
    const std::array<float, 8> params = {1.0F, 0, 0, 0, 0, 0, 0, group};
    return payload::make_constraint(ConstraintKind::kClustering, members, params);
  };
  const std::vector<ConstraintRecord> records = {cluster(0, 1, 3.0F), cluster(4, 5, 0.0F),
                                                 cluster(2, 3, 3.0F)};
  ConstraintIndex index;
  index.build(records.data(), records.size(), 6);
  index.update_centroids(positions);
  const ConstraintRows rows = index.rows();
  EXPECT_EQ(rows.centroid[0].x, (0.0F + 1.0F + 4.0F + 9.0F) / 4.0F);
  EXPECT_EQ(rows.centroid[2].x, rows.centroid[0].x);
  EXPECT_EQ(rows.centroid[1].x, (16.0F + 25.0F) / 2.0F);
}

TEST(PhysicsTest, RampBeginsAtActivationAndEndsAtOne) {
  EXPECT_EQ(constraint_ramp(9, 10, 60), 0.0F);
  EXPECT_EQ(constraint_ramp(10, 10, 60), 0.0F);
  EXPECT_EQ(constraint_ramp(40, 10, 60), 0.5F);
  EXPECT_EQ(constraint_ramp(70, 10, 60), 1.0F);
  EXPECT_EQ(constraint_ramp(7000, 10, 60), 1.0F);
  EXPECT_EQ(constraint_ramp(10, 10, 0), 1.0F);
  EXPECT_EQ(constraint_ramp(1, -2147483647 - 1, 4000000000U), 2147483649.0F / 4000000000.0F);
}

TEST(PhysicsTest, ConstraintsOfOneNodeAreCappedTogether) {
  VectorArrays positions;
  positions.resize(1);
  positions.set(0, {100.0F, 0.0F, 0.0F});
  const std::array<std::int32_t, 1> member = {0};
  const std::array<float, 3> origin = {};
  const auto record = payload::make_constraint(ConstraintKind::kFixedPosition, member, origin);
  const std::vector<ConstraintRecord> records(5, record);
  ConstraintIndex index;
  index.build(records.data(), records.size(), 1);
  index.update_centroids(positions);
  EXPECT_FLOAT_EQ(constraint_force(0, index.rows(), positions.view(), 60, 60, 50.0F).x, -50.0F);
}

TEST(PhysicsTest, BoundaryMatchesTheReference) {
  test::Random random;
  for (int round = 0; round < 1000; ++round) {
    float position = random.between(-2000.0F, 2000.0F);
    float velocity = random.between(-100.0F, 100.0F);
    const double before = static_cast<double>(position);
    const double wanted = before > 1000 || before < -1000 ? -0.5 * static_cast<double>(velocity)
                                                          : static_cast<double>(velocity);
    bounce(position, velocity, 1000.0F, 0.5F);
    EXPECT_EQ(static_cast<double>(position), std::clamp(before, -1000.0, 1000.0));
    EXPECT_EQ(static_cast<double>(velocity), wanted);
  }
}

TEST(PhysicsTest, IntegrationMatchesTheReferenceWithinAMillionthOfTheBox) {
  test::Random random;
  const Settings settings;
  for (int round = 0; round < 2000; ++round) {
    NodeMotion before;
    before.position = {random.between(-999, 999), random.between(-999, 999),
                       random.between(-999, 999)};
    before.velocity = {random.between(-99, 99), random.between(-99, 99), random.between(-99, 99)};
    const Vector3 force = {random.between(-200, 200), random.between(-200, 200), 0.0F};
    const float mass = random.between(0.01F, 3.0F);
    const NodeMotion after = integrate(before, force, mass, 0.5F, settings);
    const Double3 capped_force = 0.5 * test::cap(wide(force), 150.0);
    Double3 velocity = wide(before.velocity) + (0.016 / static_cast<double>(mass)) * capped_force;
    velocity = test::cap(0.85 * velocity, 100.0);
    Double3 position = wide(before.position) + 0.016 * velocity;
    for (double* axis : {&position.x, &position.y, &position.z}) {
      *axis = std::clamp(*axis, -1000.0, 1000.0);
    }
    EXPECT_LT(test::norm(wide(after.position) - position), 2000.0 * 1e-6);
    EXPECT_FALSE(after.diverged);
  }
}

TEST(PhysicsTest, DivergedIsSeenEvenWhenItIsNotANumber) {
  const Settings settings;
  const NodeMotion still;
  EXPECT_TRUE(integrate(still, {NAN, 0, 0}, 1.0F, 1.0F, settings).diverged);
  EXPECT_TRUE(integrate(still, {INFINITY, 0, 0}, 1.0F, 1.0F, settings).diverged);
  Settings fast;
  fast.max_velocity = 1e9F;
  NodeMotion moving;
  moving.velocity = {2000.0F, 0, 0};
  EXPECT_TRUE(integrate(moving, {}, 1.0F, 1.0F, fast).diverged);
  EXPECT_FALSE(integrate(moving, {}, 1.0F, 1.0F, settings).diverged);
  NodeMotion far;
  far.position = {1.1e5F, 0, 0};
  EXPECT_TRUE(integrate(far, {}, 1.0F, 1.0F, settings).diverged);
}

TEST(PhysicsTest, WarmupGrowsFromOneStepToOne) {
  EXPECT_EQ(warmup_factor(1, 100), 0.01F);
  EXPECT_EQ(warmup_factor(50, 100), 0.5F);
  EXPECT_EQ(warmup_factor(100, 100), 1.0F);
  EXPECT_EQ(warmup_factor(1000, 100), 1.0F);
  EXPECT_EQ(warmup_factor(1, 0), 1.0F);
}

}  // namespace
}  // namespace ackbus::gpu
