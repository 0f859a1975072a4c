#include "tools/status_model.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/daemon_query.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

// More entries than this are not read: the daemon's own limits are far below.
constexpr std::size_t kKindsReadMax = 1024;
constexpr std::size_t kQueuesReadMax = 4096;
constexpr std::size_t kLinksReadMax = 1'000'000;

KindStatus parse_kind(const nlohmann::json& entry) {
  KindStatus kind;
  kind.id =
      static_cast<std::uint16_t>(std::min<std::uint64_t>(field_count(entry, "id"), UINT16_MAX));
  kind.name = field_text(entry, "name");
  kind.sent = field_count(entry, "sent");
  kind.success = field_count(entry, "success");
  kind.partial_success = field_count(entry, "partial_success");
  kind.failed = field_count(entry, "failed");
  kind.exhausted = field_count(entry, "exhausted");
  kind.superseded = field_count(entry, "superseded");
  kind.cancelled = field_count(entry, "cancelled");
  kind.closed = field_count(entry, "closed");
  kind.posted = field_count(entry, "posted");
  kind.pending = field_count(entry, "pending");
  kind.retries = field_count(entry, "retries");
  kind.dead_lettered = field_count(entry, "dead_lettered");
  kind.given_back = field_count(entry, "given_back");
  kind.latency_sum_ns = field_count(entry, "latency_sum_ns");
  const nlohmann::json& latency = field(entry, "latency");
  if (latency.is_array()) {
    const std::size_t buckets = std::min(latency.size(), kind.latency.size());
    for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
      kind.latency[bucket] = count_of(latency[bucket]);
    }
  }
  return kind;
}

QueueStatus parse_queue(const nlohmann::json& entry) {
  QueueStatus queue;
  queue.name = field_text(entry, "name");
  queue.listed = field_flag(entry, "listed", true);
  queue.epoch = field_count(entry, "epoch");
  const nlohmann::json& consumer = field(entry, "consumer");
  if (consumer.is_object()) {
    queue.consumer =
        ConsumerStatus{field_count(consumer, "pid"), field_text(consumer, "client"),
                       field_real(consumer, "since_seconds"), field_count(consumer, "begun")};
  }
  queue.standbys = field_count(entry, "standbys");
  queue.links = field_count(entry, "links");
  queue.pending = field_count(entry, "pending");
  queue.oldest_age_ms = field_count(entry, "oldest_age_ms");
  const nlohmann::json& stalled = field(entry, "stalled");
  if (stalled.is_object()) {
    queue.stalled = StallStatus{field_count(stalled, "pid"), field_count(stalled, "age_ms"),
                                field_text(stalled, "message")};
  }
  return queue;
}

LinkStatus parse_link(const nlohmann::json& entry) {
  LinkStatus link;
  link.link = field_count(entry, "link");
  link.queue = field_text(entry, "queue");
  link.pid = field_count(entry, "pid");
  link.uid = field_count(entry, "uid");
  link.client = field_text(entry, "client");
  link.slots = field_count(entry, "slots");
  link.arena_bytes = field_count(entry, "arena_bytes");
  link.pending = field_count(entry, "pending");
  link.free = field_count(entry, "free");
  link.sent = field_count(entry, "sent");
  link.state = field_text(entry, "state");
  return link;
}

template <typename Value, typename Parse>
std::vector<Value> parse_list(const nlohmann::json& list, std::size_t count_max, Parse parse) {
  std::vector<Value> values;
  if (!list.is_array()) {
    return values;
  }
  const std::size_t count = std::min(list.size(), count_max);
  values.reserve(count);
  for (std::size_t index = 0; index < count; ++index) {
    values.push_back(parse(list[index]));
  }
  return values;
}

KindTotals totals_of(const KindStatus& kind) {
  KindTotals totals;
  totals.sent = kind.sent;
  totals.success = kind.succeeded();
  totals.failure = kind.failed + kind.exhausted;
  totals.retries = kind.retries;
  totals.total_latency_ns = kind.latency_sum_ns;
  return totals;
}

// A queue that nobody listed is there while somebody uses it; that its last consumer went, too, is
// its ordinary end.
bool is_over(const QueueStatus& queue) {
  return !queue.listed && !queue.consumer && queue.links == 0;
}

