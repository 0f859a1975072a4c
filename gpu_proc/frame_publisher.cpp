#include "gpu_proc/frame_publisher.hpp"

#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::gpu {

std::string FramePublisher::prepare(std::uint64_t nodes, Room room) {
  if (!pending_.empty() && nodes <= pending_capacity_) return {};
  if (pending_.empty() && !segment_.empty() && nodes <= capacity_) return {};
  pending_ = {};
  const std::uint64_t wanted = with_room(nodes, layout::kFramesMaxNodes, room);
  const std::size_t bytes = layout::frames_geometry(wanted).total_bytes;
  const std::span<std::byte> made = provider_.create(SegmentRole::kFrames, bytes);
  if (made.size() < bytes) {
    const std::string why = provider_.failure();
    return "no frames segment of " + std::to_string(bytes) + " bytes: " +
           (why.empty() ? "not enough shared memory; free some or raise the limit" : why);
  }
  pending_ = made;
  pending_capacity_ = wanted;
  return {};
}

// Nobody sees the segment yet, so the order of these stores does not matter. Relaxed because
// publish() by the provider orders them.
void FramePublisher::adopt_pending() {
  segment_ = pending_;
  capacity_ = pending_capacity_;
  pending_ = {};
  generation_ = 0;
  ACKBUS_ASSERT(reinterpret_cast<std::uintptr_t>(segment_.data()) % 8 == 0);
  header().version.store_relaxed(layout::kFramesVersion);  // relaxed because nobody reads yet
  header().epoch.store_relaxed(epoch_);                    // relaxed because nobody reads yet
  header().node_capacity.store_relaxed(capacity_);         // relaxed because nobody reads yet
  header().magic.store_relaxed(layout::kFramesMagic);      // relaxed because nobody reads yet
}

void FramePublisher::write_ids(const SimulationState& state) {
  const auto geometry = layout::frames_geometry(capacity_);
  header().ids_number.store_relaxed(0);  // Relaxed because the fence orders it.
  layout::fence_release();  // [P5] release fence: number 0 before the ids; pairs with [P5] in
                            // copy_node_ids.
  ACKBUS_POINT(kIdsOpen);
  const std::uint64_t sum = layout::store_shared_words(
      segment_.data() + geometry.ids_offset, state.graph.ids.data(), state.graph.nodes() * 4);
  header().ids_count.store_relaxed(state.graph.nodes());  // Relaxed because [P4] orders it.
  header().ids_checksum.store_relaxed(sum);               // Relaxed because [P4] orders it.
  // [P4] release: the ids before their number; pairs with [P4] in copy_node_ids.
  header().ids_number.store_release(state.generation);
  ACKBUS_POINT(kIdsPublished);
  generation_ = state.generation;
}

void FramePublisher::write_frame(const SimulationState& state, std::uint64_t time_ns) {
  const auto geometry = layout::frames_geometry(capacity_);
  const std::uint64_t bytes = state.graph.nodes() * 12;
  ++sequence_;
  std::byte* buffer = segment_.data() + geometry.buffers_offset +
                      sequence_ % layout::kFrameBuffers * geometry.buffer_bytes;
  auto* frame = reinterpret_cast<layout::FrameHeader*>(buffer);
  frame->number.store_relaxed(0);  // Relaxed because the fence orders it.
  layout::fence_release();  // [P2] release fence: number 0 before the words; pairs with [P2] in
                            // try_copy_frame.
  ACKBUS_POINT(kFrameOpen);
  // Relaxed because [P1] orders the words below.
  frame->step.store_relaxed(state.steps);
  frame->generation.store_relaxed(state.generation);
  frame->node_count.store_relaxed(state.graph.nodes());
  frame->time_ns.store_relaxed(time_ns);
  frame->positions_checksum.store_relaxed(layout::store_shared_words(
      buffer + geometry.positions_offset, state.positions.data(), bytes));
  frame->velocities_checksum.store_relaxed(layout::store_shared_words(
      buffer + geometry.velocities_offset, state.velocities.data(), bytes));
  ACKBUS_POINT(kFrameFilled);
  // [P1] release: the frame's words before its number; pairs with [P1] in try_copy_frame.
  frame->number.store_release(sequence_);
  ACKBUS_POINT(kFramePublished);
  // [P3] release: the frame is whole before latest names it; pairs with [P3] in copy_latest_frame.
  header().latest.store_release(sequence_);
  ACKBUS_POINT(kLatestStored);
}

void FramePublisher::publish(const SimulationState& state, std::uint64_t time_ns) {
  if (state.graph.nodes() == 0) return;
  const bool fresh = !pending_.empty();
  if (fresh) adopt_pending();
  ACKBUS_ASSERT(!segment_.empty() && state.graph.nodes() <= capacity_);
  if (generation_ != state.generation) write_ids(state);
  write_frame(state, time_ns);
  if (fresh) provider_.publish(SegmentRole::kFrames);
}

}  // namespace ackbus::gpu
