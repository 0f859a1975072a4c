// What a producer learns of a message, exactly once: the consumer's final ack or the daemon's
// verdict, whichever it takes first. See docs/protocol.md for the words.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ackbus {

enum class OutcomeCode : std::uint8_t {
  kReserved = 0,  // not known yet
  kSuccess = 1,
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
  kRetries,
  kUndelivered,
  kMaxAge,
  kPoison,
  kQueueRemoved,
  kBusShutDown,
  kUnknown,  // the daemon lost its segments: nobody can tell whether it ran
  kViolation,
};

// What the consumer wrote beside its answer; text and metadata share 512 bytes.
struct OutcomeNotes {
  using Metadata = std::vector<std::pair<std::string, std::string>>;
  std::string text;  // reason of a PartialSuccess or error of a Failed; may be empty
  Metadata metadata;
  bool cut = false;  // it was longer than the limit, and the rest is gone
};

// A plain value; copies share the notes, which never change. Any thread may read a copy it has.
struct Outcome {
  OutcomeCode code = OutcomeCode::kReserved;
  OutcomeReason reason = OutcomeReason::kNone;
  std::uint32_t attempt = 0;     // the attempt that was answered; 0 for verdicts
  std::uint64_t latency_ns = 0;  // from commit (the first send) to the ack; to now for verdicts
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

[[nodiscard]] const char* outcome_name(OutcomeCode code);
[[nodiscard]] const char* reason_name(OutcomeReason reason);

}  // namespace ackbus
