// The retry delays and the clamping of hostile wishes, at their edges.
#include "shm_layout/policy.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace ackbus::layout {
namespace {

constexpr std::uint32_t kLargest = std::numeric_limits<std::uint32_t>::max();

TEST(RetryDelay, OfRetries1To12FollowsTheFormula) {
  const std::vector<std::uint32_t> expected_ms = {100,  200,   400,   800,   1600,  3200,
                                                  6400, 12800, 25600, 30000, 30000, 30000};
  for (std::uint32_t retry = 1; retry <= expected_ms.size(); ++retry) {
    EXPECT_EQ(retry_delay_ms(retry), expected_ms[retry - 1]) << "retry " << retry;
  }
}

TEST(RetryDelay, OfRetry0IsZeroBecauseTheFirstDeliveryWaitsForNothing) {
  EXPECT_EQ(retry_delay_ms(0), 0U);
}

TEST(RetryDelay, OfTheLargestRetryIsTheCapWithoutOverflow) {
  EXPECT_EQ(retry_delay_ms(kLargest), kRetryMaxMs);
}

TEST(RetryDelay, NeverFallsAsRetriesGrow) {
  for (std::uint32_t retry = 1; retry < 200; ++retry) {
    EXPECT_LE(retry_delay_ms(retry), retry_delay_ms(retry + 1)) << "retry " << retry;
  }
}

TEST(RetryDelay, IsKnownAtCompileTime) {
  static_assert(retry_delay_ms(4) == 800);
  static_assert(BackoffPolicy{10, 50, 0}.delay_ms(9) == 50);
}

TEST(Backoff, OfAConfiguredPolicyDoublesFromItsBaseToItsCap) {
  const BackoffPolicy policy{7, 50, 0};
  EXPECT_EQ(policy.delay_ms(1), 7U);
  EXPECT_EQ(policy.delay_ms(2), 14U);
  EXPECT_EQ(policy.delay_ms(3), 28U);
  EXPECT_EQ(policy.delay_ms(4), 50U);
}

TEST(Backoff, OfExtremeConfigurationsStaysWithinTheCap) {
  for (const std::uint32_t retry : {0U, 1U, 2U, 31U, 32U, 33U, 34U, 64U, kLargest}) {
    EXPECT_EQ((BackoffPolicy{0, kLargest, 0}.delay_ms(retry)), 0U) << "retry " << retry;
    EXPECT_EQ((BackoffPolicy{kLargest, 0, 0}.delay_ms(retry)), 0U) << "retry " << retry;
    EXPECT_EQ((BackoffPolicy{kLargest, kLargest, 0}.delay_ms(retry)), retry == 0 ? 0 : kLargest);
  }
  EXPECT_EQ((BackoffPolicy{1, kLargest, 0}.delay_ms(32)), 1U << 31);
  EXPECT_EQ((BackoffPolicy{1, kLargest, 0}.delay_ms(33)), kLargest);
}

TEST(Backoff, JitterShortensByAtMostItsShareAndReachesBothEnds) {
  const BackoffPolicy policy{1000, 30000, 20};
  EXPECT_EQ(policy.delay_ms(1, 0), 1000U);
  EXPECT_EQ(policy.delay_ms(1, kLargest), 800U);
  EXPECT_EQ(policy.delay_ms(1, 1U << 31), 900U);
}

TEST(Backoff, JitterIsDeterministicAndStaysInItsRangeForAnyWord) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const BackoffPolicy policy{100, 30000, 50};
  for (int i = 0; i < 10'000; ++i) {
    const auto retry = static_cast<std::uint32_t>(random() % 20);
    const auto word = static_cast<std::uint32_t>(random());
    const std::uint32_t delay_ms = policy.delay_ms(retry, word);
    EXPECT_EQ(delay_ms, policy.delay_ms(retry, word));
    EXPECT_LE(delay_ms, retry_delay_ms(retry));
    EXPECT_GE(delay_ms, retry_delay_ms(retry) / 2);
  }
}

TEST(Backoff, JitterBeyondAHundredPercentCountsAsAHundred) {
  const BackoffPolicy policy{kLargest, kLargest, kLargest};
  EXPECT_EQ(policy.delay_ms(1, 0), kLargest);
  EXPECT_EQ(policy.delay_ms(1, kLargest), 0U);
}

TEST(Clamping, BringsAHostileTimeoutIntoOneMillisecondToADay) {
  EXPECT_EQ(clamp_timeout_ms(0), kTimeoutMinMs);
  EXPECT_EQ(clamp_timeout_ms(1), 1U);
  EXPECT_EQ(clamp_timeout_ms(5000), 5000U);
  EXPECT_EQ(clamp_timeout_ms(kTimeoutMaxMs), 86'400'000U);
  EXPECT_EQ(clamp_timeout_ms(std::uint64_t{kTimeoutMaxMs} + 1), kTimeoutMaxMs);
  EXPECT_EQ(clamp_timeout_ms(std::uint64_t{1} << 32), kTimeoutMaxMs);
  EXPECT_EQ(clamp_timeout_ms(std::numeric_limits<std::uint64_t>::max()), kTimeoutMaxMs);
}

TEST(Clamping, BringsHostileRetriesIntoZeroToAThousand) {
  EXPECT_EQ(clamp_retries(0), 0U);
  EXPECT_EQ(clamp_retries(1000), 1000U);
  EXPECT_EQ(clamp_retries(1001), kRetriesMax);
  EXPECT_EQ(clamp_retries(std::uint64_t{1} << 32), kRetriesMax);
  EXPECT_EQ(clamp_retries(std::numeric_limits<std::uint64_t>::max()), kRetriesMax);
}

}  // namespace
}  // namespace ackbus::layout
