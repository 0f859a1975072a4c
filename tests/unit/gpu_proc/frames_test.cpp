// The frames segment: readers get whole frames, of one generation, from a writer that never waits;
// a hostile segment is refused and never read beyond its mapping.
#include "shm_layout/frames.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "gpu_proc/frame_publisher.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu {
namespace {

using layout::FrameInfo;
using layout::FrameReadResult;
using test::HeapSegments;

// A state whose every value tells the step: any mixture of two frames shows.
SimulationState numbered_state(std::size_t nodes, std::uint64_t step, std::uint64_t generation) {
  SimulationState state;
  state.graph.ids.resize(nodes);
  std::iota(state.graph.ids.begin(), state.graph.ids.end(),
            static_cast<std::uint32_t>(generation * 1000));
  state.positions.assign(3 * nodes, static_cast<float>(step));
  state.velocities.assign(3 * nodes, -static_cast<float>(step));
  state.steps = step;
  state.generation = generation;
  return state;
}

TEST(FramesTest, ReaderGetsTheLatestFrameAndItsIds) {
  HeapSegments segments;
  FramePublisher publisher(segments, 4);
  FrameInfo info{};
  for (const std::size_t nodes : {std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
    ASSERT_EQ(publisher.prepare(nodes, Room::kExact), "");
    publisher.publish(numbered_state(nodes, nodes + 1, nodes), 55);
    publisher.publish(numbered_state(nodes, nodes + 2, nodes), 66);
    const auto segment = segments.published(SegmentRole::kFrames);
    std::vector<float> positions(3 * nodes);
    std::vector<float> velocities(3 * nodes);
    ASSERT_EQ(layout::copy_latest_frame(segment.data(), segment.size(), positions.data(),
                                        velocities.data(), nodes, info),
              FrameReadResult::kOk);
    EXPECT_EQ(positions, std::vector<float>(3 * nodes, static_cast<float>(nodes + 2)));
    EXPECT_EQ(velocities, std::vector<float>(3 * nodes, -static_cast<float>(nodes + 2)));
    EXPECT_EQ(info.step, nodes + 2);
    EXPECT_EQ(info.time_ns, 66U);
    EXPECT_EQ(info.epoch, 4U);
    EXPECT_EQ(info.generation, nodes);
    std::vector<std::uint32_t> ids(nodes);
    std::uint64_t count = 0;
    std::uint64_t generation = 0;
    ASSERT_EQ(
        layout::copy_node_ids(segment.data(), segment.size(), ids.data(), nodes, count, generation),
        FrameReadResult::kOk);
    EXPECT_EQ(count, nodes);
    EXPECT_EQ(generation, nodes);
    EXPECT_EQ(ids[nodes - 1], nodes * 1000 + nodes - 1);
  }
  EXPECT_EQ(info.sequence, 6U);
}

TEST(FramesTest, ArraysThatAreTooSmallAreNotWrittenBeyond) {
  HeapSegments segments;
  FramePublisher publisher(segments, 1);
  ASSERT_EQ(publisher.prepare(100, Room::kExact), "");
  publisher.publish(numbered_state(100, 5, 1), 0);
  const auto segment = segments.published(SegmentRole::kFrames);
  FrameInfo info{};
  std::vector<float> positions(3 * 99, 8.0F);
  EXPECT_EQ(layout::copy_latest_frame(segment.data(), segment.size(), positions.data(), nullptr, 99,
                                      info),
            FrameReadResult::kTooSmall);
  EXPECT_EQ(info.node_count, 100U);
  EXPECT_EQ(positions, std::vector<float>(3 * 99, 8.0F));
}

TEST(FramesTest, SegmentThatIsNoneIsRefused) {
  HeapSegments segments;
  FramePublisher publisher(segments, 1);
  ASSERT_EQ(publisher.prepare(10, Room::kExact), "");
  publisher.publish(numbered_state(10, 5, 1), 0);
  const auto segment = segments.published(SegmentRole::kFrames);
  auto* header = reinterpret_cast<layout::FramesHeader*>(segment.data());
  auto* frame = reinterpret_cast<layout::FrameHeader*>(segment.data() +
                                                       layout::frames_geometry(10).buffers_offset +
                                                       layout::frames_geometry(10).buffer_bytes);
  FrameInfo info{};
  std::vector<float> positions(30);
  const auto read = [&](std::size_t bytes) {
    return layout::copy_latest_frame(segment.data(), bytes, positions.data(), nullptr, 10, info);
  };
  EXPECT_EQ(read(segment.size()), FrameReadResult::kOk);
  EXPECT_EQ(read(segment.size() - 1), FrameReadResult::kCorrupt);
  EXPECT_EQ(read(16), FrameReadResult::kCorrupt);
  EXPECT_EQ(layout::copy_latest_frame(nullptr, 0, nullptr, nullptr, 0, info),
            FrameReadResult::kCorrupt);
  for (const std::uint64_t capacity : {std::uint64_t{0}, std::uint64_t{11}, ~std::uint64_t{0}}) {
    header->node_capacity.store_relaxed(capacity);
    EXPECT_EQ(read(segment.size()), FrameReadResult::kCorrupt) << capacity;
  }
  header->node_capacity.store_relaxed(10);
  for (const std::uint64_t count : {std::uint64_t{11}, ~std::uint64_t{0}, std::uint64_t{9}}) {
    frame->node_count.store_relaxed(count);
    EXPECT_EQ(read(segment.size()), FrameReadResult::kCorrupt) << count;
  }
  frame->node_count.store_relaxed(10);
  frame->number.store_relaxed(0);  // A writer that died in the middle and lied about latest.
  EXPECT_EQ(read(segment.size()), FrameReadResult::kBusy);
  frame->number.store_relaxed(1);
  EXPECT_EQ(read(segment.size()), FrameReadResult::kOk);
  header->latest.store_relaxed(~std::uint64_t{0});
  EXPECT_EQ(read(segment.size()), FrameReadResult::kBusy);
  header->latest.store_relaxed(0);
  EXPECT_EQ(read(segment.size()), FrameReadResult::kNoFrame);
  header->magic.store_relaxed(1);
  EXPECT_EQ(read(segment.size()), FrameReadResult::kCorrupt);
}

struct ReaderCounts {
  std::uint64_t whole = 0;
  std::uint64_t torn = 0;
  std::uint64_t backwards = 0;
};

// Reads until the writer has ended and one more frame was read.
ReaderCounts read_frames(std::span<const std::byte> segment, const std::atomic<bool>& stop,
                         std::size_t nodes) {
  ReaderCounts counts;
  std::vector<float> positions(3 * nodes);
  std::vector<float> velocities(3 * nodes);
  std::uint64_t last = 0;
  bool ended = false;
  while (!ended) {
    ended = stop.load();
    FrameInfo info{};
    const FrameReadResult result = layout::copy_latest_frame(
        segment.data(), segment.size(), positions.data(), velocities.data(), nodes, info);
    if (result == FrameReadResult::kCorrupt) ++counts.torn;
    if (result != FrameReadResult::kOk) continue;
    ++counts.whole;
    const auto step = static_cast<float>(info.step);
    for (const float value : positions) counts.torn += value != step ? 1 : 0;
    for (const float value : velocities) counts.torn += value != -step ? 1 : 0;
    counts.backwards += info.sequence < last ? 1 : 0;
    last = info.sequence;
  }
  return counts;
}

TEST(FramesTest, ReadersNeverSeeATornFrame) {
  constexpr std::size_t kNodes = 300;
  constexpr std::uint64_t kFrames = 20000;
  HeapSegments segments;
  FramePublisher publisher(segments, 1);
  ASSERT_EQ(publisher.prepare(kNodes, Room::kExact), "");
  publisher.publish(numbered_state(kNodes, 1, 1), 0);
  const auto segment = segments.published(SegmentRole::kFrames);
  std::atomic<bool> stop{false};
  std::array<ReaderCounts, 3> counts;
  std::vector<std::thread> readers;
  for (ReaderCounts& count : counts) {
    readers.emplace_back([&count, segment, &stop] { count = read_frames(segment, stop, kNodes); });
  }
  for (std::uint64_t step = 2; step <= kFrames; ++step) {
    publisher.publish(numbered_state(kNodes, step, 1), step);
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  for (const ReaderCounts& count : counts) {
    EXPECT_GT(count.whole, 0U);
    EXPECT_EQ(count.torn, 0U);
    EXPECT_EQ(count.backwards, 0U);
  }
}

TEST(FramesTest, IdsAndFramesOfOneGenerationBelongTogether) {
  constexpr std::size_t kNodes = 64;
  HeapSegments segments;
  FramePublisher publisher(segments, 1);
  ASSERT_EQ(publisher.prepare(kNodes, Room::kExact), "");
  publisher.publish(numbered_state(kNodes, 1, 1), 0);
  const auto segment = segments.published(SegmentRole::kFrames);
  std::atomic<bool> stop{false};
  std::uint64_t wrong = 0;
  std::uint64_t read = 0;
  std::thread reader([&] {
    bool ended = false;
    while (!ended) {
      ended = stop.load();
      std::vector<std::uint32_t> ids(kNodes);
      std::uint64_t count = 0;
      std::uint64_t generation = 0;
      if (layout::copy_node_ids(segment.data(), segment.size(), ids.data(), kNodes, count,
                                generation) != FrameReadResult::kOk) {
        continue;
      }
      ++read;
      for (std::size_t node = 0; node < kNodes; ++node) {
        wrong += ids[node] != generation * 1000 + node ? 1 : 0;
      }
    }
  });
  for (std::uint64_t generation = 2; generation < 5000; ++generation) {
    publisher.publish(numbered_state(kNodes, generation, generation), 0);
  }
  stop.store(true);
  reader.join();
  EXPECT_GT(read, 0U);
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace ackbus::gpu
