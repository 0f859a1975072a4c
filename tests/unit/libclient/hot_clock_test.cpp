// The hot path's clock against the system's.
#include "libclient/src/hot_clock.hpp"

#include <gtest/gtest.h>

namespace ackbus {
namespace {

constexpr int kLooks = 2'000'000;  // long enough for several calibrations

void expect_the_system_time(HotClock clock) {
  std::uint64_t last = 0;
  for (int i = 0; i < kLooks; ++i) {
    const std::uint64_t before = now_ns();
    const std::uint64_t told = clock.now_ns();
    const std::uint64_t after = now_ns();
    ASSERT_GE(told, last) << "it went back at look " << i;
    // Whatever delays this process lies between the two looks of the system's clock.
    ASSERT_GE(told + 5'000, before) << i;
    ASSERT_LE(told, after + 5'000) << i;
    last = told;
  }
}

TEST(HotClock, TellsTheSystemsTimeAndNeverGoesBack) { expect_the_system_time(HotClock()); }

TEST(HotClock, AsksTheSystemWhereTheCounterIsNotTrusted) {
  expect_the_system_time(HotClock(false));
}

}  // namespace
}  // namespace ackbus
