// What the bus has done and is doing, as plain values: the figures behind `ackbus status` and the
// metrics page.
//
// Purpose: one place that says what a figure means. Data flow: producers count outcomes in their
// submission segments, consumers answers in their ack segments, and the ledger keeps what ended
// links and lives had counted; these functions copy and sum. All counters of peers are hostile:
// each is read once, kept within what can be true and added without overflow; nonsense gives
// nonsense for its own link, never a crash. Threads: the bus thread reads; the values belong to
// whoever has them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/dead_letter.hpp"
#include "daemon/ledger.hpp"
#include "daemon/tracker.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::daemon {

/// By kind number; place 0 holds what belongs to no kind.
using KindTotals = std::array<EndedTotals, layout::kKindsMax>;

/// A sum that stays at the greatest value instead of wrapping.
[[nodiscard]] std::uint64_t saturating_add(std::uint64_t left, std::uint64_t right);

/// Adds every field.
void add_totals(EndedTotals& sum, const EndedTotals& more);
void add_totals(KindTotals& sum, const KindTotals& more);

/// A copy of one kind's counters; the fields of the other side are zero. No counter but the sum of
/// latencies is taken as more than kSequenceMax.
[[nodiscard]] EndedTotals read_producer(const layout::SubmissionView& submission,
                                        std::uint32_t kind);
[[nodiscard]] EndedTotals read_consumer(const layout::AckView& ack, std::uint32_t kind);
[[nodiscard]] KindTotals read_consumer(const layout::AckView& ack);

/// Messages with an outcome: success, partial_success, failed, exhausted, superseded, cancelled,
/// closed.
[[nodiscard]] std::uint64_t settled_count(const EndedTotals& totals);
/// sent - settled_count(), never below 0.
[[nodiscard]] std::uint64_t pending_count(const EndedTotals& totals);
[[nodiscard]] std::uint64_t retry_count(const OwnTotals& own);
/// Verdicts that left a dead letter: the Exhausted ones.
[[nodiscard]] std::uint64_t dead_lettered_count(const OwnTotals& own);

/// How a message ended, numbered as in the producer's outcome word.
enum class Ending : std::uint8_t {
  kReserved = 0,  ///< It has not.
  kSuccess = 1,
  kPartialSuccess = 2,
  kFailed = 3,
  kExhausted = 4,
  kSuperseded = 5,
  kCancelled = 6,
  kCancelledMayHaveRun = 7,
  kClosed = 8,
};

/// The names that the library's outcome_name() gives; "pending" for kReserved.
[[nodiscard]] const char* to_text(Ending ending);

/// What the producer took; kReserved when it took nothing, or a number that is no outcome.
[[nodiscard]] Ending ending_taken(const LinkTracker::SlotView& view);

/// How a message ended whose producer is gone, so that nobody took its outcome: by a verdict
/// that stands, which came before any answer; else by the answer of the life in force, of one of
/// the ended lives (newest first), or of one whose memory is gone, which its entry keeps.
[[nodiscard]] Ending ending_untaken(const LinkTracker::SlotView& view, std::uint32_t slot,
                                    std::span<const layout::AckView> ended_lives);

/// A link's memory as the functions below need it.
struct LinkMemory {
  const LinkTracker* tracker = nullptr;
  layout::SubmissionView submission;
  layout::AckView life;  ///< The newest, empty unless its consumer has mapped it.
  std::vector<layout::AckView> ended_lives;
  std::uint64_t first_sequence = 1;  ///< Of the link's messages.
  bool producer_gone = false;        ///< Settled messages are then counted from the slots as well.
};

/// What a link's producer counted, by kind, and, when it is gone, what ended without it. `sent` is
/// never less than settled_count(), so sent = settled + pending holds for every reader.
[[nodiscard]] KindTotals read_link(const LinkMemory& memory);

/// The same for a link that ends now: what is still pending counts as closed, for nobody will ever
/// say otherwise.
[[nodiscard]] KindTotals read_ended_link(const LinkMemory& memory);

/// A message that a consumer has begun and neither answered nor reported on for more than twice its
/// timeout.
struct Stall {
  std::uint64_t age_ns = 0;  ///< Since it was begun or last reported on.
  std::uint32_t pid = 0;
  LetterId id{};
};

struct SlotCounts {
  std::uint64_t pending = 0;  ///< Tracked, committed, without an outcome.
  std::uint64_t free = 0;
  std::uint64_t begun = 0;           ///< By the life in force, unanswered.
  std::uint64_t oldest_sent_ns = 0;  ///< Of the pending; 0 without any.
  std::optional<Stall> stall;        ///< The one that has waited longest; its pid is 0.
};

/// Looks at every slot of the link. `consumer_runs`: its life in force belongs to a running process
/// (else nothing counts as begun).
[[nodiscard]] SlotCounts count_slots(const LinkMemory& memory, const TrackerRules& rules,
                                     bool consumer_runs, std::uint64_t now_ns);

// ---- the whole bus at one moment ----

struct KindFigures {
  std::uint16_t id = 0;
  std::string name;
  EndedTotals totals{};
  OwnTotals own{};
};

struct ConsumerFigures {
  std::uint32_t pid = 0;
  std::string client;
  std::uint64_t connected_ns = 0;  ///< How long it has been connected.
};

struct QueueFigures {
  std::string name;
  bool listed = false;  ///< In the configuration.
  std::uint64_t epoch = 0;
  std::optional<ConsumerFigures> consumer;
  std::uint64_t standbys = 0;
  std::uint64_t links = 0;
  std::uint64_t pending = 0;
  std::uint64_t free = 0;
  std::uint64_t begun = 0;
  std::uint64_t oldest_age_ns = 0;
  std::optional<Stall> stall;
};

struct LinkFigures {
  std::uint64_t number = 0;
  std::string queue;
  std::uint32_t pid = 0;
  std::uint32_t uid = 0;
  std::string client;
  std::uint64_t slots = 0;
  std::uint64_t arena_bytes = 0;
  std::uint64_t pending = 0;
  std::uint64_t free = 0;
  std::uint64_t sent = 0;
  const char* state = "open";  ///< "open", "draining", "closing"
};

/// Bytes of shared memory by kind of segment.
struct MemoryFigures {
  std::uint64_t submission = 0;
  std::uint64_t ack = 0;
  std::uint64_t tracking = 0;
  std::uint64_t state = 0;
  std::uint64_t frames = 0;
};

struct LetterFigures {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  std::uint64_t limit_bytes = 0;
  std::uint64_t damaged = 0;
  bool writable = false;
};

struct DaemonFigures {
  std::uint32_t pid = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t uptime_ns = 0;
  std::uint64_t backlog = 0;  ///< Jobs under way on the worker.
  std::uint64_t loop_turns = 0;
  std::uint64_t loop_busy_ns = 0;
  std::uint64_t loop_longest_ns = 0;
  std::uint64_t refused = 0;
  std::uint64_t store_failures = 0;
};

struct BusFigures {
  std::string bus;
  DaemonFigures daemon;
  std::vector<KindFigures> kinds;  ///< By rising id.
  std::uint64_t stale_acks = 0;    ///< Of all kinds: a stale answer often names none.
  std::vector<QueueFigures> queues;
  std::vector<LinkFigures> links;
  MemoryFigures memory;
  LetterFigures letters;
};

}  // namespace ackbus::daemon
