// A producer's conversation with the daemon: connecting and lives. Losing the daemon and finding it
// again: producer_reattach.cpp.
#include <algorithm>
#include <cstring>
#include <utility>

#include "libclient/src/producer_core.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

using layout::ControlType;

namespace {

constexpr std::uint64_t kConnectTimeoutMsMax = 3'600'000;

Result<void> check_options(const ProducerOptions& options) {
  if (options.slots != 0 && !sound_slots(options.slots)) {
    return Error{ErrorCode::kInvalid, "ProducerOptions::slots " + std::to_string(options.slots) +
                                          " is not a power of two from 4 to 65536, nor 0"};
  }
  if (options.arena_bytes > layout::kArenaBytesMax) {
    return Error{ErrorCode::kInvalid,
                 "ProducerOptions::arena_bytes " + std::to_string(options.arena_bytes) +
                     " is above the format's limit of " + std::to_string(layout::kArenaBytesMax)};
  }
  if (options.min_timeout.count() < 0) {
    return Error{ErrorCode::kInvalid, "ProducerOptions::min_timeout is negative"};
  }
  return {};
}

bool is_as_asked(const layout::LinkGrantedMessage& granted, const ProducerOptions& options) {
  const bool slots_fit =
      options.slots == 0 ? sound_slots(granted.slots) : granted.slots == options.slots;
  const bool arena_fits = options.arena_bytes == 0 ? granted.arena_bytes <= layout::kArenaBytesMax
                                                   : granted.arena_bytes == options.arena_bytes;
  return slots_fit && arena_fits;
}

}  // namespace

Result<std::unique_ptr<ProducerCore>> ProducerCore::connect(const ProducerOptions& wished) {
  if (const Result<void> sound = check_options(wished); !sound) {
    return sound.error();
  }
  auto core = std::make_unique<ProducerCore>();
  core->options = wished;
  core->options.arena_bytes = layout::align_up(wished.arena_bytes, 4096);
  core->made_in_generation = fork_generation();
  core->reconnect_pause_ns = ProducerCore::kReconnectPauseMinNs;
  Result<Waiter> waiter = Waiter::create();
  if (!waiter) {
    return waiter.error();
  }
  core->waiter = std::move(*waiter);
  core->patience_ns = 1'000'000 * static_cast<std::uint64_t>(std::clamp<std::int64_t>(
                                      wished.connect_timeout.count(), 1, kConnectTimeoutMsMax));
  if (const Result<void> greeted = core->first_hello(now_ns() + core->patience_ns); !greeted) {
    return greeted.error();
  }
  return core;
}

ProducerCore::~ProducerCore() {
  if (link && control && !closed && !forked()) {
    std::unique_lock<std::mutex> lock(mutex, std::defer_lock);
    [[maybe_unused]] const Result<void> ended = close(0, lock);
  }
}

layout::HelloMessage ProducerCore::hello(bool resume) const {
  layout::HelloMessage message = make_hello(options, layout::ClientRole::kProducer);
  message.slots = options.slots;
  message.arena_bytes = options.arena_bytes;
  message.min_timeout_ms =
      static_cast<std::uint32_t>(std::min<std::int64_t>(options.min_timeout.count(), UINT32_MAX));
  message.first_sequence = link ? link->next_sequence() : 1;
  if (resume) {
    message.link = link_number;
    message.token[0] = token[0];
    message.token[1] = token[1];
  }
  return message;
}

Result<void> ProducerCore::first_hello(std::uint64_t deadline_ns) {
  Result<Session> session = open_session(options, hello(false), deadline_ns);
  if (!session) {
    return session.error();
  }
  control = std::move(session->socket);
  bus = std::move(session->bus);
  runtime_dir = session->runtime_dir;
  options.runtime_dir = runtime_dir;
  declared_min_ms = shortest_timeout_ms();
  Result<ControlPacket> granted = expect(control, ControlType::kLinkGranted, deadline_ns);
  if (!granted) {
    return granted.error();
  }
  if (Result<void> adopted = adopt_link(*granted); !adopted) {
    return adopted.error();
  }
  waiter.add(control.fd());
  read_control();
  return {};
}

