// What a pending message says about its time and its retries, under a virtual clock.
#include <ackbus/pending_message.hpp>
//
#include <gtest/gtest.h>

#include <chrono>

namespace ackbus {
namespace {

using namespace std::chrono_literals;

const PendingMessage::Clock::time_point kStart{1h};

PendingMessage started() {
  return PendingMessage::start(MessageId::create(), Kind::kComputeForces, 5s, 2, kStart);
}

TEST(PendingMessage, StartsWithNothingUsedUp) {
  const MessageId id = MessageId::create();
  const PendingMessage message = PendingMessage::start(id, Kind::kComputeForces, 5s, 2, kStart);
  EXPECT_EQ(message.id, id);
  EXPECT_EQ(message.kind, Kind::kComputeForces);
  EXPECT_EQ(message.sent_at, kStart);
  EXPECT_EQ(message.timeout, 5s);
  EXPECT_EQ(message.retry_count, 0U);
  EXPECT_EQ(message.max_retries, 2U);
  EXPECT_EQ(message.attempt, 1U);
}

TEST(PendingMessage, IsTimedOutFromItsDeadlineOn) {
  const PendingMessage message = started();
  EXPECT_FALSE(message.is_timed_out(kStart));
  EXPECT_FALSE(message.is_timed_out(kStart + 5s - 1ns));
  EXPECT_TRUE(message.is_timed_out(kStart + 5s));
  EXPECT_TRUE(message.is_timed_out(kStart + 24h));
}

TEST(PendingMessage, IsNotTimedOutBeforeItsClockStarts) {
  PendingMessage message = started();
  message.clock_started_at = kStart + 30s;
  EXPECT_FALSE(message.is_timed_out(kStart + 10s));
  EXPECT_TRUE(message.is_timed_out(kStart + 35s));
}

TEST(PendingMessage, CanRetryWhileRetriesAreLeft) {
  PendingMessage message = started();
  EXPECT_TRUE(message.can_retry());
  message.retry_count = 1;
  EXPECT_TRUE(message.can_retry());
  message.retry_count = 2;
  EXPECT_FALSE(message.can_retry());
  message.max_retries = 0;
  message.retry_count = 0;
  EXPECT_FALSE(message.can_retry());
}

TEST(PendingMessage, HasAnAgeThatCountsFromTheFirstSend) {
  PendingMessage message = started();
  message.clock_started_at = kStart + 8s;
  EXPECT_EQ(message.age(kStart + 10s), 10s);
  EXPECT_EQ(message.age(kStart), 0s);
}

TEST(PendingMessage, HasNoNegativeAge) { EXPECT_EQ(started().age(kStart - 1s), 0s); }

}  // namespace
}  // namespace ackbus
