#include "bench/stage.hpp"

#include <algorithm>
#include <chrono>

namespace ackbus::bench {

Result<Stage> Stage::set(const StageOptions& options) {
  watch_for_interrupts();
  CorePair cores = choose_cores();
  Result<FloorMapping> mapping = FloorMapping::create();
  if (!mapping) {
    return mapping.error();
  }
  Result<PrivateBus> bus = PrivateBus::start(options.daemon);
  if (!bus) {
    return bus.error();
  }
  Result<Peer> peer = Peer::start({bus->runtime_dir(), options.wait, cores}, std::move(*mapping));
  if (!peer) {
    return peer.error();
  }
  if (cores.pinned() && !pin_to(cores.producer)) {
    return Error{ErrorCode::kSystem,
                 "cannot pin the producer to core " + std::to_string(cores.producer)};
  }
  ProducerOptions producer_options;
  producer_options.runtime_dir = bus->runtime_dir();
  producer_options.queue = kQueue;
  producer_options.client = "bench-producer";
  producer_options.wait = options.wait;
  producer_options.slots = options.slots;
  producer_options.arena_bytes = options.arena_bytes;
  Result<Producer> producer = Producer::connect(producer_options);
  if (!producer) {
    return producer.error();
  }
  return Stage{std::move(cores), std::move(*bus), std::move(*peer), std::move(*producer)};
}

std::vector<std::byte> make_payload(std::uint64_t bytes) {
  return std::vector<std::byte>(bytes, std::byte{0});
}

Result<void> end_consuming(Stage& stage, std::vector<std::byte> payload) {
  payload.resize(std::max<std::size_t>(payload.size(), 1));
  payload[0] = kLastMessage;
  const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  const Result<Ticket> ticket = stage.producer.send(kBenchKind, payload, deadline);
  if (!ticket) {
    return ticket.error();
  }
  const Result<Outcome> outcome = stage.producer.wait(*ticket, deadline);
  if (!outcome) {
    return outcome.error();
  }
  return stage.peer.end();
}

}  // namespace ackbus::bench
