// What a producer learns of a message, exactly once: the consumer's final ack or the daemon's
// verdict, whichever it takes first. See docs/protocol.md for the words.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ackbus {

// How a message ended.
enum class OutcomeCode : std::uint8_t {
  kReserved = 0,        // not known yet
  kSuccess = 1,         // the consumer did it
  kPartialSuccess = 2,  // a success with a reason, in text()
  kFailed = 3,          // the consumer's error, in text(); not retried
  kExhausted = 4,  // retries, waiting time or age used up; a dead letter was written. `reason` says
                   // which. Exhausted does not mean not executed.
  kSuperseded =
      5,           // a newer message of the same kind and key succeeded; this one was not run again
  kCancelled = 6,  // cancelled before anybody began it
  kCancelledMayHaveRun = 7,  // cancelled, but an earlier attempt may have run
  kClosed =
      8,  // the queue, the bus or the link was closed while it was pending. `reason` says why.
};

// Why a message ended Exhausted or Closed; kNone for the rest.
enum class OutcomeReason : std::uint8_t {
  kNone = 0,
  kRetries,       // Exhausted: every attempt timed out or was given back
  kUndelivered,   // Exhausted: max_wait passed before anybody began it
  kMaxAge,        // Exhausted: progress kept it pending until the kind's max_age
  kPoison,        // Exhausted: it was the only one begun at two deaths of its consumer
  kQueueRemoved,  // Closed: the queue was removed
  kBusShutDown,   // Closed: the bus was shut down for good
  kUnknown,       // Closed: the daemon lost its segments; nobody can tell whether it ran
  kViolation,     // Closed: a peer broke the protocol on this link
};

// What the consumer wrote beside its answer; text and metadata share 512 bytes.
struct OutcomeNotes {
  using Metadata = std::vector<std::pair<std::string, std::string>>;
  std::string text;   // reason of a PartialSuccess or error of a Failed; may be empty
  Metadata metadata;  // names and values, in the consumer's order
  bool cut = false;   // it was longer than the limit, and the rest is gone
};

// A plain value; copies share the notes, which never change. Any thread may read a copy it has.
struct Outcome {
  OutcomeCode code = OutcomeCode::kReserved;
  OutcomeReason reason = OutcomeReason::kNone;
  std::uint32_t attempt = 0;  // the attempt that was answered, 1 at first; 0 without an answer
  // CLOCK_MONOTONIC from commit (the first send) to the ack; without an ack to the moment when the
  // producer learnt of the end.
  std::uint64_t latency_ns = 0;
  std::shared_ptr<const OutcomeNotes> notes;  // null for most: the consumer wrote nothing

  // The notes' parts; empty and false without notes. Valid as long as this outcome.
  [[nodiscard]] const std::string& text() const;
  [[nodiscard]] const OutcomeNotes::Metadata& metadata() const;
  [[nodiscard]] bool text_cut() const { return notes != nullptr && notes->cut; }

  // Success and PartialSuccess.
  [[nodiscard]] bool is_success() const {
    return code == OutcomeCode::kSuccess || code == OutcomeCode::kPartialSuccess;
  }
};

// The code as tools print it, such as "Success" or "Cancelled (may have run)"; "pending" for
// kReserved and for any other number. Never null, valid for ever. Any thread.
[[nodiscard]] const char* outcome_name(OutcomeCode code);
// The reason as tools print it, such as "max_age"; "" for kNone, "unknown" for kUnknown and for any
// other number. Never null, valid for ever. Any thread.
[[nodiscard]] const char* reason_name(OutcomeReason reason);

}  // namespace ackbus
