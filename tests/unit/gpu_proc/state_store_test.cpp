// The state segment: what is committed is restored; a write torn at any store leaves the commit
// before; corruption and hostile sizes are refused and named.
#include "gpu_proc/state_store.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "gpu_proc/applied_table.hpp"
#include "gpu_proc/id_index.hpp"
#include "gpu_proc/state_reader.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu {
namespace {

using test::HeapSegments;

SimulationState random_state(test::Random& random, std::size_t nodes, std::size_t edges) {
  SimulationState state;
  state.initialised = true;
  state.settings.gravity = 0.125F;
  state.steps = 1234;
  state.generation = 3;
  state.node_capacity = nodes;
  state.edge_capacity = edges;
  for (std::size_t node = 0; node < nodes; ++node) {
    state.graph.ids.push_back(test::id_of(node));
    state.graph.masses.push_back(random.between(0.5F, 2.0F));
    state.graph.flags.push_back(0);
    for (int axis = 0; axis < 3; ++axis) {
      state.positions.push_back(random.between(-9.0F, 9.0F));
      state.velocities.push_back(random.between(-9.0F, 9.0F));
    }
  }
  const auto limit = static_cast<std::uint32_t>(nodes);
  for (std::size_t edge = 0; edge < edges; ++edge) {
    state.graph.edges.push_back({random.below(limit), random.below(limit), 1.0F});
  }
  state.graph.structure_hash = structure_hash(state.graph);
  const std::array<std::int32_t, 1> member = {2};
  const std::array<float, 1> depth = {4.0F};
  state.constraints = {
      payload::make_constraint(payload::ConstraintKind::kLayerDepth, member, depth)};
  state.applied.record(5, 77);
  return state;
}

void expect_equal(const SimulationState& got, const SimulationState& wanted) {
  EXPECT_EQ(got.initialised, wanted.initialised);
  EXPECT_EQ(got.settings, wanted.settings);
  EXPECT_EQ(got.steps, wanted.steps);
  EXPECT_EQ(got.generation, wanted.generation);
  EXPECT_EQ(got.node_capacity, wanted.node_capacity);
  EXPECT_EQ(got.graph.ids, wanted.graph.ids);
  EXPECT_EQ(got.graph.masses, wanted.graph.masses);
  EXPECT_EQ(structure_hash(got.graph), structure_hash(wanted.graph));
  EXPECT_EQ(got.graph.structure_hash, wanted.graph.structure_hash);
  EXPECT_EQ(got.positions, wanted.positions);
  EXPECT_EQ(got.velocities, wanted.velocities);
  EXPECT_EQ(got.constraints.size(), wanted.constraints.size());
  EXPECT_EQ(got.applied.contains(5, 77), wanted.applied.contains(5, 77));
}

// A copy on the heap, aligned as a mapping is.
std::vector<std::uint64_t> aligned(std::span<const std::byte> bytes) {
  std::vector<std::uint64_t> words((bytes.size() + 7) / 8);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}
std::span<std::byte> as_segment(std::vector<std::uint64_t>& words) {
  return std::as_writable_bytes(std::span(words));
}

TEST(StateStoreTest, CommittedStateIsRestored) {
  test::Random random;
  HeapSegments segments;
  StateStore store(segments);
  SimulationState state = random_state(random, 100, 250);
  ASSERT_EQ(store.prepare(100, 250, 1, Room::kExact), "");
  EXPECT_EQ(segments.publishes, 0);
  store.commit_all(state);
  EXPECT_EQ(segments.publishes, 1);
  RestoredState restored = restore_state(segments.published(SegmentRole::kState));
  ASSERT_TRUE(restored.state.has_value()) << restored.error;
  expect_equal(*restored.state, state);
  for (int round = 0; round < 5; ++round) {
    state.positions[7] += 1.0F;
    state.steps += 60;
    store.commit_motion(state);
    restored = restore_state(segments.published(SegmentRole::kState));
    ASSERT_TRUE(restored.state.has_value()) << restored.error;
    expect_equal(*restored.state, state);
  }
}

TEST(StateStoreTest, RequiredBytesAreWhatASegmentOfThatSizeTakes) {
  HeapSegments segments;
  StateStore store(segments);
  ASSERT_EQ(store.prepare(17000, 70000, 10, Room::kExact), "");
  store.commit_all(SimulationState{});
  EXPECT_EQ(store.segment_bytes(), state_required_bytes(17000, 70000, 10));
  EXPECT_EQ(store.prepare(17000, 70000, 10, Room::kExact), "");
  EXPECT_EQ(segments.creates, 1);
}

TEST(StateStoreTest, GrowingKeepsThePublishedSegmentUntilTheCommit) {
  test::Random random;
  HeapSegments segments;
  StateStore store(segments);
  const SimulationState small = random_state(random, 10, 10);
  ASSERT_EQ(store.prepare(10, 10, 1, Room::kExact), "");
  store.commit_all(small);
  ASSERT_EQ(store.prepare(1000, 2000, 1, Room::kGrow), "");
  store.commit_motion(small);
  expect_equal(*restore_state(segments.published(SegmentRole::kState)).state, small);
  const SimulationState large = random_state(random, 1000, 2000);
  store.commit_all(large);
  expect_equal(*restore_state(segments.published(SegmentRole::kState)).state, large);
  segments.fail_role = SegmentRole::kState;
  const std::string error = store.prepare(5000, 2000, 1, Room::kGrow);
  EXPECT_NE(error.find("bytes: quota of the test"), std::string::npos) << error;
  store.commit_motion(large);
  expect_equal(*restore_state(segments.published(SegmentRole::kState)).state, large);
}

// The writer died after any number of the bytes of a commit, in either order of those bytes: the
// older state is whole.
TEST(StateStoreTest, TornCommitLeavesTheOneBefore) {
  test::Random random;
  HeapSegments segments;
  StateStore store(segments);
  const SimulationState before = random_state(random, 50, 60);
  ASSERT_EQ(store.prepare(50, 60, 1, Room::kExact), "");
  store.commit_all(before);
  store.commit_motion(before);
  const std::vector<std::byte> old_bytes = segments.copy(SegmentRole::kState);
  SimulationState after = random_state(random, 50, 60);
  after.steps = 4321;
  store.commit_all(after);
  const std::vector<std::byte> new_bytes = segments.copy(SegmentRole::kState);
  const std::size_t word = offsetof(layout::StateHeader, commit);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::byte> torn = old_bytes;
    for (std::size_t at = 0; at < torn.size(); ++at) {
      const bool written = random.below(2) == 0;
      const bool is_commit = at >= word && at < word + 8;
      if (written && !is_commit) torn[at] = new_bytes[at];
    }
    std::vector<std::uint64_t> words = aligned(torn);
    const RestoredState restored = restore_state(as_segment(words));
    ASSERT_TRUE(restored.state.has_value()) << restored.error;
    ASSERT_EQ(restored.state->steps, before.steps);
    ASSERT_EQ(restored.state->positions, before.positions);
  }
}

