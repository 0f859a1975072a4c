// The tracking segment of a link. Written by: the daemon. Read by: the producer and the consumer.
// Holds the pending-message table (an entry per slot, the truth about retries and verdicts), the
// redelivery ring (to the consumer) and the verdict ring (to the producer), both hints.
// FORMAT.md#tracking has the state machine.
//
// Invariants: (1) an entry never says Queued before its redelivery place exists. (2) An entry has
// two copies and the older one is rewritten, so a daemon's death leaves the other whole. (3)
// `interventions` moves after every store to an entry that the hot path must hear of, and before
// the daemon reads an ack record again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/segment.hpp"

namespace ackbus::layout {

enum class PendingState : std::uint8_t {
  kReserved = 0,    // nothing was decided about this slot's sequence
  kWaiting = 1,     // a retry is due at due_ns
  kQueued = 2,      // its redelivery place exists
  kExhausting = 3,  // a verdict is being given; may still be withdrawn
  kVerdict = 4,     // the verdict stands: Exhausted or Closed with its reason, or none for an
                    // untracked message
  kFinal = 5,       // acked and settled; nothing more will be decided
};

enum class VerdictReason : std::uint8_t {
  kReserved = 0,
  kRetries = 1,          // Exhausted: every attempt timed out or was given back
  kUndelivered = 2,      // Exhausted: max_wait passed before anybody began it
  kMaxAge = 3,           // Exhausted: Retrying kept it beyond max_age
  kPoison = 4,           // Exhausted: it was the only one begun at two deaths of its consumer
  kGone = 5,             // no outcome: untracked and begun in a life that ended
  kClosedQueue = 6,      // Closed: the queue was removed
  kClosedBus = 7,        // Closed: the bus was shut down for good
  kClosedViolation = 9,  // Closed: the link broke the protocol (8 is never given)
};
inline constexpr std::uint8_t kVerdictReasonMax = 9;

inline constexpr bool is_closed(VerdictReason reason) {
  return reason >= VerdictReason::kClosedQueue;
}
inline constexpr bool is_exhausted(VerdictReason reason) {
  return reason >= VerdictReason::kRetries && reason <= VerdictReason::kPoison;
}

struct TrackingWords {
  // The two words of the daemon that the hot path reads, with what belongs to them, on one rarely
  // written line.
  Cell<std::uint64_t> epoch;  // the life in force; 0: no consumer yet. Stored after `start`.
  Cell<std::uint64_t> start;  // that life's first main place
  Cell<std::uint64_t>
      interventions;  // moves when an entry says something that the hot path must look at
  Cell<std::uint64_t>
      closed;  // VerdictReason when the link was closed by the daemon; 0 while it is open
  std::uint64_t pad[4];
};
static_assert(sizeof(TrackingWords) == 64);

// One copy of a pending entry: a seqlock on `version`; the valid copy with the greater version is
// in force.
struct PendingCopy {
  Cell<std::uint64_t> version;
  Cell<std::uint64_t> sequence;
  Cell<std::uint32_t> state_reason;  // PendingState in the low 8 bits, VerdictReason in the next 8,
                                     // AckCode of an ended life in the next
  Cell<std::uint32_t> attempt;       // the attempt in force: 1 until the first retry
  Cell<std::uint32_t> retries;       // retries used: max(own, reported by Retrying)
  Cell<std::uint32_t>
      deaths;  // low 16: deaths while begun; high 16: of these, as the only one begun
  Cell<std::uint64_t> due_ns;  // Waiting: when the retry is due
  Cell<std::uint64_t> epoch;   // Exhausting, Verdict: the life in which it went Exhausting
};
static_assert(sizeof(PendingCopy) == 48);

struct PendingEntry {
  PendingCopy copies[2];
};
static_assert(sizeof(PendingEntry) == 96 && std::is_standard_layout_v<PendingEntry>);

enum RedeliveryFlags : std::uint32_t {
  kRedeliverMayHaveRun = 1U << 0,  // an earlier attempt or life may have begun it
  kRedeliverAlone = 1U << 1,       // a consumer died with it: run it with nothing else begun
};

struct alignas(32) RedeliveryPlace {
  Cell<std::uint64_t> number;
  Cell<std::uint64_t> sequence;
  Cell<std::uint32_t> slot;
  Cell<std::uint32_t> attempt;
  Cell<std::uint32_t> flags;
  Cell<std::uint32_t> reserved;
};
static_assert(sizeof(RedeliveryPlace) == 32);

struct alignas(32) VerdictPlace {
  Cell<std::uint64_t> number;
  Cell<std::uint64_t> sequence;
  Cell<std::uint32_t> slot;
  Cell<std::uint32_t> reason;  // VerdictReason
  Cell<std::uint64_t> reserved;
};
static_assert(sizeof(VerdictPlace) == 32);

struct TrackingGeometry {
  std::uint64_t slots = 0;

  static constexpr std::uint64_t kWords = sizeof(SegmentHeader);
  static constexpr std::uint64_t kRedelivery = kWords + sizeof(TrackingWords);
  [[nodiscard]] constexpr std::uint64_t verdicts() const {
    return kRedelivery + slots * sizeof(RedeliveryPlace);
  }
  [[nodiscard]] constexpr std::uint64_t entries() const {
    return verdicts() + verdict_places(static_cast<std::uint32_t>(slots)) * sizeof(VerdictPlace);
  }
  [[nodiscard]] constexpr std::uint64_t bytes() const {
    return align_up(entries() + slots * sizeof(PendingEntry), 4096);
  }
};

}  // namespace ackbus::layout
