// How a message ends by the daemon: the order of its stores, the letter, and every race between a
// verdict and an answer.
#include <gtest/gtest.h>

#include <string>

#include "tests/link/harness.hpp"
#include "tests/link/interrupt.hpp"

namespace ackbus::test {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

class Verdict : public ::testing::Test {
 protected:
  Verdict() {
    world_.hand_over();
    world_.run_for(0);
  }
  // A message without retries, begun; its deadline passes when 100 ms are over.
  Ticket send_begun(Delivery* begun = nullptr) {
    Message message;
    message.options.max_retries = 0;
    const Ticket ticket = world_.commit(message);
    world_.look();
    const auto taken = world_.take();
    EXPECT_TRUE(taken);
    if (begun != nullptr) {
      *begun = *taken;
    }
    world_.look();
    return ticket;
  }
  // A message that nobody begins; max_wait is over after 50 ms.
  Ticket send_waiting() {
    Message message;
    message.options.max_wait = std::chrono::milliseconds(50);
    const Ticket ticket = world_.commit(message);
    world_.look();
    return ticket;
  }
  [[nodiscard]] std::uint64_t announced() const {
    return world_.tracking.verdict(1).number.load_acquire();
  }
  [[nodiscard]] AckCode answered(const Ticket& ticket) const {
    layout::AnswerCopy answer;
    return layout::answer_read(world_.lives.back()->ack.record(ticket.slot), ticket.sequence,
                               answer)
               ? layout::answer_code(answer.code_flags)
               : AckCode::kReserved;
  }

  // Before every access of the daemon: no verdict without a letter, no place without the verdict.
  static bool watch_order(const void*, bool) {
    layout::access_hook = nullptr;
    Verdict& self = *watched_;
    const bool letter = self.world_.letter(self.watched_ticket_) != nullptr;
    const bool verdict = self.world_.state(self.watched_ticket_) == PendingState::kVerdict;
    const bool place = self.announced() != 0;
    self.order_kept_ = self.order_kept_ && (!verdict || letter) && (!place || verdict);
    self.verdict_before_place_ = self.verdict_before_place_ || (verdict && !place);
    layout::access_hook = &Verdict::watch_order;
    return true;
  }

  inline static Verdict* watched_ = nullptr;
  Ticket watched_ticket_;
  bool order_kept_ = true;
  bool verdict_before_place_ = false;
  LinkWorld world_{8};
};

TEST_F(Verdict, StoresExhaustingThenTheLetterThenTheEntryThenThePlace) {
  world_.letters_run = false;
  const Ticket ticket = send_begun();
  const std::uint64_t before = world_.tracking.words().interventions.load_acquire();
  world_.run_for(100 * kMs);
  EXPECT_EQ(world_.state(ticket), PendingState::kExhausting);
  EXPECT_GT(world_.tracking.words().interventions.load_acquire(), before);
  EXPECT_EQ(world_.host.jobs.size(), 1U);
  EXPECT_EQ(world_.letter(ticket), nullptr);
  EXPECT_EQ(announced(), 0U);
  watched_ = this;
  watched_ticket_ = ticket;
  layout::access_hook = &Verdict::watch_order;
  world_.run_letter_job();
  layout::access_hook = nullptr;
  EXPECT_TRUE(order_kept_);
  EXPECT_TRUE(verdict_before_place_);
  EXPECT_NE(world_.letter(ticket), nullptr);
  EXPECT_EQ(announced(), 1U);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kExhausted);
}