// What the daemon goes by: the link's own declaration, else the shortest of the kinds'.
std::uint64_t ProducerCore::shortest_timeout_ms() const {
  auto shortest = static_cast<std::uint64_t>(options.min_timeout.count());
  for (std::uint32_t kind = 1; kind < layout::kKindsMax && options.min_timeout.count() == 0;
       ++kind) {
    const KindInfo info = read_kind(layout::BusView(bus.base()), kind);
    if ((info.flags & layout::kKindDefined) != 0) {
      const std::uint64_t least = std::min(info.timeout_ms, info.max_wait_ms);
      shortest = shortest == 0 ? least : std::min(shortest, least);
    }
  }
  return shortest;
}

// Maps a granted link and tells the daemon, who then seals the submission segment and opens it to
// readers.
Result<void> ProducerCore::adopt_link(const ControlPacket& packet) {
  layout::LinkGrantedMessage granted{};
  if (!packet.as(granted) || packet.descriptors.size() != 2 || !is_as_asked(granted, options)) {
    return Error{ErrorCode::kProtocol, "the daemon granted another link than was asked for"};
  }
  const layout::SubmissionGeometry geometry{granted.slots, granted.arena_bytes};
  Result<Mapping> made =
      map_checked(packet.descriptors[0].get(), geometry.bytes(), true,
                  layout::SegmentRole::kSubmission, granted.slots, granted.arena_bytes);
  Result<Mapping> table =
      map_checked(packet.descriptors[1].get(), layout::TrackingGeometry{granted.slots}.bytes(),
                  false, layout::SegmentRole::kTracking, granted.slots, 0);
  if (!made || !table) {
    return made ? table.error() : made.error();
  }
  // What was left to the bus is known now; a link that follows a lost one asks for the same.
  options.slots = static_cast<std::uint32_t>(granted.slots);
  options.arena_bytes = granted.arena_bytes;
  if (!outcomes) {
    outcomes =
        std::make_unique<OutcomeStore>(options.slots, options.slots * ProducerLink::kNodesPerSlot);
  }
  const std::uint64_t first = link ? link->next_sequence() : 1;
  submission = std::move(*made);
  tracking = std::move(*table);
  link = std::make_unique<ProducerLink>(layout::SubmissionView(submission.base(), geometry),
                                        layout::TrackingView(tracking.base(), {granted.slots}),
                                        *outcomes, first, !register_membarrier());
  arena = Arena(granted.arena_bytes);
  payload_of_slot.assign(granted.slots, {0, 0});
  link_number = granted.link;
  token[0] = granted.token[0];
  token[1] = granted.token[1];
  layout::LinkMessage mapped{};
  mapped.header = layout::control_header<layout::LinkMessage>(ControlType::kMapped);
  mapped.link = link_number;
  ACKBUS_POINT(kSubmissionMapped);
  if (!control.send(mapped)) {
    return Error{ErrorCode::kDisconnected, "the daemon hung up while this process connected"};
  }
  return {};
}

// ---- what the daemon says later ----

