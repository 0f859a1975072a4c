// A message's way through the link when nobody dies: outcomes, backpressure, acks out of order,
// texts, untracked messages, counters.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/link/harness.hpp"

namespace ackbus::test {
namespace {

using layout::AckCode;
using layout::PendingState;

class DeliveryOnTheLink : public ::testing::Test {
 protected:
  DeliveryOnTheLink() { world_.hand_over(); }

  [[nodiscard]] layout::ProducerCounters& counters(Kind kind = Kind::kComputeForces) const {
    return world_.submission.counters(static_cast<std::uint32_t>(kind));
  }

  LinkWorld world_{8};
};

TEST_F(DeliveryOnTheLink, GivesEachAnswerOfTheConsumerAsItsOutcome) {
  const std::pair<AckCode, OutcomeCode> answers[] = {
      {AckCode::kSuccess, OutcomeCode::kSuccess},
      {AckCode::kPartialSuccess, OutcomeCode::kPartialSuccess},
      {AckCode::kFailed, OutcomeCode::kFailed}};
  for (const auto& [answer, expected] : answers) {
    const Ticket ticket = world_.commit();
    const auto begun = world_.take();
    ASSERT_TRUE(begun);
    EXPECT_EQ(begun->sequence, ticket.sequence);
    EXPECT_EQ(begun->attempt, 1U);
    EXPECT_FALSE(begun->may_have_run);
    world_.now_ns += 7 * kMs;
    EXPECT_TRUE(world_.ack(*begun, answer, "why"));
    const Outcome outcome = world_.reap_outcome(ticket);
    EXPECT_EQ(outcome.code, expected);
    EXPECT_EQ(outcome.attempt, 1U);
    EXPECT_EQ(outcome.text(), "why");
    EXPECT_EQ(outcome.latency_ns, 7 * kMs);
  }
  EXPECT_EQ(counters().sent.load_relaxed(), 3U);
  EXPECT_EQ(counters().success.load_relaxed(), 1U);
  EXPECT_EQ(counters().partial_success.load_relaxed(), 1U);
  EXPECT_EQ(counters().failed.load_relaxed(), 1U);
  EXPECT_EQ(world_.producer->in_use(), 0U);
}

TEST_F(DeliveryOnTheLink, BringsSmallPayloadsInlineAndLargeOnesByTheArena) {
  for (const std::uint64_t bytes : {0U, 1U, 32U, 63U, 64U, 65U, 256U}) {
    Message message;
    message.bytes = bytes;
    const Ticket ticket = world_.commit(message);
    const auto begun = world_.take();
    ASSERT_TRUE(begun) << bytes;
    ASSERT_EQ(begun->payload.size(), bytes);
    for (std::uint64_t i = 0; i < bytes; ++i) {
      ASSERT_EQ(begun->payload[i], payload_byte(ticket.sequence, i)) << bytes << " at " << i;
    }
    world_.ack(*begun);
    world_.reap();
  }
}

TEST_F(DeliveryOnTheLink, RefusesAClaimWhenAllSlotsAreInUseAndGrantsItAfterAReap) {
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(world_.try_commit({}));
  }
  EXPECT_FALSE(world_.try_commit({}));
  world_.ack(*world_.take());
  EXPECT_FALSE(world_.try_commit({})) << "answered, but its ack place is not consumed yet";
  world_.reap();
  EXPECT_TRUE(world_.try_commit({}));
  EXPECT_FALSE(world_.try_commit({}));
}

TEST_F(DeliveryOnTheLink, TakesAcksOutOfOrderAndFreesEachSlotByItself) {
  std::vector<Ticket> tickets;
  std::vector<Delivery> begun;
  for (int i = 0; i < 5; ++i) {
    tickets.push_back(world_.commit());
  }
  for (int i = 0; i < 5; ++i) {
    begun.push_back(*world_.take());
    EXPECT_EQ(begun.back().sequence, tickets[static_cast<std::size_t>(i)].sequence);
  }
  for (const std::size_t index : {3U, 0U, 4U}) {
    world_.ack(begun[index]);
    EXPECT_EQ(world_.reap_outcome(tickets[index]).code, OutcomeCode::kSuccess);
  }
  EXPECT_TRUE(world_.producer->pending(tickets[1].slot, tickets[1].sequence));
  EXPECT_EQ(world_.producer->in_use(), 2U);
  EXPECT_EQ(world_.producer->pending_count(), 2U);
}

TEST_F(DeliveryOnTheLink, NeverLapsTheRingsHoweverOutOfOrderTheAcks) {
  std::mt19937_64 random(20'240'601);
  std::vector<Delivery> running;
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t choice = random() % 4;
    if (choice == 0) {
      world_.try_commit({});
    } else if (choice == 1) {
      if (const auto begun = world_.take(false)) {
        running.push_back(*begun);
      }
    } else if (choice == 2 && !running.empty()) {
      const std::size_t index = random() % running.size();
      ASSERT_TRUE(world_.ack(running[index]));
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
    } else if (random() % 8 == 0) {
      world_.reap();
      while (world_.outcomes.take_oldest()) {
      }
    }
    ASSERT_EQ(world_.producer->closed(), OutcomeReason::kNone) << "step " << step;
    ASSERT_FALSE(world_.consumer->violated()) << "step " << step;
  }
  EXPECT_GT(world_.producer->next_sequence(), 500U);
}

