// The floor of the machine: the least that two processes need to hand something over and hear back,
// without tracking, ids, time-outs or anything that survives a crash. Round trip: one cache line
// each way, or one byte in a pipe each way. Throughput: a ring of 64-byte cells each way, one
// writer and one reader each. Data flow: the near half runs in the measuring process, the far half
// in its peer, over one mapping made before the fork. Threads: each half is one thread.
#pragma once

#include <ackbus/error.hpp>
#include <cstdint>
#include <memory>

#include "bench/samples.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::bench {

inline constexpr std::uint64_t kFloorCells = 4096;  // the largest window

struct alignas(128) FloorLine {
  layout::Cell<std::uint64_t> number;
};

struct alignas(64) FloorCell {
  layout::Cell<std::uint64_t> number;    // announces the cell: stored last
  layout::Cell<std::uint64_t> words[7];  // with the number, 64 bytes
};

struct FloorMemory {
  FloorLine to_peer;
  FloorLine to_producer;
  FloorCell messages[kFloorCells];
  FloorCell acks[kFloorCells];
};

// An anonymous mapping that children share; resident from the start.
class FloorMapping {
 public:
  [[nodiscard]] static Result<FloorMapping> create();
  [[nodiscard]] FloorMemory& memory() const { return *memory_; }

 private:
  explicit FloorMapping(FloorMemory* memory);
  std::shared_ptr<FloorMemory> memory_;
};

// Two pipes, blocking.
struct FloorPipes {
  int to_peer[2] = {-1, -1};
  int to_producer[2] = {-1, -1};
};

// How one half waits: it spins, and gives its core away between looks when both halves share one.
struct FloorSpin {
  bool yields = false;
};

// ---- round trip. Trips are numbered on from `first`, which both halves know; the near half adds a
// sample for each trip but the first `warm_up`. False when the other half did not answer within ten
// seconds, or the user interrupted.
[[nodiscard]] bool line_near(FloorMemory& memory, std::uint64_t first, std::uint64_t trips,
                             std::uint64_t warm_up, FloorSpin spin, Samples& samples);
[[nodiscard]] bool line_far(FloorMemory& memory, std::uint64_t first, std::uint64_t trips,
                            FloorSpin spin);
[[nodiscard]] bool pipe_near(const FloorPipes& pipes, std::uint64_t trips, std::uint64_t warm_up,
                             Samples& samples);
[[nodiscard]] bool pipe_far(const FloorPipes& pipes, std::uint64_t trips);

// ---- throughput. The near half keeps up to `window` cells unanswered for `seconds`, takes the
// rest, and tells the far half to end. Cells are numbered on from `first`; both give the first
// number of the next run, 0 when the other half did not answer.
struct FloorFlow {
  std::uint64_t next = 0;
  std::uint64_t messages = 0;
  double seconds = 0;
};
[[nodiscard]] FloorFlow flow_near(FloorMemory& memory, std::uint64_t first, std::uint64_t window,
                                  double seconds, FloorSpin spin);
[[nodiscard]] std::uint64_t flow_far(FloorMemory& memory, std::uint64_t first, FloorSpin spin);

// What one look at the clock costs: the median of many pairs. It is in every single time measured,
// the floor's and the bus's alike.
[[nodiscard]] std::uint64_t clock_cost_ns();

}  // namespace ackbus::bench
