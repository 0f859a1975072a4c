// PendingMessage: what is remembered of a message between its first send and its outcome. A plain
// value without a clock of its own: every question takes the time, so a test can ask about any
// moment. One thread at a time may change it.
#pragma once

#include <ackbus/message_id.hpp>
#include <ackbus/options.hpp>
#include <chrono>
#include <cstdint>

namespace ackbus {

// One message that has no outcome yet.
struct PendingMessage {
  using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC

  MessageId id;
  Kind kind = Kind::kReserved;  // as it was tracked
  Clock::time_point
      sent_at;  // the first send; a retry never moves it, so latency and age count from here
  Clock::time_point clock_started_at;  // when the timeout last began to run: first send, resend, or
                                       // sign of progress
  // Once the consumer has said Retrying: the moment beyond which that no longer keeps the message.
  Clock::time_point give_up_at = Clock::time_point::max();
  std::chrono::milliseconds timeout{0};  // from clock_started_at
  std::uint32_t retry_count = 0;  // retries used up, or reported by the consumer if that is more
  std::uint32_t max_retries = 0;  // retries granted
  std::uint32_t attempt = 1;      // deliveries so far, the first included

  // A message that was first sent at `now`, with nothing used up. Takes every value as it is.
  [[nodiscard]] static PendingMessage start(MessageId id, Kind kind,
                                            std::chrono::milliseconds timeout,
                                            std::uint32_t max_retries, Clock::time_point now);

  // Whether the timeout has passed by `now`; at the deadline itself it has. False while a resend
  // still lies ahead.
  [[nodiscard]] bool is_timed_out(Clock::time_point now) const;

  // Whether a retry is left: retry_count < max_retries.
  [[nodiscard]] bool can_retry() const;

  // The time since the first send; zero when `now` is earlier.
  [[nodiscard]] Clock::duration age(Clock::time_point now) const;
};

}  // namespace ackbus
