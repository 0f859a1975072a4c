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
  layout::ActivatedMessage message{};
  message.header = layout::control_header<layout::ActivatedMessage>(ControlType::kStandby);
  message.ahead = queue.standbys.size();
  send(connection, message);
  write_queue_row(queue);
  log.line(LogLevel::kInfo, "consumers", "consumer stands by",
           {{"queue", queue.name},
            {"pid", std::to_string(connection.pid)},
            {"client", connection.client}});
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
  layout::ActivatedMessage message{};
  message.header = layout::control_header<layout::ActivatedMessage>(ControlType::kActivated);
  message.epoch = queue.epoch;
  const PublishedSegment& state = queue.published[0];
  Result<UniqueFd> readable =
      state.fd.get() >= 0 ? reopen_read_only(state.fd.get()) : Result<UniqueFd>(UniqueFd());
  if (readable && readable.value().get() >= 0) {
    message.state_bytes = state.bytes;
    send(*next, message, {readable.value().get()});
  } else {
    send(*next, message);
  }
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
  link.handing_over = true;
  link.tracker->end_life();
  const std::uint64_t number = link.number;
  const std::uint64_t epoch = queues[link.queue]->epoch;
  const std::uint64_t bytes = layout::AckGeometry{link.slots}.bytes();
  std::vector<LetterId> remove;
  for (const layout::DescriptorCopy& descriptor : link.tracker->letters_to_remove()) {
    LetterId id{};
    std::copy_n(reinterpret_cast<const std::uint8_t*>(descriptor.id), id.size(), id.begin());
    remove.push_back(id);
  }
  const bool queued = worker->submit_for<Result<UniqueFd>>(
      [bytes, remove, store_of_letters = letters] {
        for (const LetterId& id : remove) {
          if (store_of_letters) {
            [[maybe_unused]] const auto removed = store_of_letters->remove(id);
          }
        }
        return allocate_segment("ackbus-ack", bytes);
      },
      [this, number, epoch](Result<UniqueFd> ack_fd) {
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
  fresh.words().cursor.store_release(
      start);  // [E12] the daemon's one store: before anyone maps the segment
  fresh.words().redelivery_cursor.store_release(life->redelivery_start);  // [E13] likewise
  life->ack_fd = std::move(ack_fd);
  keep(life_store_name(link.record, epoch), life->ack_fd.get());
  ACKBUS_POINT(kLifeKept);
  if (link.life) {
    if (link.life->mapped) {  // Its producer still takes the acks of it.
      const auto free = std::find_if(std::begin(record.old_lives), std::end(record.old_lives),
                                     [](const LifeRecord& old) { return old.epoch == 0; });
      if (free != std::end(record.old_lives)) {
        *free = record.life;
      }
      link.old_lives.push_back(std::move(link.life));
    } else {
      [[maybe_unused]] const auto gone =
          store.remove(life_store_name(link.record, link.life->epoch));
      // Nobody began anything in it. A daemon that was started meanwhile has read it all the same.
      link.tracker->forget_life();
    }
  }
  record.life = {epoch, start, life->redelivery_start, 0};
  link.life = std::move(life);
  ACKBUS_POINT(kLifeBooked);
  link.tracker->redeliver(plan, start, monotonic_ns());  // 3
  ACKBUS_POINT(kRedelivered);
  link.tracker->move_epoch(epoch, start);  // 4
  wake(link.connection);
  send_add_link(link);  // 5
  ACKBUS_POINT(kHandedOver);
}

// Makes new pipes each time: both ends take what came last, and both writers ring once.
void Bus::send_add_link(Link& link) {
  Connection* consumer = find_connection(queues[link.queue]->active);
  if (!link.life) {
    return;
  }
  Life& life = *link.life;
  life.add_again = false;
  if (consumer == nullptr) {
    return;
  }
  Result<BellPipe> to_consumer = make_bell_pipe();
  Result<BellPipe> to_producer = make_bell_pipe();
  const Result<UniqueFd> submission = reopen_read_only(link.submission_fd.get());
  const Result<UniqueFd> tracking = reopen_read_only(link.tracking_fd.get());
  life.add_again = !to_consumer || !to_producer || !submission || !tracking;
  if (life.add_again) {
    log.state(LogLevel::kError, "descriptors", "limit", kOutOfDescriptors);
    return;  // work_on_link() tries again.
  }
  life.to_consumer = std::move(to_consumer.value());
  life.to_producer = std::move(to_producer.value());
  layout::LifeMessage message{};
  message.header = layout::control_header<layout::LifeMessage>(ControlType::kAddLink);
  message.link = link.number;
  message.epoch = life.epoch;
  message.main_start = life.start;
  message.redelivery_start = life.redelivery_start;
  message.slots = link.slots;
  message.arena_bytes = link.arena_bytes;
  message.peer_pid = link.pid;
  send(*consumer, message,
       {submission.value().get(), tracking.value().get(), life.ack_fd.get(),
        life.to_consumer.rung.get(), life.to_producer.ring.get()});
}

// The consumer has mapped its segment: sealed, read from now on, and the producer hears of the
// life.
void Bus::life_mapped(Link& link, std::uint64_t epoch) {
  if (!link.life || link.life->epoch != epoch) {
    return;
  }
  Life& life = *link.life;
  if (!life.mapped) {
    const layout::AckGeometry geometry{link.slots};
    const Result<void> sealed = seal_for_readers(life.ack_fd.get());
    Result<SegmentMap> map = SegmentMap::map(life.ack_fd.get(), geometry.bytes(), false);
    if (!sealed || !map) {
      log.line(LogLevel::kError, "consumers", sealed ? map.error().text : sealed.error().text);
      return;
    }
    life.ack = std::move(map.value());
    life.mapped = true;
    ledger.link(link.record).life.mapped = 1;
    ACKBUS_POINT(kLifeSealed);
    const layout::AckView view(life.ack.base(), geometry);
    link.tracker->set_life(view, epoch, life.start);
    if (link.own) {
      link.own->set_life(view, epoch, life.start);
      while (!link.old_lives.empty()) {  // set_life() has taken what was left in them.
        life_drained(link, link.old_lives.front()->epoch);
      }
    }
  }
  tell_life(link, life);
  ACKBUS_POINT(kLifeTold);
  wake(queues[link.queue]->active);  // What was published before the producer knew whom to ring.
}

void Bus::tell_life(Link& link, Life& life) {
  Connection* producer = find_connection(link.connection);
  life.tell_again = false;
  if (producer == nullptr) {
    return;
  }
  Result<BellPipe> first = BellPipe{};
  Result<BellPipe> second = BellPipe{};
  const bool rings_nobody = life.to_consumer.ring.get() < 0;  // an ended life told again
  if (rings_nobody) {
    first = make_bell_pipe();
    second = make_bell_pipe();
  }
  const Result<UniqueFd> ack = reopen_read_only(life.ack_fd.get());
  life.tell_again = !first || !second || !ack;
  if (life.tell_again) {
    log.state(LogLevel::kError, "descriptors", "limit", kOutOfDescriptors);
    return;  // work_on_link() tries again.
  }
  if (rings_nobody) {
    life.to_consumer = std::move(first.value());
    life.to_producer = std::move(second.value());
  }
  layout::LifeMessage message{};
  message.header = layout::control_header<layout::LifeMessage>(ControlType::kLife);
  message.link = link.number;
  message.epoch = life.epoch;
  message.main_start = life.start;
  message.redelivery_start = life.redelivery_start;
  message.slots = link.slots;
  message.arena_bytes = link.arena_bytes;
  send(*producer, message,
       {ack.value().get(), life.to_consumer.ring.get(), life.to_producer.rung.get()});
  life.to_consumer = BellPipe{};
  life.to_producer = BellPipe{};
}

bool Bus::send_again(Link& link) {
  bool again = false;
  for (const auto& old : link.old_lives) {
    if (old->tell_again) {
      tell_life(link, *old);
      again = again || old->tell_again;
    }
  }
  if (link.life && link.life->add_again && link.life->epoch == queues[link.queue]->epoch) {
    send_add_link(link);
    again = again || link.life->add_again;
  }
  if (link.life && link.life->tell_again) {
    tell_life(link, *link.life);
    again = again || link.life->tell_again;
  }
  return again;
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
  ledger.folded();
  [[maybe_unused]] const auto gone = store.remove(life_store_name(link.record, epoch));
  std::vector<UniqueFd> descriptors;
  descriptors.push_back(std::move((*found)->ack_fd));
  link.old_lives.erase(found);
  worker->release(std::move(descriptors));
  ACKBUS_POINT(kLifeForgotten);
}

}  // namespace ackbus::daemon
