// The figures of the whole bus, read from its links' memory and the ledger, and the metrics page
// made of them. Data flow: a scrape or a status query asks; gather_figures() copies and sums
// (bus_figures.hpp says what each figure means); the caller makes a text of it. Threads: the bus
// thread.
#include <unistd.h>

#include <algorithm>

#include "daemon/bus_query.hpp"
#include "daemon/metric_table.hpp"

namespace ackbus::daemon {
namespace {

const char* state_of(const Link& link) {
  if (link.closed) {
    return "closing";
  }
  return link.draining ? "draining" : "open";
}

bool has_figures(const KindFigures& kind) {
  return kind.totals.sent != 0 || kind.totals.posted != 0 || kind.totals.begun != 0;
}

// A link whose producer has taken everything it ever sent need not be looked at slot by slot.
bool is_idle(const LinkMemory& memory, const KindTotals& totals) {
  return !memory.producer_gone &&
         std::all_of(totals.begin(), totals.end(), [](const EndedTotals& kind) {
           return pending_count(kind) == 0 && kind.posted == 0;
         });
}

bool consumer_runs(const Queue& queue, const Link& link) {
  return queue.active != 0 && !queue.ending && !link.handing_over && link.life &&
         link.life->mapped && link.life->epoch == queue.epoch;
}

void add_memory(MemoryFigures& memory, const Link& link) {
  const std::uint64_t lives = (link.life ? 1 : 0) + link.old_lives.size();
  memory.submission += layout::SubmissionGeometry{link.slots, link.arena_bytes}.bytes();
  memory.tracking += layout::TrackingGeometry{link.slots}.bytes();
  memory.ack += lives * layout::AckGeometry{link.slots}.bytes();
}

void add_to_queue(QueueFigures& queue, const LinkFigures& link, const SlotCounts& counts,
                  std::uint64_t now_ns) {
  queue.links += 1;
  queue.pending += link.pending;
  queue.free += link.free;
  queue.begun += counts.begun;
  if (counts.oldest_sent_ns != 0) {
    queue.oldest_age_ns = std::max(queue.oldest_age_ns, now_ns - counts.oldest_sent_ns);
  }
  if (counts.stall && queue.consumer &&
      (!queue.stall || queue.stall->age_ns < counts.stall->age_ns)) {
    queue.stall = counts.stall;
    queue.stall->pid = queue.consumer->pid;
  }
}

QueueFigures queue_figures(Bus& bus, const Queue& queue, std::uint64_t now_ns) {
  QueueFigures figures;
  figures.name = queue.name;
  figures.listed = bus.config().find_queue(queue.name) != nullptr;
  figures.epoch = queue.epoch;
  figures.standbys = queue.standbys.size();
  const Connection* consumer = bus.find_connection(queue.active);
  if (queue.active != 0 && consumer != nullptr && !consumer->hung_up) {
    figures.consumer.emplace();
    figures.consumer->pid = consumer->pid;
    figures.consumer->client = consumer->client;
    figures.consumer->connected_ns = now_ns - std::min(consumer->since_ns, now_ns);
  }
  return figures;
}

LinkFigures link_figures(const Link& link, const Queue& queue, const KindTotals& totals,
                         const SlotCounts& counts) {
  LinkFigures figures;
  figures.number = link.number;
  figures.queue = queue.name;
  figures.pid = link.pid;
  figures.uid = link.uid;
  figures.client = link.client;
  figures.slots = link.slots;
  figures.arena_bytes = link.arena_bytes;
  figures.pending = counts.pending;
  figures.free = counts.free;
  figures.state = state_of(link);
  for (const EndedTotals& kind : totals) {
    figures.sent = saturating_add(figures.sent, kind.sent);
  }
  return figures;
}

// What a link's own memory says: its producer's counters, those of all its lives, and its slots.
void gather_link(Bus& bus, const Link& link, BusFigures& figures, QueueFigures& queue,
                 KindTotals& sum, std::uint64_t now_ns) {
  add_memory(figures.memory, link);
  if (!link.tracker || !link.submission) {
    return;
  }
  const LinkMemory memory = memory_of(bus, link);
  const KindTotals totals = read_link(memory);
  add_totals(sum, totals);
  if (memory.life) {
    add_totals(sum, read_consumer(memory.life));
  }
  for (const layout::AckView& life : memory.ended_lives) {
    add_totals(sum, read_consumer(life));
  }
  SlotCounts counts;
  counts.free = link.slots;
  const Queue& owner = *bus.queues[link.queue];
  if (!is_idle(memory, totals)) {
    counts = count_slots(memory, bus.rules_of(link), consumer_runs(owner, link), now_ns);
  }
  figures.links.push_back(link_figures(link, owner, totals, counts));
  add_to_queue(queue, figures.links.back(), counts, now_ns);
}

void gather_kinds(Bus& bus, const KindTotals& totals, BusFigures& figures) {
  figures.stale_acks = totals[0].stale;
  for (std::uint32_t id = 1; id < layout::kKindsMax; ++id) {
    KindFigures kind;
    kind.id = static_cast<std::uint16_t>(id);
    kind.name = kind_name(bus, id);
    kind.totals = totals[id];
    kind.own = bus.ledger.own(id);
    figures.stale_acks = saturating_add(figures.stale_acks, kind.totals.stale);
    if (bus.config().find_kind(kind.id) != nullptr || has_figures(kind)) {
      figures.kinds.push_back(std::move(kind));
    }
  }
}

void gather_daemon(const Bus& bus, DaemonFigures& daemon, std::uint64_t now_ns) {
  daemon.pid = static_cast<std::uint32_t>(getpid());
  daemon.incarnation = bus.ledger.header().incarnation;
  daemon.uptime_ns = now_ns - std::min(bus.started_ns, now_ns);
  daemon.backlog = bus.worker->pending();
  daemon.loop_turns = bus.loop_turns;
  daemon.loop_busy_ns = bus.loop_busy_ns;
  daemon.loop_longest_ns = bus.loop_longest_ns;
  daemon.refused = bus.refused;
  daemon.store_failures = bus.store_failures;
}

void gather_letters(const Bus& bus, LetterFigures& letters) {
  letters.limit_bytes = bus.config().dead_letter_limits.max_bytes;
  letters.writable = bus.letter_health.is_writable();
  const DeadLetterStats stats = bus.letters->stats();
  letters.count = stats.total.letters;
  letters.bytes = stats.total.bytes;
  letters.damaged = stats.damaged;
}

}  // namespace

std::string kind_name(const Bus& bus, std::uint32_t kind) {
  const KindConfig* known = bus.config().find_kind(static_cast<std::uint16_t>(kind));
  return known == nullptr ? "kind " + std::to_string(kind) : known->name;
}

bool producer_is_gone(Bus& bus, const Link& link) {
  const Connection* producer =
      link.connection == 0 ? nullptr : bus.find_connection(link.connection);
  return link.draining && (producer == nullptr || producer->said_bye || producer->hung_up);
}

LinkMemory memory_of(Bus& bus, const Link& link) {
  LinkMemory memory;
  memory.tracker = link.tracker.get();
  memory.submission = link.submission_view;
  memory.first_sequence = bus.ledger.link(link.record).first_sequence;
  memory.producer_gone = producer_is_gone(bus, link);
  if (link.life && link.life->mapped && link.life->ack) {
    memory.life = layout::AckView(link.life->ack.base(), {link.slots});
  }
  for (const std::unique_ptr<Life>& life : link.old_lives) {
    if (life->mapped && life->ack) {
      memory.ended_lives.emplace_back(life->ack.base(), layout::AckGeometry{link.slots});
    }
  }
  std::reverse(memory.ended_lives.begin(), memory.ended_lives.end());  // newest first
  return memory;
}

BusFigures gather_figures(Bus& bus, std::uint64_t now_ns) {
  BusFigures figures;
  figures.bus = bus.config().name;
  KindTotals totals{};
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    totals[kind] = bus.ledger.ended(kind);
  }
  std::vector<QueueFigures> queues;
  for (const std::unique_ptr<Queue>& queue : bus.queues) {
    queues.push_back(queue_figures(bus, *queue, now_ns));
    figures.memory.state += queue->published[0].bytes + queue->made[0].bytes;
    figures.memory.frames += queue->published[1].bytes + queue->made[1].bytes;
  }
  for (const auto& [number, link] : bus.links) {
    gather_link(bus, *link, figures, queues[link->queue], totals, now_ns);
  }
  for (std::size_t index = 0; index < queues.size(); ++index) {
    const bool is_there = !bus.queues[index]->removed || queues[index].links != 0;
    if (is_there) {
      figures.queues.push_back(std::move(queues[index]));
    }
  }
  gather_kinds(bus, totals, figures);
  gather_daemon(bus, figures.daemon, now_ns);
  gather_letters(bus, figures.letters);
  return figures;
}

std::shared_ptr<const MetricsSnapshot> Bus::metrics() {
  return build_metrics(gather_figures(*this, monotonic_ns()));
}

}  // namespace ackbus::daemon
