// What the daemon and the library compute alike: how long to wait before a retry, and how far a
// producer's wishes go. Pure arithmetic over plain integers; nothing here keeps state, reads a
// clock or draws a random number, so every thread and process may call it and a test can try every
// value.
#pragma once

#include <cstdint>

namespace ackbus::layout {

// The default back-off: 100, 200, 400, 800, 1600, ... 25600, 30000 ms.
inline constexpr std::uint32_t kRetryBaseMs = 100;
inline constexpr std::uint32_t kRetryMaxMs = 30'000;

// The limits of what a producer or a configuration may ask for. A timeout of 0 would retry a
// message before anyone could answer it; one beyond a day would keep its slot longer than any
// operator watches.
inline constexpr std::uint32_t kTimeoutMinMs = 1;
inline constexpr std::uint32_t kTimeoutMaxMs = 24 * 60 * 60 * 1000;
inline constexpr std::uint32_t kRetriesMax = 1000;

static_assert(kRetryBaseMs <= kRetryMaxMs, "the cap may not undercut the first delay");
static_assert(kTimeoutMinMs <= kTimeoutMaxMs);

// How the delays before retries grow. Values from a configuration need no check: every combination
// gives a delay of at most `max_ms`, and a percentage above 100 counts as 100.
struct BackoffPolicy {
  std::uint32_t base_ms = kRetryBaseMs;
  std::uint32_t max_ms = kRetryMaxMs;
  std::uint32_t jitter_percent = 0;

  // The delay in milliseconds before retry `retry` (1 is the first): min(base_ms * 2^(retry - 1),
  // max_ms), as in docs/architecture.md#what-the-daemon-decides. Retry 0 is the first delivery,
  // which waits for nothing: 0. With jitter the delay is shortened by a share between 0 and
  // jitter_percent of it, so the formula stays the upper bound and the cap holds. `random_word` is
  // uniform over all 32-bit values and chooses the share: 0 shortens nothing, and the same word
  // gives the same delay.
  [[nodiscard]] constexpr std::uint32_t delay_ms(std::uint32_t retry,
                                                 std::uint32_t random_word = 0) const {
    const std::uint64_t full_ms = full_delay_ms(retry);
    const std::uint64_t percent = jitter_percent < 100 ? jitter_percent : 100;
    const std::uint64_t span_ms = full_ms * percent / 100;
    // The word scaled to 0..span_ms; a product of two values of at most 32 bits and 2^32 cannot
    // overflow 64 bits.
    const std::uint64_t shortened_ms = (random_word * (span_ms + 1)) >> 32;
    return static_cast<std::uint32_t>(full_ms - shortened_ms);
  }

 private:
  [[nodiscard]] constexpr std::uint64_t full_delay_ms(std::uint32_t retry) const {
    if (retry == 0 || base_ms == 0) {
      return 0;
    }
    const std::uint32_t doublings = retry - 1;
    if (doublings >=
        32) {  // 2^32 ms or more is beyond every max_ms, and the shift below stays defined.
      return max_ms;
    }
    const std::uint64_t delay = std::uint64_t{base_ms} << doublings;
    return delay < max_ms ? delay : max_ms;
  }
};

// The delay in milliseconds before retry `retry` under the default policy: min(100 * 2^(retry - 1),
// 30000); 0 for 0.
[[nodiscard]] constexpr std::uint32_t retry_delay_ms(std::uint32_t retry) {
  return BackoffPolicy{}.delay_ms(retry);
}

// A timeout asked for by a peer, in milliseconds, brought into kTimeoutMinMs..kTimeoutMaxMs.
[[nodiscard]] constexpr std::uint32_t clamp_timeout_ms(std::uint64_t timeout_ms) {
  if (timeout_ms < kTimeoutMinMs) {
    return kTimeoutMinMs;
  }
  return timeout_ms > kTimeoutMaxMs ? kTimeoutMaxMs : static_cast<std::uint32_t>(timeout_ms);
}

// A number of retries asked for by a peer, brought into 0..kRetriesMax.
[[nodiscard]] constexpr std::uint32_t clamp_retries(std::uint64_t retries) {
  return retries > kRetriesMax ? kRetriesMax : static_cast<std::uint32_t>(retries);
}

}  // namespace ackbus::layout
