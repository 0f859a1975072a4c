#include "daemon/metric_table.hpp"

#include <initializer_list>
#include <string_view>

namespace ackbus::daemon {
namespace {

using layout::VerdictReason;

constexpr double kNanosecondsPerSecond = 1e9;

double seconds(std::uint64_t duration_ns) {
  return static_cast<double>(duration_ns) / kNanosecondsPerSecond;
}

// The bounds of the ack segment's histogram in seconds; its last bucket is everything above.
constexpr auto kLatencyBoundsSeconds = [] {
  std::array<double, layout::kLatencyBuckets - 1> bounds{};
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] = static_cast<double>(layout::kLatencyBoundsNs[i]) / kNanosecondsPerSecond;
  }
  return bounds;
}();

// Fills the rows of one bus: every sample begins with its label.
class Page {
 public:
  explicit Page(const BusFigures& figures) : figures_(figures), builder_(kMetrics) {}

  std::shared_ptr<const MetricsSnapshot> build() {
    for (const KindFigures& kind : figures_.kinds) {
      add_producers(kind);
      add_consumers(kind);
      add_decisions(kind);
    }
    for (const QueueFigures& queue : figures_.queues) {
      add_queue(queue);
    }
    add_daemon();
    add_memory();
    add_letters();
    return builder_.finish();
  }

 private:
  void add(MetricRow row, double value) {
    builder_.add(static_cast<std::size_t>(row), {figures_.bus}, value);
  }
  void add(MetricRow row, std::string_view label, double value) {
    builder_.add(static_cast<std::size_t>(row), {figures_.bus, label}, value);
  }
  void add(MetricRow row, const KindFigures& kind, std::uint64_t count) {
    add(row, kind.name, static_cast<double>(count));
  }
  void add(MetricRow row, const KindFigures& kind, std::string_view label, std::uint64_t count) {
    builder_.add(static_cast<std::size_t>(row), {figures_.bus, kind.name, label},
                 static_cast<double>(count));
  }

  void add_producers(const KindFigures& kind) {
    const EndedTotals& totals = kind.totals;
    add(MetricRow::kSent, kind, totals.sent);
    add(MetricRow::kPosted, kind, totals.posted);
    add(MetricRow::kFailed, kind, saturating_add(totals.failed, totals.exhausted));
    add(MetricRow::kSuperseded, kind, totals.superseded);
    add(MetricRow::kOutcomes, kind, "success", totals.success);
    add(MetricRow::kOutcomes, kind, "partial_success", totals.partial_success);
    add(MetricRow::kOutcomes, kind, "failed", totals.failed);
    add(MetricRow::kOutcomes, kind, "exhausted", totals.exhausted);
    add(MetricRow::kOutcomes, kind, "superseded", totals.superseded);
    add(MetricRow::kOutcomes, kind, "cancelled", totals.cancelled);
    add(MetricRow::kOutcomes, kind, "closed", totals.closed);
  }

  void add_consumers(const KindFigures& kind) {
    const EndedTotals& totals = kind.totals;
    add(MetricRow::kAcked, kind, "success", totals.acked_success);
    add(MetricRow::kAcked, kind, "partial_success", totals.acked_partial_success);
    add(MetricRow::kAcked, kind, "failed", totals.acked_failed);
    add(MetricRow::kBegun, kind, totals.begun);
    add(MetricRow::kRedelivered, kind, totals.redelivered);
    add(MetricRow::kProgress, kind, totals.retrying);
    add(MetricRow::kDuplicates, kind, totals.duplicates);
    add(MetricRow::kTextsCut, kind, totals.text_cut);
    add(MetricRow::kUntracked, kind, totals.untracked);
    builder_.add_histogram(static_cast<std::size_t>(MetricRow::kLatency), {figures_.bus, kind.name},
                           kLatencyBoundsSeconds, totals.latency, seconds(totals.latency_sum_ns));
  }

