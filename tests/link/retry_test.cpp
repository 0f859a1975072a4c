// What the daemon does about messages that are begun and not answered: deadlines, delays,
// redelivery, nack, progress, and how a life treats what comes twice.
#include <gtest/gtest.h>

#include "tests/link/harness.hpp"

namespace ackbus::test {
namespace {

using daemon::RetryCause;
using layout::AckCode;
using layout::PendingState;

class Retry : public ::testing::Test {
 protected:
  void start(const daemon::TrackerRules& rules = test_rules(), std::uint32_t slots = 8) {
    world_ = std::make_unique<LinkWorld>(slots, rules);
    world_->hand_over();
    world_->run_for(0);
  }
  Ticket send(const Message& message = {}) {
    const Ticket ticket = world_->commit(message);
    world_->look();
    return ticket;
  }
  std::unique_ptr<LinkWorld> world_;
};

TEST_F(Retry, WaitsFromBeginForExactlyTheTimeoutThenForTheDelay) {
  start();
  const Ticket ticket = send();
  world_->run_for(500 * kMs);  // Congestion: nobody begins it, so no clock runs.
  EXPECT_EQ(world_->state(ticket), PendingState::kReserved);
  const std::uint64_t begun_ns = world_->now_ns;
  ASSERT_TRUE(world_->take());
  world_->run_until(begun_ns + 100 * kMs - 1);
  EXPECT_EQ(world_->state(ticket), PendingState::kReserved);
  world_->run_until(begun_ns + 100 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting);
  EXPECT_EQ(world_->entry(ticket).attempt, 2U);
  EXPECT_EQ(world_->entry(ticket).retries, 1U);
  EXPECT_EQ(world_->entry(ticket).due_ns, begun_ns + 200 * kMs);
  world_->run_until(begun_ns + 200 * kMs - 1);
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting);
  EXPECT_FALSE(world_->consumer->has_work());
  world_->run_until(begun_ns + 200 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kQueued);
  EXPECT_TRUE(world_->consumer->has_work());
  EXPECT_EQ(world_->host.retries[RetryCause::kTimeout], 1);
}

// Every delay of the formula, 12 retries, then the dead letter with all attempts and their times.
TEST_F(Retry, Follows12RetriesWithTheDelaysOfTheFormulaAndThenExhausts) {
  daemon::TrackerRules rules = test_rules();
  rules.kinds[static_cast<std::size_t>(Kind::kComputeForces)].max_retries = 12;
  start(rules);
  const Ticket ticket = send();
  const std::uint64_t delays_ms[] = {100,  200,   400,   800,   1600,  3200,
                                     6400, 12800, 25600, 30000, 30000, 30000};
  std::vector<std::uint64_t> times_ns;
  std::uint32_t attempt = 1;
  for (const std::uint64_t delay_ms : delays_ms) {
    auto begun = world_->take();
    if (attempt > 1) {  // It still runs here: a redelivery only raises the running attempt.
      EXPECT_FALSE(begun);
    }
    times_ns.push_back(world_->now_ns);
    EXPECT_EQ(layout::begun_read(world_->lives.back()->ack.record(ticket.slot)).attempt, attempt);
    world_->run_for(100 * kMs);
    ASSERT_EQ(world_->state(ticket), PendingState::kWaiting) << "retry " << attempt;
    EXPECT_EQ(world_->entry(ticket).due_ns, world_->now_ns + delay_ms * kMs);
    world_->run_for(delay_ms * kMs);
    ASSERT_EQ(world_->state(ticket), PendingState::kQueued) << "retry " << attempt;
    attempt += 1;
  }
  EXPECT_FALSE(world_->take());
  times_ns.push_back(world_->now_ns);
  EXPECT_EQ(world_->letter(ticket), nullptr);
  world_->run_for(100 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kVerdict);
  ASSERT_NE(world_->letter(ticket), nullptr);
  EXPECT_EQ(world_->letter(ticket)->attempts, 13U);
  EXPECT_EQ(world_->letter(ticket)->attempt_ns, times_ns);
  EXPECT_EQ(world_->letter(ticket)->reason, layout::VerdictReason::kRetries);
  const Outcome outcome = world_->reap_outcome(ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kRetries);
  EXPECT_EQ(world_->host.retries[RetryCause::kTimeout], 12);
  EXPECT_EQ(world_->host.dead[layout::VerdictReason::kRetries], 1);
}

TEST_F(Retry, TakesTimeoutAndRetriesOfTheMessageBeforeThoseOfTheKind) {
  start();
  Message message;
  message.options.timeout = std::chrono::milliseconds(250);
  message.options.max_retries = 0;
  const Ticket ticket = send(message);
  ASSERT_TRUE(world_->take());
  world_->run_for(250 * kMs - 1);
  EXPECT_EQ(world_->state(ticket), PendingState::kReserved);
  world_->run_for(1);
  EXPECT_EQ(world_->state(ticket), PendingState::kVerdict);
  EXPECT_EQ(world_->reap_outcome(ticket).code, OutcomeCode::kExhausted);
}

TEST_F(Retry, TakesNoTimeoutBelowWhatTheLinkDeclared) {
  daemon::TrackerRules rules = test_rules();
  rules.min_timeout_ms = 40;
  start(rules);
  Message message;
  message.options.timeout = std::chrono::milliseconds(1);
  const Ticket ticket = send(message);
  ASSERT_TRUE(world_->take());
  world_->run_for(40 * kMs - 1);
  EXPECT_EQ(world_->state(ticket), PendingState::kReserved);
  world_->run_for(1);
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting);
}

