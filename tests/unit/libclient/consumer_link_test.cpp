// The consumer's half alone, against submission and tracking memory that the test writes: what it
// stores before it acts, and what it makes of hostile memory. Whole scenarios are in tests/link.
#include "libclient/src/consumer_link.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/link/memory.hpp"

namespace ackbus {
namespace {

using layout::AckCode;

constexpr std::uint32_t kSlots = 4;
constexpr std::uint16_t kKind = 4;

class ConsumerLinkTest : public ::testing::Test {
 protected:
  ConsumerLinkTest() {
    setup_.submission = submission_;
    setup_.tracking = tracking_;
    setup_.ack = ack_;
    link_ = std::make_unique<ConsumerLink>(setup_);
  }
  void publish(std::uint64_t sequence, std::uint32_t slot, std::uint32_t flags,
               std::uint64_t length = 8, std::uint64_t offset = 0, std::uint16_t kind = kKind) {
    layout::DescriptorCopy descriptor;
    descriptor.number = sequence;
    descriptor.length = length;
    descriptor.offset = offset;
    descriptor.kind_flags = layout::pack_kind(kind, flags);
    layout::descriptor_begin(submission_.descriptor(slot));
    layout::descriptor_publish(submission_.descriptor(slot), descriptor);
    layout::place_publish(submission_.place(sequence),
                          {sequence, length, 5, slot, descriptor.kind_flags});
  }
  NextResult next(Delivery& begun) { return link_->next(100, true, 0, begun); }

