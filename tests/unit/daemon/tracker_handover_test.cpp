// A hand-over step by step: what each step stores, and that doing it twice stores the same.
#include <gtest/gtest.h>

#include "tests/unit/daemon/tracker_fixture.hpp"

namespace ackbus::daemon {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

class TrackerHandOverTest : public TrackerTest {
 protected:
  void end_and_settle() {
    tracker_->end_life();
    start_ = tracker_->hand_over_start(1);
    plan_.new_epoch = 2;
    plan_.sole_begun = tracker_->begun_count() == 1;
    tracker_->settle_ended_life(plan_, start_, fresh_);
  }
  test::SegmentMemory fresh_memory_{layout::AckGeometry{kSlots}.bytes()};
  layout::AckView fresh_{fresh_memory_.base(), {kSlots}};
  HandOver plan_;
  std::uint64_t start_ = 0;
};

TEST_F(TrackerHandOverTest, MakesWhatWasAnsweredFinal) {
  commit(0, 1);
  begin(0, 1);
  answer(0, 1, AckCode::kFailed);
  end_and_settle();
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
  tracker_->redeliver(plan_, start_, now_ns_);
  EXPECT_EQ(tracker_->redelivery_end(), 1U);
}

TEST_F(TrackerHandOverTest, CountsWhatIsBegunAndNeitherAnsweredNorGivenBack) {
  commit(0, 1);
  commit(1, 2);
  commit(2, 3);
  commit(3, 4);
  begin(0, 1);
  begin(1, 2);
  begin(2, 3);
  answer(1, 2, AckCode::kSuccess);
  layout::mark_publish(ack_.record(2), {3, now_ns_, layout::MarkKind::kGivenBack, 1, 0});
  EXPECT_EQ(tracker_->begun_count(), 1U);
}

TEST_F(TrackerHandOverTest, StoresStartBesideTheEpoch) {
  commit(0, 1);
  commit(1, 2, false);
  begin(0, 1);
  end_and_settle();
  tracker_->redeliver(plan_, start_, now_ns_);
  EXPECT_EQ(tracking_.words().epoch.load_acquire(), 0U);
  tracker_->move_epoch(2, start_);
  EXPECT_EQ(tracking_.words().epoch.load_acquire(), 2U);
  EXPECT_EQ(tracking_.words().start.load_acquire(), 2U);
  layout::RedeliveryCopy place;
  ASSERT_TRUE(layout::redelivery_read(tracking_.redelivery(1), 1, place));
  EXPECT_EQ(place.sequence, 1U);
  EXPECT_EQ(place.attempt, 2U);
  EXPECT_EQ(place.flags, layout::kRedeliverMayHaveRun | layout::kRedeliverAlone);
  EXPECT_EQ(tracker_->redelivery_end(), 2U) << "sequence 2 is still in the main ring";
}

TEST_F(TrackerHandOverTest, DoneTwiceCountsADeathOnce) {
  commit(0, 1);
  begin(0, 1);
  end_and_settle();
  tracker_->redeliver(plan_, start_, now_ns_);
  EXPECT_EQ(entry(0).deaths, 1U);
  LinkTracker next(host_, submission_, tracking_, rules_);
  next.recover();
  next.set_life(ack_, 1, 1);
  next.end_life();
  const std::uint64_t start = next.hand_over_start(1);
  EXPECT_EQ(start, start_);
  next.settle_ended_life(plan_, start, fresh_);
  next.redeliver(plan_, start, now_ns_);
  EXPECT_EQ(entry(0).deaths, 1U);
  EXPECT_EQ(entry(0).attempt, 2U);
  EXPECT_EQ(next.redelivery_end(), 3U) << "a second place, which the new life starts behind";
}

TEST_F(TrackerHandOverTest, DecidesNothingBetweenTheOldLifeAndTheNew) {
  commit(0, 1, false);
  end_and_settle();
  now_ns_ += 10'000 * kMs;
  EXPECT_EQ(tracker_->scan(now_ns_), 0U);
  tracker_->expire(0, now_ns_);
  EXPECT_EQ(entry(0).state, PendingState::kReserved);
  tracker_->set_life(fresh_, 2, start_);
  EXPECT_EQ(tracker_->scan(now_ns_), kSlots);
  EXPECT_EQ(entry(0).state, PendingState::kExhausting);
}

TEST_F(TrackerHandOverTest, CarriesTheSupersedeTableAndTheSuccessesThatItMissed) {
  rules_.kinds[kKind].supersede = true;
  tracker_->set_rules(rules_);
  ack_.supersede(3).kind.store_relaxed(kKind);
  ack_.supersede(3).key.store_relaxed(7);
  ack_.supersede(3).sequence.store_relaxed(1);
  ack_.supersede(3).number.store_release(1);
  ack_.supersede(4).key.store_relaxed(9);  // being rewritten when the life ended
  commit(0, 2);
  submission_.descriptor(0).key.store_relaxed(7);
  answer(0, 2, AckCode::kPartialSuccess);
  commit(1, 3);
  submission_.descriptor(1).key.store_relaxed(8);
  answer(1, 3, AckCode::kFailed);
  end_and_settle();
  std::map<std::uint64_t, std::uint64_t> carried;
  for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
    if (fresh_.supersede(index).number.load_relaxed() != 0) {
      carried[fresh_.supersede(index).key.load_relaxed()] =
          fresh_.supersede(index).sequence.load_relaxed();
    }
  }
  EXPECT_EQ(carried, (std::map<std::uint64_t, std::uint64_t>{{7, 2}}));
}

TEST_F(TrackerHandOverTest, CarriesAFullTableWithoutTheLowestSequence) {
  rules_.kinds[kKind].supersede = true;
  tracker_->set_rules(rules_);
  for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
    ack_.supersede(index).kind.store_relaxed(kKind);
    ack_.supersede(index).key.store_relaxed(1'000 + index);
    ack_.supersede(index).sequence.store_relaxed(10 + index);
    ack_.supersede(index).number.store_release(1);
  }
  commit(0, 9'001);
  submission_.descriptor(0).key.store_relaxed(7);
  answer(0, 9'001, AckCode::kSuccess);
  end_and_settle();
  std::uint64_t lowest = UINT64_MAX;
  bool found = false;
  for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
    lowest = std::min(lowest, fresh_.supersede(index).sequence.load_relaxed());
    found = found || fresh_.supersede(index).sequence.load_relaxed() == 9'001;
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(lowest, 11U);
}

TEST_F(TrackerHandOverTest, GivesUntrackedMessagesThatWereBegunAVerdictWithoutOutcome) {
  commit(0, 1, true, false);
  begin(0, 1);
  end_and_settle();
  EXPECT_EQ(entry(0).state, PendingState::kVerdict);
  EXPECT_EQ(entry(0).reason, VerdictReason::kGone);
  EXPECT_EQ(entry(0).epoch, 1U);
  layout::VerdictCopy verdict;
  ASSERT_TRUE(layout::verdict_read(tracking_.verdict(1), 1, verdict));
  EXPECT_EQ(verdict.reason, VerdictReason::kGone);
}

TEST_F(TrackerHandOverTest, OfTheFirstLifeStartsAtTheFirstSequence) {
  LinkTracker first(host_, submission_, tracking_, rules_);
  first.recover();
  EXPECT_EQ(first.hand_over_start(1), 1U);
  commit(0, 1, false);
  first.settle_ended_life({1, true, false}, 1, fresh_);
  first.redeliver({1, true, false}, 1, now_ns_);
  EXPECT_EQ(first.redelivery_end(), 1U);
}

}  // namespace
}  // namespace ackbus::daemon
