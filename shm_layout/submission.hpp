// The submission segment of a link. Written by: the producer. Read by: the consumer and the daemon.
// Holds the main ring (hints that announce themselves), a descriptor per slot (the truth about what
// was sent), the producer's counters and the payload arena. FORMAT.md#submission has the byte map
// and the crash table.
//
// Invariants: (1) a message is committed when its place is published: place n is in ring position n
// mod slots and its number is the message's sequence. (2) A descriptor or payload is rewritten only
// after its slot became free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/segment.hpp"

namespace ackbus::layout {

// Flags of a message, in its place and its descriptor.
enum MessageFlags : std::uint32_t {
  kFlagTracked = 1U << 0,  // wants an outcome; without it the message is fire and forget
  kFlagInline = 1U << 1,   // the payload is in the descriptor (and copied into the place)
  kFlagAfter = 1U << 2,    // the descriptor names an earlier message to wait for
  kFlagKeyed = 1U << 3,    // the descriptor has an explicit non-zero key
};

inline constexpr std::uint32_t pack_kind(std::uint16_t kind, std::uint32_t flags) {
  return (static_cast<std::uint32_t>(kind) << 16) | (flags & 0xffffU);
}
inline constexpr std::uint16_t kind_of(std::uint32_t kind_flags) {
  return static_cast<std::uint16_t>(kind_flags >> 16);
}
inline constexpr std::uint32_t flags_of(std::uint32_t kind_flags) { return kind_flags & 0xffffU; }

// Words that others poll, each on a line of its own.
struct SubmissionWords {
  // written by: producer before it sleeps. read by: consumer after it published an ack. hint; a
  // dead producer's generation costs one wasted byte in a pipe.
  Cell<std::uint64_t> sleeping;
  std::uint64_t pad0[7];
  // written by: producer after each commit: greatest sequence committed. read by: daemon, to skip
  // idle links. hint.
  Cell<std::uint64_t> committed;
  std::uint64_t pad1[7];
  // written by: producer after it stored a cancel word. read by: consumer before it begins. hint
  // that rarely changes.
  Cell<std::uint64_t> cancels;
  std::uint64_t pad2[7];
};
static_assert(sizeof(SubmissionWords) == 192 && offsetof(SubmissionWords, committed) == 64 &&
              offsetof(SubmissionWords, cancels) == 128);

// A place of the main ring: hint, two cache lines, a seqlock on `number`. The first line alone
// brings a payload of 32 B.
struct alignas(128) Place {
  Cell<std::uint64_t> number;   // the sequence; 0 while it is being rewritten
  Cell<std::uint64_t> length;   // payload bytes
  Cell<std::uint64_t> sent_ns;  // CLOCK_MONOTONIC at commit
  Cell<std::uint32_t> slot;
  Cell<std::uint32_t> kind_flags;                  // pack_kind()
  Cell<std::uint64_t> inline_words[kInlineWords];  // copy of a small payload
  std::uint64_t pad[4];
};
static_assert(sizeof(Place) == 128 && offsetof(Place, slot) == 24 &&
              offsetof(Place, inline_words) == 32);
static_assert(std::is_standard_layout_v<Place>);

// A slot's descriptor: truth, a seqlock on `number`. 96 bytes besides the inline payload.
struct alignas(32) Descriptor {
  Cell<std::uint64_t> number;   // the sequence in this slot; 0 while it is being rewritten
  Cell<std::uint64_t> id[2];    // message id, 16 bytes
  Cell<std::uint64_t> length;   // payload bytes
  Cell<std::uint64_t> offset;   // of the payload in the arena; 0 when inline
  Cell<std::uint64_t> sent_ns;  // CLOCK_MONOTONIC at commit
  Cell<std::uint64_t> key;      // supersede key; 0 is none
  Cell<std::uint64_t> after;    // earlier sequence to wait for; 0 is none
  Cell<std::uint32_t> kind_flags;
  Cell<std::uint32_t> timeout_ms;   // 0: the kind's
  Cell<std::uint32_t> max_wait_ms;  // 0: the kind's
  Cell<std::uint32_t>
      retries_after_slot;  // high 16: max retries + 1 (0: the kind's); low 16: slot of `after`
  // The two words below are no part of the seqlock: each carries the sequence it speaks of.
  Cell<std::uint64_t>
      cancel;  // sequence that the producer wants cancelled. read by: consumer, at begin
  Cell<std::uint64_t> outcome;  // pack_outcome() of what the producer took. read by: daemon
  Cell<std::uint64_t> inline_words[kInlineWords];
};
static_assert(sizeof(Descriptor) == 160 && offsetof(Descriptor, kind_flags) == 64 &&
              offsetof(Descriptor, cancel) == 80 && offsetof(Descriptor, inline_words) == 96);
static_assert(std::is_standard_layout_v<Descriptor>);

// What the producer learnt, counted by kind in its own segment; the daemon only sums. sent counts
// tracked messages.
struct ProducerCounters {
  Cell<std::uint64_t> sent;
  Cell<std::uint64_t> success;
  Cell<std::uint64_t> partial_success;
  Cell<std::uint64_t> failed;
  Cell<std::uint64_t> exhausted;
  Cell<std::uint64_t> superseded;
  Cell<std::uint64_t> cancelled;
  Cell<std::uint64_t> closed;
  Cell<std::uint64_t> posted;         // untracked messages
  Cell<std::uint64_t> backpressured;  // claims that found no free slot or no arena
  // pack_outcome() of the outcome that is about to be stored and counted: what is in the descriptor
  // and not yet in the figures when the producer dies in between. read by: daemon, after its death.
  Cell<std::uint64_t> settling;
  std::uint64_t reserved[5];
};
static_assert(sizeof(ProducerCounters) == 128);

inline constexpr std::uint64_t pack_outcome(std::uint64_t sequence, std::uint8_t code) {
  return (sequence << 8) | code;
}
inline constexpr std::uint64_t outcome_sequence(std::uint64_t word) { return word >> 8; }
inline constexpr std::uint8_t outcome_code(std::uint64_t word) {
  return static_cast<std::uint8_t>(word & 0xff);
}

// Where things lie. Computed from the daemon's figures, never from a header that a peer can write.
struct SubmissionGeometry {
  std::uint64_t slots = 0;
  std::uint64_t arena_bytes = 0;

  static constexpr std::uint64_t kWords = sizeof(SegmentHeader);
  static constexpr std::uint64_t kCounters = kWords + sizeof(SubmissionWords);
  static constexpr std::uint64_t kRing =
      align_up(kCounters + kKindsMax * sizeof(ProducerCounters), alignof(Place));
  [[nodiscard]] constexpr std::uint64_t descriptors() const {
    return kRing + slots * sizeof(Place);
  }
  [[nodiscard]] constexpr std::uint64_t arena() const {
    return align_up(descriptors() + slots * sizeof(Descriptor), 4096);
  }
  [[nodiscard]] constexpr std::uint64_t bytes() const {
    return align_up(arena() + arena_bytes, 4096);
  }
};

}  // namespace ackbus::layout
