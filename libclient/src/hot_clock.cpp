#include "libclient/src/hot_clock.hpp"

#include <algorithm>
#include <fstream>
#include <string>

namespace ackbus {
namespace {

// A rate is taken over at least and at most so long: shorter is inexact, longer may hold a suspend.
constexpr std::uint64_t kCalibrationMinNs = 1'000'000;
constexpr std::uint64_t kCalibrationMaxNs = 1'000'000'000;
// Counter and clock are read one after the other; more than this between them, and the pair is of
// no use.
constexpr std::uint64_t kPairTicksMax = 2'000;
// Slower and faster counters than these do not exist; it keeps the product within 64 bits.
constexpr std::uint64_t kTicksPerUsMin = 100;
constexpr std::uint64_t kTicksPerUsMax = 20'000;

std::uint64_t read_ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

}  // namespace

bool HotClock::counter_is_trusted() {
#if defined(__x86_64__)
  static const bool trusted = [] {
    std::ifstream file("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    std::string source;
    return file >> source && source == "tsc";
  }();
  return trusted;
#else
  return false;
#endif
}

std::uint64_t HotClock::ask_system() {
  if (!trusted_) {
    return ackbus::now_ns();
  }
  const std::uint64_t before = read_ticks();
  const std::uint64_t ns =
      std::max(ackbus::now_ns(), base_ns_ + (kept_ticks_ * ns_per_tick_ >> kShift));
  const std::uint64_t ticks = read_ticks();
  if (ticks - before > kPairTicksMax) {  // Interrupted in between.
    return ns;
  }
  calibrate(ticks, ns);
  base_ticks_ = ticks;
  base_ns_ = ns;
  return ns;
}

void HotClock::calibrate(std::uint64_t ticks, std::uint64_t ns) {
  const std::uint64_t past_ns = ns - anchor_ns_;
  if (anchor_ns_ != 0 && past_ns < kCalibrationMinNs) {
    return;
  }
  const std::uint64_t past_us = past_ns / 1000;
  const std::uint64_t past_ticks = ticks - anchor_ticks_;
  if (anchor_ns_ != 0 && past_ns <= kCalibrationMaxNs && past_ticks > past_us * kTicksPerUsMin &&
      past_ticks < past_us * kTicksPerUsMax) {
    ns_per_tick_ = (past_ns << kShift) / past_ticks;
    kept_ticks_ = kKeptNs * past_ticks / past_ns;
  }
  anchor_ticks_ = ticks;
  anchor_ns_ = ns;
}

}  // namespace ackbus
