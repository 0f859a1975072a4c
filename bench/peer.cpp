#include "bench/peer.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <ackbus/consumer.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace ackbus::bench {
namespace {

constexpr int kReplySecondsMax = 30;
constexpr std::chrono::minutes kConsumeMax{10};

struct PeerReport {
  char error[240] = {};  // empty: done
};

Error last_error(const char* what) {
  return {ErrorCode::kSystem, std::string(what) + ": " + std::strerror(errno)};
}

std::string consume(Consumer& consumer) {
  const Deadline deadline = std::chrono::steady_clock::now() + kConsumeMax;
  for (;;) {  // Ends with the last message, an error or the deadline.
    const Result<std::optional<Delivery>> taken = consumer.take(deadline);
    if (!taken) {
      return taken.error().text;
    }
    if (!taken->has_value()) {
      return "no message came";
    }
    const Delivery& delivery = **taken;
    const bool last = !delivery.payload.empty() && delivery.payload[0] == kLastMessage;
    if (const Result<void> acked = consumer.ack(delivery); !acked) {
      return acked.error().text;
    }
    if (last) {
      return {};
    }
  }
}

std::string obey(const PeerCommand& command, Consumer& consumer, FloorMemory& memory,
                 const FloorPipes& pipes, FloorSpin spin) {
  static const char* const kSilent = "the other process did not answer";
  switch (command.work) {
    case PeerWork::kLine:
      return line_far(memory, command.first, command.count, spin) ? "" : kSilent;
    case PeerWork::kPipe:
      return pipe_far(pipes, command.count) ? "" : kSilent;
    case PeerWork::kFlow:
      return flow_far(memory, command.first, spin) != 0 ? "" : kSilent;
    case PeerWork::kConsume:
      return consume(consumer);
    case PeerWork::kReserved:
      break;
  }
  return "an unknown command";
}

void report(int socket, const std::string& error) {
  PeerReport report;
  error.copy(report.error, sizeof(report.error) - 1);
  [[maybe_unused]] const ssize_t sent = send(socket, &report, sizeof(report), MSG_NOSIGNAL);
}

}  // namespace

int Peer::serve(const PeerSetup& setup) {
  const int socket = socket_[1];
  close(socket_[0]);
  if (setup.cores.pinned() && !pin_to(setup.cores.consumer)) {
    report(socket, "cannot pin the consumer to core " + std::to_string(setup.cores.consumer));
    return 1;
  }
  ConsumerOptions options;
  options.runtime_dir = setup.runtime_dir;
  options.queue = kQueue;
  options.client = "bench-consumer";
  options.wait = setup.wait;
  Result<Consumer> consumer = Consumer::connect(options);
  report(socket, consumer ? "" : consumer.error().text);
  if (!consumer) {
    return 1;
  }
  PeerCommand command;
  while (recv(socket, &command, sizeof(command), 0) == sizeof(command)) {
    report(socket, obey(command, *consumer, memory(), pipes_, {!setup.cores.pinned()}));
  }
  return 0;
}

Result<Peer> Peer::start(const PeerSetup& setup, FloorMapping mapping) {
  Peer peer(std::move(mapping));
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, peer.socket_) != 0 ||
      pipe2(peer.pipes_.to_peer, O_CLOEXEC) != 0 ||
      pipe2(peer.pipes_.to_producer, O_CLOEXEC) != 0) {
    return last_error("cannot make a socket and two pipes");
  }
  // Every answer has its time; a peer that hangs is an error.
  const timeval timeout{kReplySecondsMax, 0};
  setsockopt(peer.socket_[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  Result<ChildProcess> process = ChildProcess::fork_off([&] { return peer.serve(setup); });
  if (!process) {
    return process.error();
  }
  peer.process_ = std::move(*process);
  // The far ends stay with the peer alone, so that its end is seen here.
  for (int* end : {&peer.socket_[1], &peer.pipes_.to_peer[0], &peer.pipes_.to_producer[1]}) {
    close(std::exchange(*end, -1));
  }
  if (Result<void> ready = peer.end(); !ready) {
    return ready.error();
  }
  return peer;
}

Peer::Peer(Peer&& other) noexcept
    : mapping_(std::move(other.mapping_)),
      pipes_(std::exchange(other.pipes_, {})),
      socket_{std::exchange(other.socket_[0], -1), std::exchange(other.socket_[1], -1)},
      process_(std::move(other.process_)) {}

Peer::~Peer() {
  for (const int end : {socket_[0], socket_[1], pipes_.to_peer[0], pipes_.to_peer[1],
                        pipes_.to_producer[0], pipes_.to_producer[1]}) {
    if (end >= 0) {
      close(end);
    }
  }
}

Result<void> Peer::begin(const PeerCommand& command) {
  if (send(socket_[0], &command, sizeof(command), MSG_NOSIGNAL) != sizeof(command)) {
    return last_error("the consumer's process has ended");
  }
  return {};
}

Result<void> Peer::end() {
  PeerReport report;
  const ssize_t received = recv(socket_[0], &report, sizeof(report), 0);
  if (interrupted()) {
    return Error{ErrorCode::kTimeout, "interrupted"};
  }
  if (received != sizeof(report)) {
    return Error{ErrorCode::kSystem, "the consumer's process ended or does not answer"};
  }
  report.error[sizeof(report.error) - 1] = '\0';
  if (report.error[0] != '\0') {
    return Error{ErrorCode::kSystem, std::string("the consumer's process: ") + report.error};
  }
  return {};
}

}  // namespace ackbus::bench
