// Figures: sums over hostile counters and slots, in fake segments.
#include "daemon/bus_figures.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>

#include "daemon/second_window.hpp"
#include "tests/unit/daemon/fake_link.hpp"

namespace ackbus::daemon {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

constexpr std::uint16_t kKind = 4;
constexpr std::uint64_t kMaximum = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kSecondNs = 1'000'000'000;

TEST(BusFigures, AProducersCountersAreCopiedFieldByField) {
  FakeLink link;
  layout::ProducerCounters& counters = link.submission.counters(kKind);
  counters.sent.store_relaxed(100);
  counters.success.store_relaxed(1);
  counters.partial_success.store_relaxed(2);
  counters.failed.store_relaxed(3);
  counters.exhausted.store_relaxed(4);
  counters.superseded.store_relaxed(5);
  counters.cancelled.store_relaxed(6);
  counters.closed.store_relaxed(7);
  counters.posted.store_relaxed(8);
  const EndedTotals totals = read_producer(link.submission, kKind);
  EXPECT_EQ(totals.sent, 100U);
  EXPECT_EQ(totals.success, 1U);
  EXPECT_EQ(totals.partial_success, 2U);
  EXPECT_EQ(totals.failed, 3U);
  EXPECT_EQ(totals.exhausted, 4U);
  EXPECT_EQ(totals.superseded, 5U);
  EXPECT_EQ(totals.cancelled, 6U);
  EXPECT_EQ(totals.closed, 7U);
  EXPECT_EQ(totals.posted, 8U);
  EXPECT_EQ(settled_count(totals), 28U);
  EXPECT_EQ(pending_count(totals), 72U);
  EXPECT_EQ(read_producer(link.submission, kKind + 1).sent, 0U);
}

TEST(BusFigures, AConsumersCountersAreCopiedFieldByField) {
  FakeLink link;
  layout::ConsumerCounters& counters = link.life.counters(kKind);
  counters.begun.store_relaxed(1);
  counters.success.store_relaxed(2);
  counters.partial_success.store_relaxed(3);
  counters.failed.store_relaxed(4);
  counters.skipped.store_relaxed(5);
  counters.retrying.store_relaxed(6);
  counters.given_back.store_relaxed(7);
  counters.redelivered.store_relaxed(8);
  counters.duplicates.store_relaxed(9);
  counters.stale.store_relaxed(10);
  counters.text_cut.store_relaxed(11);
  counters.untracked.store_relaxed(12);
  counters.latency_sum_ns.store_relaxed(13);
  counters.latency[23].store_relaxed(14);
  const EndedTotals totals = read_consumer(link.life)[kKind];
  EXPECT_EQ(totals.begun, 1U);
  EXPECT_EQ(totals.acked_success, 2U);
  EXPECT_EQ(totals.acked_partial_success, 3U);
  EXPECT_EQ(totals.acked_failed, 4U);
  EXPECT_EQ(totals.skipped, 5U);
  EXPECT_EQ(totals.retrying, 6U);
  EXPECT_EQ(totals.given_back, 7U);
  EXPECT_EQ(totals.redelivered, 8U);
  EXPECT_EQ(totals.duplicates, 9U);
  EXPECT_EQ(totals.stale, 10U);
  EXPECT_EQ(totals.text_cut, 11U);
  EXPECT_EQ(totals.untracked, 12U);
  EXPECT_EQ(totals.latency_sum_ns, 13U);
  EXPECT_EQ(totals.latency[23], 14U);
  EXPECT_EQ(totals.sent, 0U) << "a consumer counts no outcomes";
}

TEST(BusFigures, SumsStayAtTheGreatestValue) {
  EXPECT_EQ(saturating_add(kMaximum, 1), kMaximum);
  EXPECT_EQ(saturating_add(kMaximum - 1, 1), kMaximum);
  EXPECT_EQ(saturating_add(1, 2), 3U);
  EndedTotals sum{};
  sum.sent = kMaximum - 1;
  sum.latency[0] = 5;
  EndedTotals more{};
  more.sent = 7;
  more.latency[0] = 6;
  add_totals(sum, more);
  EXPECT_EQ(sum.sent, kMaximum);
  EXPECT_EQ(sum.latency[0], 11U);
}

TEST(BusFigures, CountersThatCannotBeTrueAreBounded) {
  FakeLink link;
  std::memset(static_cast<void*>(&link.submission.counters(kKind)), 0xff,
              sizeof(layout::ProducerCounters));
  std::memset(static_cast<void*>(&link.life.counters(kKind)), 0xff,
              sizeof(layout::ConsumerCounters));
  const EndedTotals totals = read_link(link.memory())[kKind];
  EXPECT_EQ(totals.success, layout::kSequenceMax);
  EXPECT_EQ(totals.sent, settled_count(totals)) << "sent is never less than what ended";
  EXPECT_EQ(pending_count(totals), 0U);
  EXPECT_EQ(read_consumer(link.life)[kKind].begun, layout::kSequenceMax);
}

TEST(BusFigures, MoreOutcomesThanMessagesLeaveNothingPending) {
  EndedTotals totals{};
  totals.sent = 3;
  totals.success = 5;
  EXPECT_EQ(pending_count(totals), 0U);
}

TEST(BusFigures, OnlyExhaustedVerdictsCountAsDeadLettered) {
  OwnTotals own{};
  for (std::uint64_t& count : own.dead) {
    count = 1;
  }
  EXPECT_EQ(dead_lettered_count(own), 4U);
  own.retries_timeout = 1;
  own.retries_given_back = 2;
  own.retries_death = 4;
  EXPECT_EQ(retry_count(own), 7U);
}

TEST(BusFigures, ALivingProducerCountsItsOutcomesItself) {
  FakeLink link;
  link.submission.counters(kKind).sent.store_relaxed(1);
  link.commit(0, kKind, 10);
  FakeLink::answer(link.life, 0, AckCode::kSuccess);
  const EndedTotals totals = read_link(link.memory(false))[kKind];
  EXPECT_EQ(totals.success, 0U);
  EXPECT_EQ(pending_count(totals), 1U);
}

TEST(BusFigures, WhatEndsAfterItsProducerIsCountedFromTheSlots) {
  FakeLink link;
  link.submission.counters(kKind).sent.store_relaxed(8);
  link.submission.counters(kKind).success.store_relaxed(1);
  for (std::uint32_t slot = 0; slot < kFakeSlots; ++slot) {
    link.commit(slot, kKind, 10);
  }
  link.take(0, Ending::kSuccess);  // Counted by its producer.
  FakeLink::answer(link.life, 0, AckCode::kSuccess);
  FakeLink::answer(link.life, 1, AckCode::kPartialSuccess);
  FakeLink::answer(link.life, 2, AckCode::kFailed);
  FakeLink::answer(link.life, 3, AckCode::kSkippedSuperseded);
  FakeLink::answer(link.ended_life, 4, AckCode::kSkippedCancelledMayHaveRun);
  link.decide(5, PendingState::kVerdict, VerdictReason::kRetries);
  FakeLink::answer(link.life, 6, AckCode::kSkippedVerdict);
  link.decide(6, PendingState::kVerdict, VerdictReason::kClosedQueue);
  const EndedTotals totals = read_link(link.memory(true))[kKind];
  EXPECT_EQ(totals.success, 1U);
  EXPECT_EQ(totals.partial_success, 1U);
  EXPECT_EQ(totals.failed, 1U);
  EXPECT_EQ(totals.superseded, 1U);
  EXPECT_EQ(totals.cancelled, 1U);
  EXPECT_EQ(totals.exhausted, 1U);
  EXPECT_EQ(totals.closed, 1U);
  EXPECT_EQ(pending_count(totals), 1U) << "slot 7 waits for its consumer";
  const EndedTotals ended = read_ended_link(link.memory(true))[kKind];
  EXPECT_EQ(ended.closed, 2U);
  EXPECT_EQ(pending_count(ended), 0U);
}

TEST(BusFigures, UntrackedMessagesHaveNoOutcome) {
  FakeLink link;
  link.submission.counters(kKind).posted.store_relaxed(1);
  link.commit(0, kKind, 10, 0);
  FakeLink::answer(link.life, 0, AckCode::kSuccess);
  const EndedTotals totals = read_ended_link(link.memory(true))[kKind];
  EXPECT_EQ(settled_count(totals), 0U);
  EXPECT_EQ(totals.posted, 1U);
}

TEST(BusFigures, AnOutcomeWordOfAnotherSequenceIsNotTaken) {
  FakeLink link;
  link.commit(0, kKind, 10);
  link.submission.descriptor(0).outcome.store_relaxed(layout::pack_outcome(77, 1));
  LinkMemory memory = link.memory();
  EXPECT_EQ(ending_taken(*memory.tracker->look(0)), Ending::kReserved);
  link.submission.descriptor(0).outcome.store_relaxed(layout::pack_outcome(1, 200));
  EXPECT_EQ(ending_taken(*memory.tracker->look(0)), Ending::kReserved) << "200 is no outcome";
  link.take(0, Ending::kClosed);
  EXPECT_EQ(ending_taken(*memory.tracker->look(0)), Ending::kClosed);
}

// ---- slots ----

SlotCounts count(FakeLink& link, std::uint64_t now_ns, bool consumer_runs = true,
                 bool producer_gone = false) {
  return count_slots(link.memory(producer_gone), link.rules, consumer_runs, now_ns);
}

TEST(SlotCounts, AnEmptyLinkHasAllItsSlotsFree) {
  FakeLink link;
  const SlotCounts counts = count(link, 100);
  EXPECT_EQ(counts.free, kFakeSlots);
  EXPECT_EQ(counts.pending, 0U);
  EXPECT_EQ(counts.oldest_sent_ns, 0U);
  EXPECT_FALSE(counts.stall);
}

TEST(SlotCounts, PendingFreeAndOldestFollowTheSlots) {
  FakeLink link;
  link.commit(0, kKind, 30);
  link.commit(1, kKind, 20);
  link.commit(2, kKind, 10);
  link.take(2, Ending::kSuccess);
  link.commit(3, kKind, 5, 0);  // Untracked: holds its slot, is not pending.
  link.commit(4, kKind, 5, 0);
  FakeLink::answer(link.life, 4, AckCode::kSuccess);  // Untracked and finished: free.
  const SlotCounts counts = count(link, 100);
  EXPECT_EQ(counts.pending, 2U);
  EXPECT_EQ(counts.free, kFakeSlots - 3);
  EXPECT_EQ(counts.oldest_sent_ns, 20U);
}

TEST(SlotCounts, ASettledMessageOfAGoneProducerHoldsNothing) {
  FakeLink link;
  link.commit(0, kKind, 30);
  FakeLink::answer(link.life, 0, AckCode::kSuccess);
  EXPECT_EQ(count(link, 100, true, false).pending, 1U) << "its producer has not taken it yet";
  EXPECT_EQ(count(link, 100, true, true).pending, 0U);
}

TEST(SlotCounts, ATimeOfCommitInTheFutureIsTakenAsNow) {
  FakeLink link;
  link.commit(0, kKind, kMaximum);
  EXPECT_EQ(count(link, 100).oldest_sent_ns, 100U);
}

TEST(SlotCounts, BegunMeansBegunAndUnanswered) {
  FakeLink link;
  for (std::uint32_t slot = 0; slot < 4; ++slot) {
    link.commit(slot, kKind, 1);
  }
  link.begin(0, 5);
  link.begin(1, 5);
  FakeLink::answer(link.life, 1, AckCode::kSuccess);
  link.begin(2, 5);
  layout::mark_publish(link.life.record(2), {3, 6, layout::MarkKind::kGivenBack, 1, 0});
  EXPECT_EQ(count(link, 100).begun, 1U);
  EXPECT_EQ(count(link, 100, false).begun, 0U) << "nobody runs it after the consumer's death";
}

TEST(SlotCounts, SilenceForTwiceTheTimeoutIsAStall) {
  FakeLink link;
  link.rules.kinds[kKind].timeout_ms = 1000;
  link.commit(0, kKind, 1);
  link.begin(0, kSecondNs);
  EXPECT_FALSE(count(link, 3 * kSecondNs).stall);
  const SlotCounts counts = count(link, 3 * kSecondNs + 2);
  ASSERT_TRUE(counts.stall);
  EXPECT_EQ(counts.stall->age_ns, 2 * kSecondNs + 2);
  LetterId id{};
  id[0] = 1;
  id[8] = 1;
  EXPECT_EQ(counts.stall->id, id);
}

TEST(SlotCounts, ProgressIsASignOfLife) {
  FakeLink link;
  link.rules.kinds[kKind].timeout_ms = 1000;
  link.commit(0, kKind, 1);
  link.begin(0, kSecondNs);
  layout::mark_publish(link.life.record(0), {1, 3 * kSecondNs, layout::MarkKind::kProgress, 1, 0});
  EXPECT_FALSE(count(link, 5 * kSecondNs).stall);
  EXPECT_TRUE(count(link, 5 * kSecondNs + 2).stall);
}

TEST(SlotCounts, TheLongestSilenceIsTheStall) {
  FakeLink link;
  link.commit(0, kKind, 1);
  link.commit(1, kKind, 1);
  link.begin(0, 3 * kSecondNs);
  link.begin(1, 2 * kSecondNs);
  const SlotCounts counts = count(link, 60 * kSecondNs);
  ASSERT_TRUE(counts.stall);
  EXPECT_EQ(counts.stall->id[0], 2);
  EXPECT_EQ(counts.begun, 2U);
}

// Whatever lies in the segments, figures come back and stay within what a link can hold.
TEST(SlotCounts, RandomMemoryNeverBreaksAnything) {
  const std::uint32_t seed = std::random_device{}();
  RecordProperty("seed", static_cast<int>(seed));
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    FakeLink link;
    const auto scribble = [&](std::byte* memory, std::uint64_t bytes) {
      for (std::uint64_t at = 0; at < bytes; at += 8) {
        const std::uint64_t word = random() % 4 == 0 ? random() : random() % 9;
        std::memcpy(memory + at, &word, sizeof word);
      }
    };
    scribble(link.submission_memory.get(), link.submission_geometry.bytes());
    scribble(link.ack_memory.get(), link.ack_geometry.bytes());
    scribble(link.ended_memory.get(), link.ack_geometry.bytes());
    const LinkMemory memory = link.memory(round % 2 == 0);
    const SlotCounts counts = count_slots(memory, link.rules, true, random());
    EXPECT_LE(counts.pending + counts.free, kFakeSlots);
    EXPECT_LE(counts.begun, kFakeSlots);
    for (const EndedTotals& totals : read_ended_link(memory)) {
      EXPECT_EQ(totals.sent, settled_count(totals));
    }
  }
}

// ---- the limit a second ----

TEST(SecondWindow, GrantsNoMoreThanTheLimitWithinASecond) {
  SecondWindow window;
  EXPECT_EQ(window.take(60, 100, 5), 60U);
  EXPECT_EQ(window.take(60, 100, 6), 40U);
  EXPECT_EQ(window.take(1, 100, kSecondNs + 4), 0U);
  EXPECT_EQ(window.take(1000, 100, kSecondNs + 5), 100U);
}

}  // namespace
}  // namespace ackbus::daemon
