// What the consumer alone decides at begin: cancel, supersede, `after`.
#include <gtest/gtest.h>

#include "tests/link/harness.hpp"

namespace ackbus::test {
namespace {

using layout::AckCode;
using layout::PendingState;

class Fate : public ::testing::Test {
 protected:
  Fate() {
    world_.hand_over();
    world_.run_for(0);
  }
  Ticket send_keyed(std::uint64_t key, Kind kind = kSuperseding) {
    Message message;
    message.kind = kind;
    message.options.key = key;
    const Ticket ticket = world_.commit(message);
    world_.look();
    return ticket;
  }
  Ticket send_after(const Ticket& earlier) {
    Message message;
    message.options.after_sequence = earlier.sequence;
    message.after_slot = earlier.slot;
    const Ticket ticket = world_.commit(message);
    world_.look();
    return ticket;
  }
  Ticket send() {
    const Ticket ticket = world_.commit();
    world_.look();
    return ticket;
  }
  LinkWorld world_{8};
};

TEST_F(Fate, CancelledBeforeBeginNeverRuns) {
  const Ticket first = send();
  const Ticket second = send();
  EXPECT_TRUE(world_.producer->cancel(second.slot, second.sequence));
  EXPECT_EQ(world_.take()->sequence, first.sequence);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(second).code, OutcomeCode::kCancelled);
  EXPECT_EQ(world_.producer->in_use(), 1U);
}

TEST_F(Fate, CancelIsTooLateForWhatRuns) {
  const Ticket ticket = send();
  const auto begun = world_.take();
  EXPECT_TRUE(world_.producer->cancel(ticket.slot, ticket.sequence));
  EXPECT_TRUE(world_.consumer->cancel_wished(ticket.slot, ticket.sequence));
  world_.ack(*begun);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess);
}

TEST_F(Fate, CancelOfWhatHasItsOutcomeIsRefused) {
  const Ticket ticket = send();
  world_.ack(*world_.take());
  world_.reap();
  EXPECT_FALSE(world_.producer->cancel(ticket.slot, ticket.sequence));
  EXPECT_FALSE(world_.producer->cancel(1'000'000, 1));
  EXPECT_FALSE(world_.producer->cancel(0, 0));
}

TEST_F(Fate, CancelOfAnOlderSequenceDoesNotTouchTheNextInItsSlot) {
  const Ticket ticket = send();
  const auto begun = world_.take();
  world_.producer->cancel(ticket.slot, ticket.sequence);
  world_.ack(*begun);
  world_.reap();
  const Ticket next = send();
  ASSERT_EQ(next.slot, ticket.slot);
  EXPECT_EQ(world_.take()->sequence, next.sequence);
}

TEST_F(Fate, CancelledAfterItWasGivenBackMayHaveRun) {
  const Ticket ticket = send();
  world_.give_back(*world_.take());
  world_.producer->cancel(ticket.slot, ticket.sequence);
  world_.look();
  world_.run_for(100 * kMs);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kCancelledMayHaveRun);
}

TEST_F(Fate, CancelledAfterALifeThatHadBegunItMayHaveRun) {
  const Ticket ticket = send();
  world_.take();
  world_.producer->cancel(ticket.slot, ticket.sequence);
  world_.kill_consumer();
  world_.hand_over();
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kCancelledMayHaveRun);
}

TEST_F(Fate, CancelledAndOnlyReadByALifeThatDiedIsPlainlyCancelled) {
  const Ticket ticket = send();
  world_.lives.back()->ack.words().cursor.store_release(2);  // It died before begun.
  world_.producer->cancel(ticket.slot, ticket.sequence);
  world_.kill_consumer();
  world_.hand_over();
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kCancelled);
}

TEST_F(Fate, SupersededByANewerSuccessOfItsKeyAtARedelivery) {
  const Ticket older = send_keyed(7);
  world_.give_back(*world_.take());
  const Ticket newer = send_keyed(7);
  world_.ack(*world_.take(), AckCode::kPartialSuccess);
  world_.look();
  world_.run_for(100 * kMs);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(older).code, OutcomeCode::kSuperseded);
  EXPECT_EQ(world_.outcome(newer).code, OutcomeCode::kPartialSuccess);
}

