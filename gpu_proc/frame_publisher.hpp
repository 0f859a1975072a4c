// Writes frames of positions and velocities into the frames segment. Data flow: engine's host
// arrays -> the buffer published longest ago -> `latest`. The one writer of the segment; the
// engine's thread. The reader's half is shm_layout/frames.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "gpu_proc/segment_provider.hpp"
#include "gpu_proc/simulation_state.hpp"
#include "gpu_proc/state_store.hpp"
#include "shm_layout/frames.hpp"

namespace ackbus::gpu {

class FramePublisher {
 public:
  // `epoch` is the number of this process's life on its queue.
  FramePublisher(SegmentProvider& provider, std::uint64_t epoch)
      : provider_(provider), epoch_(epoch) {}

  // Makes sure that frames of this many nodes (1 or more) fit: keeps the segment or creates a
  // larger one, which the next publish fills and publishes. On failure returns the error and leaves
  // the published segment as it is.
  std::string prepare(std::uint64_t nodes, Room room);
  // Publishes a frame of the state's positions; its ids first when the generation is a new one. The
  // size must have been prepared. Without nodes nothing is published.
  void publish(const SimulationState& state, std::uint64_t time_ns);

  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }
  [[nodiscard]] std::size_t segment_bytes() const { return segment_.size(); }

 private:
  void adopt_pending();
  void write_ids(const SimulationState& state);
  void write_frame(const SimulationState& state, std::uint64_t time_ns);
  [[nodiscard]] layout::FramesHeader& header() {
    return *reinterpret_cast<layout::FramesHeader*>(segment_.data());
  }

  SegmentProvider& provider_;
  std::uint64_t epoch_;
  std::span<std::byte> segment_;  // Published.
  std::uint64_t capacity_ = 0;
  std::span<std::byte> pending_;  // Created by prepare, published by the next publish.
  std::uint64_t pending_capacity_ = 0;
  std::uint64_t generation_ = 0;  // Of the ids in the segment; 0: none.
  std::uint64_t sequence_ = 0;
};

}  // namespace ackbus::gpu
