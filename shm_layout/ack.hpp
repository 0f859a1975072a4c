// The ack segment of a link and a life. Written by: the consumer of that life. Read by: the
// producer and the daemon. Holds the ack ring (hints that announce themselves), an ack record per
// slot (the truth about begun and acked), texts, cursors, counters by kind with latency histograms,
// and the supersede high-water table. FORMAT.md#ack.
//
// Invariants: (1) the main cursor is published before the life acts on a place: what lies beyond
// was never read. (2) A place is published after the record says acked. (3) One ack place per
// sequence and life, so the ring never laps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/segment.hpp"

namespace ackbus::layout {

// The final answers of a consumer. Retrying and nack are marks, not answers.
enum class AckCode : std::uint8_t {
  kReserved = 0,
  kSuccess = 1,
  kPartialSuccess = 2,
  kFailed = 3,
  kSkippedCancelled = 4,            // the producer cancelled it; it was never begun
  kSkippedCancelledMayHaveRun = 5,  // cancelled, but an earlier attempt or life may have begun it
  kSkippedSuperseded = 6,           // a newer message of the same kind and key succeeded
  kSkippedVerdict = 7,              // the daemon's verdict came first
};

enum AckFlags : std::uint32_t {
  kAckHasText = 1U << 0,  // the record has text or metadata
  kAckTextCut = 1U << 1,  // some of it did not fit
};

// Code in bits 0-7, flags in 8-15, the answered attempt (65535 at most) in 16-31.
inline constexpr std::uint32_t pack_answer(AckCode code, std::uint32_t flags,
                                           std::uint32_t attempt) {
  return static_cast<std::uint32_t>(code) | (flags & 0xffU) << 8 |
         (attempt > 0xffffU ? 0xffffU : attempt) << 16;
}
inline constexpr AckCode answer_code(std::uint32_t packed) {
  return static_cast<AckCode>(packed & 0xffU);
}
inline constexpr std::uint32_t answer_flags(std::uint32_t packed) { return (packed >> 8) & 0xffU; }
inline constexpr std::uint32_t answer_attempt(std::uint32_t packed) { return packed >> 16; }

// What a consumer saw its producer do that no honest one does. The daemon closes the link for it.
enum class LinkFault : std::uint64_t {
  kReserved = 0,
  kAhead = 1,      // a place of the main ring was overwritten before it was read
  kUnsound = 2,    // a place names no slot or no kind, or its descriptor is another message's
  kSlotInUse = 3,  // a place names a slot whose message still runs, or is older than what ran there
};

struct AckWords {
  // written by: consumer before it sleeps. read by: producer after it published. hint.
  Cell<std::uint64_t> sleeping;
  std::uint64_t pad0[7];
  // written by: consumer, before it acts on the place below it. read by: daemon. truth: the next
  // life starts here.
  Cell<std::uint64_t> cursor;
  // written by: consumer, likewise for the redelivery ring. read by: daemon, before it rewrites a
  // place. truth.
  Cell<std::uint64_t> redelivery_cursor;
  Cell<std::uint64_t> violation;  // first protocol violation of the producer that the consumer saw
                                  // (LinkFault); 0 none. truth
  Cell<std::uint64_t> rejected;   // places and descriptors that failed validation. figure
  std::uint64_t pad1[4];
};
static_assert(sizeof(AckWords) == 128 && offsetof(AckWords, cursor) == 64);

// A place of the ack ring: hint, half a cache line, a seqlock on `number`.
struct alignas(32) AckPlace {
  Cell<std::uint64_t> number;
  Cell<std::uint64_t> sequence;
  Cell<std::uint64_t> acked_ns;  // CLOCK_MONOTONIC
  Cell<std::uint32_t> slot;
  Cell<std::uint32_t> code_flags;  // pack_answer()
};
static_assert(sizeof(AckPlace) == 32 && std::is_standard_layout_v<AckPlace>);

// A slot's ack record: truth. Two seqlocks, on `begun` and on `acked`, and two marks (`raised`,
// `marked`), each with its own sequence.
struct alignas(32) AckRecord {
  Cell<std::uint64_t>
      begun;  // sequence begun in this life; 0 while rewritten. Stored before the handler runs.
  Cell<std::uint64_t> begun_ns;  // CLOCK_MONOTONIC
  Cell<std::uint64_t> acked;     // sequence answered in this life; 0 while rewritten
  Cell<std::uint64_t> acked_ns;
  Cell<std::uint32_t> begun_attempt;
  Cell<std::uint32_t> code_flags;     // of the answer, as in the place
  Cell<std::uint32_t> acked_attempt;  // the attempt that was answered
  Cell<std::uint32_t>
      text_lengths;  // low 16: bytes of text; high 16: bytes of metadata that follow it
  // Marks: rare, so they cost the hot path nothing; a death while one is written only loses that
  // mark.
  Cell<std::uint64_t> raised;  // a redelivery reached a running message: it runs as
                               // `raised_attempt` since raised_ns
  Cell<std::uint64_t> raised_ns;
  // Not final answers share one mark: what speaks last about a sequence is in force.
  Cell<std::uint64_t> marked;  // sequence that progress or nack speaks of
  Cell<std::uint64_t> marked_ns;
  Cell<std::uint32_t> raised_attempt;
  Cell<std::uint32_t> mark_kind;      // MarkKind
  Cell<std::uint32_t> mark_value;     // progress: the reported retry count; given back: the attempt
  Cell<std::uint32_t> mark_delay_ms;  // given back: wished delay, 0 is the policy's
};
static_assert(sizeof(AckRecord) == 96 && offsetof(AckRecord, raised) == 48 &&
              std::is_standard_layout_v<AckRecord>);

enum class MarkKind : std::uint32_t { kReserved = 0, kProgress = 1, kGivenBack = 2 };

struct AckText {
  Cell<std::uint64_t> words[kAckTextWords];
};
static_assert(sizeof(AckText) == kAckTextBytesMax);

// Latency from commit to ack, by kind: upper bounds in nanoseconds, the last bucket is everything
// above.
inline constexpr std::uint64_t kLatencyBoundsNs[] = {
    1'000,         2'000,         5'000,         10'000,         20'000,        50'000,
    100'000,       200'000,       500'000,       1'000'000,      2'000'000,     5'000'000,
    10'000'000,    20'000'000,    50'000'000,    100'000'000,    200'000'000,   500'000'000,
    1'000'000'000, 2'000'000'000, 5'000'000'000, 10'000'000'000, 30'000'000'000};
inline constexpr std::size_t kLatencyBuckets =
    sizeof(kLatencyBoundsNs) / sizeof(kLatencyBoundsNs[0]) + 1;
static_assert(kLatencyBuckets == 24);

inline std::size_t latency_bucket(std::uint64_t latency_ns) {
  std::size_t low = 0;
  std::size_t high = kLatencyBuckets - 1;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (latency_ns <= kLatencyBoundsNs[middle]) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

struct ConsumerCounters {
  Cell<std::uint64_t> begun;
  Cell<std::uint64_t> success;
  Cell<std::uint64_t> partial_success;
  Cell<std::uint64_t> failed;
  Cell<std::uint64_t> cancelled;
  Cell<std::uint64_t> superseded;
  Cell<std::uint64_t> skipped;
  Cell<std::uint64_t> retrying;  // progress marks
  Cell<std::uint64_t> given_back;
  Cell<std::uint64_t> redelivered;  // begun with an attempt above 1
  Cell<std::uint64_t> duplicates;   // redeliveries of what was finished or running
  Cell<std::uint64_t>
      stale;  // answers for what was no longer running, and redeliveries of old sequences
  Cell<std::uint64_t> text_cut;
  Cell<std::uint64_t> untracked;  // untracked messages finished
  Cell<std::uint64_t> latency_sum_ns;
  Cell<std::uint64_t> latency[kLatencyBuckets];
  std::uint64_t reserved[1];
};
static_assert(sizeof(ConsumerCounters) == 320);

// Greatest sequence acked Success or PartialSuccess for a (kind, key); a seqlock on `number` (0
// while rewritten).
struct alignas(32) SupersedeEntry {
  Cell<std::uint64_t> number;  // rises with each rewrite
  Cell<std::uint64_t> kind;
  Cell<std::uint64_t> key;
  Cell<std::uint64_t> sequence;
};
static_assert(sizeof(SupersedeEntry) == 32);

struct AckGeometry {
  std::uint64_t slots = 0;

  static constexpr std::uint64_t kWords = sizeof(SegmentHeader);
  static constexpr std::uint64_t kCounters = kWords + sizeof(AckWords);
  static constexpr std::uint64_t kSupersede = kCounters + kKindsMax * sizeof(ConsumerCounters);
  static constexpr std::uint64_t kRing =
      align_up(kSupersede + kSupersedeEntries * sizeof(SupersedeEntry), kCacheLineBytes);
  [[nodiscard]] constexpr std::uint64_t records() const { return kRing + slots * sizeof(AckPlace); }
  [[nodiscard]] constexpr std::uint64_t texts() const {
    return align_up(records() + slots * sizeof(AckRecord), kCacheLineBytes);
  }
  [[nodiscard]] constexpr std::uint64_t bytes() const {
    return align_up(texts() + slots * sizeof(AckText), 4096);
  }
};

}  // namespace ackbus::layout
