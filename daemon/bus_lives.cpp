// Consumers: who is active, who stands by, and the hand-over of every link of a queue to a new life
// (docs/architecture.md, consumer lives and hand-over).
#include <algorithm>

#include "daemon/bus.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

using layout::ControlType;

// ---- arriving and leaving ----

void Bus::consumer_arrived(Connection& connection, bool stands_by) {
  Queue& queue = *queues[connection.queue];
  if (queue.active != 0 && !stands_by) {
    refuse(connection, layout::RefusedCode::kPermission,
           "queue '" + queue.name +
               "' has an active consumer: end it first, or let this one stand by");
    return;
  }
  if (const auto full = store_is_full(0, 1); full || !record_connection(connection)) {
    refuse(connection, layout::RefusedCode::kQuota,
           full.value_or("the daemon has no place for one more client: see its log"));
    return;
  }
  welcome(connection, 0);
  queue.standbys.push_back(connection.number);
  if (queue.active == 0) {
    activate_next(queue);
    return;
  }
  tell_standby(queue, connection);
  write_queue_row(queue);
  log.line(LogLevel::kInfo, "consumers", "consumer stands by",
           {{"queue", queue.name},
            {"pid", std::to_string(connection.pid)},
            {"client", connection.client}});
}

void Bus::tell_standby(const Queue& queue, Connection& connection) {
  layout::ActivatedMessage message{};
  message.header = layout::control_header<layout::ActivatedMessage>(ControlType::kStandby);
  message.ahead = queue.standbys.size();
  send(connection, message);
}

// The first of those that stand by becomes the active one: a new life, numbered by the queue's
// epoch.
void Bus::activate_next(Queue& queue) {
  Connection* next = nullptr;
  while (next == nullptr && !queue.standbys.empty()) {
    next = find_connection(queue.standbys.front());
    queue.standbys.pop_front();
    if (next != nullptr && next->hung_up) {
      next = nullptr;
    }
  }
  if (next == nullptr) {
    write_queue_row(queue);
    return;
  }
  queue.epoch += 1;
  queue.active = next->number;
  queue.ending = false;
  next->since_ns = monotonic_ns();
  QueueRecord& record = ledger.queue(queue.index);
  record.active_connection = next->number;
  record.epoch = queue.epoch;
  ACKBUS_POINT(kActivated);
  activate(queue, *next);
  ACKBUS_POINT(kActivationSent);
  log.line(LogLevel::kInfo, "consumers", "consumer active",
           {{"queue", queue.name},
            {"epoch", std::to_string(queue.epoch)},
            {"pid", std::to_string(next->pid)},
            {"client", next->client}});
  write_queue_row(queue);
  for (const auto& [number, link] : links) {
    if (link->queue == queue.index && link->mapped && !link->closed) {
      hand_over(*link);
    }
  }
}

void Bus::activate(Queue& queue, Connection& consumer) {
  layout::ActivatedMessage message{};
  message.header = layout::control_header<layout::ActivatedMessage>(ControlType::kActivated);
  message.epoch = queue.epoch;
  const PublishedSegment& state = queue.published[0];
  Result<UniqueFd> readable =
      state.fd.get() >= 0 ? reopen_read_only(state.fd.get()) : Result<UniqueFd>(UniqueFd());
  if (readable && readable.value().get() >= 0) {
    message.state_bytes = state.bytes;
    send(consumer, message, {readable.value().get()});
  } else {
    send(consumer, message);
  }
}

// It was out of descriptors when it was told: nothing of this life reached it.
void Bus::activate_again(const Connection& connection) {
  Queue& queue = *queues[connection.queue];
  Connection* active = find_connection(queue.active);
  if (active != &connection) {
    return;
  }
  activate(queue, *active);
  for (const auto& [number, link] : links) {
    if (link->queue == queue.index) {
      send_later(*link, queue.epoch);
    }
  }
}

