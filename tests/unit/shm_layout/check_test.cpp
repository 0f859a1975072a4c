// Every foreign or half-built view of a segment has its own name.
#include "shm_layout/check.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "tests/link/memory.hpp"

namespace ackbus::layout {
namespace {

class Check : public ::testing::Test {
 protected:
  Check() { stamp_segment(memory_.base(), expected_, 3, 0, 1, 1); }
  [[nodiscard]] SegmentHeader& header() const {
    return *reinterpret_cast<SegmentHeader*>(memory_.base());
  }
  [[nodiscard]] SegmentState check() const {
    return check_segment(memory_.base(), memory_.bytes(), expected_);
  }
  SegmentExpectation expected_{SegmentRole::kSubmission, SubmissionGeometry{4, 4096}.bytes(), 4,
                               4096};
  test::SegmentMemory memory_{expected_.bytes};
};

TEST_F(Check, AcceptsWhatTheDaemonStamped) {
  EXPECT_EQ(check(), SegmentState::kOk);
  EXPECT_EQ(header().link, 3U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(memory_.base()), 8), "!ackbus1");
}

TEST_F(Check, NamesEachThingThatCanBeWrong) {
  const std::pair<SegmentState, std::function<void(SegmentHeader&)>> faults[] = {
      {SegmentState::kNotReady, [](SegmentHeader& h) { h.ready.store_release(0); }},
      {SegmentState::kNotASegment, [](SegmentHeader& h) { h.magic += 1; }},
      {SegmentState::kOtherVersion, [](SegmentHeader& h) { h.layout_version += 1; }},
      {SegmentState::kOtherLayout, [](SegmentHeader& h) { h.fingerprint += 1; }},
      {SegmentState::kOtherRole, [](SegmentHeader& h) { h.role = 2; }},
      {SegmentState::kOtherGeometry, [](SegmentHeader& h) { h.bytes += 4096; }},
      {SegmentState::kOtherGeometry, [](SegmentHeader& h) { h.slots = 8; }},
      {SegmentState::kOtherGeometry, [](SegmentHeader& h) { h.arena_bytes = 0; }}};
  for (const auto& [state, spoil] : faults) {
    stamp_segment(memory_.base(), expected_, 3, 0, 1, 1);
    spoil(header());
    EXPECT_EQ(check(), state) << segment_state_name(state);
  }
}

TEST_F(Check, RefusesAMappingThatIsTooSmallBeforeItReadsIt) {
  EXPECT_EQ(check_segment(nullptr, 0, expected_), SegmentState::kTooSmall);
  EXPECT_EQ(check_segment(nullptr, sizeof(SegmentHeader) - 1, {}), SegmentState::kTooSmall);
  EXPECT_EQ(check_segment(memory_.base(), expected_.bytes - 1, expected_), SegmentState::kTooSmall);
}

TEST_F(Check, ZeroedMemoryIsNotReady) {
  const test::SegmentMemory zero(expected_.bytes);
  EXPECT_EQ(check_segment(zero.base(), zero.bytes(), expected_), SegmentState::kNotReady);
}

TEST_F(Check, HasANameForEveryState) {
  std::set<std::string> names;
  for (std::uint32_t state = 1; state <= static_cast<std::uint32_t>(SegmentState::kOtherGeometry);
       ++state) {
    names.insert(segment_state_name(static_cast<SegmentState>(state)));
  }
  EXPECT_EQ(names.size(), 8U);
  EXPECT_EQ(names.count("unknown"), 0U);
}

TEST(LatencyBucket, TakesItsBoundAndNotTheNextNanosecond) {
  for (std::size_t i = 0; i + 1 < kLatencyBuckets; ++i) {
    EXPECT_EQ(latency_bucket(kLatencyBoundsNs[i]), i);
    EXPECT_EQ(latency_bucket(kLatencyBoundsNs[i] + 1), i + 1);
  }
  EXPECT_EQ(latency_bucket(0), 0U);
  EXPECT_EQ(latency_bucket(UINT64_MAX), kLatencyBuckets - 1);
}

}  // namespace
}  // namespace ackbus::layout