bool ProducerCore::read_control() {
  forget_moved_kinds();
  bool heard = false;
  for (int packets = 0; packets < 64 && control; ++packets) {
    ControlPacket packet;
    switch (control.receive(packet)) {
      case ReceiveState::kPacket:
        heard = true;
        reattaching ? handle_reattach(packet) : handle_control(packet);
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

void ProducerCore::handle_control(ControlPacket& packet) {
  if (packet.type() == ControlType::kLife) {
    accept_life(packet);
  } else if (packet.type() == ControlType::kClosed) {
    layout::TextMessage message{};
    if (packet.as(message) && message.link == link_number) {
      reap();
      link->close_all(
          link->closed() == OutcomeReason::kNone ? OutcomeReason::kQueueRemoved : link->closed(),
          now_ns());
      closed = true;
    }
  }
}

void ProducerCore::accept_life(ControlPacket& packet) {
  layout::LifeMessage life{};
  if (!packet.as(life) || life.link != link_number || life.epoch == 0) {
    return;
  }
  // Lives are taken in their order: the acks of one that was missed would never be read.
  if (packet.descriptors.size() != 3 || (missed_epoch != 0 && life.epoch > missed_epoch)) {
    ask_again(life.epoch);
    return;
  }
  if (life.epoch <= link->newest_epoch()) {
    // Sent again by a new daemon, with new pipes: this writer goes over to the new one and rings
    // once; the old one to be rung by is kept until the consumer has gone over. A life that was
    // retired meanwhile is told as drained: its daemon died before it heard so, and keeps that
    // life's segment until it does.
    if (life.epoch <= link->retired_epoch()) {
      drained_untold.push_back(life.epoch);
      tell_drained();
    }
    for (LifeEnds& known : lives) {
      if (known.epoch == life.epoch) {
        known.ring = std::move(packet.descriptors[1]);  // The consumer has the other end already.
        known.rung.add(waiter, std::move(packet.descriptors[2]));
        link->forget_rung();
        if (link->must_ring()) {
          Waiter::ring(lives.back().ring.get());
        }
      }
    }
    return;
  }
  Result<Mapping> ack =
      map_checked(packet.descriptors[0].get(), layout::AckGeometry{options.slots}.bytes(), false,
                  layout::SegmentRole::kAck, options.slots, 0);
  if (!ack && ack.error().code == ErrorCode::kMemory) {
    ask_again(life.epoch);
  }
  if (!ack) {
    return;  // Its consumer spoilt it: nothing can be learnt from it, the next life brings another.
  }
  lives.push_back({life.epoch, std::move(*ack), std::move(packet.descriptors[1]), {}});
  lives.back().rung.add(waiter, std::move(packet.descriptors[2]));
  lives_seen += 1;
  missed_epoch = missed_epoch == life.epoch ? 0 : missed_epoch;
  link->add_life({life.epoch, life.main_start,
                  layout::AckView(lives.back().ack.base(), layout::AckGeometry{options.slots})});
  ACKBUS_POINT(kLifeHeard);
}

// What came with a life was lost for want of descriptors or memory: the daemon sends it once more.
void ProducerCore::ask_again(std::uint64_t epoch) {
  if (epoch > link->newest_epoch()) {
    missed_epoch = missed_epoch == 0 ? epoch : std::min(missed_epoch, epoch);
  }
  layout::LinkMessage again{};
  again.header = layout::control_header<layout::LinkMessage>(ControlType::kAgain);
  again.link = link_number;
  again.epoch = epoch;
  [[maybe_unused]] const bool asked = control.send(again);
}

// Lives whose acks were all taken: their memory goes, and the daemon may drop the old segment.
void ProducerCore::retire_lives() {
  while (!lives.empty() && lives.front().epoch <= link->retired_epoch()) {
    drained_untold.push_back(lives.front().epoch);
    lives.front().rung.remove_all(waiter);
    lives.pop_front();
  }
  tell_drained();
}

// Never waits for the daemon: what finds no room is told at a later reap. A daemon that is away
// asks when it is back: it tells of each life that it still holds (accept_life).
void ProducerCore::tell_drained() {
  while (!drained_untold.empty()) {
    layout::LinkMessage drained{};
    drained.header = layout::control_header<layout::LinkMessage>(ControlType::kDrained);
    drained.link = link_number;
    drained.epoch = drained_untold.front();
    if (control && !control.try_send(drained)) {
      return;
    }
    drained_untold.pop_front();
    ACKBUS_POINT(kDrainedTold);
  }
}

}  // namespace ackbus