TEST_F(Verdict, IsNotGivenWhileTheStoreRefusesTheLetter) {
  world_.host.store_broken = true;
  const Ticket ticket = send_begun();
  world_.run_for(20'000 * kMs);
  EXPECT_EQ(world_.state(ticket), PendingState::kExhausting);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kReserved);
  EXPECT_EQ(world_.producer->pending_count(), 1U);
  world_.host.store_broken = false;
  world_.run_for(1'000 * kMs);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kExhausted);
}

TEST_F(Verdict, IsWithdrawnWhenTheAckComesWhileTheLetterIsWritten) {
  world_.letters_run = false;
  Delivery begun;
  const Ticket ticket = send_begun(&begun);
  world_.run_for(100 * kMs);
  daemon::LetterDraft draft = world_.host.jobs.front();
  world_.host.jobs.clear();
  EXPECT_EQ(world_.host.write(draft, world_.lives.back()->ack), daemon::LetterResult::kWritten);
  world_.ack(begun);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess);
  EXPECT_EQ(world_.producer->in_use(), 1U) << "held: the letter must go first";
  world_.tracker->letter_done(ticket.slot, ticket.sequence, daemon::LetterResult::kWritten,
                              world_.now_ns);
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 1U) << "held: the disk must follow first";
  EXPECT_TRUE(world_.run_letter_job());
  EXPECT_EQ(world_.letter(ticket), nullptr);
  EXPECT_EQ(world_.state(ticket), PendingState::kFinal);
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(Verdict, MarksTheLetterWhenTheProducerTookALateSuccessFirst) {
  Delivery begun;
  const Ticket ticket = send_begun(&begun);
  world_.run_for(110 * kMs);
  ASSERT_EQ(world_.state(ticket), PendingState::kVerdict);
  world_.ack(begun);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess) << "acks are taken first";
  EXPECT_EQ(world_.producer->in_use(), 1U);
  world_.run_for(200 * kMs);  // Nothing else is sent: the scan goes on by itself.
  ASSERT_NE(world_.letter(ticket), nullptr);
  EXPECT_TRUE(world_.letter(ticket)->late_success);
  EXPECT_EQ(world_.state(ticket), PendingState::kFinal);
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(Verdict, HoldsTheSlotOfALateSuccessOverAHandOverUntilTheLetterSaysSo) {
  Delivery begun;
  const Ticket ticket = send_begun(&begun);
  world_.run_for(110 * kMs);
  world_.ack(begun);
  world_.reap();
  world_.kill_consumer();
  world_.hand_over();
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 1U) << "the epoch frees only what ended by the verdict";
  world_.look();
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
  EXPECT_TRUE(world_.letter(ticket)->late_success);
}

TEST_F(Verdict, RemovesTheLetterWhenTheProducerTookALateFailureFirst) {
  Delivery begun;
  const Ticket ticket = send_begun(&begun);
  world_.run_for(110 * kMs);
  world_.ack(begun, AckCode::kFailed);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kFailed);
  world_.run_for(200 * kMs);
  EXPECT_EQ(world_.letter(ticket), nullptr);
  EXPECT_EQ(world_.state(ticket), PendingState::kFinal);
}

TEST_F(Verdict, IsTheOutcomeWhenItIsTakenFirstAndALateAckOnlyFreesTheSlot) {
  Delivery begun;
  const Ticket ticket = send_begun(&begun);
  world_.run_for(110 * kMs);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kExhausted);
  EXPECT_EQ(world_.producer->in_use(), 1U) << "its payload may not change under the handler";
  world_.ack(begun);
  EXPECT_EQ(world_.reap(), 0U);
  EXPECT_EQ(world_.producer->in_use(), 0U);
  world_.run_for(500 * kMs);
  ASSERT_NE(world_.letter(ticket), nullptr);
  EXPECT_FALSE(world_.letter(ticket)->late_success);
}

