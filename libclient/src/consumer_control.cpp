// A consumer's conversation with the daemon: being activated, links that come and go, and a new
// daemon. Segments: consumer_segments.cpp.
#include <algorithm>

#include "libclient/src/consumer_core.hpp"
#include "shm_layout/bus_records.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

using layout::ControlType;

namespace {

constexpr std::uint64_t kReconnectPauseMinNs = 10'000'000;
constexpr std::uint64_t kReconnectPauseMaxNs = 1'000'000'000;

}  // namespace

Result<std::unique_ptr<ConsumerCore>> ConsumerCore::connect(const ConsumerOptions& wished) {
  if (wished.max_running == 0) {
    return Error{ErrorCode::kInvalid,
                 "ConsumerOptions::max_running is 0: at least one message must be allowed"};
  }
  auto core = std::make_unique<ConsumerCore>();
  core->options = wished;
  core->made_in_generation = fork_generation();
  core->reconnect_pause_ns = kReconnectPauseMinNs;
  Result<Waiter> waiter = Waiter::create();
  if (!waiter) {
    return waiter.error();
  }
  core->waiter = std::move(*waiter);
  const auto patience = static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(wished.connect_timeout.count(), 1, 3'600'000));
  if (const Result<void> greeted = core->say_hello(now_ns() + patience * 1'000'000); !greeted) {
    return greeted.error();
  }
  return core;
}

// Ends the life in order: first nothing is mapped any more that a successor's readers could read,
// then the daemon is told.
ConsumerCore::~ConsumerCore() {
  if (!control || forked()) {
    return;
  }
  links.clear();
  removed.clear();
  layout::LinkMessage bye{};
  bye.header = layout::control_header<layout::LinkMessage>(ControlType::kBye);
  control.send(bye);
}

Result<void> ConsumerCore::say_hello(std::uint64_t deadline_ns) {
  register_membarrier();
  layout::HelloMessage hello = make_hello(options, layout::ClientRole::kConsumer);
  hello.slots = options.standby ? 1 : 0;  // A consumer has no slots: 1 says that it would stand by.
  Result<Session> session = open_session(options, hello, deadline_ns);
  if (!session) {
    return session.error();
  }
  control = std::move(session->socket);
  bus = std::move(session->bus);
  runtime_dir = session->runtime_dir;
  options.runtime_dir = runtime_dir;
  waiter.add(control.fd());
  kinds_moved = UINT64_MAX;
  refresh_kinds();
  // The daemon's next word says active or standing by.
  for (;;) {
    ControlPacket packet;
    const ReceiveState state = control.receive(packet);
    if (state == ReceiveState::kNothing) {
      if (!control.wait_readable(deadline_ns)) {
        say_bye(control);
        return Error{ErrorCode::kTimeout, "the daemon did not say whether this consumer is active"};
      }
      continue;
    }
    if (state != ReceiveState::kPacket) {
      return Error{ErrorCode::kDisconnected, "the daemon hung up while this consumer connected"};
    }
    if (packet.type() == ControlType::kRefused) {
      return refused_error(packet);
    }
    handle_control(packet);
    if (packet.type() == ControlType::kActivated || packet.type() == ControlType::kStandby) {
      return {};
    }
  }
}

// ---- what the daemon says ----

bool ConsumerCore::read_control() {
  refresh_kinds();
  bool heard = false;
  for (int packets = 0; packets < 1024 && control; ++packets) {
    ControlPacket packet;
    switch (control.receive(packet)) {
      case ReceiveState::kPacket:
        heard = true;
        handle_control(packet);
        break;
      case ReceiveState::kNothing:
        return heard;
      case ReceiveState::kHungUp:
      case ReceiveState::kMalformed:
        lose_control();
        return true;
    }
  }
  return heard;
}

void ConsumerCore::handle_control(ControlPacket& packet) {
  layout::LinkMessage message{};
  switch (packet.type()) {
    case ControlType::kActivated:
      activate(packet);
      break;
    case ControlType::kAddLink:
      add_link(packet);
      break;
    case ControlType::kRemoveLink:
      if (packet.as(message)) {
        remove_link(message.link);
      }
      break;
    case ControlType::kLifeTold:
      if (packet.as(message)) {
        change_ring(message);
      }
      break;
    case ControlType::kRefused:
      // One with a request's number comes late, to a call that gave up: it ends nothing.
      closed = closed || packet.header().request == 0;
      break;
    case ControlType::kClosed:
      closed = true;
      break;
    default:
      break;  // kWake and kStandby: looking again is all they ask.
  }
}

void ConsumerCore::activate(ControlPacket& packet) {
  layout::ActivatedMessage message{};
  if (!packet.as(message) || message.epoch <= epoch) {
    return;  // The same life again, from a new daemon.
  }
  predecessor = Mapping();         // That of an earlier life here is not this one's.
  if (message.state_bytes != 0) {  // Without it this life must not begin.
    Result<Mapping> state =
        packet.descriptors.empty()
            ? Result<Mapping>(Error{ErrorCode::kSystem, "no descriptor came"})
            : Mapping::map(packet.descriptors[0].get(), message.state_bytes, false);
    if (!state) {
      say(ControlType::kAgain, 0, message.epoch);
      return;
    }
    predecessor = std::move(*state);
  }
  epoch = message.epoch;
  figures.lives += 1;
}