  static constexpr std::uint32_t kPlain = layout::kFlagTracked | layout::kFlagInline;
  test::SegmentMemory submission_memory_{layout::SubmissionGeometry{kSlots, 4096}.bytes()};
  test::SegmentMemory tracking_memory_{layout::TrackingGeometry{kSlots}.bytes()};
  test::SegmentMemory ack_memory_{layout::AckGeometry{kSlots}.bytes()};
  layout::SubmissionView submission_{submission_memory_.base(), {kSlots, 4096}};
  layout::TrackingView tracking_{tracking_memory_.base(), {kSlots}};
  layout::AckView ack_{ack_memory_.base(), {kSlots}};
  ConsumerLinkSetup setup_;
  std::unique_ptr<ConsumerLink> link_;
};

TEST_F(ConsumerLinkTest, StoresCursorAndBegunBeforeItGivesTheMessage) {
  publish(1, 2, kPlain);
  Delivery begun;
  ASSERT_EQ(next(begun), NextResult::kBegun);
  EXPECT_EQ(ack_.words().cursor.load_acquire(), 2U);
  const layout::BegunCopy stored = layout::begun_read(ack_.record(2));
  EXPECT_EQ(stored.sequence, 1U);
  EXPECT_EQ(stored.begun_ns, 100U);
  EXPECT_EQ(stored.attempt, 1U);
  EXPECT_TRUE(link_->running(2, 1));
  EXPECT_EQ(next(begun), NextResult::kNothing);
}

TEST_F(ConsumerLinkTest, AnswersInTheRecordAndThenInThePlace) {
  publish(1, 2, kPlain);
  Delivery begun;
  next(begun);
  EXPECT_TRUE(link_->ack(2, 1, AckCode::kFailed, "broken", {}, 300));
  layout::AnswerCopy answer;
  ASSERT_TRUE(layout::answer_read(ack_.record(2), 1, answer));
  EXPECT_EQ(layout::answer_code(answer.code_flags), AckCode::kFailed);
  EXPECT_EQ(layout::answer_flags(answer.code_flags), layout::kAckHasText);
  layout::AckPlaceCopy place;
  ASSERT_TRUE(layout::ack_place_read(ack_.place(1), 1, place));
  EXPECT_EQ(place.sequence, 1U);
  EXPECT_EQ(place.slot, 2U);
  EXPECT_EQ(place.code_flags, answer.code_flags);
  EXPECT_EQ(ack_.counters(kKind).failed.load_relaxed(), 1U);
  EXPECT_EQ(ack_.counters(kKind).latency_sum_ns.load_relaxed(), 295U);
}

TEST_F(ConsumerLinkTest, FlagsAndCountsATextThatIsCut) {
  publish(1, 2, kPlain);
  Delivery begun;
  next(begun);
  link_->ack(2, 1, AckCode::kFailed, std::string(600, 'x'), {}, 300);
  layout::AnswerCopy answer;
  ASSERT_TRUE(layout::answer_read(ack_.record(2), 1, answer));
  EXPECT_NE(layout::answer_flags(answer.code_flags) & layout::kAckTextCut, 0U);
  EXPECT_EQ(ack_.counters(kKind).text_cut.load_relaxed(), 1U);
}

TEST_F(ConsumerLinkTest, RejectsPlacesThatNameWhatCannotBe) {
  publish(1, 1, kPlain);
  submission_.place(1).slot.store_relaxed(kSlots);
  publish(2, 1, kPlain, 8, 0, 0);   // no kind
  publish(3, 2, kPlain, 8, 0, 64);  // beyond the last kind
  publish(4, 3, layout::kFlagTracked, 100);
  submission_.descriptor(3).number.store_relaxed(77);  // another message than the place's
  Delivery begun;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(next(begun), NextResult::kSkipped) << i;
  }
  EXPECT_EQ(next(begun), NextResult::kNothing);
  EXPECT_EQ(ack_.words().rejected.load_relaxed(), 4U);
  EXPECT_EQ(link_->running_count(), 0U);
}

TEST_F(ConsumerLinkTest, AnswersFailedForPayloadsOutsideTheBoundsOfTheirKind) {
  PayloadBounds bounds;
  bounds.add(kKind, "Bounded", 10, 70);
  link_->bound_payloads(bounds);
  publish(1, 0, kPlain, 9);
  publish(2, 1, layout::kFlagTracked, 71, 64);
  publish(3, 2, kPlain, 10);
  publish(4, 3, kPlain, 9, 0, kKind + 1);  // a kind without bounds
  Delivery begun;
  EXPECT_EQ(next(begun), NextResult::kSkipped);
  EXPECT_EQ(next(begun), NextResult::kSkipped);
  EXPECT_EQ(link_->running_count(), 0U);
  EXPECT_EQ(ack_.words().rejected.load_relaxed(), 2U);
  for (std::uint32_t slot = 0; slot < 2; ++slot) {
    layout::AnswerCopy answer;
    ASSERT_TRUE(layout::answer_read(ack_.record(slot), slot + 1, answer)) << slot;
    EXPECT_EQ(layout::answer_code(answer.code_flags), AckCode::kFailed);
    EXPECT_EQ(layout::answer_flags(answer.code_flags), layout::kAckHasText);
  }
  EXPECT_EQ(next(begun), NextResult::kBegun);
  EXPECT_EQ(begun.sequence, 3U);
  EXPECT_EQ(next(begun), NextResult::kBegun);
  EXPECT_EQ(begun.sequence, 4U);
}

TEST_F(ConsumerLinkTest, AnswersFailedForPayloadsOutsideTheArena) {
  publish(1, 0, layout::kFlagTracked, 100, 4000);
  publish(2, 1, layout::kFlagTracked, UINT64_MAX, 1);
  publish(3, 2, layout::kFlagTracked, 100, UINT64_MAX - 10);
  publish(4, 3, kPlain, 65);
  Delivery begun;
  for (std::uint32_t slot = 0; slot < 4; ++slot) {
    EXPECT_EQ(next(begun), NextResult::kSkipped);
    layout::AnswerCopy answer;
    ASSERT_TRUE(layout::answer_read(ack_.record(slot), slot + 1, answer)) << slot;
    EXPECT_EQ(layout::answer_code(answer.code_flags), AckCode::kFailed);
  }
  publish(5, 0, layout::kFlagTracked, 96, 4000);
  EXPECT_EQ(next(begun), NextResult::kBegun) << "exactly to the end of the arena";
}

TEST_F(ConsumerLinkTest, CountsARedeliveryOfAnotherSequenceAsStale) {
  publish(1, 2, kPlain);
  layout::redelivery_publish(tracking_.redelivery(1), 1, {9, 2, 2, 0});
  layout::redelivery_publish(tracking_.redelivery(2), 2, {1, 99, 2, 0});
  Delivery begun;
  EXPECT_EQ(next(begun), NextResult::kSkipped);
  EXPECT_EQ(next(begun), NextResult::kSkipped);
  EXPECT_EQ(ack_.words().redelivery_cursor.load_acquire(), 3U);
  EXPECT_EQ(ack_.counters(0).stale.load_relaxed(), 2U);
  EXPECT_EQ(next(begun), NextResult::kBegun);
}

TEST_F(ConsumerLinkTest, ServesRedeliveriesBeforeTheMainRing) {
  publish(1, 0, kPlain);
  publish(2, 1, kPlain);
  Delivery begun;
  next(begun);
  link_->give_back(0, 1, 0, 100);
  layout::redelivery_publish(tracking_.redelivery(1), 1, {1, 0, 2, layout::kRedeliverMayHaveRun});
  ASSERT_EQ(next(begun), NextResult::kBegun);
  EXPECT_EQ(begun.sequence, 1U);
  EXPECT_EQ(begun.attempt, 2U);
  ASSERT_EQ(next(begun), NextResult::kBegun);
  EXPECT_EQ(begun.sequence, 2U);
}

TEST_F(ConsumerLinkTest, MarksProgressAndNackInTheRecord) {
  publish(1, 2, kPlain);
  Delivery begun;
  next(begun);
  EXPECT_TRUE(link_->progress(2, 1, 3, 150));
  layout::MarkCopy mark;
  ASSERT_TRUE(layout::mark_read(ack_.record(2), 1, mark));
  EXPECT_EQ(mark.kind, layout::MarkKind::kProgress);
  EXPECT_EQ(mark.value, 3U);
  EXPECT_EQ(mark.marked_ns, 150U);
  EXPECT_TRUE(link_->give_back(2, 1, 40, 160));
  ASSERT_TRUE(layout::mark_read(ack_.record(2), 1, mark));
  EXPECT_EQ(mark.kind, layout::MarkKind::kGivenBack);
  EXPECT_EQ(mark.value, 1U);
  EXPECT_EQ(mark.delay_ms, 40U);
  EXPECT_EQ(layout::begun_read(ack_.record(2)).sequence, 1U) << "begun stays";
}

TEST_F(ConsumerLinkTest, RingsASleepingProducerOncePerGeneration) {
  EXPECT_FALSE(link_->must_ring());
  submission_.words().sleeping.store_release(3);
  EXPECT_TRUE(link_->must_ring());
  EXPECT_FALSE(link_->must_ring());
}

TEST_F(ConsumerLinkTest, ForgetsTheLowestSequenceWhenTheSupersedeTableIsFull) {
  const std::uint64_t supersedes = 1ULL << kKind;
  for (std::uint64_t sequence = 1; sequence <= layout::kSupersedeEntries + 1; ++sequence) {
    const auto slot = static_cast<std::uint32_t>(sequence % kSlots);
    publish(sequence, slot, kPlain | layout::kFlagKeyed);
    layout::DescriptorCopy descriptor;
    ASSERT_TRUE(layout::descriptor_read(submission_.descriptor(slot), sequence, descriptor));
    descriptor.key = 1'000 + sequence;
    layout::descriptor_publish(submission_.descriptor(slot), descriptor);
    Delivery begun;
    ASSERT_EQ(link_->next(100, true, supersedes, begun), NextResult::kBegun);
    link_->ack(slot, sequence, AckCode::kSuccess, {}, {}, 100);
  }
  std::uint64_t lowest = UINT64_MAX;
  for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
    EXPECT_EQ(ack_.supersede(index).kind.load_relaxed(), kKind);
    lowest = std::min(lowest, ack_.supersede(index).sequence.load_relaxed());
  }
  EXPECT_EQ(lowest, 2U);
}

