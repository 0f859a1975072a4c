// The two measurements behind `ackbus bench`: options in, figures out. Each starts a private daemon
// and a second process, measures the bus and the floor in turns (so that both see the same machine,
// whatever else runs on it), and cleans up. Threads: one; call from the thread that stays until it
// returns.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/options.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/machine.hpp"
#include "bench/samples.hpp"

namespace ackbus::bench {

inline constexpr std::uint32_t kRounds = 10;  // of the bus, and as many of the floor between them
inline constexpr std::uint64_t kBytesMax = 1ULL << 30;
inline constexpr std::uint32_t kWindowMax = 4096;

struct RoundTripOptions {
  std::string daemon;  // path of ackbusd
  std::uint64_t messages = 100'000;
  std::uint64_t bytes = 64;
  WaitMode wait = WaitMode::kSpin;
};

struct RoundTripFigures {
  Percentiles bus;             // from before send() until wait() returned the outcome
  Percentiles floor;           // one cache line each way; with kBlock one byte in a pipe each way
  std::uint64_t clock_ns = 0;  // of which one look at the clock, in both
  CorePair cores;
  Machine machine;
};

// Errors: kInvalid (spinning needs two cores), and whatever starting and running may meet.
[[nodiscard]] Result<RoundTripFigures> measure_roundtrip(const RoundTripOptions& options);

struct ThroughputOptions {
  std::string daemon;
  double seconds = 5;  // for bus and floor together
  std::uint64_t bytes = 64;
  std::uint32_t window = 1024;
};

struct ThroughputFigures {
  double messages_per_second = 0;  // the median of the rounds
  double messages_per_second_best = 0;
  double floor_messages_per_second = 0;  // likewise
  double floor_messages_per_second_best = 0;
  std::uint64_t sent = 0;  // all rounds, as the producer's segment counted them
  std::uint64_t success = 0;
  CorePair cores;
  Machine machine;
};

[[nodiscard]] Result<ThroughputFigures> measure_throughput(const ThroughputOptions& options);

}  // namespace ackbus::bench
