// The tracker's own decisions: scan, deadlines, retries, limits, figures, recovery of its rings.
// Whole scenarios with both clients are in tests/link.
#include "daemon/tracker.hpp"

#include <gtest/gtest.h>

#include "tests/unit/daemon/tracker_fixture.hpp"

namespace ackbus::daemon {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

TEST_F(TrackerTest, LooksAtNothingWhileNothingMovedAndNothingIsPending) {
  EXPECT_EQ(tracker_->scan(now_ns_), kSlots) << "a new daemon looks at everything once";
  EXPECT_EQ(tracker_->scan(now_ns_), 0U);
  commit(0, 1);
  EXPECT_EQ(tracker_->scan(now_ns_), kSlots);
  EXPECT_EQ(tracker_->scan(now_ns_), kSlots) << "one is pending";
  EXPECT_EQ(tracker_->pending_seen(), 1U);
  EXPECT_EQ(tracker_->oldest_sent_ns(), now_ns_);
  answer(0, 1, AckCode::kSuccess);
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->pending_seen(), 0U);
  EXPECT_EQ(tracker_->scan(now_ns_), 0U);
  tracker_->scan_soon();
  EXPECT_EQ(tracker_->scan(now_ns_), kSlots);
}

TEST_F(TrackerTest, ScansAtLeastAsOftenAsTheShortestTimeoutAndNeverMoreThanEvery5Ms) {
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->next_scan_ns(), now_ns_ + 100 * kMs);
  rules_.min_timeout_ms = 8;
  tracker_->set_rules(rules_);
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->next_scan_ns(), now_ns_ + 8 * kMs);
  rules_.min_timeout_ms = 1;
  tracker_->set_rules(rules_);
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->next_scan_ns(), now_ns_ + 5 * kMs);
}

TEST_F(TrackerTest, ArmsTheDeadlineOfWhatIsBegun) {
  commit(0, 1);
  begin(0, 1);
  now_ns_ += 30 * kMs;
  tracker_->scan(now_ns_);
  EXPECT_EQ(host_.deadlines[0], 1'100 * kMs);
}

TEST_F(TrackerTest, IgnoresADescriptorThatNoPlaceCommits) {
  commit(0, 1, false);
  submission_.place(1).number.store_release(0);
  now_ns_ += 5'000 * kMs;
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->pending_seen(), 0U);
  EXPECT_EQ(entry(0).state, PendingState::kReserved);
  EXPECT_TRUE(tracker_->all_final());
}

TEST_F(TrackerTest, TakesAMessageAsCommittedWhenItsLifeHasReadItOrTheRingWentOn) {
  commit(0, 1);
  submission_.place(1).number.store_release(0);  // being rewritten for sequence 5
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->pending_seen(), 1U);
  ack_.words().cursor.store_release(1);
  submission_.place(1).number.store_release(5);
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->pending_seen(), 1U);
}

TEST_F(TrackerTest, PublishesTheRedeliveryPlaceBeforeTheEntrySaysQueued) {
  commit(0, 1);
  begin(0, 1);
  expire_after(100 * kMs, 0);
  ASSERT_EQ(entry(0).state, PendingState::kWaiting);
  layout::RedeliveryCopy place;
  EXPECT_FALSE(layout::redelivery_read(tracking_.redelivery(1), 1, place));
  expire_after(100 * kMs, 0);
  ASSERT_TRUE(layout::redelivery_read(tracking_.redelivery(1), 1, place));
  EXPECT_EQ(place.sequence, 1U);
  EXPECT_EQ(place.attempt, 2U);
  EXPECT_EQ(place.flags, layout::kRedeliverMayHaveRun);
  EXPECT_EQ(entry(0).state, PendingState::kQueued);
  EXPECT_EQ(host_.consumer_rings, 2) << "recover() and the place";
}

TEST_F(TrackerTest, PutsThePlaceAgainWhenADaemonDiedBeforeQueued) {
  commit(0, 1);
  begin(0, 1);
  expire_after(100 * kMs, 0);
  layout::redelivery_publish(tracking_.redelivery(1), 1, {1, 0, 2, 1});
  LinkTracker next(host_, submission_, tracking_, rules_);
  next.recover();
  next.set_life(ack_, 1, 1);
  EXPECT_EQ(next.redelivery_end(), 2U);
  now_ns_ += 100 * kMs;
  next.scan(now_ns_);
  EXPECT_EQ(next.redelivery_end(), 3U);
  EXPECT_EQ(entry(0).state, PendingState::kQueued);
}