TEST_F(Retry, IsCancelledByALateAckOfTheOlderAttempt) {
  start();
  const Ticket ticket = send();
  const auto begun = world_->take();
  world_->run_for(110 * kMs);
  ASSERT_EQ(world_->state(ticket), PendingState::kWaiting);
  world_->ack(*begun);
  world_->run_for(1'000 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting)
      << "no place, no verdict: it is answered";
  EXPECT_FALSE(world_->consumer->has_work());
  const Outcome outcome = world_->reap_outcome(ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome.attempt, 1U);
  EXPECT_EQ(world_->producer->in_use(), 0U);
}

TEST_F(Retry, OfWhatIsFinishedIsOnlyCountedAndNothingIsWritten) {
  start();
  const Ticket ticket = send();
  const auto begun = world_->take();
  world_->run_for(200 * kMs);
  ASSERT_EQ(world_->state(ticket), PendingState::kQueued);
  world_->ack(*begun);
  EXPECT_FALSE(world_->take());
  EXPECT_EQ(world_->consumer->duplicates(), 1U);
  EXPECT_EQ(world_->lives.back()->ack.place(2).number.load_acquire(), 0U) << "one ack place only";
  EXPECT_EQ(world_->reap(), 1U);
}

TEST_F(Retry, OfWhatRunsRaisesItsAttemptAndStartsItsClockAnew) {
  start();
  const Ticket ticket = send();
  const auto begun = world_->take();
  world_->run_for(200 * kMs);
  world_->run_for(60 * kMs);
  EXPECT_FALSE(world_->take());
  const std::uint64_t raised_ns = world_->now_ns;
  EXPECT_EQ(world_->lives.back()->ack.record(ticket.slot).begun_attempt.load_acquire(), 1U);
  EXPECT_EQ(layout::begun_read(world_->lives.back()->ack.record(ticket.slot)).attempt, 2U);
  world_->run_until(raised_ns + 100 * kMs - 1);
  EXPECT_EQ(world_->state(ticket), PendingState::kQueued);
  world_->run_until(raised_ns + 100 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting);
  EXPECT_EQ(world_->entry(ticket).attempt, 3U);
  world_->ack(*begun);
  EXPECT_EQ(world_->reap_outcome(ticket).attempt, 2U);
}

TEST_F(Retry, AfterANackComesAfterTheDelayOfTheFormula) {
  start();
  const Ticket ticket = send();
  EXPECT_TRUE(world_->give_back(*world_->take()));
  world_->look();
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting);
  EXPECT_EQ(world_->entry(ticket).due_ns, world_->now_ns + 100 * kMs);
  world_->run_for(100 * kMs);
  const auto again = world_->take();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt, 2U);
  EXPECT_TRUE(again->may_have_run);
  EXPECT_EQ(world_->host.retries[RetryCause::kGivenBack], 1);
  world_->ack(*again);
  EXPECT_EQ(world_->reap_outcome(ticket).attempt, 2U);
}

TEST_F(Retry, AfterANackWithADelayComesAfterThatDelay) {
  start();
  const Ticket ticket = send();
  world_->give_back(*world_->take(), 7);
  world_->look();
  EXPECT_EQ(world_->entry(ticket).due_ns, world_->now_ns + 7 * kMs);
}

TEST_F(Retry, OfAnAttemptThatWasGivenBackIsDropped) {
  start();
  const Ticket ticket = send();
  world_->give_back(*world_->take());
  // A daemon that died after the place and before Queued doubles it: attempt 1 again.
  layout::redelivery_publish(world_->tracking.redelivery(1), 1,
                             {ticket.sequence, ticket.slot, 1, 0});
  EXPECT_FALSE(world_->take());
  EXPECT_EQ(world_->consumer->running_count(), 0U);
}

