// The seqlocks of the shared records: what is published is read back, what is half written or of
// another number is not, and under a rewriting thread no reader ever sees a mixture.
#include "shm_layout/records.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace ackbus::layout {
namespace {

template <typename T>
std::unique_ptr<T> zeroed() {
  return std::make_unique<T>();
}

TEST(PlaceRecord, IsReadOnlyUnderItsNumber) {
  const auto place = zeroed<Place>();
  PlaceCopy copy;
  EXPECT_FALSE(place_read(*place, 1, copy));
  place_publish(*place, {5, 64, 1'000, 3, pack_kind(4, kFlagTracked)});
  EXPECT_FALSE(place_read(*place, 1, copy));
  ASSERT_TRUE(place_read(*place, 5, copy));
  EXPECT_EQ(copy.length, 64U);
  EXPECT_EQ(copy.sent_ns, 1'000U);
  EXPECT_EQ(copy.slot, 3U);
  EXPECT_EQ(kind_of(copy.kind_flags), 4U);
  EXPECT_EQ(flags_of(copy.kind_flags), kFlagTracked);
  place_begin(*place);
  EXPECT_FALSE(place_read(*place, 5, copy));
}

TEST(DescriptorRecord, GivesAnySequenceWhenNoneIsExpected) {
  const auto descriptor = zeroed<Descriptor>();
  DescriptorCopy copy;
  EXPECT_FALSE(descriptor_read(*descriptor, 0, copy)) << "number 0 is never valid";
  DescriptorCopy made;
  made.number = 9;
  made.id[1] = 77;
  made.offset = 128;
  made.after = 8;
  made.retries_after_slot = 3U << 16 | 2U;
  descriptor_publish(*descriptor, made);
  EXPECT_FALSE(descriptor_read(*descriptor, 8, copy));
  ASSERT_TRUE(descriptor_read(*descriptor, 0, copy));
  EXPECT_EQ(copy.number, 9U);
  EXPECT_EQ(copy.id[1], 77U);
  EXPECT_EQ(copy.offset, 128U);
  EXPECT_EQ(copy.after, 8U);
  EXPECT_EQ(copy.retries_after_slot, 3U << 16 | 2U);
  descriptor_begin(*descriptor);
  EXPECT_FALSE(descriptor_read(*descriptor, 0, copy));
}

TEST(BegunRecord, IsRaisedOnlyForItsOwnSequenceAndUpwards) {
  const auto record = zeroed<AckRecord>();
  EXPECT_EQ(begun_read(*record).sequence, 0U);
  begun_publish(*record, {7, 100, 2});
  EXPECT_EQ(begun_read(*record).attempt, 2U);
  raised_publish(*record, {6, 300, 9});
  EXPECT_EQ(begun_read(*record).attempt, 2U) << "of an older sequence";
  raised_publish(*record, {7, 400, 1});
  EXPECT_EQ(begun_read(*record).attempt, 2U) << "an attempt never falls";
  raised_publish(*record, {7, 500, 3});
  EXPECT_EQ(begun_read(*record).attempt, 3U);
  EXPECT_EQ(begun_read(*record).begun_ns, 500U);
  raised_publish(*record, {7, 500, 4});
  EXPECT_EQ(begun_read(*record).begun_ns, 501U)
      << "a rewrite's time rises, or it is not told apart";
}

TEST(AnswerRecord, IsReadOnlyForTheSequenceThatItAnswers) {
  const auto record = zeroed<AckRecord>();
  AnswerCopy copy;
  EXPECT_FALSE(answer_read(*record, 3, copy));
  answer_publish(*record, {3, 900, pack_answer(AckCode::kFailed, kAckHasText, 2), 2, 5});
  EXPECT_FALSE(answer_read(*record, 4, copy));
  ASSERT_TRUE(answer_read(*record, 3, copy));
  EXPECT_EQ(answer_code(copy.code_flags), AckCode::kFailed);
  EXPECT_EQ(answer_flags(copy.code_flags), kAckHasText);
  EXPECT_EQ(answer_attempt(copy.code_flags), 2U);
  EXPECT_EQ(copy.text_lengths, 5U);
  answer_begin(*record);
  EXPECT_FALSE(answer_read(*record, 3, copy));
}

TEST(AnswerWord, CapsTheAttemptInsteadOfSpillingIt) {
  EXPECT_EQ(answer_attempt(pack_answer(AckCode::kSuccess, 0, 65'535)), 65'535U);
  EXPECT_EQ(answer_attempt(pack_answer(AckCode::kSuccess, 0, 65'536)), 65'535U);
  EXPECT_EQ(answer_code(pack_answer(AckCode::kSuccess, 0xffff, UINT32_MAX)), AckCode::kSuccess);
}

TEST(OutcomeWord, KeepsSequenceAndCodeApart) {
  const std::uint64_t word = pack_outcome(kSequenceMax, 0xff);
  EXPECT_EQ(outcome_sequence(word), kSequenceMax);
  EXPECT_EQ(outcome_code(word), 0xffU);
}

TEST(MarkRecord, HoldsWhatSpokeLast) {
  const auto record = zeroed<AckRecord>();
  MarkCopy copy;
  EXPECT_FALSE(mark_read(*record, 0, copy)) << "zeroed memory holds no mark";
  mark_publish(*record, {4, 10, MarkKind::kProgress, 2, 0});
  mark_publish(*record, {4, 20, MarkKind::kGivenBack, 1, 30});
  ASSERT_TRUE(mark_read(*record, 4, copy));
  EXPECT_EQ(copy.kind, MarkKind::kGivenBack);
  EXPECT_EQ(copy.delay_ms, 30U);
  EXPECT_FALSE(mark_read(*record, 5, copy));
}

TEST(PendingRecord, GivesTheNewerWholeCopy) {
  const auto entry = zeroed<PendingEntry>();
  EXPECT_EQ(pending_read(*entry).state, PendingState::kReserved);
  PendingCopyValue value;
  for (std::uint64_t version = 1; version <= 5; ++version) {
    value.version = version;
    value.sequence = 3;
    value.attempt = static_cast<std::uint32_t>(version);
    value.state = PendingState::kQueued;
    value.reason = VerdictReason::kPoison;
    value.deaths = 2;
    value.sole_deaths = 1;
    pending_publish(entry->copies[version & 1U], value);
    EXPECT_EQ(pending_read(*entry).attempt, version);
  }
  EXPECT_EQ(pending_read(*entry).deaths, 2U);
  EXPECT_EQ(pending_read(*entry).sole_deaths, 1U);
  EXPECT_EQ(pending_read(*entry).reason, VerdictReason::kPoison);
  entry->copies[1].version.store_relaxed(0);  // The daemon died while it rewrote copy 1.
  EXPECT_EQ(pending_read(*entry).attempt, 4U);
}

TEST(RingRecords, AnnounceThemselvesByTheirNumber) {
  const auto ack = zeroed<AckPlace>();
  AckPlaceCopy ack_copy;
  EXPECT_FALSE(ack_place_read(*ack, 1, ack_copy));
  ack_place_publish(*ack, 1, {8, 70, 2, 1});
  ASSERT_TRUE(ack_place_read(*ack, 1, ack_copy));
  EXPECT_EQ(ack_copy.sequence, 8U);
  EXPECT_EQ(ack_copy.slot, 2U);
  const auto redelivery = zeroed<RedeliveryPlace>();
  RedeliveryCopy redelivery_copy;
  redelivery_publish(*redelivery, 6, {8, 2, 3, kRedeliverAlone});
  EXPECT_FALSE(redelivery_read(*redelivery, 2, redelivery_copy));
  ASSERT_TRUE(redelivery_read(*redelivery, 6, redelivery_copy));
  EXPECT_EQ(redelivery_copy.attempt, 3U);
  EXPECT_EQ(redelivery_copy.flags, kRedeliverAlone);
  const auto verdict = zeroed<VerdictPlace>();
  VerdictCopy verdict_copy;
  verdict_publish(*verdict, 4, {8, 2, VerdictReason::kClosedBus});
  ASSERT_TRUE(verdict_read(*verdict, 4, verdict_copy));
  EXPECT_EQ(verdict_copy.reason, VerdictReason::kClosedBus);
}

// Fields that all say the same number: a mixture of two writes would show.
TEST(Seqlocks, NeverGiveAMixtureWhileAThreadRewrites) {
  const auto descriptor = zeroed<Descriptor>();
  const auto entry = zeroed<PendingEntry>();
  constexpr std::uint64_t kWrites = 200'000;
  std::thread writer([&] {
    for (std::uint64_t number = 1; number <= kWrites; ++number) {
      DescriptorCopy copy;
      copy.number = number;
      copy.id[0] = copy.id[1] = copy.length = copy.offset = copy.sent_ns = copy.key = copy.after =
          number;
      copy.kind_flags = copy.timeout_ms = static_cast<std::uint32_t>(number);
      descriptor_begin(*descriptor);
      descriptor_publish(*descriptor, copy);
      PendingCopyValue value;
      value.version = value.sequence = value.due_ns = value.epoch = number;
      value.attempt = value.retries = static_cast<std::uint32_t>(number);
      pending_publish(entry->copies[number & 1U], value);
    }
  });
  std::uint64_t seen = 0;
  std::uint64_t newest = 0;
  for (bool done = false; !done;) {
    DescriptorCopy copy;
    if (descriptor_read(*descriptor, 0, copy)) {
      seen += 1;
      done = copy.number == kWrites;
      ASSERT_TRUE(copy.id[0] == copy.number && copy.id[1] == copy.number &&
                  copy.after == copy.number && copy.sent_ns == copy.number &&
                  copy.timeout_ms == copy.number)
          << copy.number;
    }
    const PendingCopyValue value = pending_read(*entry);
    ASSERT_TRUE(value.version == 0 ||
                (value.sequence == value.version && value.epoch == value.version &&
                 value.retries == value.version));
    ASSERT_GE(value.version, newest) << "an entry never goes back";
    newest = value.version;
  }
  writer.join();
  EXPECT_GT(seen, 0U);
}

}  // namespace
}  // namespace ackbus::layout