TEST_F(ConsumerLinkTest, StaysWithinItsMemoryWhateverTheProducerWrites) {
  const std::uint64_t seed = 31'337;
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  auto* words = reinterpret_cast<std::uint64_t*>(submission_memory_.base() +
                                                 layout::SubmissionGeometry::kRing);
  const std::size_t count = (submission_memory_.bytes() - layout::SubmissionGeometry::kRing) / 8;
  std::uint64_t expected = 1;
  for (int round = 0; round < 20'000; ++round) {
    const std::uint64_t shape = random() % 3;
    words[random() % count] = shape == 0 ? random() : random() % 70 << (shape == 1 ? 0 : 16);
    submission_.place(expected).number.store_release(expected);
    submission_.place(expected).slot.store_relaxed(static_cast<std::uint32_t>(random() % 6));
    submission_.descriptor(static_cast<std::uint32_t>(random() % kSlots))
        .number.store_release(expected);
    Delivery begun;
    const NextResult result = next(begun);
    if (result == NextResult::kBegun) {
      for (const std::byte byte : begun.payload) {
        expected += static_cast<std::uint64_t>(byte) & 0U;  // reads every byte that it was given
      }
      link_->ack(begun.slot, begun.sequence, AckCode::kSuccess, {}, {}, 100);
    }
    expected = ack_.words().cursor.load_acquire() == 0 ? 1 : ack_.words().cursor.load_acquire();
  }
  EXPECT_GT(expected, 1'000U);
}

TEST_F(ConsumerLinkTest, ARedeliveryOfNoAttemptIsStale) {
  publish(1, 2, kPlain);
  layout::redelivery_publish(tracking_.redelivery(1), 1, {1, 2, 0, 0});
  Delivery begun;
  EXPECT_EQ(next(begun), NextResult::kSkipped);
  EXPECT_EQ(ack_.counters(0).stale.load_relaxed(), 1U);
  ASSERT_EQ(next(begun), NextResult::kBegun);
  EXPECT_EQ(begun.attempt, 1U);
}

}  // namespace
}  // namespace ackbus
