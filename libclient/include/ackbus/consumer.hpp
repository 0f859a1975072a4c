// Taking messages from a queue and answering them. See examples/consumer.cpp for the twenty lines
// that matter.
//
//   observe/begin: take()      process: yours      ack: ack(), or nack() to give it back,
//   progress() while it lasts
//
// Threads: a handle is used by one thread at a time, or by several when
// ConnectOptions::shared_between_threads is set. One consumer of a queue is active; others stand by
// and take over when its process has ended. Payloads lie in the producer's memory, which the
// producer can still write: copy, then validate, then use. There are no hidden threads: links,
// lives and a new daemon are noticed inside take(), fd() and the two segment calls.
//
// Fork: a handle belongs to the process that made it. In a child, calls that return a Result fail
// with kForked; the others say what they give there.
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

// A message that this process has begun. Answer it exactly once with ack() or nack(), also an
// untracked one: until then it counts for ConsumerOptions::max_running. A plain value; what the
// producer wrote (key, kind, times, payload) is as true as the producer is.
struct Delivery {
  std::uint64_t link = 0;      // the link's number, as in `ackbus status`
  std::uint64_t sequence = 0;  // the message's number on its link: 1, 2, 3 ...
  std::uint32_t slot = 0;      // where `ackbus show` finds it
  // 1 at first, one more for each later attempt: after a timeout, a nack(), or the end of a
  // consumer that had begun it. A message that nobody had begun keeps its number.
  std::uint32_t attempt = 1;
  Kind kind = Kind::kReserved;  // 1 to 63
  bool tracked = true;          // false: posted; nobody waits for its outcome, nothing retries it
  bool may_have_run = false;    // an earlier attempt or life may have begun it
  bool alone = false;     // nothing else runs here meanwhile: it may be what earlier lives died of
  std::uint64_t key = 0;  // SendOptions::key; 0 is none
  std::uint64_t sent_ns = 0;  // CLOCK_MONOTONIC at commit, in nanoseconds, by the producer's word
  MessageId id;               // nil: take() does not read it; Consumer::id() does
  // The payload where it lies; up to 64 bytes are a private copy. Valid until the answer,
  // also when its link is gone meanwhile; answer it then too (ack() says kNotFound), for the link's
  // memory stays until all that ran there is answered.
  std::span<const std::byte> payload;
  std::uint32_t link_index = 0;  // the library's own: leave these two as they are
  std::uint32_t link_added = 0;
};

// How a message ended. All three are final; nothing is retried after them.
enum class AckStatus : std::uint8_t {
  kSuccess = 1,         // done
  kPartialSuccess = 2,  // done with a restriction, in Answer::text; counted as a success
  kFailed = 3,          // cannot be done, why is in Answer::text; sending it again would not help
};

// An answer. Only read during ack(), which copies what it points to. Text and metadata share 512
// bytes; what does not fit is cut, the text first to what is there, then whole pairs from the end,
// and Outcome::text_cut() says so.
struct Answer {
  AckStatus status = AckStatus::kSuccess;
  std::string_view text;  // reason of a PartialSuccess, error of a Failed; may be empty
  // Names and values beside it, in this order. Each pair costs its bytes and 4 more.
  std::span<const std::pair<std::string, std::string>> metadata;
};

// Memory that a consumer publishes beside its queue: of create_segment() writable by this process
// alone, of Tool::open_segment() read-only, where a write ends the process. Copies share it; it is
// unmapped with the last of them. Any thread may use the bytes; ordering them is the user's.
class Segment {
 public:
  Segment() = default;  // empty
  // The library's own: `mapping` keeps `bytes` alive.
  Segment(std::shared_ptr<void> mapping, std::span<std::byte> bytes)
      : mapping_(std::move(mapping)), bytes_(bytes) {}
  // All of it; empty for a default Segment. Valid as long as a copy of this Segment.
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::shared_ptr<void> mapping_;
  std::span<std::byte> bytes_;
};

// The two segments that a queue may have published; a consumer writes none, one or both.
enum class SegmentKind : std::uint8_t {
  kState,   // what the next consumer of the queue starts from: predecessor_state()
  kFrames,  // what others look at while the consumer works
};

// Figures of this handle since it connected, over all of its lives; each counts messages unless
// said. Messages begun and not answered in a life that ended stay in begun.
struct ConsumerStatistics {
  std::uint64_t begun = 0;       // deliveries that take() gave
  std::uint64_t acked = 0;       // answered with ack(), whatever the status
  std::uint64_t given_back = 0;  // with nack()
  std::uint64_t skipped = 0;     // cancelled, superseded or ended by a verdict before they ran
  std::uint64_t duplicates = 0;  // redeliveries of what was finished or running
  std::uint64_t links = 0;       // producers' links at this moment
  std::uint64_t epoch = 0;       // of this life; 0 while standing by
  // Lives that began here. Another life may have the same epoch, after a daemon that lost its
  // memory, and take() does not return in between: this tells them apart.
  std::uint64_t lives = 0;
};

