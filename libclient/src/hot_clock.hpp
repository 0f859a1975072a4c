// The clock of the hot path: CLOCK_MONOTONIC, told from the processor's time-stamp counter. The
// system's own read waits for every load before it (about 16 ns, and loads of the peer's lines no
// longer overlap); this one does not (about 7 ns). Where the counter is not to be trusted it is the
// system's read. Threads: a clock belongs to a handle and is guarded as the handle is.
#pragma once

#include <cstdint>

#include "libclient/src/clock.hpp"

namespace ackbus {

class HotClock {
 public:
  // With `trusted` false every call asks the system.
  explicit HotClock(bool trusted = counter_is_trusted()) : trusted_(trusted) {}

  // Nanoseconds of CLOCK_MONOTONIC, never less than told before by this clock. The system is asked
  // again after kKeptNs at the latest, so an error of the rate (700 ppm at most: see kPairTicksMax
  // and what the kernel slews by) never grows beyond 100 ns.
  [[nodiscard]] std::uint64_t now_ns() {
#if defined(__x86_64__)
    const std::uint64_t since = __builtin_ia32_rdtsc() - base_ticks_;
    if (since < kept_ticks_) {
      return base_ns_ + (since * ns_per_tick_ >> kShift);
    }
#endif
    return ask_system();
  }

  // Whether the kernel itself keeps time by the counter: then it is invariant and the same on every
  // core.
  [[nodiscard]] static bool counter_is_trusted();

 private:
  static constexpr std::uint64_t kKeptNs = 50'000;
  static constexpr int kShift = 32;

  std::uint64_t ask_system();
  void calibrate(std::uint64_t ticks, std::uint64_t ns);

  std::uint64_t base_ticks_ = 0;
  std::uint64_t base_ns_ = 0;
  std::uint64_t kept_ticks_ = 0;   // 0: no rate is known yet
  std::uint64_t ns_per_tick_ = 0;  // times 2^kShift
  std::uint64_t anchor_ticks_ = 0;
  std::uint64_t anchor_ns_ = 0;
  bool trusted_;
};

}  // namespace ackbus