TEST_F(Fate, IsNotSupersededByAnotherKeyAFailureOrAKindThatDoesNotSupersede) {
  const struct {
    Kind kind;
    std::uint64_t newer_key;
    AckCode answer;
  } cases[] = {{kSuperseding, 8, AckCode::kSuccess},
               {kSuperseding, 7, AckCode::kFailed},
               {Kind::kComputeForces, 7, AckCode::kSuccess}};
  for (const auto& one : cases) {
    const Ticket older = send_keyed(7, one.kind);
    world_.give_back(*world_.take());
    send_keyed(one.newer_key, one.kind);
    world_.ack(*world_.take(), one.answer);
    world_.look();
    world_.run_for(100 * kMs);
    const auto again = world_.take();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->sequence, older.sequence);
    world_.ack(*again, AckCode::kFailed);
    world_.reap();
  }
}

TEST_F(Fate, IsSupersededByTheTableThatTheNextLifeInherits) {
  const Ticket older = send_keyed(7);
  const auto begun = world_.take();
  world_.give_back(*begun, 5'000);
  send_keyed(7);
  world_.ack(*world_.take());
  world_.kill_consumer();
  world_.hand_over();
  world_.kill_consumer();  // And over an empty life in between.
  world_.hand_over();
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(older).code, OutcomeCode::kSuperseded);
}

TEST_F(Fate, IsSupersededByASuccessThatItsLifeCouldNotWriteIntoTheTable) {
  const Ticket older = send_keyed(7);
  world_.give_back(*world_.take(), 5'000);
  const Ticket newer = send_keyed(7);
  ASSERT_TRUE(world_.take());
  // It died between `acked` and the table.
  layout::answer_publish(world_.lives.back()->ack.record(newer.slot),
                         {newer.sequence, 1, layout::pack_answer(AckCode::kSuccess, 0, 1), 1, 0});
  world_.kill_consumer();
  world_.hand_over();
  EXPECT_FALSE(world_.take());
  world_.reap();
  EXPECT_EQ(world_.outcome(older).code, OutcomeCode::kSuperseded);
  EXPECT_EQ(world_.outcome(newer).code, OutcomeCode::kSuccess);
}

TEST_F(Fate, NeverRunsTwoOfOneKeyAtTheSameTime) {
  send_keyed(7);
  const Ticket second = send_keyed(7);
  const Ticket third = send_keyed(8);
  const auto first = world_.take();
  ASSERT_TRUE(first);
  EXPECT_FALSE(world_.take()) << "the main ring keeps its order";
  world_.ack(*first);
  EXPECT_EQ(world_.take()->sequence, second.sequence);
  EXPECT_EQ(world_.take()->sequence, third.sequence);
}

TEST_F(Fate, RunsKeysOfKindsThatDoNotSupersedeSideBySide) {
  send_keyed(7, Kind::kComputeForces);
  send_keyed(7, Kind::kComputeForces);
  EXPECT_TRUE(world_.take());
  EXPECT_TRUE(world_.take());
}

TEST_F(Fate, HoldsARedeliveryWhoseKeyRunsAndGoesOnWithTheMainRing) {
  const Ticket older = send_keyed(7);
  world_.give_back(*world_.take(), 1);
  send_keyed(7);
  const auto newer = world_.take();
  world_.look();
  world_.run_for(10 * kMs);
  const Ticket other = send();
  EXPECT_EQ(world_.take()->sequence, other.sequence);
  EXPECT_FALSE(world_.take());
  world_.ack(*newer, AckCode::kFailed);
  EXPECT_EQ(world_.take()->sequence, older.sequence);
}

TEST_F(Fate, AfterHoldsTheMainRingUntilTheEarlierOneIsAcked) {
  const Ticket first = send();
  const Ticket second = send_after(first);
  const Ticket third = send();
  const auto begun = world_.take();
  EXPECT_FALSE(world_.take());
  world_.ack(*begun, AckCode::kFailed);
  EXPECT_EQ(world_.take()->sequence, second.sequence);
  EXPECT_EQ(world_.take()->sequence, third.sequence);
}

TEST_F(Fate, AfterHoldsWhileTheEarlierOneWaitsForItsRetryAndTheRedeliveryRingGoesOn) {
  const Ticket first = send();
  const Ticket second = send_after(first);
  world_.give_back(*world_.take());
  EXPECT_FALSE(world_.take());
  world_.look();
  world_.run_for(100 * kMs);
  const auto again = world_.take();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->sequence, first.sequence);
  EXPECT_FALSE(world_.take());
  world_.ack(*again);
  EXPECT_EQ(world_.take()->sequence, second.sequence);
}

