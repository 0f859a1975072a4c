// What both measurements stand on: the private daemon, the peer and the connected producer, started
// in the order that forks need (nothing is connected before the last fork) and ended in reverse.
// Threads: one.
#pragma once

#include <ackbus/producer.hpp>
#include <string>

#include "bench/peer.hpp"
#include "bench/process.hpp"

namespace ackbus::bench {

struct StageOptions {
  std::string daemon;
  WaitMode wait = WaitMode::kSpin;
  std::uint32_t slots = 1024;
  std::uint64_t arena_bytes = 1 << 20;
};

struct Stage {
  [[nodiscard]] static Result<Stage> set(const StageOptions& options);

  CorePair cores;
  PrivateBus bus;
  Peer peer;
  Producer producer;
};

// The payload of every message but the last of a run.
[[nodiscard]] std::vector<std::byte> make_payload(std::uint64_t bytes);
// Ends a run of the peer's kConsume: sends the last message, waits for its outcome and the peer.
[[nodiscard]] Result<void> end_consuming(Stage& stage, std::vector<std::byte> payload);

// The kind of every message of a measurement: built in, never superseded.
inline constexpr Kind kBenchKind = Kind::kComputeForces;

}  // namespace ackbus::bench
