// What a measurement ran on, and where: the processor, the kernel, and the two cores that the two
// measuring processes are pinned to. Data flow: /proc, /sys and the scheduler's mask -> a plain
// value that goes into every report. Threads: functions of the calling thread alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ackbus::bench {

// The cores of the producer's and the consumer's process. Nobody is pinned when this process may
// use one core only.
struct CorePair {
  int producer = -1;
  int consumer = -1;
  // "different cores of one package", "threads of one core", "different packages", "one core".
  std::string relation = "one core";

  [[nodiscard]] bool pinned() const { return producer >= 0; }
};

// Two of the allowed cores that are as near as two real cores come: of one package rather than of
// two, never threads of one core while there is another choice.
[[nodiscard]] CorePair choose_cores();

// A core's place in the machine, for choose_pair(). Numbers below 0 are not known.
struct CorePlace {
  int number = 0;
  int core = -1;
  int package = -1;
};
// The choice itself, without looking at the machine.
[[nodiscard]] CorePair choose_pair(const std::vector<CorePlace>& allowed);

// Pins the calling thread; false when the kernel refuses.
bool pin_to(int core);

struct Machine {
  std::string cpu;
  std::string kernel;
  std::string governor;  // of the frequency; "none" where the kernel offers no choice
  int cores_online = 0;
};
[[nodiscard]] Machine describe_machine();

}  // namespace ackbus::bench
