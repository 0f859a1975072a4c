// What a producer that was killed left half-counted, and what its consumers had answered in lives
// whose memory is gone, was counted as Closed, or not at all: found by killing processes at named
// points and comparing the daemon's counters with journals.
#include <gtest/gtest.h>

#include "tests/unit/daemon/fake_link.hpp"

namespace ackbus::daemon {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

constexpr std::uint16_t kKind = 4;

class FiguresOfADeadProducer : public ::testing::Test {
 protected:
  EndedTotals ended() { return read_ended_link(link_.memory(true))[kKind]; }
  layout::ProducerCounters& counters() { return link_.submission.counters(kKind); }

  FakeLink link_;
};

TEST_F(FiguresOfADeadProducer, AMessageThatWasCountedButNeverCommittedWasNotSent) {
  link_.commit(0, kKind, 100);
  FakeLink::answer(link_.life, 0, AckCode::kSuccess);
  link_.commit(1, kKind, 200);
  link_.submission.place(2).number.store_relaxed(0);  // relaxed because a test is one thread
  counters().sent.store_relaxed(2);                   // It died before it published the place.
  const EndedTotals totals = ended();
  EXPECT_EQ(totals.sent, 1U);
  EXPECT_EQ(totals.success, 1U);
  EXPECT_EQ(totals.closed, 0U);
}

TEST_F(FiguresOfADeadProducer, AnOutcomeThatWasStoredButNotCountedCounts) {
  for (std::uint32_t slot = 0; slot < 2; ++slot) {
    link_.commit(slot, kKind, 100);
  }
  counters().sent.store_relaxed(2);     // relaxed because a test is one thread
  counters().success.store_relaxed(1);  // relaxed because a test is one thread
  link_.take(0, Ending::kSuccess);
  link_.take(1, Ending::kFailed);
  counters().settling.store_relaxed(  // relaxed because a test is one thread
      layout::pack_outcome(2, static_cast<std::uint8_t>(Ending::kFailed)));
  const EndedTotals totals = ended();
  EXPECT_EQ(totals.success, 1U);
  EXPECT_EQ(totals.failed, 1U);
  EXPECT_EQ(totals.closed, 0U);
}

TEST_F(FiguresOfADeadProducer, AnOutcomeThatWasCountedIsNotCountedAgain) {
  link_.commit(0, kKind, 100);
  counters().sent.store_relaxed(1);     // relaxed because a test is one thread
  counters().success.store_relaxed(1);  // relaxed because a test is one thread
  link_.take(0, Ending::kSuccess);
  counters().settling.store_relaxed(  // relaxed because a test is one thread
      layout::pack_outcome(1, static_cast<std::uint8_t>(Ending::kSuccess)));
  EXPECT_EQ(ended().success, 1U);
}

TEST_F(FiguresOfADeadProducer, AnAnswerOfALifeWhoseMemoryIsGoneIsKeptByItsEntry) {
  link_.commit(0, kKind, 100);
  counters().sent.store_relaxed(1);  // relaxed because a test is one thread
  layout::PendingCopyValue entry;
  entry.version = 1;
  entry.sequence = 1;
  entry.state = PendingState::kFinal;
  entry.answer = static_cast<std::uint8_t>(AckCode::kPartialSuccess);
  layout::pending_publish(link_.tracking.entry(0).copies[1], entry);
  const EndedTotals totals = ended();
  EXPECT_EQ(totals.partial_success, 1U);
  EXPECT_EQ(totals.closed, 0U);
}

TEST_F(FiguresOfADeadProducer, AVerdictThatStoodBeforeTheAnswerIsTheOutcomeAndItsLetterStays) {
  link_.commit(0, kKind, 100);
  counters().sent.store_relaxed(1);  // relaxed because a test is one thread
  link_.decide(0, PendingState::kVerdict, VerdictReason::kRetries);
  FakeLink::answer(link_.life, 0, AckCode::kSuccess);
  const EndedTotals totals = ended();
  EXPECT_EQ(totals.exhausted, 1U);
  EXPECT_EQ(totals.success, 0U);
}

}  // namespace
}  // namespace ackbus::daemon
