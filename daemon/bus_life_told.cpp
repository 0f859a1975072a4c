// How both ends of a link learn of a life: the consumer first, then the producer, each with its
// ends of the two pipes by which they ring each other. Data flow: hand-over -> kAddLink to the
// consumer
// -> it says kMapped -> kLife to the producer -> kLifeTold to the consumer. Threads: the bus
// thread.
#include <algorithm>

#include "daemon/bus.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

using layout::ControlType;

namespace {

constexpr std::uint64_t kSendAgainNs = 20'000'000;

// A number for a kAddLink, of no other one that a consumer may answer late, of the daemon before
// this one neither. A client's own requests count from 1.
std::uint32_t add_request_at(std::uint64_t now_ns) {
  return 0x8000'0000U | static_cast<std::uint32_t>(now_ns >> 6 & 0x7fff'ffffU);
}

}  // namespace

// Makes new pipes each time. Whoever is rung listens to them from now on, beside the old ones; the
// producer rings by its new one when it is told of it, which is after the consumer has it, and the
// consumer by both until it is told that the producer has it. So at every moment each rings a pipe
// that the other listens to, wherever this daemon dies.
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
  ledger.link(link.record).life.told = 0;
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
  life.add_request = add_request_at(monotonic_ns());
  layout::LifeMessage message{};
  message.header =
      layout::control_header<layout::LifeMessage>(ControlType::kAddLink, life.add_request);
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
void Bus::life_mapped(Link& link, std::uint64_t epoch, std::uint32_t request) {
  if (!link.life || link.life->epoch != epoch) {
    return;
  }
  Life& life = *link.life;
  if (!life.mapped) {
    const layout::AckGeometry geometry{link.slots};
    const Result<void> sealed = seal_for_readers(life.ack_fd.get());
    Result<SegmentMap> map = SegmentMap::map(life.ack_fd.get(), geometry.bytes(), false);
    if (!sealed) {
      Connection* consumer = find_connection(queues[link.queue]->active);
      log.line(LogLevel::kError, "consumers", sealed.error().text,
               {{"queue", queues[link.queue]->name},
                {"link", std::to_string(link.number)},
                {"pid", std::to_string(consumer == nullptr ? 0 : consumer->pid)}});
      if (consumer != nullptr) {  // Its life ends, and the next one gets another segment.
        refuse(*consumer, layout::RefusedCode::kProtocol, sealed.error().text);
      }
      return;
    }
    if (!map) {
      log.state(LogLevel::kError, "consumers", "ack segment " + std::to_string(link.number),
                map.error().text);
      send_later(link, epoch);  // Then it says so again.
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
  if (request != 0 && request != life.add_request) {
    return;  // The answer to an earlier kAddLink: these pipes it has not yet.
  }
  const bool waits = std::any_of(link.old_lives.begin(), link.old_lives.end(),
                                 [](const auto& old) { return old->tell_again; });
  const bool has_pipes = life.to_consumer.ring.valid();  // Else it was told, or others will come.
  life.tell_again = waits && has_pipes;  // A producer takes lives in their order only.
  if (!waits && has_pipes) {
    tell_life(link, life);
  }
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
  const bool sent =
      send(*producer, message,
           {ack.value().get(), life.to_consumer.ring.get(), life.to_producer.rung.get()});
  life.to_consumer = BellPipe{};
  life.to_producer = BellPipe{};
  life.told = true;
  if (&life != link.life.get()) {
    return;
  }
  if (sent) {
    life_told(link, life.epoch);
  } else if (!producer->outgoing.empty()) {
    producer->outgoing.back().tells_link = link.number;
    producer->outgoing.back().tells_epoch = life.epoch;
  }
}

// The producer has its ends, so the consumer may ring by the new pipe.
void Bus::life_told(Link& link, std::uint64_t epoch) {
  if (!link.life || link.life->epoch != epoch) {
    return;
  }
  ledger.link(link.record).life.told = 1;
  if (Connection* consumer = find_connection(queues[link.queue]->active); consumer != nullptr) {
    layout::LinkMessage told{};
    told.header = layout::control_header<layout::LinkMessage>(ControlType::kLifeTold);
    told.link = link.number;
    told.epoch = epoch;
    send(*consumer, told);
  }
}

// A client was out of descriptors or memory when it received them. Not at once: it has to find
// some.
void Bus::send_later(Link& link, std::uint64_t epoch) {
  const std::uint64_t again_ns = monotonic_ns() + kSendAgainNs;
  if (link.life && link.life->epoch == epoch) {
    link.life->add_again = true;
    link.life->told = false;  // So that it is told as an ended one, should it end meanwhile.
    ledger.link(link.record).life.told = 0;  // And by the next daemon, should this one.
    link.life->again_ns = again_ns;
  }
  for (const auto& old : link.old_lives) {
    if (old->epoch == epoch) {
      old->tell_again = true;
      old->again_ns = again_ns;
    }
  }
}

bool Bus::send_again(Link& link, std::uint64_t now_ns) {
  bool again = false;
  for (const auto& old : link.old_lives) {
    if (old->tell_again && now_ns >= old->again_ns) {
      tell_life(link, *old);
    }
    again = again || old->tell_again;
  }
  const bool older_wait = again;
  if (!link.life) {
    return again;
  }
  Life& life = *link.life;
  if (life.add_again && now_ns >= life.again_ns && life.epoch == queues[link.queue]->epoch) {
    send_add_link(link);
  }
  if (life.tell_again && now_ns >= life.again_ns && !older_wait) {
    tell_life(link, life);
  }
  return again || life.add_again || life.tell_again;
}

}  // namespace ackbus::daemon
