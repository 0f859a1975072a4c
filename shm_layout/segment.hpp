// The first two cache lines of every segment of a link and of the bus segment. The daemon writes
// them before it hands the segment out; `ready` is stored last, so a view of a half-built segment
// has a name. FORMAT.md#segment-header.
//
// A peer owns the pages of its own segment and can change this header at any time, so nobody
// computes offsets from it: geometry comes from the daemon's control messages. The header serves
// attach checks and people with hex dumps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"

namespace ackbus::layout {

enum class SegmentRole : std::uint32_t {
  kReserved = 0,
  kSubmission = 1,
  kAck = 2,
  kTracking = 3,
  kBus = 4,
  kState = 5,
  kFrames = 6,
};

inline constexpr std::uint64_t kSegmentMagic =
    0x31737562'6b636121ULL;  // "!ackbus1" in memory order

struct SegmentHeader {
  std::uint64_t magic;           // kSegmentMagic
  std::uint32_t layout_version;  // kLayoutVersion of the daemon that made it
  std::uint32_t role;            // SegmentRole
  std::uint64_t fingerprint;     // layout_fingerprint() of the daemon that made it
  std::uint64_t bytes;           // whole segment
  std::uint64_t link;            // link number, 0 for the bus segment
  std::uint64_t epoch;           // ack segments: the life it belongs to; else 0
  std::uint64_t slots;
  std::uint64_t arena_bytes;  // submission segments; else 0
  std::uint64_t main_start;   // ack segments: number of the first main place of this life
  std::uint64_t
      redelivery_start;  // ack segments: number of the first redelivery place of this life
  Cell<std::uint64_t>
      ready;  // kSegmentReady once all above is written; written by the daemon, last
  std::uint64_t reserved[5];  // zero
};

inline constexpr std::uint64_t kSegmentReady = 0x52454144592121ULL;

static_assert(sizeof(SegmentHeader) == 128 && alignof(SegmentHeader) == 8);
static_assert(offsetof(SegmentHeader, fingerprint) == 16 && offsetof(SegmentHeader, ready) == 80);
static_assert(std::is_standard_layout_v<SegmentHeader>);

// What a look at a mapped segment says; every half-built or foreign view has its own name.
enum class SegmentState : std::uint32_t {
  kReserved = 0,
  kOk,
  kTooSmall,
  kNotReady,
  kNotASegment,
  kOtherVersion,
  kOtherLayout,
  kOtherRole,
  kOtherGeometry,
};

inline constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace ackbus::layout
