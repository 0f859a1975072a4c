// The producer's half alone, against ack and tracking memory that the test writes: what it
// publishes, and what it makes of foreign memory. Whole scenarios are in tests/link.
#include "libclient/src/producer_link.hpp"

#include <gtest/gtest.h>

#include "tests/link/memory.hpp"

namespace ackbus {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

constexpr std::uint32_t kSlots = 4;

class ProducerLinkTest : public ::testing::Test {
 protected:
  ProducerLinkTest() { link_.add_life({1, 1, ack_}); }

  std::pair<std::uint32_t, std::uint64_t> send(const SendOptions& options = {},
                                               bool holds_arena = false) {
    const auto slot = link_.claim();
    EXPECT_TRUE(slot);
    CommitRequest request;
    request.kind = Kind::kComputeForces;
    request.length = 8;
    request.inlined = payload_;
    request.now_ns = 1'000;
    request.options = &options;
    request.holds_arena = holds_arena;
    request.after_sequence = options.after_sequence;
    return {*slot, link_.commit(*slot, request)};
  }
  void answer(std::uint64_t number, std::uint32_t slot, std::uint64_t sequence,
              std::uint32_t code) {
    layout::answer_publish(ack_.record(slot), {sequence, 1'500, code, 1, 0});
    layout::ack_place_publish(ack_.place(number), number, {sequence, 1'500, slot, code});
  }
  void entry(std::uint32_t slot, std::uint64_t sequence, PendingState state, VerdictReason reason,
             std::uint64_t epoch = 1) {
    layout::PendingCopyValue value;
    value.version = ++version_;
    value.sequence = sequence;
    value.state = state;
    value.reason = reason;
    value.epoch = epoch;
    layout::pending_publish(tracking_.entry(slot).copies[version_ & 1U], value);
    tracking_.words().interventions.store_release(version_);
  }

  test::SegmentMemory submission_memory_{layout::SubmissionGeometry{kSlots, 4096}.bytes()};
  test::SegmentMemory tracking_memory_{layout::TrackingGeometry{kSlots}.bytes()};
  test::SegmentMemory ack_memory_{layout::AckGeometry{kSlots}.bytes()};
  layout::SubmissionView submission_{submission_memory_.base(), {kSlots, 4096}};
  layout::TrackingView tracking_{tracking_memory_.base(), {kSlots}};
  layout::AckView ack_{ack_memory_.base(), {kSlots}};
  OutcomeStore outcomes_{kSlots, kSlots* ProducerLink::kNodesPerSlot};
  ProducerLink link_{submission_, tracking_, outcomes_, 1, true};
  std::vector<std::byte> payload_{8, std::byte{7}};
  std::uint64_t version_ = 0;
};

TEST_F(ProducerLinkTest, PublishesDescriptorAndPlaceWithTheSameWords) {
  SendOptions options;
  options.timeout = std::chrono::milliseconds(70);
  options.max_wait = std::chrono::milliseconds(80);
  options.max_retries = 0;
  options.key = 5;
  options.after_sequence = 3;
  const auto [slot, sequence] = send(options);
  layout::DescriptorCopy descriptor;
  ASSERT_TRUE(layout::descriptor_read(submission_.descriptor(slot), sequence, descriptor));
  EXPECT_EQ(descriptor.timeout_ms, 70U);
  EXPECT_EQ(descriptor.max_wait_ms, 80U);
  EXPECT_EQ(descriptor.retries_after_slot >> 16, 1U) << "0 retries asked for is not the kind's";
  EXPECT_EQ(descriptor.key, 5U);
  EXPECT_EQ(descriptor.after, 3U);
  EXPECT_EQ(layout::flags_of(descriptor.kind_flags),
            layout::kFlagTracked | layout::kFlagInline | layout::kFlagAfter | layout::kFlagKeyed);
  layout::PlaceCopy place;
  ASSERT_TRUE(layout::place_read(submission_.place(sequence), sequence, place));
  EXPECT_EQ(place.slot, slot);
  EXPECT_EQ(place.length, 8U);
  EXPECT_EQ(place.sent_ns, 1'000U);
  EXPECT_EQ(place.kind_flags, descriptor.kind_flags);
  EXPECT_EQ(submission_.place(sequence).inline_words[0].load_relaxed(), 0x0707070707070707U);
  EXPECT_EQ(submission_.words().committed.load_relaxed(), sequence);
}

TEST_F(ProducerLinkTest, RingsASleepingConsumerOncePerGeneration) {
  EXPECT_FALSE(link_.must_ring());
  ack_.words().sleeping.store_release(9);
  EXPECT_TRUE(link_.must_ring());
  EXPECT_FALSE(link_.must_ring());
  ack_.words().sleeping.store_release(10);
  EXPECT_TRUE(link_.must_ring());
  link_.forget_rung();
  EXPECT_TRUE(link_.must_ring());
}

TEST_F(ProducerLinkTest, RingsNobodyWhileALifeIsAnnouncedThatItDoesNotKnow) {
  ack_.words().sleeping.store_release(9);
  tracking_.words().epoch.store_release(2);
  EXPECT_TRUE(link_.awaits_life());
  EXPECT_FALSE(link_.must_ring());
}

TEST_F(ProducerLinkTest, HasWorkExactlyWhenAReapWouldFindSomething) {
  EXPECT_FALSE(link_.has_work());
  const auto [slot, sequence] = send();
  EXPECT_FALSE(link_.has_work());
  answer(1, slot, sequence, layout::pack_answer(AckCode::kSuccess, 0, 1));
  EXPECT_TRUE(link_.has_work());
  EXPECT_EQ(link_.reap(2'000), 1U);
  EXPECT_FALSE(link_.has_work());
  layout::verdict_publish(tracking_.verdict(1), 1, {sequence, slot, VerdictReason::kRetries});
  EXPECT_TRUE(link_.has_work());
  EXPECT_EQ(link_.reap(2'000), 0U) << "it has its outcome";
  EXPECT_FALSE(link_.has_work());
}

TEST_F(ProducerLinkTest, HoldsTheSlotOfASuccessWhileItsEntrySaysExhausting) {
  const auto [slot, sequence] = send();
  entry(slot, sequence, PendingState::kExhausting, VerdictReason::kRetries);
  answer(1, slot, sequence, layout::pack_answer(AckCode::kSuccess, 0, 1));
  EXPECT_EQ(link_.reap(2'000), 1U);
  EXPECT_EQ(outcomes_.take(slot, sequence)->outcome.code, OutcomeCode::kSuccess);
  EXPECT_EQ(link_.in_use(), 1U);
  entry(slot, sequence, PendingState::kFinal, VerdictReason::kRetries);
  link_.reap(2'000);
  EXPECT_EQ(link_.in_use(), 0U);
}

TEST_F(ProducerLinkTest, DoesNotHoldASlotForAnEntryOfAnotherSequence) {
  const auto [slot, sequence] = send();
  entry(slot, sequence + 4, PendingState::kExhausting, VerdictReason::kRetries);
  answer(1, slot, sequence, layout::pack_answer(AckCode::kSuccess, 0, 1));
  link_.reap(2'000);
  EXPECT_EQ(link_.in_use(), 0U);
}

TEST_F(ProducerLinkTest, FreesAVerdictsSlotByTheEpochOnlyBelowTheStartOfTheNewLife) {
  const test::SegmentMemory next_memory(layout::AckGeometry{kSlots}.bytes());
  std::vector<std::pair<std::uint32_t, std::uint64_t>> sent;
  for (std::uint64_t number = 1; number <= 2; ++number) {
    sent.push_back(send());
    entry(sent.back().first, sent.back().second, PendingState::kVerdict, VerdictReason::kRetries);
    layout::verdict_publish(tracking_.verdict(number), number,
                            {sent.back().second, sent.back().first, VerdictReason::kRetries});
  }
  EXPECT_EQ(link_.reap(2'000), 2U);
  EXPECT_EQ(link_.in_use(), 2U);
  tracking_.words().start.store_release(2);
  tracking_.words().epoch.store_release(2);
  link_.add_life({2, 2, layout::AckView(next_memory.base(), {kSlots})});
  link_.reap(2'000);
  EXPECT_EQ(link_.in_use(), 1U) << "the place of sequence 2 is still to be read";
}

TEST_F(ProducerLinkTest, TellsFailedForAnAnswerCodeThatItDoesNotKnow) {
  for (const std::uint32_t code : {0U, 8U, 255U}) {
    const auto [slot, sequence] = send();
    answer(sequence, slot, sequence, code);
    link_.reap(2'000);
    EXPECT_EQ(outcomes_.take(slot, sequence)->outcome.code, OutcomeCode::kFailed) << code;
  }
}

TEST_F(ProducerLinkTest, KeepsLatencyWithinWhatCanBeTrue) {
  const auto [slot, sequence] = send();
  const std::uint32_t code = layout::pack_answer(AckCode::kSuccess, 0, 1);
  layout::ack_place_publish(ack_.place(1), 1, {sequence, UINT64_MAX, slot, code});
  link_.reap(2'000);
  EXPECT_EQ(outcomes_.take(slot, sequence)->outcome.latency_ns, 1'000U);
  const auto [second_slot, second] = send();
  layout::ack_place_publish(ack_.place(2), 2, {second, 0, second_slot, code});
  link_.reap(2'000);
  EXPECT_EQ(outcomes_.take(second_slot, second)->outcome.latency_ns, 0U);
}

TEST_F(ProducerLinkTest, StoresTheOutcomeInTheDescriptorForTheDaemon) {
  const auto [slot, sequence] = send();
  answer(1, slot, sequence, layout::pack_answer(AckCode::kPartialSuccess, 0, 1));
  link_.reap(2'000);
  const std::uint64_t word = submission_.descriptor(slot).outcome.load_acquire();
  EXPECT_EQ(layout::outcome_sequence(word), sequence);
  EXPECT_EQ(layout::outcome_code(word), static_cast<std::uint8_t>(OutcomeCode::kPartialSuccess));
}

TEST_F(ProducerLinkTest, ClosesEverythingPendingOnceAndGrantsNoMoreClaims) {
  const auto [slot, sequence] = send();
  link_.close_all(OutcomeReason::kUnknown, 3'000);
  link_.close_all(OutcomeReason::kUnknown, 3'000);
  EXPECT_EQ(outcomes_.take(slot, sequence)->outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(link_.pending_count(), 0U);
  EXPECT_FALSE(link_.claim());
}

TEST_F(ProducerLinkTest, DrainsTheSlotsThatHoldArenaOnceWhenTheyCameFree) {
  const auto [slot, sequence] = send({}, true);
  const auto [inlined_slot, inlined] = send();
  answer(1, slot, sequence, layout::pack_answer(AckCode::kSuccess, 0, 1));
  answer(2, inlined_slot, inlined, layout::pack_answer(AckCode::kSuccess, 0, 1));
  link_.reap(2'000);
  EXPECT_EQ(link_.in_use(), 0U);
  std::vector<std::uint32_t> freed;
  link_.drain_freed([&](std::uint32_t one) { freed.push_back(one); });
  link_.drain_freed([&](std::uint32_t one) { freed.push_back(one); });
  EXPECT_EQ(freed, std::vector<std::uint32_t>{slot});
}

}  // namespace
}  // namespace ackbus