TEST_F(Verdict, EndsWhatWasNeverBegunWhenMaxWaitIsOver) {
  const Ticket ticket = send_waiting();
  world_.run_for(50 * kMs - 1);
  EXPECT_EQ(world_.state(ticket), PendingState::kReserved);
  world_.run_for(1);
  EXPECT_EQ(world_.state(ticket), PendingState::kVerdict);
  EXPECT_EQ(world_.letter(ticket)->attempts, 0U);
  const Outcome outcome = world_.reap_outcome(ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kUndelivered);
  EXPECT_EQ(world_.producer->in_use(), 1U);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(answered(ticket), AckCode::kSkippedVerdict);
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(Verdict, LeavesAloneWhatIsBegunBeforeExhaustingIsSeen) {
  const Ticket ticket = send_waiting();
  world_.run_for(50 * kMs - 1);
  world_.now_ns += 1;
  std::optional<Delivery> begun;
  Interrupt before_exhausting(true, 1, [&] { begun = world_.take(); });
  world_.tracker->expire(ticket.slot, world_.now_ns);
  ASSERT_TRUE(begun);
  EXPECT_EQ(world_.state(ticket), PendingState::kReserved);
  EXPECT_TRUE(world_.host.jobs.empty());
  world_.ack(*begun);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess);
}