TEST_F(Fate, AfterIsReleasedByAVerdictButNotWhileTheEarlierOneRuns) {
  Message message;
  message.options.max_retries = 0;
  const Ticket first = world_.commit(message);
  world_.look();
  const Ticket second = send_after(first);
  const auto begun = world_.take();
  world_.look();
  world_.run_for(110 * kMs);
  ASSERT_EQ(world_.state(first), PendingState::kVerdict);
  EXPECT_FALSE(world_.take()) << "final, but still running in this life";
  world_.ack(*begun);
  EXPECT_EQ(world_.take()->sequence, second.sequence);
}

TEST_F(Fate, AfterIsReleasedByTheVerdictOfAnEarlierLife) {
  Message message;
  message.options.max_retries = 0;
  const Ticket first = world_.commit(message);
  const Ticket second = send_after(first);
  ASSERT_TRUE(world_.take());
  world_.look();
  world_.run_for(110 * kMs);
  world_.kill_consumer();
  world_.hand_over();
  EXPECT_EQ(world_.take()->sequence, second.sequence);
}

TEST_F(Fate, AfterIsReleasedByTheFinalAckOfAnEarlierLife) {
  const Ticket first = send();
  const Ticket second = send_after(first);
  world_.ack(*world_.take());
  world_.kill_consumer();  // The producer has not reaped: only the entry says Final.
  world_.hand_over();
  EXPECT_EQ(world_.state(first), PendingState::kFinal);
  EXPECT_EQ(world_.take()->sequence, second.sequence);
}

TEST_F(Fate, AfterIsReleasedByALaterSequenceInTheSlotOfTheEarlierOne) {
  const Ticket first = send();
  world_.ack(*world_.take());
  world_.reap();
  const Ticket reuse = send();
  ASSERT_EQ(reuse.slot, first.slot);
  world_.take();
  world_.kill_consumer();
  world_.hand_over();
  const auto again = world_.take();
  ASSERT_EQ(again->sequence, reuse.sequence);
  EXPECT_TRUE(again->alone);
  const Ticket waits = send_after(first);
  EXPECT_EQ(world_.take()->sequence, waits.sequence);
}

TEST_F(Fate, AfterItselfOrALaterOneIsIgnored) {
  Message message;
  message.options.after_sequence = 1;  // itself
  message.after_slot = 0;
  EXPECT_EQ(world_.commit(message).sequence, 1U);
  message.options.after_sequence = 9;
  EXPECT_EQ(world_.commit(message).sequence, 2U);
  EXPECT_EQ(world_.take()->sequence, 1U);
  EXPECT_EQ(world_.take()->sequence, 2U);
}

TEST_F(Fate, AHeldMessageThatHasItsOwnVerdictIsSkippedAndHoldsNothing) {
  const Ticket first = send();
  world_.give_back(*world_.take(), 60'000);
  Message message;
  message.options.after_sequence = first.sequence;
  message.after_slot = first.slot;
  message.options.max_wait = std::chrono::milliseconds(50);
  const Ticket held = world_.commit(message);
  const Ticket behind = send();
  EXPECT_FALSE(world_.take());
  world_.run_for(60 * kMs);
  EXPECT_EQ(world_.take()->sequence, behind.sequence);
  EXPECT_EQ(world_.reap_outcome(held).reason, OutcomeReason::kUndelivered);
}

}  // namespace
}  // namespace ackbus::test
