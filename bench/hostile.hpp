// What honest clients lose while somebody attacks the bus: throughput and round trips of a producer
// and a consumer on their own queue, in turns with and without an attacker, on the same bus and in
// the same run.
//
// The victims (a producer and a consumer that sleep while they wait) share one core; the daemon,
// the attacker and whoever it needs to attack share another. So the ratio is what the attack costs
// through the bus, not through the processor that it uses up, which is the scheduler's business. On
// a machine with one core all of them share it, and the report says so.
//
// The attacker is a program of the tests (ackbus-hostile-peer), which is not installed. Threads:
// one.
#pragma once

#include <ackbus/error.hpp>
#include <string>
#include <vector>

#include "bench/machine.hpp"
#include "bench/samples.hpp"

namespace ackbus::bench {

struct HostileOptions {
  std::string daemon;                // path of ackbusd
  std::string attacker;              // path of ackbus-hostile-peer
  std::vector<std::string> attacks;  // by name; none: all that the attacker lists
  std::uint32_t windows = 5;         // of each sort and attack
  double window_seconds = 0.4;       // half of it throughput, half of it round trips
};

// Medians over the windows of one sort.
struct HostileSide {
  double messages_per_second = 0;
  double p50_ns = 0;
  double p99_ns = 0;
};

struct HostileFigures {
  std::string attack;
  HostileSide alone;
  HostileSide attacked;
};

struct HostileReport {
  std::vector<HostileFigures> attacks;
  int victims_core = -1;  // -1: not pinned
  int others_core = -1;
  Machine machine;
};

// Errors: kNotFound (no attacker, no such attack), and whatever starting and running may meet.
[[nodiscard]] Result<HostileReport> measure_hostile(const HostileOptions& options);

}  // namespace ackbus::bench
