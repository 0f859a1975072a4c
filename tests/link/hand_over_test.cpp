// The end of a consumer's life and the start of the next: what is delivered again and as what,
// which slots the new epoch frees, poison, and a hand-over that is done twice.
#include <gtest/gtest.h>

#include "tests/link/harness.hpp"

namespace ackbus::test {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

class HandOver : public ::testing::Test {
 protected:
  HandOver() {
    world_.hand_over();
    world_.run_for(0);
  }
  Ticket send(const Message& message = {}) {
    const Ticket ticket = world_.commit(message);
    world_.look();
    return ticket;
  }
  void next_life(bool counts_deaths = true) {
    world_.kill_consumer();
    world_.hand_over(counts_deaths);
  }
  LinkWorld world_{8};
};

TEST_F(HandOver, DeliversWhatWasBegunAgainAsTheNextAttemptAndCountsTheDeath) {
  const Ticket ticket = send();
  ASSERT_TRUE(world_.take());
  next_life();
  EXPECT_EQ(world_.state(ticket), PendingState::kQueued);
  EXPECT_EQ(world_.entry(ticket).attempt, 2U);
  EXPECT_EQ(world_.entry(ticket).deaths, 1U);
  EXPECT_EQ(world_.entry(ticket).sole_deaths, 1U);
  EXPECT_EQ(world_.entry(ticket).retries, 0U) << "a death uses up no retry";
  const auto again = world_.take();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt, 2U);
  EXPECT_TRUE(again->may_have_run);
  EXPECT_TRUE(again->alone);
  EXPECT_EQ(again->payload[3], payload_byte(ticket.sequence, 3));
  world_.ack(*again);
  EXPECT_EQ(world_.reap_outcome(ticket).attempt, 2U);
}

TEST_F(HandOver, KeepsTheAttemptOfWhatWasReadAndNotBegun) {
  const Ticket ticket = send();
  world_.lives.back()->ack.words().cursor.store_release(2);
  next_life();
  EXPECT_EQ(world_.entry(ticket).attempt, 1U);
  EXPECT_EQ(world_.entry(ticket).deaths, 0U);
  const auto begun = world_.take();
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->attempt, 1U);
  EXPECT_FALSE(begun->may_have_run);
  EXPECT_FALSE(begun->alone);
}

TEST_F(HandOver, LeavesWhatWasNeverReadInTheMainRing) {
  const Ticket first = send();
  const Ticket second = send();
  world_.ack(*world_.take());
  next_life();
  EXPECT_EQ(world_.lives.back()->start, second.sequence);
  EXPECT_EQ(world_.tracker->redelivery_end(), 1U);
  EXPECT_EQ(world_.take()->sequence, second.sequence);
  EXPECT_EQ(world_.reap_outcome(first).code, OutcomeCode::kSuccess);
}

TEST_F(HandOver, DeliversAgainInTheOrderOfTheSequences) {
  std::vector<Delivery> begun;
  for (int i = 0; i < 4; ++i) {
    send();
    begun.push_back(*world_.take());
  }
  world_.ack(begun[0]);
  world_.reap();
  send();  // sequence 5, in the slot of 1
  world_.take();
  next_life();
  for (const std::uint64_t sequence : {2U, 3U, 4U, 5U}) {
    const auto again = world_.take(true);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->sequence, sequence);
    world_.ack(*again);
  }
}

TEST_F(HandOver, DeliversWhatAConsumerDiedWithAlone) {
  send();
  send();
  world_.take();
  world_.take();
  next_life();
  const Ticket fresh = send();
  const auto first = world_.take();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->sequence, 1U);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.last_next, NextResult::kWantsAlone);
  world_.ack(*first);
  const auto second = world_.take();
  EXPECT_EQ(second->sequence, 2U);
  world_.ack(*second);
  EXPECT_EQ(world_.take()->sequence, fresh.sequence);
}

TEST_F(HandOver, FindsAnAckWithoutItsPlaceByTheRecordsOfTheEndedLife) {
  const Ticket ticket = send();
  ASSERT_TRUE(world_.take());
  layout::answer_publish(world_.lives.back()->ack.record(ticket.slot),
                         {ticket.sequence, 1, layout::pack_answer(AckCode::kSuccess, 0, 1), 1, 0});
  EXPECT_EQ(world_.reap(), 0U);
  next_life();
  EXPECT_EQ(world_.state(ticket), PendingState::kFinal);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess);
  EXPECT_EQ(world_.producer->in_use(), 0U);
  EXPECT_EQ(world_.producer->retired_epoch(), 1U);
}