void Bus::consumer_ended(Queue& queue) {
  std::uint32_t begun = 0;
  for (const auto& [number, link] : links) {
    if (link->queue == queue.index && link->tracker) {
      link->tracker->end_life();
      begun += link->tracker->begun_count();
    }
  }
  log.line(LogLevel::kWarning, "consumers", "consumer ended",
           {{"queue", queue.name},
            {"epoch", std::to_string(queue.epoch)},
            {"begun", std::to_string(begun)},
            {"standbys", std::to_string(queue.standbys.size())}});
  queue.begun_at_end = begun;
  ACKBUS_POINT(kLifeEnded);
  queue.active = 0;
  queue.ending = false;
  ledger.queue(queue.index).active_connection = 0;
  ACKBUS_POINT(kLifeUnbooked);
  queue.made[0] = PublishedSegment{};
  queue.made[1] = PublishedSegment{};
  ring_all();
  activate_next(queue);
}

// Whoever the dead one could have left asleep looks again.
void Bus::ring_all() {
  for (const auto& [number, connection] : connections) {
    if (connection->role == layout::ClientRole::kProducer ||
        connection->role == layout::ClientRole::kConsumer) {
      wake(number);
    }
  }
}

// ---- hand-over ----

// A life that has ended before this daemon could read it: its consumer may have served it all the
// same, so what it answered and how far it read is looked at before another one begins.
bool Bus::adopt_unsaid_life(Link& link) {
  const layout::AckGeometry geometry{link.slots};
  Result<SegmentMap> map = SegmentMap::map(link.life->ack_fd.get(), geometry.bytes(), false);
  if (!map) {
    log.state(LogLevel::kError, "consumers", "ack segment " + std::to_string(link.number),
              map.error().text);
    return false;
  }
  link.life->ack = std::move(map.value());
  link.tracker->set_life(layout::AckView(link.life->ack.base(), geometry), link.life->epoch,
                         link.life->start);
  return true;
}

// Step 0 on the worker: letters of what was answered after all are removed, the fresh ack segment
// is made.
void Bus::hand_over(Link& link) {
  if (link.handing_over || link.closed || !link.mapped) {
    return;
  }
  const bool nobody_drains = link.connection == 0 && link.draining;
  if (nobody_drains && link.old_lives.size() >= kOldLivesMax) {
    life_drained(link, link.old_lives.front()->epoch);  // Its producer is gone and will not say so.
  }
  if (!link.tracker->letters_idle() || link.old_lives.size() >= kOldLivesMax) {
    return;  // do_work() tries again when the letter is done, or when the producer has taken the
             // older acks.
  }
  if (link.life && !link.life->ack && !adopt_unsaid_life(link)) {
    return;  // do_work() tries again.
  }
  link.handing_over = true;
  link.tracker->end_life();
  const std::uint64_t number = link.number;
  const std::uint64_t epoch = queues[link.queue]->epoch;
  const std::uint64_t bytes = layout::AckGeometry{link.slots}.bytes();
  std::vector<LetterOwner> remove;
  for (const layout::DescriptorCopy& descriptor : link.tracker->letters_to_remove()) {
    remove.push_back(owner_of(link, descriptor));
  }
  const bool queued = worker->submit_for<Result<UniqueFd>>(
      [bytes, remove, store_of_letters = letters] {
        for (const LetterOwner& owner : remove) {  // What fails here is corrected below.
          [[maybe_unused]] const auto removed = store_of_letters->remove_of(owner);
        }
        return allocate_segment("ackbus-ack", bytes);
      },
      [this, number, epoch, remove](Result<UniqueFd> ack_fd) {
        for (const LetterOwner& owner : remove) {
          if (letters->is_of(owner)) {
            correct_letter({owner, false, number, {}});
          }
        }
        Link* still = find_link(number);
        if (still == nullptr) {
          return;
        }
        still->handing_over = false;
        const Queue& queue = *queues[still->queue];
        if (!ack_fd) {
          log.state(LogLevel::kError, "consumers", "ack segment " + std::to_string(number),
                    ack_fd.error().text);
          return;  // do_work() tries again.
        }
        if (queue.epoch == epoch && queue.active != 0) {
          finish_hand_over(*still, epoch, std::move(ack_fd.value()));
        }
      });
  if (!queued) {
    link.handing_over = false;
  }
}