TEST_F(DeliveryOnTheLink, FreesAnUntrackedMessagesSlotByItsAckAndReportsNoOutcome) {
  Message message;
  message.tracked = false;
  const Ticket ticket = world_.commit(message);
  EXPECT_EQ(world_.producer->pending_count(), 0U);
  const auto begun = world_.take();
  ASSERT_TRUE(begun);
  EXPECT_FALSE(begun->tracked);
  world_.run_for(10'000 * kMs);  // It has no deadline.
  EXPECT_EQ(world_.state(ticket), PendingState::kReserved);
  world_.ack(*begun, AckCode::kFailed);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kReserved);
  EXPECT_EQ(world_.producer->in_use(), 0U);
  EXPECT_EQ(counters().posted.load_relaxed(), 1U);
  EXPECT_EQ(counters().sent.load_relaxed(), 0U);
  EXPECT_EQ(counters().failed.load_relaxed(), 0U);
}

TEST_F(DeliveryOnTheLink, EndsAnUntrackedMessageThatIsGivenBackBecauseNobodyFollowsIt) {
  Message message;
  message.tracked = false;
  world_.commit(message);
  EXPECT_TRUE(world_.give_back(*world_.take()));
  world_.run_for(1'000 * kMs);
  EXPECT_FALSE(world_.take());
  world_.reap();
  EXPECT_EQ(world_.producer->in_use(), 0U);
  EXPECT_EQ(world_.consumer->running_count(), 0U);
}

TEST_F(DeliveryOnTheLink, CountsAnAnswerToWhatIsNotRunningAsStaleAndWritesNothing) {
  const Ticket ticket = world_.commit();
  const auto begun = world_.take();
  EXPECT_TRUE(world_.ack(*begun));
  EXPECT_FALSE(world_.ack(*begun, AckCode::kFailed));
  EXPECT_FALSE(world_.give_back(*begun));
  EXPECT_FALSE(world_.progress(*begun));
  Delivery unknown = *begun;
  unknown.slot = 1'000'000;
  EXPECT_FALSE(world_.ack(unknown));
  EXPECT_EQ(world_.lives.back()->ack.counters(0).stale.load_relaxed(), 4U);
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess);
  EXPECT_EQ(world_.reap(), 0U);
}

TEST_F(DeliveryOnTheLink, IsSeenWhenTheAckCameBeforeTheDaemonEverLooked) {
  const Ticket ticket = world_.commit();
  world_.ack(*world_.take());
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kSuccess);
  world_.run_for(5'000 * kMs);
  EXPECT_EQ(world_.state(ticket), PendingState::kReserved);
  EXPECT_EQ(world_.tracker->pending_seen(), 0U);
  EXPECT_TRUE(world_.tracker->all_final());
}

TEST_F(DeliveryOnTheLink, ClosesTheLinkWhenAnAckPlaceIsAheadOfTheExpectedOne) {
  const Ticket ticket = world_.commit();
  layout::ack_place_publish(world_.lives.back()->ack.place(1), 1 + 8, {1, 0, 0, 1});
  const Outcome outcome = world_.reap_outcome(ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(outcome.reason, OutcomeReason::kViolation);
  EXPECT_EQ(world_.producer->closed(), OutcomeReason::kViolation);
  EXPECT_FALSE(world_.try_commit({}));
}

TEST_F(DeliveryOnTheLink, ReportsAMainPlaceAheadOfTheExpectedOneAsAViolation) {
  layout::PlaceCopy copy;
  copy.number = 1 + 8;
  layout::place_publish(world_.submission.place(1), copy);
  EXPECT_FALSE(world_.take());
  EXPECT_TRUE(world_.consumer->violated());
  EXPECT_NE(world_.lives.back()->ack.words().violation.load_acquire(), 0U);
}

TEST_F(DeliveryOnTheLink, IgnoresAcksOfOtherSequencesAndOfSlotsThatDoNotExist) {
  const Ticket ticket = world_.commit();
  const layout::AckView ack = world_.lives.back()->ack;
  layout::ack_place_publish(ack.place(1), 1, {ticket.sequence + 1, 0, ticket.slot, 1});
  layout::ack_place_publish(ack.place(2), 2, {ticket.sequence, 0, 4'000'000'000U, 1});
  layout::ack_place_publish(ack.place(3), 3, {0, 0, ticket.slot, 1});
  EXPECT_EQ(world_.reap(), 0U);
  EXPECT_TRUE(world_.producer->pending(ticket.slot, ticket.sequence));
}

TEST_F(DeliveryOnTheLink, AnswersFailedWhenAPayloadLiesOutsideTheArena) {
  Message message;
  message.bytes = 100;
  const Ticket ticket = world_.commit(message);
  world_.submission.descriptor(ticket.slot).offset.store_relaxed(8 * LinkWorld::kBytesPerSlot - 50);
  EXPECT_FALSE(world_.take());
  EXPECT_EQ(world_.reap_outcome(ticket).code, OutcomeCode::kFailed);
  EXPECT_EQ(world_.lives.back()->ack.words().rejected.load_acquire(), 1U);
}

TEST_F(DeliveryOnTheLink, CommitsEveryClaimedSlotEvenWhenOutcomesPileUp) {
  for (int turn = 0; turn < 3; ++turn) {  // 24 outcomes of 32 nodes wait to be taken.
    for (int i = 0; i < 8; ++i) {
      world_.commit();
    }
    while (const auto begun = world_.take()) {
      world_.ack(*begun);
    }
    world_.reap();
  }
  for (int i = 0; i < 7; ++i) {
    world_.commit();
  }
  while (const auto begun = world_.take()) {
    world_.ack(*begun);
  }
  world_.reap();
  EXPECT_EQ(world_.outcomes.waiting(), 31U);
  const auto first = world_.producer->claim();
  ASSERT_TRUE(first);
  EXPECT_FALSE(world_.producer->claim()) << "one node is left, and it is spoken for";
  world_.producer->unclaim(*first);
  EXPECT_TRUE(world_.producer->claim());
}

}  // namespace
}  // namespace ackbus::test
