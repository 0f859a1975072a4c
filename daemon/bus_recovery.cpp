// A new daemon: takes every descriptor back from the service manager, reads the books, and goes on
// by scanning. Without kept descriptors (first start, or the store was lost) it starts a fresh bus;
// clients of a lost one learn that from the refusal of their token.
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "daemon/bus.hpp"
#include "daemon/bus_figures.hpp"
#include "daemon/kept_descriptors.hpp"
#include "shm_layout/check.hpp"

namespace ackbus::daemon {

Result<void> check_layout(const SegmentMap& bus_segment);  // bus_open.cpp

Result<void> Bus::start_fresh() {
  // Room for whatever max_links a reload may bring; about 2 MiB.
  constexpr std::uint32_t kMaxConnections = max_connections(kMaxLinks);
  Result<UniqueFd> books =
      allocate_segment("ackbus-ledger", Ledger::bytes_for(kMaxLinks, kMaxConnections));
  Result<UniqueFd> shared = allocate_segment("ackbus-bus", layout::BusGeometry::bytes());
  if (!books || !shared) {
    return books ? shared.error() : books.error();
  }
  Result<Ledger> made =
      Ledger::create(books.value().get(), kMaxLinks, kMaxConnections, config().name.c_str());
  Result<SegmentMap> map =
      SegmentMap::map(shared.value().get(), layout::BusGeometry::bytes(), true);
  if (!made || !map) {
    return made ? map.error() : made.error();
  }
  ledger = std::move(made.value());
  ledger_fd = std::move(books.value());
  bus_fd = std::move(shared.value());
  bus_map = std::move(map.value());
  link_by_record.assign(ledger.header().max_links, 0);
  layout::stamp_segment(
      bus_map.base(), {layout::SegmentRole::kBus, layout::BusGeometry::bytes(), 0, 0}, 0, 0, 0, 0);
  const int ledger_descriptor = ledger_fd.get();
  const int bus_descriptor = bus_fd.get();
  for (const auto& [name, fd] :
       {std::pair("ledger", ledger_descriptor), std::pair("bus", bus_descriptor)}) {
    if (const Result<void> stored = store.put(name, {&fd, 1}); !stored) {
      return stored.error();
    }
  }
  for (const QueueConfig& queue : config().queues) {
    find_or_make_queue(queue.name);
  }
  return {};
}

Result<void> Bus::recover(NamedFds& kept) {
  ledger_fd = take(kept, "ledger");
  bus_fd = take(kept, "bus");
  Result<Ledger> books = Ledger::attach(ledger_fd.get());
  Result<SegmentMap> map =
      large_enough(bus_fd, layout::BusGeometry::bytes())
          ? SegmentMap::map(bus_fd.get(), layout::BusGeometry::bytes(), true)
          : Result<SegmentMap>(Error{ErrorCode::kCorrupt, "the kept bus segment is too small"});
  if (!books || !map) {
    return books ? map.error() : books.error();
  }
  if (const Result<void> same = check_layout(map.value()); !same) {
    return same;
  }
  ledger = std::move(books.value());
  bus_map = std::move(map.value());
  link_by_record.assign(ledger.header().max_links, 0);
  recover_queues(kept);
  recover_connections(kept);
  for (std::uint32_t index = 0; index < ledger.header().max_links; ++index) {
    if (ledger.link(index).state != RecordState::kFree) {
      if (Result<void> recovered = recover_link(index, kept); !recovered) {
        return recovered;
      }
    }
  }
  hang_up_on_producers_without_link();
  for (const auto& queue : queues) {
    resume_queue(*queue);
  }
  for (const QueueConfig& queue : config().queues) {
    find_or_make_queue(queue.name);
  }
  return {};
}

void Bus::recover_queues(NamedFds& kept) {
  for (std::uint32_t index = 0; index < layout::kQueuesMax; ++index) {
    const QueueRecord& record = ledger.queue(index);
    if (record.state == RecordState::kFree) {
      return;  // Removed queues keep their records, so the first free one is the end.
    }
    auto queue = std::make_unique<Queue>();
    queue->index = index;
    queue->name.assign(record.name, ::strnlen(record.name, sizeof(record.name)));
    queue->epoch = record.epoch;
    queue->active = record.active_connection;
    queue->removed = record.state == RecordState::kDraining;
    UniqueFd state = take(kept, store_name('S', index));
    UniqueFd frames = take(kept, store_name('F', index));
    if (large_enough(state, record.state_bytes)) {
      queue->published[0] = PublishedSegment{std::move(state), record.state_bytes, record.epoch};
    }
    if (large_enough(frames, record.frames_bytes)) {
      queue->published[1] = PublishedSegment{std::move(frames), record.frames_bytes, record.epoch};
    }
    queues.push_back(std::move(queue));
  }
}

void Bus::recover_connections(NamedFds& kept) {
  for (std::uint32_t index = 0; index < ledger.header().max_connections; ++index) {
    ConnectionRecord& record = ledger.connection(index);
    if (record.state == RecordState::kFree) {
      continue;
    }
    auto connection = std::make_unique<Connection>();
    connection->socket = take(kept, store_name('c', index));
    connection->pidfd = take(kept, store_name('p', index));
    if (connection->socket.get() < 0 || connection->pidfd.get() < 0 ||
        record.queue >= queues.size()) {
      record.state = RecordState::kFree;
      forget_kept({store_name('c', index), store_name('p', index)});
      continue;
    }
    connection->number = record.number;
    connection->record = index;
    connection->recorded = true;
    connection->recovered = true;
    connection->role = static_cast<layout::ClientRole>(record.role);
    connection->uid = record.uid;
    connection->gid = record.gid;
    connection->pid = record.pid;
    connection->queue = record.queue;
    connection->since_ns = record.since_ns;
    connection->client.assign(record.client, ::strnlen(record.client, sizeof(record.client)));
    if (connection->role == layout::ClientRole::kConsumer &&
        queues[record.queue]->active != connection->number) {
      queues[record.queue]->standbys.push_back(connection->number);
    }
    watch(connection->socket.get(), event_tag(EventKind::kSocket, connection->number));
    connections.emplace(connection->number, std::move(connection));
  }
  for (const auto& queue : queues) {
    std::sort(queue->standbys.begin(),
              queue->standbys.end());  // Numbers rise with time of arrival.
  }
}

// One whose link is forgotten would wait for it for ever, and so would one that had said hello to
// the daemon before this one and not been granted anything: they come again, and are answered.
void Bus::hang_up_on_producers_without_link() {
  for (const auto& [number, connection] : connections) {
    if (connection->role == layout::ClientRole::kProducer && connection->link == 0) {
      hang_up(*connection);
    }
  }
}

Result<void> Bus::map_again(Link& link, bool by_its_producer) {
  const layout::SubmissionGeometry geometry{link.slots, link.arena_bytes};
  const layout::TrackingGeometry table{link.slots};
  Result<SegmentMap> submission =
      SegmentMap::map(link.submission_fd.get(), geometry.bytes(), false);
  Result<SegmentMap> tracking = SegmentMap::map(link.tracking_fd.get(), table.bytes(), true);
  if (!submission || !tracking) {
    return submission ? tracking.error() : submission.error();
  }
  link.submission = std::move(submission.value());
  link.tracking = std::move(tracking.value());
  if (by_its_producer) {
    link.submission_view = layout::SubmissionView(link.submission.base(), geometry);
    link.tracker = std::make_unique<LinkTracker>(link, link.submission_view,
                                                 layout::TrackingView(link.tracking.base(), table),
                                                 rules_of(link));
    link.mapped = true;
  } else if (Connection* producer = find_connection(link.connection); producer != nullptr) {
    tell_granted(link, *producer, 0);  // The daemon before this one may have died before it.
  }
  return {};
}

Result<void> Bus::recover_link(std::uint32_t index, NamedFds& kept) {
  LinkRecord& record = ledger.link(index);
  if (ledger.folded() == Folded{record.number, Folded::kWholeLink}) {
    record.state = RecordState::kFree;  // The daemon before this one died while it removed it.
    return {};
  }
  auto link = std::make_unique<Link>(*this, index);
  link->submission_fd = take(kept, store_name('s', index));
  link->tracking_fd = take(kept, store_name('t', index));
  const layout::SubmissionGeometry geometry{record.slots, record.arena_bytes};
  const layout::TrackingGeometry table{record.slots};
  const bool sound = layout::is_power_of_two(record.slots) && record.queue < queues.size() &&
                     large_enough(link->submission_fd, geometry.bytes()) &&
                     large_enough(link->tracking_fd, table.bytes());
  if (!sound) {
    record.state =
        RecordState::kFree;  // Its producer is refused its token and ends everything Closed.
    forget_kept({store_name('s', index), store_name('t', index)});
    return {};
  }
  link->number = record.number;
  link->queue = record.queue;
  link->connection = find_connection(record.connection) == nullptr ? 0 : record.connection;
  link->uid = record.uid;
  link->pid = record.pid;
  link->client.assign(record.client, ::strnlen(record.client, sizeof(record.client)));
  link->slots = record.slots;
  link->arena_bytes = record.arena_bytes;
  link->draining = record.state == RecordState::kDraining;
  if (Connection* producer = find_connection(link->connection); producer != nullptr) {
    producer->link = link->number;
  }
  link_by_record[index] = link->number;
  Link& placed = *links.emplace(link->number, std::move(link)).first->second;
  if (record.own != 0) {
    adopt_own_link(placed);
    if (placed.own) {
      placed.own->recover();
    }
  } else if (Result<void> mapped = map_again(placed, record.mapped != 0); !mapped) {
    return mapped;
  }
  if (Result<void> lives = recover_lives(placed, kept); !lives) {
    return lives;
  }
  if (placed.tracker) {
    placed.tracker->recover();
    if (placed.own) {
      placed.own->reap();  // Its outcomes say which letters stay.
    }
    clean_letters(placed);
  }
  if (placed.connection == 0 && !placed.own) {
    producer_lost(placed);
  }
  return {};
}

// Sends the activation again (the same epoch twice is ignored), or begins a hand-over that was cut
// short.
void Bus::resume_queue(Queue& queue) {
  for (const auto& [number, link] : links) {
    for (std::size_t i = 0; link->queue == queue.index && i < link->old_lives.size(); ++i) {
      tell_life(*link, *link->old_lives[i]);  // Before any life that comes now.
    }
  }
  Connection* active = find_connection(queue.active);
  for (const std::uint64_t number : queue.standbys) {  // Who was not answered yet is, now.
    if (Connection* standby = find_connection(number); standby != nullptr) {
      welcome(*standby, 0);
      tell_standby(queue, *standby);
    }
  }
  if (queue.active != 0 && active == nullptr) {
    consumer_ended(queue);
    return;
  }
  if (active == nullptr) {
    for (const auto& [number, link] : links) {
      if (link->queue == queue.index && link->tracker) {
        link->tracker->end_life();
        queue.begun_at_end += link->tracker->begun_count();
      }
    }
    activate_next(queue);
    return;
  }
  welcome(*active, 0);
  activate(queue, *active);
  for (const auto& [number, link] : links) {
    if (link->queue != queue.index || !link->mapped || link->closed) {
      continue;
    }
    if (link->life && link->life->epoch == queue.epoch) {
      if (ledger.link(link->record).life.told != 0) {
        life_told(*link, queue.epoch);  // Both have their ends; the consumer may not know it yet.
      } else {
        send_add_link(*link);
      }
    } else {
      queue.begun_at_end += link->tracker->begun_count();
    }
  }
  for (const auto& [number, link] : links) {
    if (link->queue == queue.index && link->mapped &&
        (!link->life || link->life->epoch != queue.epoch)) {
      hand_over(*link);
    }
  }
}

}  // namespace ackbus::daemon
