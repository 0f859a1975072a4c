// MessageTracker: the protocol's tracker inside one process, for code that talks to something that
// is not an ackbus queue (a library, a thread, a socket) and yet wants every send to be answered
// for. On a bus nobody needs it: Producer::commit, the consumer's ack and the daemon's scan do the
// same there (docs/protocol.md).
//
// Data flow: track() before or right after the send -> acknowledge() with whatever comes back ->
// check_timeouts() now and then, which names the messages to send again and those that are given
// up. The tracker sends nothing itself.
//
// Threads: every function may be called from any thread. None of them waits for another process; a
// mutex is held for a lookup, and during check_timeouts for as many messages as have timed out. No
// thread runs unless start_checker() made it.
//
// Memory: bounded by TrackerOptions, about 200 bytes for each pending message.
#pragma once

#include <ackbus/message_ack.hpp>
#include <ackbus/message_id.hpp>
#include <ackbus/message_metrics.hpp>
#include <ackbus/options.hpp>
#include <ackbus/pending_message.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace ackbus {

// The bounds of a tracker. Every value is accepted; periods are brought into 0 to 365 days.
struct TrackerOptions {
  // Messages pending at once; beyond it track() answers kFull.
  std::size_t pending_max = 65'536;
  // Acks kept for ids that nobody tracked yet, and for how long. The oldest makes room. 0 keeps
  // none.
  std::size_t early_acks_max = 1024;
  std::chrono::milliseconds early_ack_kept{10'000};
  // Ids remembered after their end, to tell a duplicate or late ack from an unknown one. The oldest
  // makes room.
  std::size_t finished_max = 4096;
  // Retrying keeps no message beyond this age, counted from the first send. Without Retrying it has
  // no effect.
  std::chrono::milliseconds max_age{600'000};
};

// What became of a call of track().
enum class TrackOutcome : std::uint8_t {
  kReserved = 0,    // never given
  kTracked,         // pending from now on
  kEarlySuccess,    // its ack had come already: it is done
  kEarlyFailure,    // its ack had come already: it failed
  kAlreadyTracked,  // the id is pending or has ended: not tracked a second time, nothing counted
  kFull,            // pending_max is reached: not tracked, nothing counted
  kUnknownKind,     // track_default only: the kind is not built in, so it has no defaults
  kNilId,           // the nil id names no message
  kShutDown,        // shutdown() was called
};

// What became of an ack.
enum class AckOutcome : std::uint8_t {
  kReserved = 0,  // never given
  kResolved,      // the message has ended as the ack says
  kStillPending,  // Retrying: its clock runs anew
  kHeldEarly,     // nobody tracked this id yet: kept for a while in case somebody does
  kUnknown,       // nobody tracked this id, and it was not kept
  kDuplicate,     // the message was resolved by an earlier ack; nothing changes
  kAfterVerdict,  // the message was given up before; nothing changes
  kShutDown,      // shutdown() was called
};

// What is to be done about a message that has timed out.
enum class TimeoutAction : std::uint8_t {
  kReserved = 0,      // never given
  kRetry,             // send it again `delay` from now, as attempt `attempt`
  kExhaustedRetries,  // given up: no answer, and no retry is left
  kExhaustedAge,      // given up: Retrying had kept it until max_age
};

// One message that has timed out.
struct Timeout {
  MessageId id;
  Kind kind = Kind::kReserved;  // as it was tracked
  TimeoutAction action = TimeoutAction::kReserved;
  std::uint32_t attempt =
      0;  // kRetry: the attempt to send, 2 for the first retry; else the last one sent
  std::chrono::milliseconds delay{0};  // kRetry only

  // Whether the message is to be sent again; if not it was given up.
  [[nodiscard]] bool is_retry() const { return action == TimeoutAction::kRetry; }
};

// What the tracker saw beside the messages' own counts. At every moment sent = success + failure +
// closed + pending.
struct TrackerCounters {
  std::uint64_t early_acks = 0;      // came before their message was tracked, and resolved it then
  std::uint64_t unknown_acks = 0;    // for ids that nobody tracked, not even within early_ack_kept
  std::uint64_t duplicate_acks = 0;  // for messages that an earlier ack had resolved
  std::uint64_t acks_after_verdict = 0;  // for messages that had been given up
  std::uint64_t closed = 0;              // pending when the tracker was shut down
};

// The messages of one process that wait for an ack. Neither copied nor moved. After fork() the
// child must not use it: its mutex may be held by a thread that the child does not have.
class MessageTracker {
 public:
  using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
  // Called on the checker's thread, without a lock held. It must not throw.
  using CheckerCallback = std::function<void(const std::vector<Timeout>&)>;

  MessageTracker();  // with the default options
  explicit MessageTracker(const TrackerOptions& options);
  // Shuts down.
  ~MessageTracker();
  MessageTracker(const MessageTracker&) = delete;
  MessageTracker& operator=(const MessageTracker&) = delete;

  // Times below are monotonic; `now` is the moment of the call unless said. It may lie in the past
  // (when the send really happened); within a test it is a virtual clock.

  // Follows a message first sent at `now`. The timeout is brought into 1 ms..24 h and the retries
  // into 0..1000. If its ack came first, the message ends at once with a latency of 0.
  [[nodiscard]] TrackOutcome track(const MessageId& id, Kind kind,
                                   std::chrono::milliseconds timeout, std::uint32_t max_retries,
                                   Clock::time_point now = Clock::now());

  // The same with the timeout and retries of a built-in kind (docs/protocol.md); kUnknownKind for
  // any other.
  [[nodiscard]] TrackOutcome track_default(const MessageId& id, Kind kind,
                                           Clock::time_point now = Clock::now());

  // Takes in an ack that arrived at `now`. Success and PartialSuccess end the message as a success,
  // its latency running from the first send; Failed ends it as a failure, without a retry. Retrying
  // keeps it, raises the retry count to the reported attempt if that is more, and starts its clock
  // again.
  AckOutcome acknowledge(const MessageAck& ack, Clock::time_point now = Clock::now());

  // What has timed out by `now`, in the order of the deadlines: messages to send again and messages
  // given up. For a retry the clock starts again when its delay is over, so the caller waits
  // `delay`, sends, and need not tell.
  [[nodiscard]] std::vector<Timeout> check_timeouts(Clock::time_point now = Clock::now());

  // Whether it was tracked and has not ended.
  [[nodiscard]] bool is_pending(const MessageId& id) const;
  // How many are pending: 0 to TrackerOptions::pending_max.
  [[nodiscard]] std::size_t pending_count() const;
  // A copy of what is known of a pending message; nullopt when it is not pending.
  [[nodiscard]] std::optional<PendingMessage> find_pending(const MessageId& id) const;

  // The delay before retry `retry_count`: min(100 ms * 2^(retry_count - 1), 30 s), and 0 for 0
  // (docs/architecture.md#what-the-daemon-decides).
  [[nodiscard]] static std::chrono::milliseconds calculate_retry_delay(std::uint32_t retry_count);

  // A copy of the counts so far: of the messages, and of what came beside them.
  [[nodiscard]] MessageMetrics metrics() const;
  [[nodiscard]] TrackerCounters counters() const;

  // Starts one thread that calls check_timeouts() every `interval` (at least 1 ms) and hands what
  // it found to the callback, if it found anything. False, and nothing changed, when it runs
  // already or after shutdown().
  bool start_checker(std::chrono::milliseconds interval, CheckerCallback callback);
  // Ends that thread without waiting for the interval; when it returns, no callback runs. Does
  // nothing when none runs. Never call it, start_checker or shutdown from the callback: a thread
  // cannot wait for its own end (asserted).
  void stop_checker();

  // Stops the checker, ends every pending message without an outcome and names those messages; from
  // now on everything is refused with kShutDown. A second call does nothing and names none.
  std::vector<MessageId> shutdown();

 private:
  class Checker;
  class State;
  std::unique_ptr<State> state_;
  std::unique_ptr<Checker>
      checker_;  // Declared last: its thread uses the state and must end first.
};

}  // namespace ackbus
