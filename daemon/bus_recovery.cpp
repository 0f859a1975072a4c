// A new daemon: takes every descriptor back from the service manager, reads the books, and goes on
// by scanning. Without kept descriptors (first start, or the store was lost) it starts a fresh bus;
// clients of a lost one learn that from the refusal of their token.
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "daemon/bus.hpp"
#include "daemon/bus_figures.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {
namespace {

UniqueFd take(NamedFds& kept, const std::string& name) {
  const auto found = kept.find(name);
  if (found == kept.end() || found->second.empty()) {
    return UniqueFd();
  }
  UniqueFd fd = std::move(found->second.front());
  kept.erase(found);
  return fd;
}

bool large_enough(const UniqueFd& fd, std::uint64_t bytes) {
  struct stat status {};
  return fd.get() >= 0 && ::fstat(fd.get(), &status) == 0 &&
         static_cast<std::uint64_t>(status.st_size) >= bytes;
}

// Null when its segment is gone.
std::unique_ptr<Life> open_life(NamedFds& kept, const Link& link, const LifeRecord& from) {
  const layout::AckGeometry geometry{link.slots};
  auto life = std::make_unique<Life>();
  life->ack_fd = take(kept, life_store_name(link.record, from.epoch));
  if (!large_enough(life->ack_fd, geometry.bytes())) {
    return nullptr;
  }
  life->epoch = from.epoch;
  life->slots = link.slots;
  life->start = from.start;
  life->redelivery_start = from.redelivery_start;
  Result<SegmentMap> map = SegmentMap::map(life->ack_fd.get(), geometry.bytes(), false);
  if (!map) {
    return nullptr;
  }
  life->ack = std::move(map.value());
  life->mapped = from.mapped != 0;
  return life;
}

}  // namespace

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
  ledger = std::move(books.value());
  bus_map = std::move(map.value());
  link_by_record.assign(ledger.header().max_links, 0);
  ledger.finish_fold();
  ACKBUS_POINT(kBooksTaken);
  recover_queues(kept);
  recover_connections(kept);
  ACKBUS_POINT(kConnectionsTaken);
  for (std::uint32_t index = 0; index < ledger.header().max_links; ++index) {
    if (ledger.link(index).state != RecordState::kFree) {
      recover_link(index, kept);
    }
  }
  ACKBUS_POINT(kLinksTaken);
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

void Bus::recover_link(std::uint32_t index, NamedFds& kept) {
  LinkRecord& record = ledger.link(index);
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
    return;
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
  } else if (record.mapped != 0) {
    Result<SegmentMap> submission =
        SegmentMap::map(placed.submission_fd.get(), geometry.bytes(), false);
    Result<SegmentMap> tracking = SegmentMap::map(placed.tracking_fd.get(), table.bytes(), true);
    if (!submission || !tracking) {
      log.line(LogLevel::kError, "links",
               submission ? tracking.error().text : submission.error().text);
      remove_link(placed.number);
      return;
    }
    placed.submission = std::move(submission.value());
    placed.tracking = std::move(tracking.value());
    placed.submission_view = layout::SubmissionView(placed.submission.base(), geometry);
    placed.tracker = std::make_unique<LinkTracker>(
        placed, placed.submission_view, layout::TrackingView(placed.tracking.base(), table),
        rules_of(placed));
    placed.mapped = true;
  } else {
    Result<SegmentMap> tracking = SegmentMap::map(placed.tracking_fd.get(), table.bytes(), true);
    if (tracking) {
      placed.tracking = std::move(tracking.value());
    }
  }
  recover_lives(placed, kept);
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
}

// A daemon that died between storing Final and dealing with the letter left it unmarked: a Success
// that came late is marked, any other answer has no letter.
void Bus::clean_letters(Link& link) {
  for (std::uint32_t slot = 0; slot < link.slots; ++slot) {
    const auto view = link.tracker->look(slot);
    if (!view || view->entry.state != layout::PendingState::kFinal) {
      continue;
    }
    LetterId id{};
    std::memcpy(id.data(), view->descriptor.id, id.size());
    if (!letters->exists(id)) {
      continue;
    }
    const Ending ending = ending_taken(*view);
    if (ending == Ending::kSuccess || ending == Ending::kPartialSuccess) {
      // Not counted: the daemon before this one may have.
      link.submit_for_letter([store_of_letters = letters, id] {
        [[maybe_unused]] const auto marked = store_of_letters->mark_late_success(id);
      });
    } else {
      link.remove_letter(view->descriptor);  // Also when nobody has taken that answer yet.
    }
  }
}

// The life that the epoch word names is the one in force; a newer one in the books is a hand-over
// that was cut short and begins again.
void Bus::recover_lives(Link& link, NamedFds& kept) {
  LinkRecord& record = ledger.link(link.record);
  const layout::AckGeometry geometry{link.slots};
  if (!link.tracker) {
    return;
  }
  keep_counter_promise(link);
  const layout::TrackingView tracking(link.tracking.base(), {link.slots});
  // relaxed because the daemon before this one wrote it, and it has ended
  const std::uint64_t in_force = tracking.words().epoch.load_relaxed();
  for (LifeRecord& old : record.old_lives) {
    if (old.epoch == 0) {
      continue;
    }
    if (auto life = open_life(kept, link, old)) {
      link.old_lives.push_back(std::move(life));
    } else {
      forget_kept({life_store_name(link.record, old.epoch)});
      old.epoch = 0;
    }
  }
  std::sort(link.old_lives.begin(), link.old_lives.end(),
            [](const auto& left, const auto& right) { return left->epoch < right->epoch; });
  if (record.life.epoch != 0 && record.life.epoch == in_force) {
    link.life = open_life(kept, link, record.life);
  } else if (record.life.epoch > in_force) {
    [[maybe_unused]] const auto removed =
        store.remove(life_store_name(link.record, record.life.epoch));
    if (!link.old_lives.empty() && link.old_lives.back()->epoch == in_force) {
      link.life = std::move(link.old_lives.back());  // Handed over halfway: it is in force again.
      link.old_lives.pop_back();
      for (LifeRecord& old : record.old_lives) {
        if (old.epoch == in_force) {
          record.life = old;
          old.epoch = 0;
        }
      }
    } else {
      record.life = LifeRecord{};
    }
  }
  // Also when its consumer had not said that it mapped it: the carried supersede table is in it,
  // and what else it says is checked like everything of a peer's.
  if (link.own) {
    for (const auto& old : link.old_lives) {  // Acks that the daemon before this one left in them.
      link.own->set_life(layout::AckView(old->ack.base(), geometry), old->epoch, old->start);
    }
  }
  if (link.life) {
    link.tracker->set_life(layout::AckView(link.life->ack.base(), geometry), link.life->epoch,
                           link.life->start);
    if (link.own) {
      link.own->set_life(layout::AckView(link.life->ack.base(), geometry), link.life->epoch,
                         link.life->start);
    }
  }
}

// Sends the activation again (the same epoch twice is ignored), or begins a hand-over that was cut
// short.
void Bus::resume_queue(Queue& queue) {
  Connection* active = find_connection(queue.active);
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
  layout::ActivatedMessage message{};
  message.header =
      layout::control_header<layout::ActivatedMessage>(layout::ControlType::kActivated);
  message.epoch = queue.epoch;
  send(*active, message);
  for (const auto& [number, link] : links) {
    if (link->queue != queue.index || !link->mapped || link->closed) {
      continue;
    }
    for (const auto& old : link->old_lives) {
      tell_life(*link, *old);
    }
    if (link->life && link->life->epoch == queue.epoch) {
      send_add_link(*link);
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
