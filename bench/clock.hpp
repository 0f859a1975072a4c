// The clock of every measurement: CLOCK_MONOTONIC in nanoseconds, as the bus itself uses.
#pragma once

#include <time.h>

#include <cstdint>

namespace ackbus::bench {

inline std::uint64_t clock_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace ackbus::bench
