// What `ackbus status` knows: the daemon's answer to {"verb":"status"} as values. Data flow: JSON
// in (hostile until read here: wrong types read as zero, texts are made safe to print), values out
// for the views, the protocol summary and the check. Threads: plain values and pure functions.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/message_metrics.hpp>
#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "shm_layout/ack.hpp"

namespace ackbus::tools {

struct DaemonStatus {
  std::uint64_t pid = 0;
  double uptime_seconds = 0.0;
  std::string version;
  std::uint64_t backlog = 0;  // decisions that are due and wait, for example for room on disk
};

// The counters of one kind over all links, ended ones included.
struct KindStatus {
  std::uint16_t id = 0;
  std::string name;
  std::uint64_t sent = 0;
  std::uint64_t success = 0;  // without partial_success, as the producers count them
  std::uint64_t partial_success = 0;
  std::uint64_t failed = 0;
  std::uint64_t exhausted = 0;
  std::uint64_t superseded = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t closed = 0;
  std::uint64_t posted = 0;
  std::uint64_t pending = 0;
  std::uint64_t retries = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t given_back = 0;
  std::uint64_t latency_sum_ns = 0;
  std::array<std::uint64_t, layout::kLatencyBuckets> latency{};

  [[nodiscard]] std::uint64_t succeeded() const { return success + partial_success; }
};

struct ConsumerStatus {
  std::uint64_t pid = 0;
  std::string client;
  double since_seconds = 0.0;
  std::uint64_t begun = 0;  // messages it runs now
};

struct StallStatus {
  std::uint64_t pid = 0;
  std::uint64_t age_ms = 0;
  std::string message;
};

struct QueueStatus {
  std::string name;
  bool listed = true;  // in the configuration
  std::uint64_t epoch = 0;
  std::optional<ConsumerStatus> consumer;
  std::uint64_t standbys = 0;
  std::uint64_t links = 0;
  std::uint64_t pending = 0;
  std::uint64_t oldest_age_ms = 0;
  std::optional<StallStatus> stalled;
};

struct LinkStatus {
  std::uint64_t link = 0;
  std::string queue;
  std::uint64_t pid = 0;
  std::uint64_t uid = 0;
  std::string client;
  std::uint64_t slots = 0;
  std::uint64_t arena_bytes = 0;
  std::uint64_t pending = 0;
  std::uint64_t free = 0;
  std::uint64_t sent = 0;
  std::string state;
};

struct MemoryStatus {
  std::uint64_t submission = 0;
  std::uint64_t ack = 0;
  std::uint64_t tracking = 0;
  std::uint64_t state = 0;
  std::uint64_t frames = 0;

  [[nodiscard]] std::uint64_t total() const { return submission + ack + tracking + state + frames; }
};

struct DeadLetterStatus {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  std::uint64_t limit_bytes = 0;
  bool writable = false;
};

struct BusStatus {
  std::string bus;
  std::uint64_t incarnation = 0;
  DaemonStatus daemon;
  std::vector<KindStatus> kinds;
  std::vector<QueueStatus> queues;
  std::vector<LinkStatus> links;
  MemoryStatus memory;
  DeadLetterStatus dead_letters;
};

// Errors: kProtocol when the answer has not the members that make a status.
[[nodiscard]] Result<BusStatus> parse_status(const nlohmann::json& answer);

// The protocol's own metrics; a kind that carried nothing is left out.
[[nodiscard]] MessageMetrics metrics_of(const BusStatus& status);

// An upper bound of the latency that `percent` of a kind's acked messages kept, from its histogram:
// the bound of the bucket that holds the nearest rank; 0 without any, UINT64_MAX beyond the last
// bound. `percent` is 0 to 100.
[[nodiscard]] std::uint64_t latency_bound_ns(const KindStatus& kind, double percent);

// How long the daemon may take to answer before the check calls it late.
inline constexpr std::uint64_t kDaemonLateMs = 1000;

// Everything that needs attention, each as one line that names it and the remedy; empty when all is
// well: a queue without a consumer (unless nobody listed or uses it), a stalled consumer, a
// dead-letter store that cannot be written, a daemon that took longer than kDaemonLateMs to answer.
[[nodiscard]] std::vector<std::string> find_problems(const BusStatus& status,
                                                     std::uint64_t answered_in_ms);

}  // namespace ackbus::tools