TEST_F(HandOver, DrainsTheOldRingBeforeItSwitches) {
  const Ticket ticket = send();
  world_.ack(*world_.take(), AckCode::kFailed, "old life");
  next_life();
  const Outcome outcome = world_.reap_outcome(ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kFailed);
  EXPECT_EQ(outcome.text(), "old life");
}

TEST_F(HandOver, IsSeenByTheProducerAlsoBeforeItHasTheNewSegment) {
  const Ticket ticket = send();
  world_.ack(*world_.take());
  world_.producer->add_life({1, 1, world_.lives.back()->ack});
  world_.kill_consumer();
  world_.prepare_hand_over();
  EXPECT_TRUE(world_.producer->awaits_life());
  EXPECT_EQ(world_.producer->reap(world_.now_ns), 1U);
  EXPECT_EQ(world_.outcome(ticket).code, OutcomeCode::kSuccess);
  EXPECT_FALSE(world_.producer->has_work()) << "nothing to do until the life is brought";
}

TEST_F(HandOver, FreesTheSlotOfAVerdictBelowTheStartOnly) {
  Message message;
  message.options.max_retries = 0;
  const Ticket begun = send(message);
  ASSERT_TRUE(world_.take());
  message.options.max_wait = std::chrono::milliseconds(50);
  const Ticket unread = send(message);
  world_.run_for(110 * kMs);
  ASSERT_EQ(world_.state(begun), PendingState::kVerdict);
  ASSERT_EQ(world_.state(unread), PendingState::kVerdict);
  world_.reap();
  EXPECT_EQ(world_.producer->pending_count(), 0U);
  EXPECT_EQ(world_.producer->in_use(), 2U);
  next_life();
  EXPECT_EQ(world_.entry(begun).epoch, 1U);
  EXPECT_EQ(world_.entry(unread).epoch, 2U) << "its place is still to be read by the new life";
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 1U);
  EXPECT_FALSE(world_.take());
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(HandOver, EndsAnUntrackedMessageThatWasBegunAndDeliversOneThatWasNot) {
  Message message;
  message.tracked = false;
  send(message);
  world_.take();
  send(message);
  world_.lives.back()->ack.words().cursor.store_release(3);  // read, not begun
  const Ticket unread = send(message);
  next_life();
  const auto second = world_.take();
  EXPECT_EQ(second->sequence, 2U);
  const auto third = world_.take();
  EXPECT_EQ(third->sequence, unread.sequence);
  EXPECT_FALSE(world_.take());
  world_.ack(*second);
  world_.ack(*third);
  EXPECT_EQ(world_.reap(), 0U);
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(HandOver, EndsAMessageThatWasTheOnlyOneBegunAtTwoDeathsAsPoison) {
  const Ticket ticket = send();
  world_.take();
  next_life();
  world_.take();
  next_life();
  EXPECT_EQ(world_.state(ticket), PendingState::kExhausting);
  EXPECT_FALSE(world_.take());
  world_.run_for(0);
  EXPECT_EQ(world_.state(ticket), PendingState::kVerdict);
  ASSERT_NE(world_.letter(ticket), nullptr);
  EXPECT_EQ(world_.letter(ticket)->deaths, 2U);
  EXPECT_EQ(world_.letter(ticket)->attempts, 2U) << "the third was never begun";
  EXPECT_EQ(world_.reap_outcome(ticket).reason, OutcomeReason::kPoison);
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(HandOver, CountsNoSoleDeathWhenOthersWereBegunToo) {
  const Ticket first = send();
  send();
  world_.take();
  world_.take();
  next_life();
  EXPECT_EQ(world_.entry(first).deaths, 1U);
  EXPECT_EQ(world_.entry(first).sole_deaths, 0U);
}

TEST_F(HandOver, CountsNoDeathThatTheOperatorAskedForNorOneOfWhatWasGivenBack) {
  const Ticket first = send();
  world_.take();
  next_life(false);
  EXPECT_EQ(world_.entry(first).attempt, 2U);
  EXPECT_EQ(world_.entry(first).deaths, 0U);
  const auto again = world_.take();
  EXPECT_TRUE(again->may_have_run);
  EXPECT_FALSE(again->alone);
  world_.give_back(*again);
  next_life();
  EXPECT_EQ(world_.entry(first).attempt, 3U);
  EXPECT_EQ(world_.entry(first).deaths, 0U);
}

TEST_F(HandOver, DoesNotDeliverAgainWhatIsExhausting) {
  world_.host.store_broken = true;
  Message message;
  message.options.max_retries = 0;
  const Ticket ticket = send(message);
  world_.take();
  world_.run_for(110 * kMs);
  ASSERT_EQ(world_.state(ticket), PendingState::kExhausting);
  next_life();
  EXPECT_FALSE(world_.take());
  world_.host.store_broken = false;
  world_.run_for(2'000 * kMs);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kExhausted);
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(HandOver, RemovesTheLetterOfWhatWasAnsweredWhileExhausting) {
  world_.letters_run = false;
  Message message;
  message.options.max_retries = 0;
  const Ticket ticket = send(message);
  const auto begun = world_.take();
  world_.run_for(110 * kMs);
  world_.host.write(world_.host.jobs.front(), world_.lives.back()->ack);
  world_.ack(*begun);
  world_.kill_consumer();
  world_.restart_tracker();  // The daemon died with the job; the letter stayed.
  ASSERT_NE(world_.letter(ticket), nullptr);
  world_.hand_over();
  EXPECT_EQ(world_.letter(ticket), nullptr);
  EXPECT_EQ(world_.state(ticket), PendingState::kFinal);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess);
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(HandOver, GivesAWaitingRetryAtOnceWithItsAttempt) {
  const Ticket ticket = send();
  world_.take();
  world_.run_for(110 * kMs);
  ASSERT_EQ(world_.state(ticket), PendingState::kWaiting);
  next_life();
  EXPECT_EQ(world_.state(ticket), PendingState::kQueued);
  EXPECT_EQ(world_.entry(ticket).attempt, 2U) << "its attempt 1 was over before the death";
  EXPECT_EQ(world_.entry(ticket).deaths, 0U);
  EXPECT_EQ(world_.take()->attempt, 2U);
}

TEST_F(HandOver, KeepsItsStartWithinWhatCanBeTrue) {
  send();
  world_.take();
  world_.lives.back()->ack.words().cursor.store_release(UINT64_MAX);
  next_life();
  EXPECT_EQ(world_.lives.back()->start, 2U);
  world_.lives.back()->ack.words().cursor.store_release(0);
  next_life();
  EXPECT_EQ(world_.lives.back()->start, 2U);
}

TEST_F(HandOver, KeepsMaxWaitGoingBetweenTwoLives) {
  Message message;
  message.options.max_wait = std::chrono::milliseconds(50);
  const Ticket ticket = send(message);
  world_.kill_consumer();
  world_.run_for(50 * kMs);
  EXPECT_EQ(world_.state(ticket), PendingState::kVerdict);
  EXPECT_EQ(world_.reap_outcome(ticket).reason, OutcomeReason::kUndelivered);
  world_.hand_over();
  EXPECT_FALSE(world_.take());
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(HandOver, StartsNoClockForWhatTheEndedLifeHadBegun) {
  const Ticket ticket = send();
  world_.take();
  world_.look();
  world_.kill_consumer();
  world_.run_for(5'000 * kMs);
  EXPECT_EQ(world_.state(ticket), PendingState::kReserved);
  world_.hand_over();
  EXPECT_EQ(world_.take()->attempt, 2U);
}

TEST_F(HandOver, OfSeveralDeathsInARowLosesNothing) {
  std::vector<Ticket> tickets;
  for (int i = 0; i < 8; ++i) {
    tickets.push_back(send());
  }
  for (int life = 0; life < 5; ++life) {
    world_.take();
    next_life(false);
  }
  while (const auto begun = world_.take(true)) {
    world_.ack(*begun);
  }
  world_.reap();
  for (const Ticket& ticket : tickets) {
    EXPECT_EQ(world_.outcome(ticket).code, OutcomeCode::kSuccess) << ticket.sequence;
  }
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

}  // namespace
}  // namespace ackbus::test