TEST(StateStoreTest, EveryFlippedBitIsRefusedOrHarmless) {
  test::Random random;
  HeapSegments segments;
  StateStore store(segments);
  const SimulationState state = random_state(random, 20, 30);
  ASSERT_EQ(store.prepare(20, 30, 1, Room::kExact), "");
  store.commit_all(state);
  const std::vector<std::byte> good = segments.copy(SegmentRole::kState);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::uint64_t> words = aligned(good);
    const std::uint32_t at = random.below(static_cast<std::uint32_t>(good.size()));
    as_segment(words)[at] ^= static_cast<std::byte>(1U << random.below(8));
    const RestoredState restored = restore_state(as_segment(words));
    if (restored.state.has_value()) {
      // The flipped bit lay in the copies not in use, or in padding.
      expect_equal(*restored.state, state);
    } else if (!restored.error.empty()) {
      ++refused;
      EXPECT_NE(restored.error.find("refused"), std::string::npos);
    }
  }
  EXPECT_GT(refused, 0);
}

struct HeaderCase {
  std::size_t offset;
  std::uint64_t value;
  std::size_t bytes;
  const char* error;
};

TEST(StateStoreTest, HostileHeadersAreRefusedByName) {
  test::Random random;
  HeapSegments segments;
  StateStore store(segments);
  ASSERT_EQ(store.prepare(20, 30, 1, Room::kExact), "");
  store.commit_all(random_state(random, 20, 30));
  const std::vector<std::byte> good = segments.copy(SegmentRole::kState);
  using layout::StateHeader;
  const auto place = layout::state_geometry(20, 30, 1);
  const std::size_t graph = place.graph_copy[1];
  const std::size_t motion = place.motion_copy[1];
  const std::vector<HeaderCase> cases = {
      {offsetof(StateHeader, magic), 1, 8, "wrong magic"},
      {offsetof(StateHeader, version), 2, 4, "layout version 2"},
      {offsetof(StateHeader, node_capacity), 200, 8, "its capacities need"},
      {offsetof(StateHeader, node_capacity), ~std::uint64_t{0}, 8, "beyond the limits"},
      {offsetof(StateHeader, edge_capacity), 100'000'000, 8, "its capacities need"},
      {offsetof(StateHeader, total_bytes), 1, 8, "its capacities need"},
      {graph + offsetof(layout::StateGraphHeader, node_count), ~std::uint64_t{0}, 8,
       "larger than the capacities"},
      {graph + offsetof(layout::StateGraphHeader, edge_count), 29, 8, "checksum"},
      {graph + offsetof(layout::StateGraphHeader, commit), 9, 8, "another commit"},
      {motion + offsetof(layout::StateMotionHeader, link_count), 0xFFFFFFFF, 4, "limits"},
      {motion + offsetof(layout::StateMotionHeader, node_count), 19, 8, "differ in nodes"},
      {motion + offsetof(layout::StateMotionHeader, steps), 1, 8, "checksum"},
  };
  for (const HeaderCase& one : cases) {
    std::vector<std::uint64_t> words = aligned(good);
    std::memcpy(as_segment(words).data() + one.offset, &one.value, one.bytes);
    const RestoredState restored = restore_state(as_segment(words));
    EXPECT_FALSE(restored.state.has_value());
    EXPECT_NE(restored.error.find(one.error), std::string::npos) << restored.error;
  }
  std::vector<std::uint64_t> words = aligned(good);
  EXPECT_NE(restore_state(as_segment(words).first(100)).error.find("shorter"), std::string::npos);
  EXPECT_NE(restore_state(as_segment(words).first(good.size() / 2)).error.find("need"),
            std::string::npos);
}