TEST_F(Retry, IgnoresANackOfAnAttemptThatIsNotTheEntrys) {
  start();
  const Ticket ticket = send();
  const auto begun = world_->take();
  world_->run_for(100 * kMs);
  ASSERT_EQ(world_->entry(ticket).attempt, 2U);
  const std::uint64_t due_ns = world_->entry(ticket).due_ns;
  world_->give_back(*begun);  // Attempt 1, which is over already.
  world_->look();
  EXPECT_EQ(world_->entry(ticket).attempt, 2U);
  EXPECT_EQ(world_->entry(ticket).due_ns, due_ns);
  world_->run_until(due_ns);
  EXPECT_EQ(world_->take()->attempt, 2U);
}

TEST_F(Retry, UsedUpByANackEndsSkippedByItsVerdictAndFreesTheSlot) {
  start();
  Message message;
  message.options.max_retries = 0;
  const Ticket ticket = send(message);
  world_->give_back(*world_->take());
  world_->look();
  EXPECT_EQ(world_->state(ticket), PendingState::kVerdict);
  EXPECT_EQ(world_->reap_outcome(ticket).reason, OutcomeReason::kRetries);
  EXPECT_EQ(world_->producer->in_use(), 1U) << "the life has not answered the verdict yet";
  EXPECT_TRUE(world_->consumer->has_work());
  EXPECT_FALSE(world_->take());
  layout::AnswerCopy answer;
  ASSERT_TRUE(
      layout::answer_read(world_->lives.back()->ack.record(ticket.slot), ticket.sequence, answer));
  EXPECT_EQ(layout::answer_code(answer.code_flags), AckCode::kSkippedVerdict);
  world_->reap();
  EXPECT_EQ(world_->producer->in_use(), 0U);
}

TEST_F(Retry, IsPutOffByProgress) {
  start();
  const Ticket ticket = send();
  const auto begun = world_->take();
  for (int i = 0; i < 5; ++i) {
    world_->run_for(90 * kMs);
    EXPECT_TRUE(world_->progress(*begun));
  }
  const std::uint64_t last_ns = world_->now_ns;
  world_->run_until(last_ns + 100 * kMs - 1);
  EXPECT_EQ(world_->state(ticket), PendingState::kReserved);
  world_->run_until(last_ns + 100 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting);
  EXPECT_EQ(world_->entry(ticket).attempt, 2U) << "progress never changes the attempt";
}

TEST_F(Retry, CountsTheGreaterOfItsOwnAndTheReportedRetries) {
  start();
  const Ticket ticket = send();  // 3 retries
  const auto begun = world_->take();
  world_->progress(*begun, 2);
  world_->run_for(100 * kMs);
  EXPECT_EQ(world_->entry(ticket).retries, 3U);
  EXPECT_EQ(world_->entry(ticket).due_ns, world_->now_ns + 400 * kMs);
  world_->run_for(400 * kMs);
  world_->take();
  world_->run_for(100 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kVerdict);
}

TEST_F(Retry, EndsAtOnceWhenTheReportedRetriesUseThemUp) {
  start();
  const Ticket ticket = send();
  const auto begun = world_->take();
  world_->progress(*begun, UINT32_MAX);
  world_->run_for(100 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kVerdict);
}

