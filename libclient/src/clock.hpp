// The one clock of the bus: CLOCK_MONOTONIC in nanoseconds, the same in every process and across
// daemon restarts.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

namespace ackbus {

inline std::uint64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(time.tv_nsec);
}

// libstdc++'s steady_clock is CLOCK_MONOTONIC.
inline std::uint64_t to_ns(std::chrono::steady_clock::time_point time) {
  const auto since = time.time_since_epoch();
  const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
  return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}

}  // namespace ackbus