// Steps 1 to 5 of docs/architecture.md, in that order.
void Bus::finish_hand_over(Link& link, std::uint64_t epoch, UniqueFd ack_fd) {
  if (!link.tracker->letters_idle()) {
    return;  // A verdict began meanwhile: do_work() tries again when its letter is done.
  }
  const layout::AckGeometry geometry{link.slots};
  Result<SegmentMap> map = SegmentMap::map(ack_fd.get(), geometry.bytes(), true);
  if (!map) {
    log.state(LogLevel::kError, "consumers", "ack segment " + std::to_string(link.number),
              map.error().text);
    return;
  }
  const layout::AckView fresh(map.value().base(), geometry);
  LinkRecord& record = ledger.link(link.record);
  HandOver plan;
  plan.new_epoch = epoch;
  plan.sole_begun = queues[link.queue]->begun_at_end == 1;
  plan.counts_deaths = !queues[link.queue]->ended_in_order;
  const std::uint64_t start = link.tracker->hand_over_start(record.first_sequence);
  link.tracker->settle_ended_life(plan, start, fresh);  // 1
  ACKBUS_POINT(kEndedLifeSettled);
  auto life = std::make_unique<Life>();  // 2
  life->epoch = epoch;
  life->slots = link.slots;
  life->start = start;
  life->redelivery_start = link.tracker->redelivery_end();
  layout::stamp_segment(map.value().base(),
                        {layout::SegmentRole::kAck, geometry.bytes(), link.slots, 0}, link.number,
                        epoch, start, life->redelivery_start);
  // The daemon's one store to these; relaxed because nobody has mapped the segment yet.
  fresh.words().cursor.store_relaxed(start);
  fresh.words().redelivery_cursor.store_relaxed(life->redelivery_start);
  life->ack_fd = std::move(ack_fd);
  keep(life_store_name(link.record, epoch), life->ack_fd.get());
  ACKBUS_POINT(kLifeKept);
  if (link.life) {
    // Its consumer may have served it, said so or not, and its producer still takes the acks of it.
    keep_ended_life(link, record);
    const auto free = std::find_if(std::begin(record.old_lives), std::end(record.old_lives),
                                   [](const LifeRecord& old) { return old.epoch == 0; });
    if (free != std::end(record.old_lives)) {
      *free = record.life;
    }
    link.old_lives.push_back(std::move(link.life));
  }
  record.life = {epoch, start, life->redelivery_start, 0, 0};
  link.life = std::move(life);
  ACKBUS_POINT(kLifeBooked);
  link.tracker->redeliver(plan, start, monotonic_ns());  // 3
  ACKBUS_POINT(kRedelivered);
  link.tracker->move_epoch(epoch, start);  // 4
  wake(link.connection);
  send_add_link(link);  // 5
  ACKBUS_POINT(kHandedOver);
}

// The producer has taken every ack of that life: its figures are folded, its memory goes.
void Bus::life_drained(Link& link, std::uint64_t epoch) {
  const auto found = std::find_if(link.old_lives.begin(), link.old_lives.end(),
                                  [&](const auto& old) { return old->epoch == epoch; });
  if (found == link.old_lives.end()) {
    return;
  }
  fold_life(link, **found);
  ACKBUS_POINT(kLifeFolded);
  for (LifeRecord& old : ledger.link(link.record).old_lives) {
    if (old.epoch == epoch) {
      old.epoch = 0;
    }
  }
  [[maybe_unused]] const auto gone = store.remove(life_store_name(link.record, epoch));
  std::vector<UniqueFd> descriptors;
  descriptors.push_back(std::move((*found)->ack_fd));
  link.old_lives.erase(found);
  worker->release(std::move(descriptors));
  ACKBUS_POINT(kLifeForgotten);
}

}  // namespace ackbus::daemon