TEST_F(TrackerTest, PutsNoPlaceForAnAttemptThatHasBegun) {
  commit(0, 1);
  begin(0, 1);
  expire_after(100 * kMs, 0);
  begin(0, 1, 2);
  LinkTracker next(host_, submission_, tracking_, rules_);
  next.recover();
  next.set_life(ack_, 1, 1);
  next.scan(now_ns_);
  EXPECT_EQ(entry(0).state, PendingState::kQueued);
  EXPECT_EQ(next.redelivery_end(), 1U);
  EXPECT_EQ(host_.deadlines[0], now_ns_ + 100 * kMs);
}

TEST_F(TrackerTest, OverwritesAPlaceThatADaemonLeftHalfWritten) {
  layout::redelivery_publish(tracking_.redelivery(1), 1, {1, 0, 2, 0});
  layout::redelivery_publish(tracking_.redelivery(2), 2, {1, 0, 2, 0});
  tracking_.redelivery(2).number.store_release(0);
  layout::verdict_publish(tracking_.verdict(7), 7, {1, 0, VerdictReason::kRetries});
  LinkTracker next(host_, submission_, tracking_, rules_);
  next.recover();
  EXPECT_EQ(next.redelivery_end(), 2U);
}

TEST_F(TrackerTest, RewritesTheOlderCopyOfAnEntry) {
  commit(0, 1);
  begin(0, 1);
  expire_after(100 * kMs, 0);
  const std::uint64_t first = entry(0).version;
  expire_after(100 * kMs, 0);
  EXPECT_EQ(entry(0).version, first + 1);
  const layout::PendingEntry& stored = tracking_.entry(0);
  EXPECT_EQ(stored.copies[first & 1U].version.load_relaxed(), first) << "the one before is whole";
}

TEST_F(TrackerTest, ClampsHostileTimesAndRetries) {
  commit(0, 1);
  submission_.descriptor(0).timeout_ms.store_relaxed(UINT32_MAX);
  submission_.descriptor(0).retries_after_slot.store_relaxed(UINT32_MAX);
  submission_.descriptor(0).sent_ns.store_relaxed(UINT64_MAX);
  layout::begun_publish(ack_.record(0), {1, now_ns_, UINT32_MAX});
  tracker_->scan(now_ns_);
  EXPECT_EQ(host_.deadlines[0], now_ns_ + layout::kTimeoutMaxMs * kMs);
  EXPECT_LE(tracker_->oldest_sent_ns(), now_ns_);
  expire_after(layout::kTimeoutMaxMs * kMs, 0);
  EXPECT_EQ(entry(0).state, PendingState::kWaiting);
}

TEST_F(TrackerTest, TakesKindsBeyondTheTableWithoutLeavingIt) {
  commit(0, 1);
  submission_.descriptor(0).kind_flags.store_relaxed(
      layout::pack_kind(0xffff, layout::kFlagTracked));
  begin(0, 1);
  expire_after(100 * kMs, 0);
  EXPECT_EQ(entry(0).state, PendingState::kWaiting);
}

TEST_F(TrackerTest, HasAnArmedDeadlineForWhateverIsOpen) {
  commit(0, 1, false);
  tracker_->scan(now_ns_);
  EXPECT_EQ(host_.deadlines[0], now_ns_ + 1'000 * kMs) << "max_wait";
  ack_.words().cursor.store_release(2);
  begin(0, 1);
  tracker_->scan(now_ns_);
  EXPECT_EQ(host_.deadlines[0], now_ns_ + 100 * kMs) << "timeout";
  expire_after(100 * kMs, 0);
  EXPECT_EQ(host_.deadlines[0], now_ns_ + 100 * kMs) << "delay";
}

TEST_F(TrackerTest, GivesASlotsViewWithItsAnswer) {
  EXPECT_FALSE(tracker_->look(0));
  commit(0, 1);
  begin(0, 1);
  answer(0, 1, AckCode::kFailed);
  take_outcome(0, 1, 3);
  const auto view = tracker_->look(0);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->committed);
  EXPECT_TRUE(view->acked);
  EXPECT_EQ(layout::answer_code(view->answer.code_flags), AckCode::kFailed);
  EXPECT_EQ(view->begun.attempt, 1U);
  EXPECT_EQ(layout::outcome_code(view->outcome), 3U);
  EXPECT_EQ(view->entry.attempt, 1U);
}

TEST_F(TrackerTest, IsFinalOnlyWhenEveryCommittedMessageIs) {
  EXPECT_TRUE(tracker_->all_final());
  commit(0, 1);
  EXPECT_FALSE(tracker_->all_final());
  commit(1, 2, true, false);
  answer(0, 1, AckCode::kSuccess);
  EXPECT_FALSE(tracker_->all_final()) << "an untracked one is delivered too";
  answer(1, 2, AckCode::kSuccess);
  EXPECT_TRUE(tracker_->all_final());
}

}  // namespace
}  // namespace ackbus::daemon
