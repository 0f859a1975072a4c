// Taking messages from a queue and answering them. See examples/consumer.cpp for the twenty lines
// that matter.
//
//   observe/begin: take()      process: yours      ack: ack(), or nack() to give it back,
//   progress() while it lasts
//
// Threads: a handle is used by one thread at a time, or by several when
// ConnectOptions::shared_between_threads is set. One consumer of a queue is active; others stand by
// and take over when its process has ended. Payloads lie in the producer's memory, which the
// producer can still write: copy, then validate, then use.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/message_id.hpp>
#include <ackbus/options.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ackbus {

using Deadline = std::chrono::steady_clock::time_point;  // CLOCK_MONOTONIC

// A message that this process has begun. Answer it exactly once with ack() or nack().
struct Delivery {
  std::uint64_t link = 0;
  std::uint64_t sequence = 0;
  std::uint32_t slot = 0;
  std::uint32_t attempt = 1;
  Kind kind = Kind::kReserved;
  bool tracked = true;
  bool may_have_run = false;  // an earlier attempt or life may have begun it
  bool alone = false;  // nothing else runs here meanwhile: it may be what earlier lives died of
  std::uint64_t key = 0;
  std::uint64_t sent_ns = 0;  // CLOCK_MONOTONIC at commit
  MessageId id;               // nil for a first delivery unless asked for with Consumer::id()
  // The payload where it lies. Small ones (up to 64 bytes) are a private copy, valid until the
  // answer.
  std::span<const std::byte> payload;
  std::uint32_t link_index = 0;  // the library's own
};

enum class AckStatus : std::uint8_t { kSuccess = 1, kPartialSuccess = 2, kFailed = 3 };

// An answer: text is the reason of a PartialSuccess or the error of a Failed. Text and metadata
// share 512 bytes; what does not fit is cut and flagged.
struct Answer {
  AckStatus status = AckStatus::kSuccess;
  std::string_view text;
  std::span<const std::pair<std::string, std::string>> metadata;
};

// A state or frames segment of this consumer's life, writable by this process alone.
class Segment {
 public:
  Segment() = default;
  Segment(std::shared_ptr<void> mapping, std::span<std::byte> bytes)
      : mapping_(std::move(mapping)), bytes_(bytes) {}
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::shared_ptr<void> mapping_;
  std::span<std::byte> bytes_;
};

enum class SegmentKind : std::uint8_t { kState, kFrames };

struct ConsumerStatistics {
  std::uint64_t begun = 0;
  std::uint64_t acked = 0;
  std::uint64_t given_back = 0;
  std::uint64_t skipped = 0;     // cancelled, superseded or ended by a verdict before they ran
  std::uint64_t duplicates = 0;  // redeliveries of what was finished or running
  std::uint64_t links = 0;
  std::uint64_t epoch = 0;  // of this life; 0 while standing by
};

class Consumer {
 public:
  // Connects and asks for the queue. Returns when the daemon has answered: active or standing by.
  // Errors: kNoDaemon, kPermission, kVersion, kQuota, kInvalid, kTimeout.
  [[nodiscard]] static Result<Consumer> connect(const ConsumerOptions& options);

  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  // Ends this process's life as the consumer: what it had begun and not answered goes to the next
  // one, and counts as no death. A process that only disappears is waited for, and killed when its
  // socket closes but it does not end.
  ~Consumer();

  // The next message, begun. nullopt when the deadline passed. Errors: kClosed (the queue was
  // removed), kForked.
  [[nodiscard]] Result<std::optional<Delivery>> take(Deadline deadline);
  // Answers for good. Errors: kNotFound when it is not running here (answered before, or its link
  // is gone).
  [[nodiscard]] Result<void> ack(const Delivery& delivery, const Answer& answer = {});
  // Gives it back for a later attempt: after `delay`, or after the policy's backoff when it is
  // zero.
  [[nodiscard]] Result<void> nack(const Delivery& delivery, std::chrono::milliseconds delay = {});
  // Still at work: restarts the deadline. `retries` is the consumer's own count of internal
  // retries, 0 if none.
  [[nodiscard]] Result<void> progress(const Delivery& delivery, std::uint32_t retries = 0);
  // The message id of a delivery, from its descriptor; nil when its slot holds something else by
  // now.
  [[nodiscard]] MessageId id(const Delivery& delivery) const;

  [[nodiscard]] bool active() const;  // false while standing by
  // Whether the producer asked that this delivery be dropped meanwhile; answering it stays
  // required.
  [[nodiscard]] bool cancelled(const Delivery& delivery) const;
  // Readable (epoll, poll) when take() has something to do.
  [[nodiscard]] int fd() const;
  [[nodiscard]] ConsumerStatistics statistics() const;

  // A new segment of this life, zeroed. It replaces the published one when publish_segment() is
  // called. Errors: kMemory, kQuota, kDisconnected, kTimeout.
  [[nodiscard]] Result<Segment> create_segment(SegmentKind kind, std::uint64_t bytes,
                                               Deadline deadline);
  [[nodiscard]] Result<void> publish_segment(SegmentKind kind, Deadline deadline);
  // The predecessor's published state, read-only; nullopt when there is none. Valid once active().
  [[nodiscard]] std::optional<std::span<const std::byte>> predecessor_state() const;

 private:
  explicit Consumer(std::unique_ptr<struct ConsumerCore> core);
  std::unique_ptr<struct ConsumerCore> core_;
};

}  // namespace ackbus