// One process's place at a queue. Moved, never copied; of a handle that was moved from nothing but
// destroying it and assigning to it is allowed.
class Consumer {
 public:
  // Connects and asks for the queue. Returns when the daemon has answered: active or standing by.
  // Errors: kInvalid (max_running 0, a name or path that is too long), kNoDaemon, kPermission (not
  // admitted to the queue, or it has an active consumer and `standby` is false), kNotFound (no such
  // queue), kVersion, kQuota, kMemory, kTimeout (after connect_timeout), kDisconnected (the daemon
  // hung up meanwhile), kProtocol, kSystem.
  [[nodiscard]] static Result<Consumer> connect(const ConsumerOptions& options);

  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  // Ends this process's life as the consumer: what it had begun and not answered goes to the next
  // one, and counts as no death. A process that only disappears is waited for, and killed when its
  // socket closes but it does not end. In a forked child it only frees memory.
  ~Consumer();

  // The next message, begun. nullopt when the deadline passed; with a deadline in the past it looks
  // once. It gives nothing while this consumer stands by, while max_running messages are
  // unanswered, and while a message runs that must run alone. When the daemon's memory was lost it
  // looks for the next daemon, 10 ms to 1 s apart: what this life had begun is gone then (ack()
  // says kNotFound), and a new life begins. Such a look may keep it up to 1 s beyond the deadline,
  // when a new daemon accepts the connection and does not answer yet. Errors: kClosed (the queue
  // was removed or the bus was shut down: connect anew), kForked.
  [[nodiscard]] Result<std::optional<Delivery>> take(Deadline deadline);
  // Answers for good. Does not wait. Errors: kNotFound when it is not running here (answered
  // before, or its link is gone), kForked.
  [[nodiscard]] Result<void> ack(const Delivery& delivery, const Answer& answer = {});
  // Gives it back for a later attempt: after `delay`, or after the policy's backoff when it is
  // zero. A delay below 0 counts as 0 and one above 24 h as 24 h, without an error. It uses up a
  // retry; with none left the message ends Exhausted. An untracked message is not delivered again:
  // giving it back ends it. Does not wait. Errors: as ack().
  [[nodiscard]] Result<void> nack(const Delivery& delivery, std::chrono::milliseconds delay = {});
  // Still at work: restarts the deadline, within the kind's `max_age`. `retries` is the consumer's
  // own count of internal retries, 0 if none; the message's retry count becomes it, if it is more.
  // Call it well before the timeout, not in every round: the daemon looks when a deadline is due.
  // Does not wait. Errors: as ack().
  [[nodiscard]] Result<void> progress(const Delivery& delivery, std::uint32_t retries = 0);
  // The message id of a delivery, from its descriptor; nil when its slot holds something else by
  // now, when its link is gone, and in a forked child.
  [[nodiscard]] MessageId id(const Delivery& delivery) const;

  // Whether this is the queue's active consumer, as of the last take(), fd() or segment call;
  // false while standing by, while there is no daemon that knows it, and in a forked child.
  [[nodiscard]] bool active() const;
  // Whether the producer asked that this delivery be dropped meanwhile; answering it stays
  // required. False when its link is gone and in a forked child.
  [[nodiscard]] bool cancelled(const Delivery& delivery) const;
  // Readable (epoll, poll) when take() has something to do. Level-triggered; call take() with a
  // deadline in the past until it gives nullopt. The same descriptor for the handle's life, which
  // owns it: do not read, write or close it. -1 in a forked child.
  [[nodiscard]] int fd() const;
  // All 0 in a forked child.
  [[nodiscard]] ConsumerStatistics statistics() const;

  // A new segment of this life, zeroed, of at least `bytes` bytes: 1 to [limits] max_memory_bytes.
  // It replaces the published one when publish_segment() is called. Waits for the daemon. Errors:
  // kMemory, kQuota, kDisconnected (the daemon is away), kTimeout, kProtocol (standing by, or 0
  // bytes), kForked.
  [[nodiscard]] Result<Segment> create_segment(SegmentKind kind, std::uint64_t bytes,
                                               Deadline deadline);
  // The segment that create_segment() made last of this kind is filled: it replaces the published
  // one, for the successor and for readers, before this returns. Waits for the daemon. Errors:
  // kTimeout (it may yet be published), kDisconnected (the daemon is away, this life ends with it),
  // kProtocol (nothing was created since the last publishing, a new daemon does not know it, or
  // standing by), kForked. After any of them: make the segment anew, in the next life if this one
  // ended, and publish that.
  [[nodiscard]] Result<void> publish_segment(SegmentKind kind, Deadline deadline);
  // The predecessor's published state, read-only; nullopt when there is none, before active(), and
  // in a forked child. Valid until this handle is destroyed or begins another life.
  [[nodiscard]] std::optional<std::span<const std::byte>> predecessor_state() const;

 private:
  explicit Consumer(std::unique_ptr<struct ConsumerCore> core);
  std::unique_ptr<struct ConsumerCore> core_;
};

}  // namespace ackbus
