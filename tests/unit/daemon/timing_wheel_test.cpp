// The timing wheel: fires in time, never early, and agrees with a sorted map under random
// operations. Virtual time only.
#include "daemon/timing_wheel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

using Fired = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

TimingWheel::Callback into(Fired& fired) {
  return [&fired](std::uint64_t key, std::uint64_t deadline_ns) {
    fired.emplace_back(key, deadline_ns);
  };
}

TEST(TimingWheel, FiresAtTheTickThatFollowsTheDeadlineAndNeverBefore) {
  TimingWheel wheel(4, kMs, 0);
  Fired fired;
  ASSERT_TRUE(wheel.arm(7, 5 * kMs + 1));
  EXPECT_EQ(wheel.advance(5 * kMs + 1, into(fired)), 0U);
  EXPECT_EQ(wheel.advance(6 * kMs - 1, into(fired)), 0U);
  EXPECT_EQ(wheel.advance(6 * kMs, into(fired)), 1U);
  EXPECT_EQ(fired, (Fired{{7, 5 * kMs + 1}}));
  EXPECT_EQ(wheel.size(), 0U);
}

TEST(TimingWheel, FiresExactlyAtADeadlineThatIsAWholeTick) {
  TimingWheel wheel(4, kMs, 0);
  Fired fired;
  ASSERT_TRUE(wheel.arm(7, 100 * kMs));
  EXPECT_EQ(wheel.advance(100 * kMs - 1, into(fired)), 0U);
  EXPECT_EQ(wheel.advance(100 * kMs, into(fired)), 1U);
}

TEST(TimingWheel, APastDeadlineFiresAtTheNextAdvance) {
  TimingWheel wheel(4, kMs, 1000 * kMs);
  Fired fired;
  ASSERT_TRUE(wheel.arm(1, 3));
  ASSERT_TRUE(wheel.next_deadline_ns().has_value());
  EXPECT_LE(*wheel.next_deadline_ns(), 1000 * kMs);
  EXPECT_EQ(wheel.advance(1000 * kMs, into(fired)), 1U);
}

TEST(TimingWheel, ArmingAgainReplacesTheDeadlineBothWays) {
  TimingWheel wheel(2, kMs, 0);
  Fired fired;
  ASSERT_TRUE(wheel.arm(1, 10 * kMs));
  ASSERT_TRUE(wheel.arm(1, 5000 * kMs));
  EXPECT_EQ(wheel.size(), 1U);
  EXPECT_EQ(wheel.advance(4999 * kMs, into(fired)), 0U);
  ASSERT_TRUE(wheel.arm(1, 5001 * kMs));
  ASSERT_TRUE(wheel.arm(1, 5000 * kMs));
  EXPECT_EQ(wheel.advance(5000 * kMs, into(fired)), 1U);
  EXPECT_EQ(wheel.advance(9000 * kMs, into(fired)), 0U);
}

TEST(TimingWheel, ACancelledKeyNeverFires) {
  TimingWheel wheel(2, kMs, 0);
  Fired fired;
  ASSERT_TRUE(wheel.arm(1, 10 * kMs));
  EXPECT_TRUE(wheel.cancel(1));
  EXPECT_FALSE(wheel.cancel(1));
  EXPECT_EQ(wheel.advance(20 * kMs, into(fired)), 0U);
  EXPECT_FALSE(wheel.next_deadline_ns().has_value());
  EXPECT_FALSE(wheel.deadline_of(1).has_value());
}

TEST(TimingWheel, RefusesANewKeyWhenFullAndStillReplacesAnOldOne) {
  TimingWheel wheel(2, kMs, 0);
  Fired fired;
  ASSERT_TRUE(wheel.arm(1, 10 * kMs));
  ASSERT_TRUE(wheel.arm(2, 10 * kMs));
  EXPECT_FALSE(wheel.arm(3, 10 * kMs));
  EXPECT_TRUE(wheel.arm(2, 20 * kMs));
  EXPECT_TRUE(wheel.cancel(1));
  EXPECT_TRUE(wheel.arm(3, 10 * kMs));
  EXPECT_EQ(wheel.advance(20 * kMs, into(fired)), 2U);
}

TEST(TimingWheel, NextDeadlineIsExactWithoutACascadeInBetween) {
  TimingWheel wheel(4, kMs, 0);
  const std::uint64_t hour_ns = 3600 * 1000 * kMs;
  ASSERT_TRUE(wheel.arm(1, hour_ns + 17 * kMs));
  ASSERT_TRUE(wheel.arm(2, hour_ns + 12 * kMs));
  EXPECT_EQ(wheel.next_deadline_ns(), hour_ns + 12 * kMs);
}

TEST(TimingWheel, ACallbackMayCancelWhatIsStillToFire) {
  TimingWheel wheel(8, kMs, 0);
  for (std::uint64_t key = 0; key < 8; ++key) {
    ASSERT_TRUE(wheel.arm(key, 3 * kMs));
  }
  std::set<std::uint64_t> fired;
  wheel.advance(3 * kMs, [&](std::uint64_t key, std::uint64_t) {
    fired.insert(key);
    wheel.cancel(key ^ 1U);
  });
  EXPECT_EQ(fired.size(), 4U);
  EXPECT_EQ(wheel.size(), 0U);
}

