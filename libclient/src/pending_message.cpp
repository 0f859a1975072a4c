// The questions that a pending message answers. No state, no threads.
#include <ackbus/pending_message.hpp>
#include <algorithm>

namespace ackbus {

PendingMessage PendingMessage::start(MessageId id, Kind kind, std::chrono::milliseconds timeout,
                                     std::uint32_t max_retries, Clock::time_point now) {
  PendingMessage message;
  message.id = id;
  message.kind = kind;
  message.sent_at = now;
  message.clock_started_at = now;
  message.timeout = timeout;
  message.max_retries = max_retries;
  return message;
}

bool PendingMessage::is_timed_out(Clock::time_point now) const {
  return now - clock_started_at >= timeout;
}

bool PendingMessage::can_retry() const { return retry_count < max_retries; }

PendingMessage::Clock::duration PendingMessage::age(Clock::time_point now) const {
  return std::max(now - sent_at, Clock::duration::zero());
}

}  // namespace ackbus