TEST_F(Retry, GivesWayToMaxAgeWhenProgressNeverEnds) {
  daemon::TrackerRules rules = test_rules();
  rules.kinds[static_cast<std::size_t>(Kind::kComputeForces)].max_age_ms = 1'000;
  start(rules);
  const Ticket ticket = send();
  const std::uint64_t sent_ns = world_->now_ns;
  const auto begun = world_->take();
  while (world_->now_ns + 50 * kMs < sent_ns + 1'000 * kMs) {
    world_->run_for(50 * kMs);
    ASSERT_EQ(world_->state(ticket), PendingState::kReserved);
    world_->progress(*begun);
  }
  world_->run_until(sent_ns + 1'000 * kMs - 1);
  EXPECT_EQ(world_->state(ticket), PendingState::kReserved);
  world_->run_until(sent_ns + 1'000 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kVerdict);
  EXPECT_EQ(world_->reap_outcome(ticket).reason, OutcomeReason::kMaxAge);
}

TEST_F(Retry, WaitsForRoomInTheRedeliveryRing) {
  start(test_rules(), 4);
  std::vector<Ticket> tickets;
  std::vector<Delivery> begun;
  for (int i = 0; i < 4; ++i) {
    tickets.push_back(send());
    begun.push_back(*world_->take());
  }
  for (int i = 0; i < 2; ++i) {  // 4 places for attempt 2, which the consumer never reads.
    world_->run_for(200 * kMs);
  }
  for (const Delivery& one : begun) {
    layout::raised_publish(world_->lives.back()->ack.record(one.slot),
                           {one.sequence, world_->now_ns, 2});
  }
  world_->run_for(100 * kMs + 200 * kMs + 50 * kMs);
  EXPECT_EQ(world_->tracker->redelivery_end(), 5U);
  EXPECT_EQ(world_->state(tickets[0]), PendingState::kWaiting) << "its place would lap the ring";
  EXPECT_FALSE(world_->take());
  world_->run_for(5 * kMs);
  EXPECT_EQ(world_->tracker->redelivery_end(), 9U);
  EXPECT_EQ(world_->state(tickets[0]), PendingState::kQueued);
}

TEST_F(Retry, WithTheClockFromCommitCountsWhatNobodyBegan) {
  daemon::TrackerRules rules = test_rules();
  rules.kinds[static_cast<std::size_t>(Kind::kComputeForces)].clock_from_commit = true;
  start(rules);
  const Ticket ticket = send();
  world_->run_for(100 * kMs);
  EXPECT_EQ(world_->entry(ticket).attempt, 2U);
  world_->run_for((100 + 100 + 200 + 100 + 400 + 100) * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kVerdict);
  EXPECT_EQ(world_->letter(ticket)->reason, layout::VerdictReason::kRetries);
  EXPECT_EQ(world_->tracker->redelivery_end(), 1U) << "its main place is unread and serves";
  EXPECT_EQ(world_->reap_outcome(ticket).code, OutcomeCode::kExhausted);
  EXPECT_FALSE(world_->take()) << "skipped: its verdict stands";
  world_->reap();
  EXPECT_EQ(world_->producer->in_use(), 0U);
}

// What is redelivered beyond the main cursor could end, and its slot and its ring place be used
// again, before the main place was read: the ring would be lapped.
TEST_F(Retry, WithTheClockFromCommitNeverLapsTheMainRing) {
  daemon::TrackerRules rules = test_rules();
  rules.kinds[static_cast<std::size_t>(Kind::kComputeForces)].clock_from_commit = true;
  start(rules, 4);
  const Ticket first = send();
  const auto running = world_->take();
  Message held;
  held.options.after_sequence = first.sequence;
  held.after_slot = first.slot;
  send(held);
  send();
  send();
  for (int i = 0; i < 20; ++i) {
    world_->run_for(50 * kMs);
    while (const auto begun = world_->take(false)) {
      world_->ack(*begun);
    }
    world_->reap();
    world_->try_commit({});
    ASSERT_FALSE(world_->consumer->violated()) << "turn " << i;
  }
  world_->ack(*running);
}

TEST_F(Retry, IsFoundByTheNextScanAfterANewLifeEvenWhenAScanFellIntoTheHandOver) {
  start();
  const Ticket ticket = send();
  world_->kill_consumer();
  world_->prepare_hand_over();
  world_->tracker->scan(world_->now_ns);  // Frozen: it sees nothing, and must not forget.
  const LinkWorld::Life& life = *world_->lives.back();
  world_->tracker->set_life(life.ack, life.epoch, life.start);
  world_->start_consumer();
  ASSERT_TRUE(world_->take());
  world_->run_for(1'000 * kMs);
  EXPECT_GE(world_->entry(ticket).attempt, 2U);
}

TEST_F(Retry, IsFoundWhenTheProducerDiedBetweenItsPlaceAndTheHint) {
  start();
  const Ticket ticket = world_->commit();
  world_->submission.words().committed.store_relaxed(0);
  ASSERT_TRUE(world_->take());
  world_->look();  // The daemon learnt of the death and looks at everything.
  world_->run_for(100 * kMs);
  EXPECT_EQ(world_->state(ticket), PendingState::kWaiting);
}

TEST_F(Retry, DoesNotInflateTheFigureOfPendingMessages) {
  start();
  send();
  world_->take();
  for (int i = 0; i < 5; ++i) {
    world_->tracker->expire(0, world_->now_ns);
    world_->tracker->expire(world_->commit().slot, world_->now_ns);
  }
  EXPECT_EQ(world_->tracker->pending_seen(), 1U);
  world_->look();
  EXPECT_EQ(world_->tracker->pending_seen(), 6U);
}

}  // namespace
}  // namespace ackbus::test
