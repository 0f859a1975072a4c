// Writes the engine's state into its state segment before an ack, and reads a predecessor's. Data
// flow: SimulationState
// -> the copies not in use -> commit word; predecessor's segment -> private copy -> checked
// SimulationState. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "gpu_proc/segment_provider.hpp"
#include "gpu_proc/simulation_state.hpp"
#include "shm_layout/state.hpp"

namespace ackbus::gpu {

struct RestoredState {
  std::optional<SimulationState> state;  // Absent when there is an error or nothing was committed.
  std::string error;                     // What is wrong with the segment; empty when nothing is.
};

// Bytes of a segment for graphs up to this size. The arguments are within the limits of
// shm_layout/state.hpp.
std::size_t state_required_bytes(std::uint64_t nodes, std::uint64_t edges,
                                 std::uint64_t constraints);

// A predecessor's segment: copied, then checked (magic, version, sizes, sums, and every index and
// value), never trusted.
RestoredState restore_state(std::span<const std::byte> segment);

// How much a segment made by prepare() holds: just what was asked, or a quarter more for a graph
// that keeps growing.
enum class Room : std::uint8_t { kReserved = 0, kExact = 1, kGrow = 2 };

// A quarter more, up to the limit.
constexpr std::uint64_t with_room(std::uint64_t count, std::uint64_t limit, Room room) {
  if (room == Room::kExact) return count;
  return count + count / 4 < limit ? count + count / 4 : limit;
}

class StateStore {
 public:
  explicit StateStore(SegmentProvider& provider) : provider_(provider) {}

  // Makes sure that a state of this size fits: keeps the segment or creates a larger one, which the
  // next commit fills and publishes. On failure returns the error and leaves the published segment
  // as it is.
  std::string prepare(std::uint64_t nodes, std::uint64_t edges, std::uint64_t constraints,
                      Room room);
  // Everything. The size must have been prepared.
  void commit_all(const SimulationState& state);
  // Settings, steps, applied sequences and motion; the graph and constraints must be those last
  // committed.
  void commit_motion(const SimulationState& state);

  [[nodiscard]] std::uint64_t commits() const { return layout::state_commit_number(word_); }
  [[nodiscard]] std::size_t segment_bytes() const { return segment_.size(); }

 private:
  struct Capacity {
    std::uint64_t nodes = 0;
    std::uint64_t edges = 0;
    std::uint64_t constraints = 0;
    [[nodiscard]] bool fits(const Capacity& wanted) const {
      return wanted.nodes <= nodes && wanted.edges <= edges && wanted.constraints <= constraints;
    }
  };
  void adopt_pending();
  void write_graph(const SimulationState& state, std::uint64_t copy, std::uint64_t commit);
  void write_motion(const SimulationState& state, std::uint64_t copy, std::uint64_t commit);
  void store_commit(std::uint64_t word);

  SegmentProvider& provider_;
  std::span<std::byte> segment_;  // Published.
  Capacity capacity_;
  std::span<std::byte> pending_;  // Created by prepare, published by the next commit_all.
  Capacity pending_capacity_;
  std::uint64_t word_ = 0;
};

}  // namespace ackbus::gpu
