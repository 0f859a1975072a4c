// A limit on how often something may be done: so many a second. A plain value; the clock is given.
// A window begins with the first use after the one before has ended, so two windows' worth may come
// close together, never more.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ackbus::daemon {

struct SecondWindow {
  static constexpr std::uint64_t kLengthNs = 1'000'000'000;

  std::uint64_t start_ns = 0;
  std::uint64_t used = 0;

  /// How many of `wanted` may be done at `now_ns` (CLOCK_MONOTONIC), at most `limit` a window; they
  /// count as done.
  [[nodiscard]] std::uint64_t take(std::uint64_t wanted, std::uint64_t limit,
                                   std::uint64_t now_ns) {
    if (start_ns == 0 || now_ns - std::min(start_ns, now_ns) >= kLengthNs) {
      start_ns = now_ns;
      used = 0;
    }
    const std::uint64_t granted = std::min(wanted, limit - std::min(used, limit));
    used += granted;
    return granted;
  }
};

}  // namespace ackbus::daemon
