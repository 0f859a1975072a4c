// Verdicts step by step: what the entry says, when the letter is asked for, and each way back.
#include <gtest/gtest.h>

#include "tests/unit/daemon/tracker_fixture.hpp"

namespace ackbus::daemon {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

class TrackerVerdictTest : public TrackerTest {
 protected:
  // Begun, and its one retry was used up: Exhausting, the letter asked for.
  void exhaust(std::uint32_t slot, std::uint64_t sequence) {
    commit(slot, sequence);
    submission_.descriptor(slot).retries_after_slot.store_relaxed(1U << 16);
    begin(slot, sequence);
    expire_after(100 * kMs, slot);
    ASSERT_EQ(entry(slot).state, PendingState::kExhausting);
    ASSERT_EQ(host_.jobs.size(), 1U);
  }
  static constexpr std::uint8_t kOutcomeSuccess = 1;
  static constexpr std::uint8_t kOutcomeExhausted = 4;
};

TEST_F(TrackerVerdictTest, AsksForOneLetterHoweverOftenItLooks) {
  exhaust(0, 1);
  tracker_->scan(now_ns_);
  tracker_->expire(0, now_ns_);
  EXPECT_EQ(host_.jobs.size(), 1U);
  EXPECT_FALSE(tracker_->letters_idle());
  write_letter();
  EXPECT_TRUE(tracker_->letters_idle());
  EXPECT_EQ(entry(0).state, PendingState::kVerdict);
  EXPECT_EQ(entry(0).epoch, 1U);
  EXPECT_EQ(host_.dead[VerdictReason::kRetries], 1);
}

TEST_F(TrackerVerdictTest, MovesInterventionsAndFencesBeforeItReadsAgain) {
  const std::uint64_t moved = tracking_.words().interventions.load_acquire();
  const int barriers = host_.barriers;
  exhaust(0, 1);
  EXPECT_EQ(tracking_.words().interventions.load_acquire(), moved + 1);
  EXPECT_EQ(host_.barriers, barriers + 1);
  write_letter();
  EXPECT_EQ(tracking_.words().interventions.load_acquire(), moved + 2);
}

TEST_F(TrackerVerdictTest, TriesAgainAfterASecondWhenTheStoreRefuses) {
  exhaust(0, 1);
  write_letter(LetterResult::kFailed);
  EXPECT_EQ(entry(0).state, PendingState::kExhausting);
  EXPECT_EQ(host_.deadlines[0], now_ns_ + 1'000 * kMs);
  expire_after(1'000 * kMs, 0);
  ASSERT_EQ(host_.jobs.size(), 1U);
  write_letter();
  EXPECT_EQ(entry(0).state, PendingState::kVerdict);
}

TEST_F(TrackerVerdictTest, ALetterThatIsPutOffWaitsForItsRoomAndForNoClock) {
  exhaust(0, 1);
  host_.deadlines.clear();
  write_letter(LetterResult::kPutOff);
  EXPECT_TRUE(tracker_->letters_idle());
  EXPECT_TRUE(host_.deadlines.empty());
  now_ns_ += 10'000 * kMs;
  tracker_->scan(now_ns_);
  EXPECT_TRUE(host_.jobs.empty());
  tracker_->letter_room(0, 2, now_ns_);
  EXPECT_TRUE(host_.jobs.empty()) << "another message's";
  tracker_->letter_room(0, 1, now_ns_);
  ASSERT_EQ(host_.jobs.size(), 1U);
  tracker_->letter_room(0, 1, now_ns_);
  write_letter();
  EXPECT_TRUE(host_.jobs.empty()) << "asked for once";
  EXPECT_EQ(entry(0).state, PendingState::kVerdict);
}

TEST_F(TrackerVerdictTest, ALetterThatIsPutOffIsNotWrittenForWhatWasAnsweredMeanwhile) {
  exhaust(0, 1);
  write_letter(LetterResult::kPutOff);
  answer(0, 1, AckCode::kSuccess);
  tracker_->scan(now_ns_);
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
  tracker_->letter_room(0, 1, now_ns_);
  EXPECT_TRUE(host_.jobs.empty());
}

// Once every scan tried it again: ten times a second with a kind's max_wait of 100 ms.
TEST_F(TrackerVerdictTest, DoesNotTryARefusedLetterAtEveryScan) {
  exhaust(0, 1);
  write_letter(LetterResult::kFailed);
  for (int i = 0; i < 9; ++i) {
    now_ns_ += 100 * kMs;
    tracker_->scan(now_ns_);
    EXPECT_TRUE(host_.jobs.empty());
  }
  EXPECT_EQ(host_.deadlines[0], now_ns_ + 100 * kMs);
  now_ns_ += 100 * kMs;
  tracker_->scan(now_ns_);
  EXPECT_EQ(host_.jobs.size(), 1U);
}

TEST_F(TrackerVerdictTest, AnAnswerIsTakenWhileARefusedLetterWaits) {
  exhaust(0, 1);
  write_letter(LetterResult::kFailed);
  answer(0, 1, AckCode::kSuccess);
  tracker_->scan(now_ns_);
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
}

TEST_F(TrackerVerdictTest, ARefusedLetterHoldsUpNoLaterMessageOfItsSlot) {
  exhaust(0, 1);
  write_letter(LetterResult::kFailed);
  answer(0, 1, AckCode::kSuccess);
  tracker_->scan(now_ns_);
  exhaust(0, 5);
}

TEST_F(TrackerVerdictTest, WithdrawsWhenTheOutcomeIsTakenWhileTheLetterIsWritten) {
  exhaust(0, 1);
  take_outcome(0, 1, kOutcomeSuccess);
  host_.letters[1] = {};
  write_letter();
  correct_letter();
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
  EXPECT_TRUE(host_.letters.empty());
}

// Else a daemon that dies before its disk has followed would leave a letter of an answered message,
// and the slot says nothing of it any more.
TEST_F(TrackerVerdictTest, WithdrawnIsFinalOnlyWhenTheDiskHasTakenTheLetterBack) {
  exhaust(0, 1);
  take_outcome(0, 1, kOutcomeSuccess);
  host_.letters[1] = {};
  write_letter();
  tracker_->scan(now_ns_ + 100 * kMs);
  EXPECT_EQ(entry(0).state, PendingState::kExhausting);
  EXPECT_EQ(host_.corrections.size(), 1U) << "asked for once";
  EXPECT_FALSE(tracker_->all_final());
  correct_letter();
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
  EXPECT_TRUE(tracker_->all_final());
}

TEST_F(TrackerVerdictTest, ALateSuccessIsFinalOnlyWhenTheDiskHasMarkedItsLetter) {
  exhaust(0, 1);
  host_.letters[1] = {};
  write_letter();
  answer(0, 1, AckCode::kSuccess);
  take_outcome(0, 1, kOutcomeSuccess);
  tracker_->scan(now_ns_ + 100 * kMs);
  tracker_->scan(now_ns_ + 200 * kMs);
  EXPECT_EQ(entry(0).state, PendingState::kVerdict);
  EXPECT_EQ(host_.corrections.size(), 1U) << "asked for once";
  correct_letter();
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
  EXPECT_TRUE(host_.letters[1].late_success);
}

TEST_F(TrackerVerdictTest, StandsWhenTheOutcomeIsTheVerdictItself) {
  exhaust(0, 1);
  take_outcome(0, 1, kOutcomeExhausted);
  write_letter();
  EXPECT_EQ(entry(0).state, PendingState::kVerdict);
}

TEST_F(TrackerVerdictTest, FindsASuccessTakenAfterTheVerdictWithoutAnyNewMessage) {
  exhaust(0, 1);
  host_.letters[1] = {};
  write_letter();
  tracker_->scan(now_ns_);
  EXPECT_EQ(tracker_->pending_seen(), 1U) << "the producer has no outcome yet";
  tracker_->expire(0, now_ns_ + 5 * kMs);
  answer(0, 1, AckCode::kSuccess);
  take_outcome(0, 1, kOutcomeSuccess);
  tracker_->scan(now_ns_ + 100 * kMs);
  correct_letter();
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
  EXPECT_TRUE(host_.letters[1].late_success);
}

TEST_F(TrackerVerdictTest, DoesNotSpeakOfALaterSequenceInTheSlot) {
  exhaust(0, 1);
  answer(0, 1, AckCode::kSuccess);
  commit(0, 5);
  write_letter(LetterResult::kSettled);
  const auto view = tracker_->look(0);
  EXPECT_EQ(view->descriptor.number, 5U);
  EXPECT_EQ(view->entry.state, PendingState::kReserved);
  EXPECT_EQ(entry(0).sequence, 1U);
  EXPECT_EQ(entry(0).state, PendingState::kFinal);
}

TEST_F(TrackerVerdictTest, EndsUndeliveredOnlyWhatWasNeverBegun) {
  commit(0, 1);
  commit(1, 2);
  begin(0, 1);
  tracker_->scan(now_ns_);
  layout::mark_publish(ack_.record(0), {1, now_ns_, layout::MarkKind::kGivenBack, 1, 900});
  now_ns_ += 999 * kMs;
  tracker_->scan(now_ns_);
  EXPECT_EQ(entry(1).state, PendingState::kReserved);
  now_ns_ += kMs;
  tracker_->scan(now_ns_);
  EXPECT_EQ(entry(1).state, PendingState::kExhausting);
  EXPECT_EQ(entry(1).reason, VerdictReason::kUndelivered);
  EXPECT_NE(entry(0).state, PendingState::kExhausting);
}

TEST_F(TrackerVerdictTest, LeavesUntrackedMessagesAlone) {
  commit(0, 1, true, false);
  begin(0, 1);
  now_ns_ += 100'000 * kMs;
  tracker_->scan(now_ns_);
  EXPECT_EQ(entry(0).state, PendingState::kReserved);
  EXPECT_EQ(tracker_->pending_seen(), 0U);
}

TEST_F(TrackerVerdictTest, TellsHowOftenAndWhenItWasTried) {
  commit(0, 1);
  begin(0, 1);
  tracker_->scan(now_ns_);
  expire_after(100 * kMs, 0);
  expire_after(100 * kMs, 0);
  begin(0, 1, 2);
  tracker_->scan(now_ns_);
  expire_after(100 * kMs, 0);
  ASSERT_EQ(host_.jobs.size(), 1U);
  const LetterDraft& draft = host_.jobs.front();
  EXPECT_EQ(draft.attempts, 2U);
  EXPECT_EQ(draft.attempt_ns, (std::vector<std::uint64_t>{1'000 * kMs, 1'200 * kMs}));
  EXPECT_EQ(draft.begun_ns, 1'200 * kMs);
  EXPECT_EQ(draft.descriptor.id[0], 1U);
}

// ---- what the letter says of attempts ----

class LetterOfCommitClock : public TrackerVerdictTest {
 protected:
  LetterOfCommitClock() {
    rules_.kinds[kKind].clock_from_commit = true;
    tracker_->set_rules(rules_);
  }
  // Two attempts of 100 ms and the delay between them go by.
  void use_up(std::uint32_t slot) {
    for (int i = 0; i < 3; ++i) {
      expire_after(100 * kMs, slot);
    }
    ASSERT_EQ(host_.jobs.size(), 1U);
    EXPECT_EQ(entry(slot).attempt, 2U);
  }
  // A new consumer, which has read everything, on a fresh ack segment.
  void replace_life() {
    tracker_->set_life(next_ack_, 2, 1);
    next_ack_.words().cursor.store_release(9);
    next_ack_.words().redelivery_cursor.store_release(1);
  }

  test::SegmentMemory next_ack_memory_{layout::AckGeometry{kSlots}.bytes()};
  layout::AckView next_ack_{next_ack_memory_.base(), {kSlots}};
};

// Once they were the attempts of its entry, which the clock uses up though nobody begins.
TEST_F(LetterOfCommitClock, SaysNoneWhenNobodyBeganTheMessage) {
  commit(0, 1);
  tracker_->scan(now_ns_);
  use_up(0);
  EXPECT_EQ(host_.jobs.front().attempts, 0U);
  EXPECT_TRUE(host_.jobs.front().attempt_ns.empty());
  EXPECT_EQ(host_.jobs.front().begun_ns, 0U);
}

TEST_F(LetterOfCommitClock, SaysTheLatestAttemptThatWasBegun) {
  commit(0, 1);
  begin(0, 1, 1);
  tracker_->scan(now_ns_);
  use_up(0);
  EXPECT_EQ(host_.jobs.front().attempts, 1U);
  EXPECT_EQ(host_.jobs.front().attempt_ns.size(), 1U);
}

TEST_F(LetterOfCommitClock, SaysWhatALifeBeforeThisOneHadBegun) {
  commit(0, 1);
  begin(0, 1, 1);
  tracker_->scan(now_ns_);
  replace_life();
  use_up(0);
  EXPECT_EQ(host_.jobs.front().attempts, 1U);
  EXPECT_NE(host_.jobs.front().attempt_ns.size(), 0U);
}

TEST_F(TrackerVerdictTest, TheLetterOfAnUndeliveredMessageSaysNoAttemptThoughItWasSkipped) {
  commit(0, 1);
  now_ns_ += 1'000 * kMs;
  tracker_->scan(now_ns_);
  ASSERT_EQ(entry(0).reason, VerdictReason::kUndelivered);
  begin(0, 1);
  answer(0, 1, AckCode::kSkippedVerdict);
  write_letter(LetterResult::kFailed);
  expire_after(1'000 * kMs, 0);
  ASSERT_EQ(host_.jobs.size(), 1U);
  EXPECT_EQ(host_.jobs.front().attempts, 0U);
  EXPECT_EQ(host_.jobs.front().begun_ns, 0U);
}

// Once the first attempt of a life that had ended meanwhile counted as none.
TEST_F(TrackerVerdictTest, TheLetterCountsAttemptsThatANewDaemonAndANewLifeDidNotSee) {
  exhaust(0, 1);
  host_.forget_process();
  test::SegmentMemory memory{layout::AckGeometry{kSlots}.bytes()};
  const layout::AckView fresh{memory.base(), {kSlots}};
  tracker_ = std::make_unique<LinkTracker>(host_, submission_, tracking_, rules_);
  tracker_->recover();
  tracker_->set_life(fresh, 2, 1);
  tracker_->scan(now_ns_);
  ASSERT_EQ(host_.jobs.size(), 1U);
  EXPECT_EQ(host_.jobs.front().attempts, 1U);
  EXPECT_TRUE(host_.jobs.front().attempt_ns.empty()) << "their times went with the daemon";
}

}  // namespace
}  // namespace ackbus::daemon