  void add_decisions(const KindFigures& kind) {
    const OwnTotals& own = kind.own;
    const auto dead = [&](VerdictReason reason) {
      return own.dead[static_cast<std::size_t>(reason)];
    };
    add(MetricRow::kRetried, kind, "timeout", own.retries_timeout);
    add(MetricRow::kRetried, kind, "given_back", own.retries_given_back);
    add(MetricRow::kRetried, kind, "death", own.retries_death);
    add(MetricRow::kDeadLettered, kind, "retries", dead(VerdictReason::kRetries));
    add(MetricRow::kDeadLettered, kind, "undelivered", dead(VerdictReason::kUndelivered));
    add(MetricRow::kDeadLettered, kind, "max_age", dead(VerdictReason::kMaxAge));
    add(MetricRow::kDeadLettered, kind, "poison", dead(VerdictReason::kPoison));
    add(MetricRow::kLateAcks, kind, own.late_success);
    add(MetricRow::kLettersRefused, kind, own.letters_refused);
    add(MetricRow::kRedriven, kind, own.redriven);
  }

  void add_queue(const QueueFigures& queue) {
    const auto add_consumer_count = [&](std::string_view role, std::uint64_t count) {
      builder_.add(static_cast<std::size_t>(MetricRow::kConsumers),
                   {figures_.bus, queue.name, role}, static_cast<double>(count));
    };
    add(MetricRow::kPending, queue.name, static_cast<double>(queue.pending));
    add(MetricRow::kOldestAge, queue.name, seconds(queue.oldest_age_ns));
    add(MetricRow::kBegunNow, queue.name, static_cast<double>(queue.begun));
    add(MetricRow::kStalled, queue.name, queue.stall ? seconds(queue.stall->age_ns) : 0.0);
    add(MetricRow::kFreeSlots, queue.name, static_cast<double>(queue.free));
    add(MetricRow::kLinks, queue.name, static_cast<double>(queue.links));
    add_consumer_count("active", queue.consumer ? 1 : 0);
    add_consumer_count("standby", queue.standbys);
  }

  void add_daemon() {
    const DaemonFigures& daemon = figures_.daemon;
    add(MetricRow::kStaleAcks, static_cast<double>(figures_.stale_acks));
    add(MetricRow::kLoopTurns, static_cast<double>(daemon.loop_turns));
    add(MetricRow::kLoopBusy, seconds(daemon.loop_busy_ns));
    add(MetricRow::kLoopLongest, seconds(daemon.loop_longest_ns));
    add(MetricRow::kWorkerJobs, static_cast<double>(daemon.backlog));
    add(MetricRow::kUptime, seconds(daemon.uptime_ns));
    add(MetricRow::kIncarnation, static_cast<double>(daemon.incarnation));
    add(MetricRow::kRefused, static_cast<double>(daemon.refused));
    add(MetricRow::kStoreFailures, static_cast<double>(daemon.store_failures));
  }

  void add_memory() {
    const MemoryFigures& memory = figures_.memory;
    add(MetricRow::kMemory, "submission", static_cast<double>(memory.submission));
    add(MetricRow::kMemory, "ack", static_cast<double>(memory.ack));
    add(MetricRow::kMemory, "tracking", static_cast<double>(memory.tracking));
    add(MetricRow::kMemory, "state", static_cast<double>(memory.state));
    add(MetricRow::kMemory, "frames", static_cast<double>(memory.frames));
  }

  void add_letters() {
    const LetterFigures& letters = figures_.letters;
    add(MetricRow::kLetters, static_cast<double>(letters.count));
    add(MetricRow::kLetterBytes, static_cast<double>(letters.bytes));
    add(MetricRow::kLetterLimit, static_cast<double>(letters.limit_bytes));
    add(MetricRow::kLetterStoreWritable, letters.writable ? 1.0 : 0.0);
    add(MetricRow::kLettersDamaged, static_cast<double>(letters.damaged));
  }

  const BusFigures& figures_;
  SnapshotBuilder builder_;
};

}  // namespace

std::shared_ptr<const MetricsSnapshot> build_metrics(const BusFigures& figures) {
  return Page(figures).build();
}

}  // namespace ackbus::daemon