// A sum that is right over content that is wrong: a predecessor gone mad, not a torn write.
TEST(StateStoreTest, WellSummedNonsenseIsRefused) {
  const auto error_of = [](auto change) {
    test::Random random(3);
    HeapSegments segments;
    StateStore store(segments);
    SimulationState state = random_state(random, 20, 30);
    change(state);
    EXPECT_EQ(store.prepare(20, 30, 1, Room::kExact), "");
    store.commit_all(state);
    return restore_state(segments.published(SegmentRole::kState)).error;
  };
  EXPECT_EQ(error_of([](SimulationState&) {}), "");
  EXPECT_NE(error_of([](SimulationState& s) { s.graph.edges[3].target = 20; }), "");
  EXPECT_NE(error_of([](SimulationState& s) { s.graph.ids[3] = s.graph.ids[4]; }), "");
  EXPECT_NE(error_of([](SimulationState& s) { s.graph.masses[0] = 0; }), "");
  EXPECT_NE(error_of([](SimulationState& s) { s.positions[5] = NAN; }), "");
  EXPECT_NE(error_of([](SimulationState& s) { s.constraints[0].node[0] = 20; }), "");
  EXPECT_NE(error_of([](SimulationState& s) { s.settings.damping = 2.0F; }), "");
}

TEST(StateStoreTest, SegmentWithoutACommitIsEmptyAndNoError) {
  HeapSegments segments;
  StateStore store(segments);
  ASSERT_EQ(store.prepare(5, 5, 0, Room::kExact), "");
  store.commit_all(SimulationState{});
  std::vector<std::uint64_t> words = aligned(segments.published(SegmentRole::kState));
  std::memset(as_segment(words).data() + offsetof(layout::StateHeader, commit), 0, 8);
  const RestoredState restored = restore_state(as_segment(words));
  EXPECT_FALSE(restored.state.has_value());
  EXPECT_EQ(restored.error, "");
}

TEST(AppliedTableTest, KnowsTheLastSixtyFourOfALinkInAnyOrder) {
  AppliedTable table;
  EXPECT_FALSE(table.contains(1, 1));
  table.record(1, 10);
  table.record(1, 12);
  table.record(1, 11);
  table.record(2, 5);
  EXPECT_TRUE(table.contains(1, 10));
  EXPECT_TRUE(table.contains(1, 11));
  EXPECT_TRUE(table.contains(1, 12));
  EXPECT_FALSE(table.contains(1, 9));
  EXPECT_FALSE(table.contains(1, 13));
  EXPECT_FALSE(table.contains(2, 10));
  table.record(1, 74);
  EXPECT_TRUE(table.contains(1, 10));
  EXPECT_TRUE(table.contains(1, 12));
  table.record(1, 75);
  EXPECT_FALSE(table.contains(1, 10));
  EXPECT_TRUE(table.contains(1, 11));
  table.record(1, 100000);
  EXPECT_FALSE(table.contains(1, 75));
  EXPECT_TRUE(table.contains(1, 100000));
}

TEST(AppliedTableTest, FullTableForgetsTheLinkUsedLongestAgo) {
  AppliedTable table;
  for (std::uint64_t link = 0; link < layout::kStateMaxLinks; ++link) table.record(link, 1);
  table.record(0, 2);
  table.record(5000, 1);
  EXPECT_EQ(table.links().size(), layout::kStateMaxLinks);
  EXPECT_TRUE(table.contains(0, 2));
  EXPECT_TRUE(table.contains(5000, 1));
  EXPECT_FALSE(table.contains(1, 1));
}

TEST(IdIndexTest, FindsIdsInAnyOrderAndNamesADuplicate) {
  test::Random random;
  std::vector<std::uint32_t> ids;
  for (std::uint32_t place = 0; place < 1000; ++place) ids.push_back(place * 4000001U + 3);
  std::shuffle(ids.begin(), ids.end(), random.generator());
  IdIndex index;
  ASSERT_FALSE(index.build(ids).has_value());
  for (std::uint32_t place = 0; place < 1000; ++place) EXPECT_EQ(index.find(ids[place]), place);
  EXPECT_FALSE(index.find(4).has_value());
  ids[20] = ids[900];
  EXPECT_EQ(index.build(ids), ids[900]);
}

}  // namespace
}  // namespace ackbus::gpu
