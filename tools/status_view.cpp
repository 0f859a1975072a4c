#include "tools/status_view.hpp"

#include "tools/daemon_query.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr std::size_t kLinksShownMax = 50;

std::string heading(const BusStatus& status) {
  return "bus " + status.bus + ": ackbusd " + status.daemon.version + ", pid " +
         std::to_string(status.daemon.pid) + ", up " +
         format_duration(status.daemon.uptime_seconds) + ", incarnation " +
         std::to_string(status.incarnation) +
         (status.daemon.backlog == 0
              ? std::string()
              : ", " + format_count(status.daemon.backlog) + " decisions waiting") +
         "\n";
}

std::string consumer_text(const QueueStatus& queue) {
  if (!queue.consumer) {
    return "none";
  }
  const ConsumerStatus& consumer = *queue.consumer;
  return consumer.client + " pid " + std::to_string(consumer.pid) + ", " +
         format_duration(consumer.since_seconds) + ", runs " + format_count(consumer.begun);
}

std::string queues_text(const BusStatus& status) {
  if (status.queues.empty()) {
    return "no queues yet: a consumer or a producer makes one by naming it\n";
  }
  TextTable table({{"queue", Align::kLeft},
                   {"consumer", Align::kLeft},
                   {"life", Align::kRight},
                   {"stand by", Align::kRight},
                   {"links", Align::kRight},
                   {"pending", Align::kRight},
                   {"oldest", Align::kRight}});
  std::string stalls;
  for (const QueueStatus& queue : status.queues) {
    table.add_row({queue.name, consumer_text(queue), std::to_string(queue.epoch),
                   format_count(queue.standbys), format_count(queue.links),
                   format_count(queue.pending),
                   queue.pending == 0 ? "-" : format_count(queue.oldest_age_ms) + " ms"});
    if (queue.stalled) {
      stalls += "stalled: queue " + queue.name + ", pid " + std::to_string(queue.stalled->pid) +
                " has held message " + queue.stalled->message + " for " +
                format_count(queue.stalled->age_ms) + " ms\n";
    }
  }
  return table.text() + stalls;
}

std::string links_text(const BusStatus& status) {
  if (status.links.empty()) {
    return "no links: no producer is connected\n";
  }
  TextTable table({{"link", Align::kRight},
                   {"queue", Align::kLeft},
                   {"producer", Align::kLeft},
                   {"pid", Align::kRight},
                   {"uid", Align::kRight},
                   {"sent", Align::kRight},
                   {"pending", Align::kRight},
                   {"free slots", Align::kRight},
                   {"slots", Align::kRight},
                   {"arena", Align::kRight},
                   {"state", Align::kLeft}});
  std::size_t shown = 0;
  for (const LinkStatus& link : status.links) {
    if (++shown > kLinksShownMax) {
      break;
    }
    table.add_row({std::to_string(link.link), link.queue, link.client, std::to_string(link.pid),
                   std::to_string(link.uid), format_count(link.sent), format_count(link.pending),
                   format_count(link.free), format_count(link.slots),
                   format_bytes(link.arena_bytes), link.state});
  }
  std::string text = table.text();
  if (status.links.size() > kLinksShownMax) {
    text += "and " + format_count(status.links.size() - kLinksShownMax) +
            " more links: --json shows them all\n";
  }
  return text;
}

const KindStatus* find_kind(const BusStatus* status, std::uint16_t id) {
  if (status == nullptr) {
    return nullptr;
  }
  for (const KindStatus& kind : status->kinds) {
    if (kind.id == id) {
      return &kind;
    }
  }
  return nullptr;
}

// Successes a second since the look before; "-" without one, or after counters began anew.
std::string rate_text(const KindStatus& kind, const StatusInterval& interval) {
  const KindStatus* before = find_kind(interval.previous, kind.id);
  if (before == nullptr || interval.seconds <= 0.0 || before->succeeded() > kind.succeeded()) {
    return "-";
  }
  const auto done = static_cast<double>(kind.succeeded() - before->succeeded());
  return format_decimal(done / interval.seconds, done < 100.0 * interval.seconds ? 1 : 0);
}

std::string average_text(const KindStatus& kind) {
  const std::uint64_t done = kind.succeeded();
  return done == 0 ? "-" : format_latency(kind.latency_sum_ns / done);
}

std::string kinds_text(const BusStatus& status, const StatusInterval& interval) {
  TextTable table({{"kind", Align::kLeft},
                   {"sent", Align::kRight},
                   {"success", Align::kRight},
                   {"failed", Align::kRight},
                   {"exhausted", Align::kRight},
                   {"skipped", Align::kRight},
                   {"closed", Align::kRight},
                   {"pending", Align::kRight},
                   {"retries", Align::kRight},
                   {"average", Align::kRight},
                   {"p50 <=", Align::kRight},
                   {"p99 <=", Align::kRight},
                   {"done/s", Align::kRight}});
  std::size_t used = 0;
  for (const KindStatus& kind : status.kinds) {
    if (kind.sent == 0 && kind.posted == 0) {
      continue;
    }
    ++used;
    table.add_row({kind.name, format_count(kind.sent), format_count(kind.succeeded()),
                   format_count(kind.failed), format_count(kind.exhausted),
                   format_count(kind.superseded + kind.cancelled), format_count(kind.closed),
                   format_count(kind.pending), format_count(kind.retries), average_text(kind),
                   format_latency(latency_bound_ns(kind, 50.0)),
                   format_latency(latency_bound_ns(kind, 99.0)), rate_text(kind, interval)});
  }
  return used == 0 ? "nothing was sent yet\n" : table.text();
}

std::string stores_text(const BusStatus& status) {
  const MemoryStatus& memory = status.memory;
  const DeadLetterStatus& letters = status.dead_letters;
  return "memory " + format_bytes(memory.total()) + ": submission " +
         format_bytes(memory.submission) + ", ack " + format_bytes(memory.ack) + ", tracking " +
         format_bytes(memory.tracking) + ", state " + format_bytes(memory.state) + ", frames " +
         format_bytes(memory.frames) + "\ndead letters " + format_count(letters.count) + ", " +
         format_bytes(letters.bytes) + " of " + format_bytes(letters.limit_bytes) +
         (letters.writable ? "" : ", CANNOT BE WRITTEN") + "\n";
}

}  // namespace

std::string format_latency(std::uint64_t latency_ns) {
  if (latency_ns == UINT64_MAX) {
    return "> 30 s";
  }
  if (latency_ns == 0) {
    return "-";
  }
  const auto value = static_cast<double>(latency_ns);
  if (latency_ns < 1'000) {
    return std::to_string(latency_ns) + " ns";
  }
  if (latency_ns < 1'000'000) {
    return format_decimal(value / 1e3, 1) + " us";
  }
  if (latency_ns < 1'000'000'000) {
    return format_decimal(value / 1e6, 2) + " ms";
  }
  return format_decimal(value / 1e9, 2) + " s";
}

std::string status_text(const BusStatus& status, const StatusInterval& interval) {
  return heading(status) + "\n" + queues_text(status) + "\n" + links_text(status) + "\n" +
         kinds_text(status, interval) + "\n" + stores_text(status);
}

}  // namespace ackbus::tools
