// The daemon's private books, in a memfd that the service manager keeps while no daemon runs: who
// is connected, which links and queues there are, and the totals of links and lives that have
// ended, so that no figure goes back over a restart. Only the daemon maps it. Written by: the bus
// thread. A record counts once its `state` says so, stored last; a daemon that dies before that
// leaves a free record.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "daemon/result.hpp"
#include "daemon/segment_map.hpp"
#include "shm_layout/ack.hpp"
#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/tracking.hpp"

namespace ackbus::daemon {

inline constexpr std::uint64_t kLedgerMagic = 0x3172656764656c21ULL;
inline constexpr std::uint32_t kLedgerVersion = 2;

enum class RecordState : std::uint32_t { kFree = 0, kUsed = 1, kDraining = 2 };

// Sums of what ended links and lives had counted, by kind.
struct EndedTotals {
  std::uint64_t sent, success, partial_success, failed, exhausted, superseded, cancelled, closed,
      posted;
  std::uint64_t begun, redelivered, retrying, given_back, duplicates, stale, text_cut, skipped,
      untracked;
  std::uint64_t acked_success, acked_partial_success, acked_failed, latency_sum_ns;
  std::uint64_t latency[layout::kLatencyBuckets];
};

// What a sum was added for last: a life of a link, or the link with all its lives.
struct Folded {
  static constexpr std::uint64_t kWholeLink = UINT64_MAX;
  std::uint64_t link;   // number; 0: nothing yet
  std::uint64_t epoch;  // of the life, or kWholeLink
  bool operator==(const Folded&) const = default;
};

// The sums of all ended links and lives. Two copies: the older one is rewritten, and one store of
// LedgerHeader::ended_version makes it the newer one.
struct EndedCopy {
  Folded folded;
  EndedTotals kinds[layout::kKindsMax];
};

// What the daemon itself counts, by kind.
struct OwnTotals {
  std::uint64_t retries_timeout, retries_given_back, retries_death;
  std::uint64_t dead[layout::kVerdictReasonMax + 1];  // by VerdictReason
  std::uint64_t late_success, redriven, letters_refused;
};

struct QueueRecord {
  RecordState state;  // kDraining: removed
  std::uint32_t reserved;
  char name[layout::kNameBytesMax];
  std::uint64_t epoch;              // of the life in force
  std::uint64_t active_connection;  // its number; 0 none
  std::uint64_t state_bytes;        // of the published state segment; 0 none
  std::uint64_t frames_bytes;
};

struct ConnectionRecord {
  RecordState state;
  std::uint32_t role;
  std::uint64_t number;
  std::uint64_t since_ns;
  std::uint32_t uid, gid, pid, queue;
  char client[layout::kNameBytesMax];
};

inline constexpr std::size_t kOldLivesMax = layout::kEndedLivesMax;

struct LifeRecord {
  std::uint64_t epoch;  // 0: none
  std::uint64_t start;
  std::uint64_t redelivery_start;
  std::uint64_t mapped;  // 1: its consumer has mapped it, so the producer must hear of it
  std::uint64_t told;    // 1: the producer has it, and its ends of the pipes
};

struct LinkRecord {
  RecordState state;
  std::uint32_t queue;
  std::uint64_t number;
  std::uint64_t token[2];
  std::uint64_t connection;  // number; 0 while the producer is away
  std::uint64_t slots, arena_bytes, first_sequence;
  std::uint32_t uid, gid, pid, min_timeout_ms;
  std::uint64_t mapped;  // 1: the producer has mapped its segment
  std::uint64_t own;     // 1: the daemon is its producer (redrive)
  LifeRecord life;       // the newest
  LifeRecord old_lives[kOldLivesMax];
  char client[layout::kNameBytesMax];
};

struct LedgerHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t max_links;
  std::uint32_t max_connections;
  std::uint32_t reserved;
  std::uint64_t incarnation;  // counts the daemons of this bus
  std::uint64_t next_link;    // numbers of links and connections are never used again
  std::uint64_t next_connection;
  layout::Cell<std::uint64_t>
      ended_version;  // counts folds; its lowest bit names the copy in force
  char bus[layout::kNameBytesMax];
};

// Behind everything else, so that a ledger without it is read too. A figure that goes with the
// store of a pending entry: `value` is what the counter will be when the slot's entry has reached
// `version`. Written before that store, so a new daemon counts what the one before it stored and
// did not come to count, once.
struct CounterPromise {
  layout::Cell<std::uint64_t> armed;  // 1: the fields stand
  std::uint64_t link;                 // number
  std::uint64_t slot, version;
  std::uint64_t counter;  // its place in the ledger, in bytes
  std::uint64_t value;
};

class Ledger {
 public:
  [[nodiscard]] static std::uint64_t bytes_for(std::uint32_t max_links,
                                               std::uint32_t max_connections);
  // A fresh one in `fd`, or the one an earlier daemon left there: kCorrupt when it is of another
  // version or size.
  [[nodiscard]] static Result<Ledger> create(int fd, std::uint32_t max_links,
                                             std::uint32_t max_connections, const char* bus);
  [[nodiscard]] static Result<Ledger> attach(int fd);

  Ledger() = default;
  // Null in a ledger of a daemon that knew no promises.
  [[nodiscard]] CounterPromise* counter_promise() const;
  // Counts up a counter of this ledger, once: promise() before the entry's store, keep() after it.
  void promise(std::uint64_t link, std::uint32_t slot, std::uint64_t version,
               const std::uint64_t& counter) const;
  void keep(std::uint64_t& counter) const;
  // What a daemon that died had promised for this link's slot, whose entry is of this version.
  void keep_promise(std::uint64_t link, std::uint64_t version) const;

  [[nodiscard]] LedgerHeader& header() const {
    return *reinterpret_cast<LedgerHeader*>(map_.base());
  }
  [[nodiscard]] const EndedTotals& ended(std::uint32_t kind) const;
  // Adds `more` to the sums for `what`, all of it or, when this process dies meanwhile, nothing.
  // What was folded last is not folded again: a new daemon asks folded() before it goes on.
  void fold(const std::array<EndedTotals, layout::kKindsMax>& more, const Folded& what);
  [[nodiscard]] const Folded& folded() const;
  [[nodiscard]] OwnTotals& own(std::uint32_t kind) const;
  [[nodiscard]] QueueRecord& queue(std::uint32_t index) const;
  [[nodiscard]] LinkRecord& link(std::uint32_t index) const;
  [[nodiscard]] ConnectionRecord& connection(std::uint32_t index) const;

 private:
  explicit Ledger(SegmentMap map) : map_(std::move(map)) {}
  [[nodiscard]] EndedCopy& ended_copy(std::uint64_t version) const;
  SegmentMap map_;
};

}  // namespace ackbus::daemon
