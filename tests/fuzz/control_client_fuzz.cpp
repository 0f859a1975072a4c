// Control messages as the client library receives them from a daemon that says anything: producer,
// consumer and tool handles through their public calls, against sockets that the harness serves.
// Data flow: the input becomes the packets of each connection, with segments of right and wrong
// sizes and contents; the library connects, is told more, and is used in between. Checked: calls
// end, what they give can be read, each message ends at most once, no descriptor is leaked. The
// harness's thread runs the library; a second one serves the socket, so that connecting may wait.
// Descriptors that block are left out: the library reads and writes the pipes that a daemon made.
#include <ackbus/consumer.hpp>
#include <ackbus/producer.hpp>
#include <ackbus/tool.hpp>
#include <chrono>
#include <set>
#include <tuple>
#include <vector>

#include "tests/fuzz/hostile_daemon.hpp"
#include "tests/fuzz/input.hpp"

namespace ackbus {
namespace {

using fuzz::Daemon;
using fuzz::folder;
using fuzz::Input;
using fuzz::kArenaBytes;
using fuzz::kSlots;
using fuzz::Server;
using layout::ControlType;

constexpr int kOperationsMax = 40;
constexpr std::chrono::milliseconds kConnectTimeout{30};

// Every byte can be read.
std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (const std::byte byte : bytes) {
    sum += static_cast<std::uint64_t>(byte);
  }
  return sum;
}

Deadline now() { return std::chrono::steady_clock::now(); }

std::vector<Server::Script> scripts(Input& input, Daemon& daemon,
                                    const std::vector<ControlType>& beginning, bool first_stays) {
  std::vector<Server::Script> made(1 + input.below(3));
  for (std::size_t connection = 0; connection < made.size(); ++connection) {
    for (const ControlType type : beginning) {
      made[connection].packets.push_back(daemon.packet(type));
    }
    made[connection].stays = connection == 0 && first_stays;
  }
  return made;
}

ControlType later_type(Input& input) {
  constexpr ControlType kTypes[] = {
      ControlType::kLife,    ControlType::kLife,       ControlType::kAddLink,
      ControlType::kAddLink, ControlType::kRemoveLink, ControlType::kActivated,
      ControlType::kStandby, ControlType::kWake,       ControlType::kClosed,
      ControlType::kRefused, ControlType::kWelcome,    ControlType::kLinkGranted,
      ControlType::kSegment, ControlType::kAnswer,     ControlType::kHello};
  return kTypes[input.below(std::size(kTypes))];
}

void tell_more(Input& input, Daemon& daemon, Server& server) {
  switch (input.below(8)) {
    case 0:
      server.hang_up();
      break;
    case 1:
    case 2:
    case 3:
      daemon.scribble();
      break;
    default:
      server.send(daemon.packet(later_type(input)));
  }
}

void produce(Input& input) {
  Daemon daemon(input);
  Server server(scripts(
      input, daemon, {ControlType::kWelcome, ControlType::kLinkGranted, ControlType::kLife}, true));
  ProducerOptions options;
  options.runtime_dir = folder();
  options.connect_timeout = kConnectTimeout;
  options.wait = WaitMode::kBlock;
  options.slots = input.below(8) == 0 ? 0 : kSlots;
  options.arena_bytes = input.below(8) == 0 ? 0 : kArenaBytes;
  Result<Producer> producer = Producer::connect(options);
  if (!producer) {
    ACKBUS_ASSERT(!producer.error().text.empty());
    return;
  }
  if (input.flag()) {
    ACKBUS_ASSERT(producer->completion_fd() >= 0);
  }
  std::vector<Ticket> tickets;
  std::set<std::uint64_t> open;
  for (int operation = 0; operation < kOperationsMax && !input.empty(); ++operation) {
    switch (input.below(8)) {
      case 0:
      case 1: {
        const std::vector<std::byte> payload(input.below(200));
        const Result<Ticket> sent =
            producer->send(static_cast<Kind>(1 + input.below(7)), payload, now());
        if (sent) {
          tickets.push_back(*sent);
          ACKBUS_ASSERT(open.insert(sent->sequence).second);
        }
        break;
      }
      case 2: {
        std::vector<Completion> completions;
        producer->reap(completions);
        for (const Completion& completion : completions) {
          ACKBUS_ASSERT(open.erase(completion.ticket.sequence) == 1);
        }
        break;
      }
      case 3:
        if (!tickets.empty()) {
          std::ignore = producer->cancel(tickets[input.below(tickets.size())]);
        }
        break;
      case 4:
        if (Result<Loan> loan = producer->loan(Kind::kComputeForces, input.below(300), now())) {
          std::fill(loan->bytes().begin(), loan->bytes().end(), std::byte{1});
        }
        std::ignore = producer->statistics();
        break;
      default:
        tell_more(input, daemon, server);
    }
  }
  ACKBUS_ASSERT(producer->pending() <= layout::kSlotsMax);
  std::ignore = producer->close(now());
}

void consume(Input& input) {
  Daemon daemon(input);
  Server server(scripts(input, daemon, {ControlType::kWelcome, ControlType::kActivated}, true));
  ConsumerOptions options;
  options.runtime_dir = folder();
  options.connect_timeout = kConnectTimeout;
  options.wait = WaitMode::kBlock;
  Result<Consumer> consumer = Consumer::connect(options);
  if (!consumer) {
    ACKBUS_ASSERT(!consumer.error().text.empty());
    return;
  }
  std::uint32_t requests = 0;
  std::vector<Delivery> begun;
  for (int operation = 0; operation < kOperationsMax && !input.empty(); ++operation) {
    switch (input.below(10)) {
      case 0:
      case 1:
        if (Result<std::optional<Delivery>> taken = consumer->take(now()); taken && *taken) {
          const Delivery& delivery = **taken;
          ACKBUS_ASSERT(sum_of(delivery.payload) <= 255 * delivery.payload.size());
          std::ignore = consumer->id(delivery);
          begun.push_back(delivery);
        }
        break;
      case 2:
        if (!begun.empty()) {
          const Delivery delivery = begun[input.below(begun.size())];
          const std::string text = input.text(30);
          std::ignore = input.flag() ? consumer->ack(delivery, {AckStatus::kFailed, text, {}})
                                     : consumer->nack(delivery);
        }
        break;
      case 3: {
        server.send(daemon.packet(ControlType::kSegment, ++requests));
        if (Result<Segment> made = consumer->create_segment(SegmentKind::kState, 100, now())) {
          std::fill(made->bytes().begin(), made->bytes().end(), std::byte{2});
        }
        break;
      }
      case 4:
        server.send(daemon.packet(ControlType::kSegment, ++requests));
        std::ignore = consumer->publish_segment(SegmentKind::kFrames, now());
        break;
      case 5:
        if (const auto state = consumer->predecessor_state()) {
          ACKBUS_ASSERT(sum_of(*state) <= 255 * state->size());
        }
        ACKBUS_ASSERT(consumer->fd() >= 0);
        std::ignore = consumer->statistics();
        break;
      case 6:
        server.send(daemon.packet(ControlType::kAddLink));
        break;
      default:
        tell_more(input, daemon, server);
    }
  }
}

void ask(Input& input) {
  Daemon daemon(input);
  Server server(scripts(input, daemon, {ControlType::kWelcome}, true));
  ConnectOptions options;
  options.runtime_dir = folder();
  options.connect_timeout = kConnectTimeout;
  Result<Tool> tool = Tool::connect(options);
  if (!tool) {
    return;
  }
  std::uint32_t requests = 0;
  for (int operation = 0; operation < kOperationsMax && !input.empty(); ++operation) {
    const bool segment = input.flag();
    requests += 1;
    for (std::uint64_t left = input.below(3); left > 0; --left) {
      server.send(daemon.packet(segment ? ControlType::kSegment : ControlType::kAnswer, requests));
    }
    if (input.below(8) == 0) {
      tell_more(input, daemon, server);
    }
    if (!segment) {
      const Result<std::string> answer = tool->query("{}", now());
      ACKBUS_ASSERT(answer.ok() || (answer.error().code != ErrorCode::kReserved &&
                                    answer.error().code <= ErrorCode::kSystem));
    } else if (Result<std::optional<Segment>> opened =
                   tool->open_segment("gpu0", SegmentKind::kFrames, now());
               opened && *opened) {
      ACKBUS_ASSERT(sum_of((*opened)->bytes()) <= 255 * (*opened)->bytes().size());
    }
  }
}

}  // namespace
}  // namespace ackbus

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ackbus;  // NOLINT(google-build-using-namespace)
  const std::size_t open_before = fuzz::open_descriptors();
  Input input(data, size);
  switch (input.below(3)) {
    case 0:
      produce(input);
      break;
    case 1:
      consume(input);
      break;
    default:
      ask(input);
  }
  ACKBUS_ASSERT(fuzz::open_descriptors() == open_before);
  return 0;
}
