// What a layout sends and what it reads back: the payloads pass the GPU process's own checks, the
// first positions are the same everywhere, a frame is taken only when it is this graph's.
#include "tools/command_layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "gpu_proc/payload/settings.hpp"
#include "shm_layout/frames.hpp"
#include "tools/layout_frame.hpp"
#include "tools/layout_plan.hpp"
#include "tools/layout_session.hpp"

namespace ackbus::tools {
namespace {

using ::testing::HasSubstr;
namespace payload = gpu::payload;

Graph triangle_with_tail() {
  return build_graph(4, {{0, 1, 1.0F}, {1, 2, 2.0F}, {0, 2, 1.0F}, {2, 3, 1.0F}});
}

TEST(LayoutPlan, TheSameSeedGivesTheSameStart) {
  EXPECT_EQ(initial_positions(100, 7), initial_positions(100, 7));
  EXPECT_NE(initial_positions(100, 7), initial_positions(100, 8));
}

TEST(LayoutPlan, TheStartFillsABallEvenly) {
  const std::vector<Position> positions = initial_positions(20'000, 1337);
  double radius = 0.0;
  for (const Position& at : positions) {
    radius = std::max(radius, std::hypot(static_cast<double>(at.x), static_cast<double>(at.y),
                                         static_cast<double>(at.z)));
  }
  // Half the radius holds an eighth of an even ball's nodes.
  std::size_t inside = 0;
  for (const Position& at : positions) {
    inside += std::hypot(static_cast<double>(at.x), static_cast<double>(at.y),
                         static_cast<double>(at.z)) < radius / 2
                  ? 1U
                  : 0U;
  }
  EXPECT_NEAR(static_cast<double>(inside) / 20'000.0, 0.125, 0.01);
}

TEST(LayoutPlan, EveryParameterIsKnownAndInRange) {
  for (const bool far_field : {true, false}) {
    std::set<std::uint32_t> ids;
    for (const payload::ParameterRecord& record :
         layout_parameters(triangle_with_tail(), far_field, UINT64_MAX)) {
      const gpu::ParameterInfo* info = gpu::find_parameter(record.id);
      ASSERT_NE(info, nullptr);
      EXPECT_TRUE(gpu::parameter_in_range(*info, record.bits)) << info->name;
      EXPECT_TRUE(ids.insert(record.id).second) << info->name << " comes twice";
    }
  }
}

TEST(LayoutPlan, TheFarFieldIsWhatWasAskedFor) {
  for (const bool far_field : {true, false}) {
    gpu::Settings settings;
    for (const payload::ParameterRecord& record :
         layout_parameters(triangle_with_tail(), far_field, 1)) {
      gpu::set_parameter(settings, record);
    }
    EXPECT_EQ(settings.far_field, far_field ? 1U : 0U);
    EXPECT_EQ(settings.checkpoint_steps, 1U) << "an acked step of a small graph is never lost";
  }
}

TEST(LayoutPlan, TheGraphPayloadHoldsEveryNodeAndEdge) {
  const Graph graph = triangle_with_tail();
  const std::vector<Position> positions = initial_positions(4, 1);
  std::vector<std::byte> bytes(graph_payload_bytes(graph));
  fill_graph_payload(graph, positions, bytes);
  payload::GraphHeader header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  EXPECT_EQ(header.prefix.magic, payload::kMagic);
  EXPECT_EQ(header.prefix.total_bytes, bytes.size());
  EXPECT_EQ(header.node_count, 4U);
  EXPECT_EQ(header.edge_count, 4U);
  for (std::uint32_t node = 0; node < 4; ++node) {
    payload::NodeRecord record{};
    std::memcpy(&record, bytes.data() + header.nodes_offset + node * sizeof(record),
                sizeof(record));
    EXPECT_EQ(record.id, node);
    EXPECT_EQ(record.position[1], positions[node].y);
    EXPECT_GT(record.mass, 0.0F);
  }
  for (std::size_t edge = 0; edge < 4; ++edge) {
    payload::EdgeRecord record{};
    std::memcpy(&record, bytes.data() + header.edges_offset + edge * sizeof(record),
                sizeof(record));
    EXPECT_EQ(record.source, graph.edges[edge].source);
    EXPECT_EQ(record.target, graph.edges[edge].target);
    EXPECT_GT(record.weight, 0.0F);
  }
}

TEST(LayoutPlan, ThePayloadFitsTheArena) {
  const Graph graph = triangle_with_tail();
  EXPECT_GT(layout_arena_bytes(graph), graph_payload_bytes(graph));
}

TEST(LayoutPlan, NudgedNodesAreDistinctAndExist) {
  for (const std::uint32_t count : {1U, 3U, 64U, 65U, 17'000U}) {
    std::set<std::uint32_t> ids;
    for (const payload::MovedNodeRecord& record : nudged_nodes(count, 5)) {
      EXPECT_LT(record.id, count);
      EXPECT_TRUE(ids.insert(record.id).second);
    }
    EXPECT_FALSE(ids.empty());
  }
}

TEST(LayoutSessionText, MetadataIsFoundByNameAndReadAsFiniteNumbersOnly) {
  Outcome outcome;
  outcome.notes = std::make_shared<const OutcomeNotes>(OutcomeNotes{
      "", {{"kinetic_energy", "12.5"}, {"step", "7"}, {"bad", "7x"}, {"odd", "inf"}}, false});
  EXPECT_EQ(metadata_text(outcome, "step"), "7");
  EXPECT_EQ(metadata_text(outcome, "absent"), "");
  EXPECT_EQ(metadata_number(outcome, "kinetic_energy"), std::optional<double>(12.5));
  EXPECT_EQ(metadata_number(outcome, "bad"), std::nullopt);
  EXPECT_EQ(metadata_number(outcome, "odd"), std::nullopt);
  EXPECT_EQ(metadata_number(outcome, "absent"), std::nullopt);
}

// A frames segment with one published frame, as the GPU process writes it.
class Frames {
 public:
  Frames(std::uint64_t capacity, const std::vector<std::uint32_t>& ids) {
    geometry_ = layout::frames_geometry(capacity);
    words_.resize(geometry_.total_bytes / 8);
    layout::FramesHeader& head = header();
    head.magic.store_relaxed(layout::kFramesMagic);  // Relaxed because one thread does it all.
    head.version.store_relaxed(layout::kFramesVersion);
    head.node_capacity.store_relaxed(capacity);
    head.ids_count.store_relaxed(ids.size());
    head.ids_checksum.store_relaxed(
        layout::store_shared_words(base() + geometry_.ids_offset, ids.data(), ids.size() * 4));
    head.ids_number.store_relaxed(1);
  }

  void publish(std::uint64_t sequence, std::uint64_t step, const std::vector<float>& places) {
    std::byte* buffer = base() + geometry_.buffers_offset +
                        sequence % layout::kFrameBuffers * geometry_.buffer_bytes;
    auto& frame = *reinterpret_cast<layout::FrameHeader*>(buffer);
    frame.step.store_relaxed(step);  // Relaxed because one thread does it all.
    frame.generation.store_relaxed(1);
    frame.node_count.store_relaxed(places.size() / 3);
    frame.positions_checksum.store_relaxed(layout::store_shared_words(
        buffer + geometry_.positions_offset, places.data(), places.size() * 4));
    frame.number.store_relaxed(sequence);
    header().latest.store_relaxed(sequence);
  }

  std::byte* base() { return reinterpret_cast<std::byte*>(words_.data()); }
  layout::FramesHeader& header() { return *reinterpret_cast<layout::FramesHeader*>(base()); }
  std::span<const std::byte> bytes() { return {base(), words_.size() * 8}; }

 private:
  layout::FramesGeometry geometry_{};
  std::vector<std::uint64_t> words_;
};

TEST(LayoutFrame, PositionsComeInTheOrderOfTheGraphsNodes) {
  Frames frames(3, {2, 0, 1});
  frames.publish(4, 17, {20, 21, 22, 0, 1, 2, 10, 11, 12});
  const Result<LayoutFrame> frame = read_frame(frames.bytes(), 3);
  ASSERT_TRUE(frame.ok()) << frame.error().text;
  EXPECT_EQ(frame->step, 17U);
  EXPECT_EQ(frame->positions[0], (Position{0, 1, 2}));
  EXPECT_EQ(frame->positions[1], (Position{10, 11, 12}));
  EXPECT_EQ(frame->positions[2], (Position{20, 21, 22}));
}

TEST(LayoutFrame, ASegmentWithoutAFrameIsNotFound) {
  Frames frames(3, {0, 1, 2});
  const Result<LayoutFrame> frame = read_frame(frames.bytes(), 3);
  ASSERT_FALSE(frame.ok());
  EXPECT_EQ(frame.error().code, ErrorCode::kNotFound);
}

TEST(LayoutFrame, AnotherGraphsFrameIsRefused) {
  Frames frames(3, {0, 1, 2});
  frames.publish(1, 1, {0, 0, 0, 1, 1, 1, 2, 2, 2});
  for (const std::uint32_t nodes : {2U, 4U}) {
    const Result<LayoutFrame> frame = read_frame(frames.bytes(), nodes);
    ASSERT_FALSE(frame.ok()) << nodes;
    EXPECT_EQ(frame.error().code, ErrorCode::kProtocol);
  }
}

TEST(LayoutFrame, IdsThatRepeatOrLieOutsideAreRefused) {
  for (const std::vector<std::uint32_t>& ids :
       {std::vector<std::uint32_t>{0, 0, 1}, std::vector<std::uint32_t>{0, 1, 3}}) {
    Frames frames(3, ids);
    frames.publish(1, 1, {0, 0, 0, 1, 1, 1, 2, 2, 2});
    const Result<LayoutFrame> frame = read_frame(frames.bytes(), 3);
    ASSERT_FALSE(frame.ok());
    EXPECT_THAT(frame.error().text, HasSubstr("other nodes"));
  }
}

TEST(LayoutFrame, ATornOrForeignSegmentIsRefused) {
  Frames frames(3, {0, 1, 2});
  frames.publish(1, 1, {0, 0, 0, 1, 1, 1, 2, 2, 2});
  const std::span<const std::byte> bytes = frames.bytes();
  EXPECT_FALSE(read_frame(bytes.first(100), 3).ok());
  frames.header().magic.store_relaxed(1);  // Relaxed because one thread does it all.
  EXPECT_FALSE(read_frame(bytes, 3).ok());
}

TEST(CommandLayout, ABadGraphFileIsNamedBeforeAnybodyIsAsked) {
  LayoutOptions options;
  options.graph = "/nonexistent.mtx";
  options.steps = 1;
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_layout({"/nonexistent", "default"}, options), ExitCode::kBadInput);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/nonexistent.mtx"));
}

TEST(CommandLayout, APictureThatCannotBeWrittenIsRefusedFirst) {
  LayoutOptions options;
  options.graph = "/nonexistent.mtx";
  options.steps = 1;
  options.picture = "/nonexistent-folder/p.png";
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_layout({"/nonexistent", "default"}, options), ExitCode::kSystem);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("p.png"));
}

}  // namespace
}  // namespace ackbus::tools