std::optional<std::string> find_queue_problem(const QueueStatus& queue) {
  if (is_over(queue)) {
    return std::nullopt;
  }
  if (!queue.consumer) {
    return "queue " + queue.name + " has no consumer (" + format_count(queue.pending) +
           " pending): start one, for example ackbus-gpu --queue " + queue.name;
  }
  if (queue.stalled) {
    return "queue " + queue.name + " is stalled: pid " + std::to_string(queue.stalled->pid) +
           " has held message " + queue.stalled->message + " for " +
           std::to_string(queue.stalled->age_ms) +
           " ms: end that process, its successor takes over";
  }
  return std::nullopt;
}

}  // namespace

Result<BusStatus> parse_status(const nlohmann::json& answer) {
  if (!field(answer, "daemon").is_object() || !field(answer, "kinds").is_array() ||
      !field(answer, "queues").is_array() || !field(answer, "links").is_array()) {
    return Error{ErrorCode::kProtocol,
                 "the daemon's status lacks daemon, kinds, queues or links: use an ackbus of the "
                 "daemon's version"};
  }
  BusStatus status;
  status.bus = field_text(answer, "bus");
  status.incarnation = field_count(answer, "incarnation");
  const nlohmann::json& daemon = field(answer, "daemon");
  status.daemon = {field_count(daemon, "pid"), field_real(daemon, "uptime_seconds"),
                   field_text(daemon, "version"), field_count(daemon, "backlog")};
  status.kinds = parse_list<KindStatus>(field(answer, "kinds"), kKindsReadMax, parse_kind);
  status.queues = parse_list<QueueStatus>(field(answer, "queues"), kQueuesReadMax, parse_queue);
  status.links = parse_list<LinkStatus>(field(answer, "links"), kLinksReadMax, parse_link);
  const nlohmann::json& memory = field(answer, "memory");
  status.memory = {field_count(memory, "submission"), field_count(memory, "ack"),
                   field_count(memory, "tracking"), field_count(memory, "state"),
                   field_count(memory, "frames")};
  const nlohmann::json& letters = field(answer, "dead_letters");
  status.dead_letters = {field_count(letters, "count"), field_count(letters, "bytes"),
                         field_count(letters, "limit_bytes"),
                         field_flag(letters, "writable", false)};
  return status;
}

MessageMetrics metrics_of(const BusStatus& status) {
  MessageMetrics metrics;
  for (const KindStatus& kind : status.kinds) {
    const KindTotals totals = totals_of(kind);
    if (totals == KindTotals{}) {
      continue;
    }
    metrics.name_kind(Kind{kind.id}, kind.name);
    metrics.add(Kind{kind.id}, totals);
  }
  return metrics;
}

std::uint64_t latency_bound_ns(const KindStatus& kind, double percent) {
  std::uint64_t total = 0;
  for (const std::uint64_t count : kind.latency) {
    total += count;
  }
  if (total == 0) {
    return 0;
  }
  const double share = std::clamp(percent, 0.0, 100.0) / 100.0;
  const double rank = std::max(1.0, std::ceil(share * static_cast<double>(total)));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket + 1 < kind.latency.size(); ++bucket) {
    seen += kind.latency[bucket];
    if (static_cast<double>(seen) >= rank) {
      return layout::kLatencyBoundsNs[bucket];
    }
  }
  return UINT64_MAX;
}

std::vector<std::string> find_problems(const BusStatus& status, std::uint64_t answered_in_ms) {
  std::vector<std::string> problems;
  if (status.queues.empty()) {
    problems.push_back("bus " + status.bus +
                       " has no queue with a consumer: start one, for example ackbus-gpu");
  }
  for (const QueueStatus& queue : status.queues) {
    if (std::optional<std::string> problem = find_queue_problem(queue)) {
      problems.push_back(std::move(*problem));
    }
  }
  if (!status.dead_letters.writable) {
    problems.emplace_back(
        "the dead-letter store refuses letters, so verdicts wait: the daemon's log says whether "
        "its "
        "limits (ackbus dead purge), its disk or its directory are the cause");
  }
  if (answered_in_ms > kDaemonLateMs) {
    problems.push_back("the daemon (pid " + std::to_string(status.daemon.pid) + ") took " +
                       std::to_string(answered_in_ms) +
                       " ms to answer: look at its log and the machine's load");
  }
  return problems;
}

}  // namespace ackbus::tools