void ConsumerCore::add_link(ControlPacket& packet) {
  layout::LifeMessage life{};
  if (!packet.as(life) || life.epoch != epoch || !sound_slots(life.slots) ||
      life.arena_bytes > layout::kArenaBytesMax) {
    return;
  }
  if (packet.descriptors.size() != 5) {  // This process had no room for them.
    say(ControlType::kAgain, life.link, life.epoch);
    return;
  }
  std::vector<UniqueFd> fds = std::move(packet.descriptors);
  for (const auto& known : links) {
    if (known && known->number == life.link) {  // Sent again by a new daemon, with new pipes.
      known->rung.add(waiter, std::move(fds[3]));
      known->ring_also(std::move(fds[4]));
      // Only then is the producer told of its ends of the new pipes.
      say(ControlType::kMapped, life.link, life.epoch, life.header.request);
      return;
    }
  }
  auto ends = std::make_unique<LinkEnds>();
  const layout::SubmissionGeometry geometry{life.slots, life.arena_bytes};
  Result<Mapping> submission = Mapping::map(fds[0].get(), geometry.bytes(), false);
  Result<Mapping> tracking = map_checked(fds[1].get(), layout::TrackingGeometry{life.slots}.bytes(),
                                         false, layout::SegmentRole::kTracking, life.slots, 0);
  Result<Mapping> ack = map_checked(fds[2].get(), layout::AckGeometry{life.slots}.bytes(), true,
                                    layout::SegmentRole::kAck, life.slots, 0);
  if (!submission || !tracking || !ack) {
    say(ControlType::kAgain, life.link, life.epoch);
    return;
  }
  ends->number = life.link;
  ends->added = ++links_added;
  ends->epoch = life.epoch;
  ends->slots = life.slots;
  ends->submission = std::move(*submission);
  ends->tracking = std::move(*tracking);
  ends->ack = std::move(*ack);
  ends->rung.add(waiter, std::move(fds[3]));
  ends->ring = std::move(fds[4]);
  ends->link = std::make_unique<ConsumerLink>(
      ConsumerLinkSetup{layout::SubmissionView(ends->submission.base(), geometry),
                        layout::TrackingView(ends->tracking.base(), {life.slots}),
                        layout::AckView(ends->ack.base(), layout::AckGeometry{life.slots}),
                        life.main_start, life.redelivery_start, !register_membarrier()});
  ends->link->bound_payloads(bounds);
  ACKBUS_POINT(kAckMapped);
  say(ControlType::kMapped, life.link, life.epoch, life.header.request);
  const auto hole = std::find(links.begin(), links.end(), nullptr);
  if (hole != links.end()) {
    *hole = std::move(ends);
  } else {
    links.push_back(std::move(ends));
  }
}

// The producer can be rung by the pipe that came last: this writer goes over to it and rings once.
// It hears so when its application calls, and the producer may sleep long before: until then it
// rings by every pipe that the producer may have.
void ConsumerCore::change_ring(const layout::LinkMessage& told) {
  for (const auto& known : links) {
    if (known && known->number == told.link && known->epoch == told.epoch &&
        !known->newer_rings.empty()) {
      known->ring = std::move(known->newer_rings.back());
      known->newer_rings.clear();
      known->link->forget_rung();
      ring(*known);
    }
  }
}

// kMapped: the daemon may open this life's segment to readers, and tells the producer of it.
// kAgain: something of what came with the life was lost.
void ConsumerCore::say(ControlType type, std::uint64_t link, std::uint64_t of_epoch,
                       std::uint32_t in_answer_to) {
  layout::LinkMessage message{};
  message.header = layout::control_header<layout::LinkMessage>(type, in_answer_to);
  message.link = link;
  message.epoch = of_epoch;
  control.send(message);
}

void ConsumerCore::remove_link(std::uint64_t number) {
  for (auto& ends : links) {
    if (ends && ends->number == number) {
      running -= ends->link->running_count();
      figures.skipped += ends->link->skipped();
      figures.duplicates += ends->link->duplicates();
      ends->rung.remove_all(waiter);
      if (ends->link->running_count() > 0) {
        removed.push_back(std::move(ends));
      }
      alone_runs = alone_runs && !idle();
      ends.reset();
    }
  }
}

// The daemon is gone and nobody kept this socket: its memory is gone with it. Start over with the
// next one.
void ConsumerCore::lose_control() {
  waiter.remove(control.fd());
  control.close();
  for (auto& ends : links) {
    if (ends) {
      remove_link(ends->number);
    }
  }
  links.clear();
  running = 0;
  alone_runs = alone_runs && !idle();
  epoch = 0;
  reconnect_at_ns = now_ns() + kReconnectPauseMinNs;
  waiter.alarm(reconnect_at_ns);
}

void ConsumerCore::try_reconnect() {
  const std::uint64_t now = now_ns();
  if (control || closed || now < reconnect_at_ns) {
    return;
  }
  reconnect_at_ns = now + reconnect_pause_ns;
  reconnect_pause_ns = std::min(reconnect_pause_ns * 2, kReconnectPauseMaxNs);
  waiter.alarm(reconnect_at_ns);
  if (say_hello(now + 1'000'000'000)) {
    reconnect_pause_ns = kReconnectPauseMinNs;
    waiter.silence();
  } else {
    control.close();
  }
}

void ConsumerCore::refresh_kinds() {
  const layout::BusView view(bus.base());
  const std::uint64_t moved = layout::kinds_announced(view.words());
  if (moved == kinds_moved) {
    return;
  }
  kinds_moved = moved;
  supersedes = 0;
  bounds = PayloadBounds();
  for (std::uint32_t kind = 1; kind < layout::kKindsMax; ++kind) {
    const KindInfo info = read_kind(view, kind);
    if ((info.flags & layout::kKindSupersede) != 0) {
      supersedes |= 1ULL << kind;
    }
    bounds.add(kind, info.name, info.min_payload_bytes, info.max_payload_bytes);
  }
  for (const auto& ends : links) {
    if (ends) {
      ends->link->bound_payloads(bounds);
    }
  }
}

}  // namespace ackbus