TEST_F(Verdict, IsAnsweredSkippedWhenTheConsumerSeesExhaustingAtBegin) {
  const Ticket ticket = send_waiting();
  world_.letters_run = false;
  world_.run_for(50 * kMs);
  ASSERT_EQ(world_.state(ticket), PendingState::kExhausting);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(answered(ticket), AckCode::kSkippedVerdict);
  EXPECT_EQ(world_.reap_outcome(ticket).reason, OutcomeReason::kUndelivered);
  EXPECT_EQ(world_.producer->in_use(), 1U) << "the letter is still to be written";
  world_.letters_run = true;
  world_.run_for(10 * kMs);
  EXPECT_EQ(world_.state(ticket), PendingState::kVerdict);
  EXPECT_NE(world_.letter(ticket), nullptr);
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

// The consumer stored begun and saw Exhausting; the daemon saw begun and withdrew. The Skipped that
// follows is the outcome, so the verdict is given again, with its letter.
TEST_F(Verdict, IsGivenAgainWhenItWasWithdrawnAndAnsweredSkipped) {
  const Ticket ticket = send_waiting();
  world_.run_for(50 * kMs - 1);
  world_.now_ns += 1;
  const layout::AckView ack = world_.lives.back()->ack;
  {
    Interrupt before_exhausting(true, 1, [&] {
      layout::begun_publish(ack.record(ticket.slot), {ticket.sequence, world_.now_ns, 1});
    });
    world_.tracker->expire(ticket.slot, world_.now_ns);
  }
  ASSERT_EQ(world_.state(ticket), PendingState::kReserved);
  const std::uint32_t skipped = layout::pack_answer(AckCode::kSkippedVerdict, 0, 1);
  layout::answer_publish(ack.record(ticket.slot), {ticket.sequence, 2, skipped, 1, 0});
  layout::ack_place_publish(ack.place(1), 1, {ticket.sequence, 2, ticket.slot, skipped});
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kExhausted);
  EXPECT_EQ(world_.producer->in_use(), 1U);
  EXPECT_FALSE(world_.tracker->all_final()) << "its producer may end now: the letter is still owed";
  world_.run_for(200 * kMs);
  EXPECT_TRUE(world_.tracker->all_final());
  EXPECT_NE(world_.letter(ticket), nullptr);
  EXPECT_EQ(world_.state(ticket), PendingState::kVerdict);
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(Verdict, OfASkippedAnswerIsGivenAfterItsLifeEndedToo) {
  const Ticket ticket = send_waiting();
  world_.run_for(50 * kMs - 1);
  world_.now_ns += 1;
  const layout::AckView ack = world_.lives.back()->ack;
  ack.words().cursor.store_release(2);
  {
    Interrupt before_exhausting(true, 1, [&] {
      layout::begun_publish(ack.record(ticket.slot), {ticket.sequence, world_.now_ns, 1});
    });
    world_.tracker->expire(ticket.slot, world_.now_ns);
  }
  const std::uint32_t skipped = layout::pack_answer(AckCode::kSkippedVerdict, 0, 1);
  layout::answer_publish(ack.record(ticket.slot), {ticket.sequence, 2, skipped, 1, 0});
  layout::ack_place_publish(ack.place(1), 1, {ticket.sequence, 2, ticket.slot, skipped});
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kExhausted);
  world_.kill_consumer();
  world_.hand_over();
  EXPECT_FALSE(world_.take()) << "it is not delivered again";
  world_.run_for(200 * kMs);
  EXPECT_NE(world_.letter(ticket), nullptr);
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(Verdict, IsFoundByAScanOfTheEntriesWhenItsRingWasLapped) {
  LinkWorld world{32};  // verdict ring of 16 places
  world.hand_over();
  std::vector<Ticket> tickets;
  Message message;
  message.options.max_wait = std::chrono::milliseconds(50);
  for (int i = 0; i < 32; ++i) {
    tickets.push_back(world.commit(message));
  }
  world.run_for(100 * kMs);
  EXPECT_EQ(world.tracking.verdict(32).number.load_acquire(), 32U);
  EXPECT_EQ(world.reap(), 32U);
  for (const Ticket& ticket : tickets) {
    EXPECT_EQ(world.outcome(ticket).code, OutcomeCode::kExhausted) << ticket.sequence;
  }
  EXPECT_FALSE(world.take());
  world.reap();
  EXPECT_EQ(world.producer->in_use(), 0U);
}

TEST_F(Verdict, OfAClosedLinkEndsEverythingPendingWithoutLetters) {
  Delivery begun;
  const Ticket running = send_begun(&begun);
  const Ticket waiting = send_waiting();
  const Ticket done = world_.commit();
  world_.take();
  world_.ack(*world_.take());
  world_.tracker->close(VerdictReason::kClosedQueue);
  world_.reap();
  EXPECT_EQ(world_.outcome(running).reason, OutcomeReason::kQueueRemoved);
  EXPECT_EQ(world_.outcome(waiting).code, OutcomeCode::kClosed);
  EXPECT_EQ(world_.outcome(done).code, OutcomeCode::kSuccess);
  EXPECT_EQ(world_.producer->pending_count(), 0U);
  EXPECT_EQ(world_.producer->closed(), OutcomeReason::kQueueRemoved);
  EXPECT_TRUE(world_.host.letters.empty());
  EXPECT_FALSE(world_.try_commit({}));
  EXPECT_TRUE(world_.tracker->all_final());
}

TEST_F(Verdict, IsNotAnsweredTwiceWhenItFallsOnAGivenBackMessageThatComesAgain) {
  const Ticket ticket = world_.commit();
  world_.look();
  world_.give_back(*world_.take());
  world_.look();
  world_.run_for(100 * kMs);
  ASSERT_EQ(world_.state(ticket), PendingState::kQueued);
  EXPECT_TRUE(world_.consumer->has_work());
  // Between its begun and its look at interventions the link is closed.
  const layout::AckView ack = world_.lives.back()->ack;
  for (int store = 1; store < 40; ++store) {
    Interrupt in_begin(true, store, [&] { world_.tracker->close(VerdictReason::kClosedBus); });
    world_.take();
    if (in_begin.happened() && ack.record(ticket.slot).acked.load_relaxed() != 0) {
      break;
    }
  }
  EXPECT_EQ(ack.place(2).number.load_acquire(), 0U) << "one ack place for a sequence";
}

TEST_F(Verdict, KeepsALinkFromEndingUntilItsLetterIsWritten) {
  world_.host.store_broken = true;
  const Ticket ticket = send_waiting();
  world_.run_for(50 * kMs);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(answered(ticket), AckCode::kSkippedVerdict);
  EXPECT_FALSE(world_.tracker->all_final());
  world_.host.store_broken = false;
  world_.run_for(2'000 * kMs);
  EXPECT_TRUE(world_.tracker->all_final());
}

}  // namespace
}  // namespace ackbus::test
