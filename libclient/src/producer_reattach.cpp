// A producer that lost its daemon: it connects again with the link's secret, and goes on, or begins
// a new link when the daemon's memory was lost. Threads: that of the producer's calls.
#include <algorithm>
#include <utility>

#include "libclient/src/producer_core.hpp"

namespace ackbus {

using layout::ControlType;

namespace {

constexpr std::uint64_t kReconnectPauseMaxNs = 1'000'000'000;

}  // namespace

void ProducerCore::lose_control() {
  waiter.remove(control.fd());
  control.close();
  reattaching = false;
  reconnect_at_ns = now_ns() + kReconnectPauseMinNs;
  waiter.alarm(reconnect_at_ns);
}

void ProducerCore::try_reattach() {
  const std::uint64_t now = now_ns();
  // No answer to its hello within connect_timeout: the daemon that took it may have died before it
  // wrote anything down, so it hangs up and says it again.
  if (reattaching && now >= patience_ends_ns) {
    lose_control();
  }
  if (control || closed || now < reconnect_at_ns) {
    return;
  }
  reconnect_at_ns = now + reconnect_pause_ns;
  reconnect_pause_ns = std::min(reconnect_pause_ns * 2, kReconnectPauseMaxNs);
  waiter.alarm(reconnect_at_ns);
  Result<ControlSocket> socket = ControlSocket::connect(runtime_dir, options.bus);
  if (!socket) {
    return;
  }
  control = std::move(*socket);
  reattaching = true;
  patience_ends_ns = now + patience_ns;
  waiter.alarm(patience_ends_ns);
  if (!send_hello(control, hello(true)) || !waiter.add(control.fd())) {
    control.close();
    reattaching = false;
  }
}

// A new link in the place of a lost one, whose memory stays until there is one: it is still read.
// False when the conversation is over.
bool ProducerCore::replace_link(const ControlPacket& packet) {
  ProducerStatistics sum = statistics();
  sum.pending = 0;
  const ProducerLink* lost = link.get();
  Mapping lost_submission = std::move(submission);
  std::deque<LifeEnds> lost_lives = std::exchange(lives, {});
  const Result<void> adopted = adopt_link(packet);
  if (link.get() == lost) {
    submission = std::move(lost_submission);
    lives = std::move(lost_lives);
    return false;
  }
  before = sum;
  if (loans > 0) {
    lost_links.push_back({link_generation, std::move(lost_submission)});
  }
  link_generation += 1;
  missed_epoch = 0;
  for (LifeEnds& life : lost_lives) {
    life.rung.remove_all(waiter);
  }
  return adopted.ok();
}

void ProducerCore::handle_reattach(ControlPacket& packet) {
  switch (packet.type()) {
    case ControlType::kWelcome: {
      Result<Mapping> welcome = accept_welcome(packet);
      if (!welcome) {
        lose_control();
        return;
      }
      bus = std::move(*welcome);
      kinds_moved = UINT64_MAX;
      forget_moved_kinds();
      return;
    }
    case ControlType::kRefused: {
      layout::TextMessage message{};
      const bool refused = packet.as(message);
      const auto code = static_cast<layout::RefusedCode>(refused ? message.code : 0);
      lose_control();
      if (code == layout::RefusedCode::kUnknownLink || code == layout::RefusedCode::kVersion) {
        // The daemon lost its segments, or is of a layout that cannot read them: nobody can tell
        // what ran. Everything pending ends, and a new link begins; with a daemon of another layout
        // not before one of this layout is back.
        link->close_all(OutcomeReason::kUnknown, now_ns());
        token[0] = 0;
        token[1] = 0;
        link_number = 0;
        reconnect_at_ns = code == layout::RefusedCode::kUnknownLink ? 0 : reconnect_at_ns;
      }
      return;
    }
    case ControlType::kLinkGranted: {
      layout::LinkGrantedMessage granted{};
      if (packet.as(granted) && granted.resumed == 0 && !replace_link(packet)) {
        lose_control();
        return;
      }
      reattaching = false;
      waiter.silence();
      reconnect_pause_ns = kReconnectPauseMinNs;
      return;
    }
    default:
      handle_control(packet);
  }
}

}  // namespace ackbus
