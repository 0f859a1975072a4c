// The frames segment: the latest positions and velocities for whoever draws the graph. Triple
// buffered: the writer fills the buffer that was published longest ago, so a reader has the time of
// two frames to copy one. Data flow: GPU process
// -> buffers -> any number of readers, who copy, then look at the buffer's number again. Offsets
// only.
//
// Invariants:
//  1. A buffer's number is 0 while it is written and the frame's sequence when it is whole;
//  `latest` names a sequence
//     whose buffer was whole when it was stored. Frame s lives in buffer s mod 3.
//  2. Node ids belong to a generation and are written before the first frame of that generation.
//  3. Readers trust nothing: capacity, counts and sums are checked against the mapping and the copy
//  on every read.
// Threads: one writer; readers in any process, wait-free (a bounded number of tries).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "shm_layout/cell.hpp"
#include "shm_layout/checksum.hpp"

namespace ackbus::layout {

inline constexpr std::uint64_t kFramesMagic = 0x31454D4152464241ULL;  // "ABFRAME1"
inline constexpr std::uint64_t kFramesVersion = 1;
inline constexpr std::uint64_t kFrameBuffers = 3;
inline constexpr std::uint64_t kFramesMaxNodes = 10'000'000;
inline constexpr int kFrameReadTries = 16;

// written by: GPU process of one life. read by: everybody. truth. if the writer dies here: the last
// whole frame stays readable; the next life makes a segment of its own.
struct FramesHeader {
  Cell<std::uint64_t> magic;          // kFramesMagic
  Cell<std::uint64_t> version;        // kFramesVersion
  Cell<std::uint64_t> epoch;          // The life that writes this segment.
  Cell<std::uint64_t> node_capacity;  // Fixed when the segment is made; all offsets follow from it.
  std::uint64_t reserved[4];
  // The line that readers poll.
  Cell<std::uint64_t> latest;  // Sequence of the newest whole frame; 0 before the first.
  std::uint64_t reserved_latest[7];
  // The node ids' own seqlock.
  Cell<std::uint64_t> ids_number;  // The generation whose ids these are; 0 while they are written.
  Cell<std::uint64_t> ids_count;
  Cell<std::uint64_t> ids_checksum;
  std::uint64_t reserved_ids[5];
};

// In front of each buffer. Same writer, same readers, truth under its seqlock.
struct FrameHeader {
  Cell<std::uint64_t> number;  // 0 while written, then the sequence.
  Cell<std::uint64_t> step;    // Steps since the simulation began.
  Cell<std::uint64_t> generation;
  Cell<std::uint64_t> node_count;
  Cell<std::uint64_t> time_ns;  // CLOCK_MONOTONIC
  Cell<std::uint64_t> positions_checksum;
  Cell<std::uint64_t> velocities_checksum;
  std::uint64_t reserved;
};

static_assert(sizeof(FramesHeader) == 192 && alignof(FramesHeader) == 8);
static_assert(std::is_standard_layout_v<FramesHeader>);
static_assert(offsetof(FramesHeader, node_capacity) == 24 && offsetof(FramesHeader, latest) == 64);
static_assert(offsetof(FramesHeader, ids_number) == 128 &&
              offsetof(FramesHeader, ids_count) == 136);
static_assert(offsetof(FramesHeader, ids_checksum) == 144);
static_assert(sizeof(FrameHeader) == 64 && std::is_standard_layout_v<FrameHeader>);
static_assert(offsetof(FrameHeader, step) == 8 && offsetof(FrameHeader, generation) == 16);
static_assert(offsetof(FrameHeader, node_count) == 24 && offsetof(FrameHeader, time_ns) == 32);
static_assert(offsetof(FrameHeader, positions_checksum) == 40);
static_assert(offsetof(FrameHeader, velocities_checksum) == 48);

constexpr std::uint64_t frames_aligned(std::uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// Byte offsets that follow from the capacity.
struct FramesGeometry {
  std::uint64_t ids_offset;         // u32 per node
  std::uint64_t buffers_offset;     // kFrameBuffers times buffer_bytes
  std::uint64_t positions_offset;   // In a buffer: x y z f32 per node
  std::uint64_t velocities_offset;  // In a buffer: x y z f32 per node
  std::uint64_t buffer_bytes;
  std::uint64_t total_bytes;
};

// `nodes` is at most kFramesMaxNodes.
constexpr FramesGeometry frames_geometry(std::uint64_t nodes) {
  FramesGeometry geometry{};
  const std::uint64_t vector_bytes = frames_aligned(nodes * 12);
  geometry.ids_offset = sizeof(FramesHeader);
  geometry.buffers_offset = geometry.ids_offset + frames_aligned(nodes * 4);
  geometry.positions_offset = sizeof(FrameHeader);
  geometry.velocities_offset = geometry.positions_offset + vector_bytes;
  geometry.buffer_bytes = geometry.velocities_offset + vector_bytes;
  geometry.total_bytes = geometry.buffers_offset + kFrameBuffers * geometry.buffer_bytes;
  return geometry;
}

enum class FrameReadResult : std::uint32_t {
  kReserved = 0,
  kOk = 1,
  kNoFrame = 2,   // Nothing was published yet.
  kBusy = 3,      // The writer overtook every try; ask again.
  kTooSmall = 4,  // The caller's arrays are shorter than info.node_count.
  kCorrupt = 5,   // Not a frames segment of this version, or its content contradicts itself.
};

struct FrameInfo {
  std::uint64_t sequence;
  std::uint64_t step;
  std::uint64_t generation;
  std::uint64_t node_count;
  std::uint64_t time_ns;
  std::uint64_t epoch;
};

// Copies `bytes` (a multiple of 4) out of shared words of 8 and returns their sum. `to` may be
// null: then only summed. Relaxed because the seqlock around the call orders it.
inline std::uint64_t copy_shared_words(const std::byte* from, void* to, std::uint64_t bytes) {
  const auto* words = reinterpret_cast<const Cell<std::uint64_t>*>(from);
  Checksum sum;
  for (std::uint64_t done = 0; done < bytes; done += 8) {
    const std::uint64_t word = words[done / 8].load_relaxed();
    sum.add_word(word);
    const std::uint64_t rest = bytes - done;
    if (to != nullptr) std::memcpy(static_cast<std::byte*>(to) + done, &word, rest < 8 ? rest : 8);
  }
  return sum.value();
}

// The writer's half: private bytes into shared words, the last one filled with zeros; returns the
// same sum.
inline std::uint64_t store_shared_words(std::byte* to, const void* from, std::uint64_t bytes) {
  auto* words = reinterpret_cast<Cell<std::uint64_t>*>(to);
  Checksum sum;
  for (std::uint64_t done = 0; done < bytes; done += 8) {
    const std::uint64_t rest = bytes - done;
    std::uint64_t word = 0;
    std::memcpy(&word, static_cast<const std::byte*>(from) + done, rest < 8 ? rest : 8);
    words[done / 8].store_relaxed(word);  // Relaxed because the seqlock around the call orders it.
    sum.add_word(word);
  }
  return sum.value();
}

// The segment's capacity if the mapping is a frames segment that it can hold whole; 0 otherwise.
// `base` is aligned to 8.
inline std::uint64_t checked_frames_capacity(const std::byte* base, std::uint64_t bytes) {
  if (base == nullptr || bytes < sizeof(FramesHeader)) return 0;
  const auto* header = reinterpret_cast<const FramesHeader*>(base);
  // Relaxed because these words were stored before the segment was handed out; a hostile writer
  // gains nothing by changing them later, as each is read once here.
  if (header->magic.load_relaxed() != kFramesMagic) return 0;
  if (header->version.load_relaxed() != kFramesVersion) return 0;
  const std::uint64_t capacity = header->node_capacity.load_relaxed();
  if (capacity == 0 || capacity > kFramesMaxNodes) return 0;
  return frames_geometry(capacity).total_bytes <= bytes ? capacity : 0;
}

// One try at the buffer of frame `sequence`.
inline FrameReadResult try_copy_frame(const std::byte* base, std::uint64_t capacity,
                                      std::uint64_t sequence, float* positions, float* velocities,
                                      std::uint64_t array_nodes, FrameInfo& info) {
  const FramesGeometry geometry = frames_geometry(capacity);
  const std::byte* buffer =
      base + geometry.buffers_offset + sequence % kFrameBuffers * geometry.buffer_bytes;
  const auto* frame = reinterpret_cast<const FrameHeader*>(buffer);
  // [P1] acquire: the frame's words are read after its number; pairs with [P1] in the publisher.
  if (frame->number.load_acquire() != sequence) return FrameReadResult::kBusy;
  // Relaxed because the seqlock's fences order the words below.
  const std::uint64_t nodes = frame->node_count.load_relaxed();
  info.sequence = sequence;
  info.step = frame->step.load_relaxed();
  info.generation = frame->generation.load_relaxed();
  info.node_count = nodes;
  info.time_ns = frame->time_ns.load_relaxed();
  info.epoch = reinterpret_cast<const FramesHeader*>(base)->epoch.load_relaxed();
  const std::uint64_t positions_sum = frame->positions_checksum.load_relaxed();
  const std::uint64_t velocities_sum = frame->velocities_checksum.load_relaxed();
  const bool copied = nodes <= capacity && nodes <= array_nodes;
  bool sums_match = true;
  if (copied && positions != nullptr) {
    sums_match = copy_shared_words(buffer + geometry.positions_offset, positions, nodes * 12) ==
                 positions_sum;
  }
  if (copied && velocities != nullptr) {
    sums_match = copy_shared_words(buffer + geometry.velocities_offset, velocities, nodes * 12) ==
                     velocities_sum &&
                 sums_match;
  }
  fence_acquire();  // [P2] acquire fence: the words above were read before the number below; pairs
                    // with [P2].
  // Relaxed because the fence orders it.
  if (frame->number.load_relaxed() != sequence) return FrameReadResult::kBusy;
  if (nodes > capacity || !sums_match) return FrameReadResult::kCorrupt;
  return copied ? FrameReadResult::kOk : FrameReadResult::kTooSmall;
}

// Copies the newest whole frame into the caller's arrays of `array_nodes` nodes, 3 floats each;
// either may be null. `base` is the mapping's start, `bytes` its length. On kTooSmall
// info.node_count says what is needed. A torn frame is never kOk. Any thread, any number of
// readers.
inline FrameReadResult copy_latest_frame(const std::byte* base, std::uint64_t bytes,
                                         float* positions, float* velocities,
                                         std::uint64_t array_nodes, FrameInfo& info) {
  const std::uint64_t capacity = checked_frames_capacity(base, bytes);
  if (capacity == 0) return FrameReadResult::kCorrupt;
  const auto* header = reinterpret_cast<const FramesHeader*>(base);
  for (int tries = 0; tries < kFrameReadTries; ++tries) {
    // [P3] acquire: the frame named by latest is whole; pairs with [P3] in the publisher.
    const std::uint64_t sequence = header->latest.load_acquire();
    if (sequence == 0) return FrameReadResult::kNoFrame;
    const FrameReadResult result =
        try_copy_frame(base, capacity, sequence, positions, velocities, array_nodes, info);
    if (result != FrameReadResult::kBusy) return result;
  }
  return FrameReadResult::kBusy;
}

// Copies the node ids, in the order of the frames' arrays, and says whose generation they are. A
// frame of another generation has other nodes: read it again. kTooSmall: `count` says what is
// needed.
inline FrameReadResult copy_node_ids(const std::byte* base, std::uint64_t bytes, std::uint32_t* ids,
                                     std::uint64_t array_nodes, std::uint64_t& count,
                                     std::uint64_t& generation) {
  const std::uint64_t capacity = checked_frames_capacity(base, bytes);
  if (capacity == 0) return FrameReadResult::kCorrupt;
  const auto* header = reinterpret_cast<const FramesHeader*>(base);
  const FramesGeometry geometry = frames_geometry(capacity);
  for (int tries = 0; tries < kFrameReadTries; ++tries) {
    // [P4] acquire: the ids are read after their number; pairs with [P4] in the publisher.
    generation = header->ids_number.load_acquire();
    if (generation == 0) continue;  // Being written, or never: told apart by latest below.
    // Relaxed because the seqlock's fences order the words below.
    count = header->ids_count.load_relaxed();
    const std::uint64_t wanted_sum = header->ids_checksum.load_relaxed();
    const bool copied = count <= capacity && count <= array_nodes;
    std::uint64_t sum = wanted_sum;
    if (copied) sum = copy_shared_words(base + geometry.ids_offset, ids, count * 4);
    fence_acquire();  // [P5] acquire fence: the ids were read before the number below; pairs with
                      // [P5].
    // Relaxed because the fence orders it.
    if (header->ids_number.load_relaxed() != generation) continue;
    if (count > capacity || sum != wanted_sum) return FrameReadResult::kCorrupt;
    return copied ? FrameReadResult::kOk : FrameReadResult::kTooSmall;
  }
  // Relaxed because only zero or not is asked.
  return header->latest.load_relaxed() == 0 ? FrameReadResult::kNoFrame : FrameReadResult::kBusy;
}

}  // namespace ackbus::layout