TEST(TimingWheel, WhatACallbackArmsInThePastFiresOnceAtTheNextTick) {
  TimingWheel wheel(2, kMs, 0);
  ASSERT_TRUE(wheel.arm(1, 3 * kMs));
  const TimingWheel::Callback again = [&](std::uint64_t key, std::uint64_t) {
    ASSERT_TRUE(wheel.arm(key, 0));
  };
  EXPECT_EQ(wheel.advance(1000 * kMs, again), 1U);
  EXPECT_EQ(wheel.advance(1000 * kMs, again), 0U);
  EXPECT_EQ(wheel.advance(1001 * kMs, again), 1U);
}

TEST(TimingWheel, TimeThatRunsBackwardsFiresNothing) {
  TimingWheel wheel(2, kMs, 100 * kMs);
  Fired fired;
  ASSERT_TRUE(wheel.arm(1, 101 * kMs));
  EXPECT_EQ(wheel.advance(50 * kMs, into(fired)), 0U);
  EXPECT_EQ(wheel.advance(101 * kMs, into(fired)), 1U);
}

TEST(TimingWheel, TakesTheLastDeadlineOfTheClock) {
  TimingWheel wheel(2, kMs, 0);
  ASSERT_TRUE(wheel.arm(1, UINT64_MAX));
  Fired fired;
  EXPECT_EQ(wheel.advance(UINT64_MAX / 2, into(fired)), 0U);
  EXPECT_EQ(wheel.next_deadline_ns(), UINT64_MAX);
}

TEST(TimingWheel, HoldsAHundredThousandEntriesAndFiresEachOnce) {
  constexpr std::uint64_t kEntries = 100'000;
  TimingWheel wheel(kEntries, kMs, 0);
  for (std::uint64_t i = 0; i < kEntries; ++i) {
    ASSERT_TRUE(wheel.arm(i << 32 | i, (i * 7919 % 30'000) * kMs));
  }
  std::set<std::uint64_t> fired;
  for (std::uint64_t now_ms = 0; now_ms <= 30'000; now_ms += 13) {
    wheel.advance(now_ms * kMs, [&](std::uint64_t key, std::uint64_t) { fired.insert(key); });
  }
  wheel.advance(30'001 * kMs, [&](std::uint64_t key, std::uint64_t) { fired.insert(key); });
  EXPECT_EQ(fired.size(), kEntries);
}

/// The oracle: deadlines by key in a sorted map, with the wheel's promises checked at each step.
class Oracle {
 public:
  explicit Oracle(std::uint64_t seed) : random_(seed), wheel_(kCapacity, kMs, now_ns_) {}

  void step() {
    switch (random_() % 8) {
      case 0:
        cancel();
        break;
      case 1:
      case 2:
        advance();
        break;
      default:
        arm();
    }
    check_next_deadline();
    ASSERT_EQ(wheel_.size(), deadlines_.size());
  }

 private:
  static constexpr std::size_t kCapacity = 300;

  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::uint64_t any_key() { return below(500) << 32 | below(2); }
  /// Spans of very different length, so that every level up to a day is used.
  std::uint64_t any_span_ns() { return below(std::uint64_t{1} << (10 + below(37))); }

  void arm() {
    const std::uint64_t key = any_key();
    const std::uint64_t deadline_ns = below(10) == 0 ? below(now_ns_ + 1) : now_ns_ + any_span_ns();
    const bool fits = deadlines_.count(key) == 1 || deadlines_.size() < kCapacity;
    ASSERT_EQ(wheel_.arm(key, deadline_ns), fits);
    if (fits) {
      deadlines_[key] = deadline_ns;
    }
  }

  void cancel() {
    const std::uint64_t key = any_key();
    ASSERT_EQ(wheel_.cancel(key), deadlines_.erase(key) == 1);
  }

  void advance() {
    now_ns_ += below(std::uint64_t{1} << (10 + below(30)));
    std::map<std::uint64_t, std::uint64_t> fired;
    wheel_.advance(now_ns_, [&](std::uint64_t key, std::uint64_t deadline_ns) {
      EXPECT_LE(deadline_ns, now_ns_) << "fired early";
      EXPECT_TRUE(fired.emplace(key, deadline_ns).second) << "fired twice";
    });
    for (const auto& [key, deadline_ns] : fired) {
      auto found = deadlines_.find(key);
      ASSERT_TRUE(found != deadlines_.end());
      EXPECT_EQ(found->second, deadline_ns);
      deadlines_.erase(found);
    }
    for (const auto& [key, deadline_ns] : deadlines_) {
      EXPECT_GT(deadline_ns + kMs, now_ns_) << "more than a tick late: key " << key;
    }
  }

  void check_next_deadline() {
    const auto next = wheel_.next_deadline_ns();
    ASSERT_EQ(next.has_value(), !deadlines_.empty());
    if (next) {
      const auto earliest = std::min_element(deadlines_.begin(), deadlines_.end(),
                                             [](auto& a, auto& b) { return a.second < b.second; });
      ASSERT_LT(*next, std::max(earliest->second, now_ns_) + kMs);
    }
  }

  std::mt19937_64 random_;
  std::uint64_t now_ns_ = 1'700'000'000 * kMs + 123;
  TimingWheel wheel_;
  std::map<std::uint64_t, std::uint64_t> deadlines_;
};

TEST(TimingWheel, AgreesWithASortedMapUnderRandomOperations) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  for (std::uint64_t run = 0; run < 20; ++run) {
    Oracle oracle(seed + run);
    for (int i = 0; i < 3000; ++i) {
      oracle.step();
      ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed + run << " step " << i;
    }
  }
}

}  // namespace
}  // namespace ackbus::daemon
