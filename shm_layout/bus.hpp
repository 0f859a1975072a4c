// The bus segment. Written by: the daemon. Read by: every client and the tools. Names the bus, its
// kinds and queues, and tells when the daemon will next wake, so that a reader can tell a late
// daemon from an idle one. FORMAT.md#bus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/segment.hpp"

namespace ackbus::layout {

enum KindFlags : std::uint32_t {
  kKindDefined = 1U << 0,
  kKindSupersede =
      1U << 1,  // a redelivery is skipped when a newer message of the same key succeeded
  kKindClockCommit = 1U << 2,  // the timeout runs from commit instead of from begin
};

struct NameWords {
  Cell<std::uint64_t> words[kNameBytesMax / sizeof(std::uint64_t)];
};

// A kind's row, indexed by its number; a seqlock on `number`, which rises with each rewrite (a
// reload rewrites rows).
struct KindRow {
  Cell<std::uint64_t> number;
  NameWords name;
  Cell<std::uint32_t> flags;  // KindFlags
  Cell<std::uint32_t> timeout_ms;
  Cell<std::uint32_t> max_retries;
  Cell<std::uint32_t> max_wait_ms;
  Cell<std::uint64_t> max_age_ms;
  Cell<std::uint64_t> min_payload_bytes;
  Cell<std::uint64_t> max_payload_bytes;  // 0: no bound
};
static_assert(sizeof(KindRow) == 80);

struct QueueRow {
  Cell<std::uint64_t> number;
  NameWords name;
  Cell<std::uint64_t> epoch;      // the life in force, 0 none yet
  Cell<std::uint32_t> consumers;  // connected: the active one and those that stand by
  Cell<std::uint32_t> links;
  std::uint64_t reserved;
};
static_assert(sizeof(QueueRow) == 64);

struct BusWords {
  NameWords name;
  Cell<std::uint64_t> incarnation;   // counts the daemons of this bus; moves at each restart
  Cell<std::uint64_t> next_wake_ns;  // CLOCK_MONOTONIC: the daemon looks again by then; heartbeat
  Cell<std::uint64_t> kinds_moved;   // rises after a row of the kinds table was rewritten
  Cell<std::uint64_t> started_ns;    // CLOCK_REALTIME of this daemon's start
};
static_assert(sizeof(BusWords) == 64);

struct BusGeometry {
  static constexpr std::uint64_t kWords = sizeof(SegmentHeader);
  static constexpr std::uint64_t kKinds = kWords + sizeof(BusWords);
  static constexpr std::uint64_t kQueues = kKinds + kKindsMax * sizeof(KindRow);
  static constexpr std::uint64_t bytes() {
    return align_up(kQueues + kQueuesMax * sizeof(QueueRow), 4096);
  }
};

}  // namespace ackbus::layout
