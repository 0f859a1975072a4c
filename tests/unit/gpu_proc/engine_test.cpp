// The engine: every kind's outcomes, what an ack promises, and what a successor restores.
#include "gpu_proc/engine.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "gpu_proc/backend_cpu.hpp"
#include "gpu_proc/handlers/simulation.hpp"
#include "gpu_proc/state_store.hpp"
#include "shm_layout/frames.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu {
namespace {

using test::HeapSegments;
using test::metadata;
using Status = Reply::Status;

// An engine on one thread, heap segments, and a clock that only the test moves.
struct Rig {
  explicit Rig(std::uint64_t free_bytes = std::numeric_limits<std::uint64_t>::max())
      : engine(backend, segments,
               {9, [this] { return now_ns += 1'000'000; }, [free_bytes] { return free_bytes; }}) {}

  Reply send(Kind kind, const payload::Bytes& bytes, std::uint32_t attempt = 1) {
    return send_as(kind, bytes, attempt == 1 ? ++sequence : sequence, attempt);
  }
  Reply send_as(Kind kind, const payload::Bytes& bytes, std::uint64_t number,
                std::uint32_t attempt) {
    return engine.handle(kind, bytes, {1, number, attempt, {}});
  }
  void start(std::size_t nodes = 40, std::size_t edges = 80) {
    test::Random random(11);
    graph = test::random_graph(random, nodes, edges, 100.0F);
    ASSERT_EQ(send(Kind::kInitializeGpu, payload::make_initialize(-1, nodes, edges)).status,
              Status::kSuccess);
    ASSERT_EQ(send(Kind::kUpdateGpuGraphData, graph.bytes()).status, Status::kSuccess);
  }
  std::vector<float> frame(layout::FrameInfo& info) {
    const auto span = segments.published(SegmentRole::kFrames);
    std::vector<float> positions(3 * graph.nodes.size());
    EXPECT_EQ(layout::copy_latest_frame(span.data(), span.size(), positions.data(), nullptr,
                                        graph.nodes.size(), info),
              layout::FrameReadResult::kOk);
    return positions;
  }

  std::uint64_t now_ns = 0;
  std::uint64_t sequence = 0;
  BackendCpu backend{1};
  HeapSegments segments;
  Engine engine;
  test::TestGraph graph;
};

payload::ParameterRecord parameter(const char* name, double value) {
  return make_parameter(*find_parameter(name), value);
}

payload::MovedNodeRecord move_to(std::size_t place, float x) {
  return {test::id_of(place), {x, 2.0F, 3.0F}, {0.0F, 0.0F, 0.0F}};
}

payload::Bytes cut(payload::Bytes bytes) {
  bytes.pop_back();
  return bytes;
}

// A time step and forces that take nodes out of bounds in one step.
std::vector<payload::ParameterRecord> wild_parameters() {
  return {parameter("time_step", 10), parameter("max_velocity", 1e9), parameter("max_force", 1e9),
          parameter("repulsion_strength", 1e9), parameter("warmup_steps", 0)};
}

payload::Bytes graph_of(std::vector<payload::NodeRecord> nodes,
                        std::vector<payload::EdgeRecord> edges) {
  return payload::make_graph(nodes, edges);
}

payload::Bytes constraint_on(std::int32_t node, std::int32_t kind) {
  const std::array<std::int32_t, 1> nodes = {node};
  const std::array<float, 3> origin = {};
  auto record = payload::make_constraint(payload::ConstraintKind::kFixedPosition, nodes, origin);
  record.kind = kind;
  return payload::make_constraints({&record, 1});
}

struct Case {
  const char* name;
  Kind kind;
  payload::Bytes bytes;
  Status started;      // The outcome once there is a graph.
  Status not_started;  // The outcome in an empty engine.
  const char* error;   // Part of the text when started.
};

std::vector<Case> upload_cases() {
  const payload::NodeRecord node{1, {}, {}, 1.0F, 0};
  payload::NodeRecord infinite = node;
  infinite.position[0] = INFINITY;
  constexpr Status kGood = Status::kSuccess;
  constexpr Status kBad = Status::kFailed;
  constexpr Kind kInitialize = Kind::kInitializeGpu;
  constexpr Kind kGraph = Kind::kUpdateGpuGraphData;
  constexpr Kind kConstraints = Kind::kUploadConstraintsToGpu;
  return {
      {"init", kInitialize, payload::make_initialize(-1, 9, 9), kGood, kGood, ""},
      {"no device", kInitialize, payload::make_initialize(3, 9, 9), kBad, kBad, "no such device"},
      {"init cut", kInitialize, cut(payload::make_initialize(-1, 9, 9)), kBad, kBad, "shorter"},
      {"graph", kGraph, graph_of({node}, {}), kGood, kBad, ""},
      {"twice", kGraph, graph_of({node, node}, {}), kBad, kBad, "duplicate node id 1"},
      {"dangling", kGraph, graph_of({node}, {{1, 2, 1.0F}}), kBad, kBad, "unknown node id 2"},
      {"infinite", kGraph, graph_of({infinite}, {}), kBad, kBad, "not finite"},
      {"empty", kGraph, graph_of({}, {}), kBad, kBad, "empty graph"},
      {"constraint", kConstraints, constraint_on(0, 0), kGood, kBad, ""},
      {"clear", kConstraints, payload::make_constraints({}), kGood, kBad, ""},
      {"node", kConstraints, constraint_on(1000, 0), kBad, kBad, "out of range"},
      {"kind", kConstraints, constraint_on(0, 10), kBad, kBad, "unknown kind 10"},
  };
}

std::vector<Case> other_cases() {
  const std::array good = {move_to(1, 4.0F)};
  const std::array<payload::MovedNodeRecord, 1> stranger = {{{999999, {}, {}}}};
  const std::array not_finite = {move_to(0, NAN)};
  constexpr Status kGood = Status::kSuccess;
  constexpr Status kBad = Status::kFailed;
  constexpr Status kPartial = Status::kPartialSuccess;
  constexpr Kind kCompute = Kind::kComputeForces;
  constexpr Kind kMove = Kind::kUpdateNodePositions;
  constexpr Kind kShare = Kind::kSetSharedGpuContext;
  return {
      {"compute", kCompute, payload::make_compute(2), kGood, kBad, ""},
      {"no steps", kCompute, payload::make_compute(0), kBad, kBad, "steps 0"},
      {"wild", kCompute, payload::make_compute(1, wild_parameters()), kBad, kBad, "diverged"},
      {"move", kMove, payload::make_positions(good), kGood, kBad, ""},
      {"stranger", kMove, payload::make_positions(stranger), kBad, kBad, "unknown node id 999999"},
      {"not finite", kMove, payload::make_positions(not_finite), kBad, kBad, "not finite"},
      {"share", kShare, payload::make_shared_context(3), kPartial, kPartial, "host-only"},
      {"share none", kShare, payload::make_shared_context(0), kBad, kBad, "buffers 0"},
      {"unknown", static_cast<Kind>(77), payload::make_compute(1), kBad, kBad, "kind 77"},
      {"reserved", Kind::kReserved, {}, kBad, kBad, "kind 0"},
  };
}

TEST(EngineTest, EveryKindAnswersOnEveryPath) {
  std::vector<Case> cases = upload_cases();
  for (Case& one : other_cases()) cases.push_back(std::move(one));
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    Rig empty;
    const Reply before = empty.send(one.kind, one.bytes);
    EXPECT_EQ(before.status, one.not_started) << before.text;
    Rig started;
    started.start();
    const Reply after = started.send(one.kind, one.bytes);
    EXPECT_EQ(after.status, one.started) << after.text;
    EXPECT_NE(after.text.find(one.error), std::string::npos) << after.text;
    EXPECT_EQ(after.text.empty(), after.status == Status::kSuccess);
  }
}

// A backend whose memory is full, or whose device is gone.
class BrokenBackend final : public Backend {
 public:
  explicit BrokenBackend(BackendStatus status) : status_(status) {}
  [[nodiscard]] const char* name() const override { return "broken"; }
  [[nodiscard]] const char* device() const override { return "none"; }
  [[nodiscard]] std::int32_t device_count() const override { return 1; }
  [[nodiscard]] std::uint64_t required_bytes(std::uint64_t, std::uint64_t) const override {
    return 0;
  }
  BackendStatus upload_graph(const BackendGraph&) override { return status_; }
  BackendStatus upload_constraints(const payload::ConstraintRecord*, std::size_t) override {
    return status_;
  }
  BackendStatus write_motion(const float*, const float*) override { return status_; }
  BackendStatus read_motion(float*, float*) override { return status_; }
  BackendStatus write_nodes(std::size_t, const std::uint32_t*, const float*,
                            const float*) override {
    return status_;
  }
  BackendStatus run(const StepRequest&, StepReport&) override { return status_; }

 private:
  BackendStatus status_;
};

TEST(EngineTest, BackendWithoutMemoryIsFailedAndALostDeviceEndsTheProcess) {
  const payload::Bytes graph = graph_of({{1, {}, {}, 1.0F, 0}}, {});
  for (const auto status : {BackendStatus::kOutOfMemory, BackendStatus::kDeviceLost}) {
    BrokenBackend backend(status);
    HeapSegments segments;
    Engine engine(backend, segments, {});
    engine.handle(Kind::kInitializeGpu, payload::make_initialize(0, 1, 1), {});
    const Reply reply = engine.handle(Kind::kUpdateGpuGraphData, graph, {});
    EXPECT_EQ(reply.status, Status::kFailed);
    EXPECT_EQ(reply.must_exit, status == BackendStatus::kDeviceLost);
    EXPECT_EQ(engine.state().graph.nodes(), 0U);
  }
}

TEST(EngineTest, AcksCarryTheMetadataOfTheirKind) {
  Rig rig;
  Reply reply = rig.send(Kind::kInitializeGpu, payload::make_initialize(-1, 100, 200));
  EXPECT_EQ(metadata(reply, "backend"), "cpu");
  EXPECT_EQ(metadata(reply, "device"), "CPU, 1 threads");
  EXPECT_EQ(metadata(reply, "nodes"), "100");
  EXPECT_EQ(metadata(reply, "edges"), "200");
  rig.start(40, 80);
  reply = rig.send(Kind::kComputeForces, payload::make_compute(3));
  EXPECT_EQ(metadata(reply, "steps"), "3");
  EXPECT_EQ(metadata(reply, "step"), "3");
  EXPECT_GT(std::stod(metadata(reply, "kinetic_energy")), 0.0);
  EXPECT_GT(std::stod(metadata(reply, "max_displacement")), 0.0);
  EXPECT_GE(std::stoull(metadata(reply, "processing_time_us")), 1000U);
  EXPECT_EQ(metadata(reply, "settled"), "");
  reply = rig.send(Kind::kUploadConstraintsToGpu, payload::make_constraints({}));
  EXPECT_EQ(metadata(reply, "constraints"), "0");
  reply = rig.send(Kind::kUpdateNodePositions,
                   payload::make_positions(std::array{move_to(1, 4.0F), move_to(2, 5.0F)}));
  EXPECT_EQ(metadata(reply, "updated"), "2");
  reply = rig.send(Kind::kSetSharedGpuContext, payload::make_shared_context(1));
  EXPECT_EQ(metadata(reply, "generation"), "1");
  EXPECT_EQ(metadata(reply, "layout"), "x y z f32 by node");
}

TEST(EngineTest, CapacityBeyondMemorySaysNeedAndFree) {
  Rig rig(1'000'000);
  const Reply reply =
      rig.send(Kind::kInitializeGpu, payload::make_initialize(-1, 1'000'000, 1'000'000));
  EXPECT_EQ(reply.status, Status::kFailed);
  EXPECT_NE(reply.text.find("1000000 are free"), std::string::npos) << reply.text;
  EXPECT_FALSE(rig.engine.state().initialised);
}

TEST(EngineTest, SameStructureUploadsPositionsOnly) {
  Rig rig;
  rig.start();
  Reply reply = rig.send(Kind::kUpdateGpuGraphData, rig.graph.bytes());
  EXPECT_EQ(metadata(reply, "unchanged"), "all");
  rig.graph.nodes[3].position[0] = 77.0F;
  reply = rig.send(Kind::kUpdateGpuGraphData, rig.graph.bytes());
  EXPECT_EQ(metadata(reply, "unchanged"), "structure");
  EXPECT_EQ(rig.engine.state().generation, 1U);
  layout::FrameInfo info{};
  EXPECT_EQ(rig.frame(info)[9], 77.0F);
  rig.graph.edges[0].weight += 1.0F;
  reply = rig.send(Kind::kUpdateGpuGraphData, rig.graph.bytes());
  EXPECT_EQ(metadata(reply, "unchanged"), "");
  EXPECT_EQ(rig.engine.state().generation, 2U);
}

TEST(EngineTest, PositionsMergeByIdAndTheLastRecordOfANodeWins) {
  Rig rig;
  rig.start();
  const std::vector<float> before = rig.engine.state().positions;
  rig.send(Kind::kUpdateNodePositions,
           payload::make_positions(std::array{move_to(5, 1.0F), move_to(5, 42.0F)}));
  const std::vector<float>& after = rig.engine.state().positions;
  EXPECT_EQ(after[15], 42.0F);
  for (std::size_t at = 0; at < before.size(); ++at) {
    if (at / 3 != 5) {
      EXPECT_EQ(after[at], before[at]) << at;
    }
  }
  std::vector<float> on_backend(before.size());
  std::vector<float> velocities(before.size());
  rig.backend.read_motion(on_backend.data(), velocities.data());
  EXPECT_EQ(on_backend, after);
}

TEST(EngineTest, DivergedKeepsTheLastGoodFrameAndTheSettings) {
  Rig rig;
  rig.start();
  rig.send(Kind::kComputeForces, payload::make_compute(5));
  layout::FrameInfo before{};
  const std::vector<float> good = rig.frame(before);
  const Settings settings = rig.engine.state().settings;
  EXPECT_EQ(rig.send(Kind::kComputeForces, payload::make_compute(4, wild_parameters())).status,
            Status::kFailed);
  layout::FrameInfo after{};
  EXPECT_EQ(rig.frame(after), good);
  EXPECT_EQ(after.sequence, before.sequence);
  EXPECT_EQ(rig.engine.state().settings, settings);
  EXPECT_EQ(rig.send(Kind::kComputeForces, payload::make_compute(1)).status, Status::kSuccess);
}

TEST(EngineTest, SettledIsReportedAndNotSkippedAndMovedNodesMoveAgain) {
  Rig rig;
  rig.graph.nodes = {{test::id_of(0), {}, {}, 1.0F, 0}, {test::id_of(1), {50, 0, 0}, {}, 1.0F, 0}};
  const std::vector<payload::ParameterRecord> springs_only = {
      parameter("repulsion_strength", 0), parameter("centering", 0), parameter("warmup_steps", 0)};
  rig.graph.edges = {{test::id_of(0), test::id_of(1), 1.0F}};
  rig.send(Kind::kInitializeGpu, payload::make_initialize(-1, 2, 1, springs_only));
  rig.send(Kind::kUpdateGpuGraphData, rig.graph.bytes());
  Reply reply = rig.send(Kind::kComputeForces, payload::make_compute(2));
  EXPECT_EQ(metadata(reply, "settled"), "true");
  EXPECT_EQ(metadata(reply, "steps"), "2");
  rig.send(Kind::kUpdateNodePositions, payload::make_positions(std::array{move_to(1, 90.0F)}));
  reply = rig.send(Kind::kComputeForces, payload::make_compute(1));
  EXPECT_EQ(metadata(reply, "settled"), "");
  EXPECT_GT(std::stod(metadata(reply, "max_displacement")), 0.01);
}

TEST(EngineTest, WhatWasAckedIsInTheStateSegment) {
  Rig rig;
  rig.start();
  const std::array<std::int32_t, 2> pair = {1, 2};
  const std::array<float, 1> distance = {30.0F};
  const auto record = payload::make_constraint(payload::ConstraintKind::kDistance, pair, distance);
  rig.send(Kind::kUploadConstraintsToGpu, payload::make_constraints({&record, 1}));
  const std::array changes = {parameter("gravity", 0.25)};
  rig.send(Kind::kComputeForces, payload::make_compute(7, changes));

  const std::vector<std::byte> predecessor = rig.segments.copy(SegmentRole::kState);
  Rig successor;
  ASSERT_EQ(successor.engine.restore(predecessor), "");
  const SimulationState& state = successor.engine.state();
  EXPECT_EQ(state.graph.ids, rig.engine.state().graph.ids);
  EXPECT_EQ(state.positions, rig.engine.state().positions);
  EXPECT_EQ(state.settings.gravity, 0.25F);
  EXPECT_EQ(state.constraints.size(), 1U);
  EXPECT_EQ(state.steps, 7U);
  EXPECT_EQ(successor.engine.frame_sequence(), 1U);
  // The two go on alike, bit for bit: nothing that the physics reads was lost.
  rig.send(Kind::kComputeForces, payload::make_compute(20));
  successor.send(Kind::kComputeForces, payload::make_compute(20));
  EXPECT_EQ(state.positions, rig.engine.state().positions);
  // What the successor made is a state segment of its own, which a third can restore.
  Rig third;
  EXPECT_EQ(third.engine.restore(successor.segments.copy(SegmentRole::kState)), "");
}

TEST(EngineTest, PositionsAreCheckpointedEverySoManySteps) {
  Rig rig;
  rig.start();
  const std::uint64_t commits = rig.engine.state_commits();
  rig.send(Kind::kComputeForces, payload::make_compute(59));
  EXPECT_EQ(rig.engine.state_commits(), commits);
  rig.send(Kind::kComputeForces, payload::make_compute(1));
  EXPECT_EQ(rig.engine.state_commits(), commits + 1);
  rig.send(Kind::kUpdateNodePositions, payload::make_positions(std::array{move_to(0, 1.0F)}));
  EXPECT_EQ(rig.engine.state_commits(), commits + 2);
}

TEST(EngineTest, RedeliveryOfWhatTheStateContainsIsAnsweredFromIt) {
  Rig rig;
  rig.start();
  const auto compute = payload::make_compute(60);
  rig.send(Kind::kComputeForces, compute);
  const std::uint64_t checkpointed = rig.sequence;
  rig.send(Kind::kComputeForces, payload::make_compute(3));
  const std::uint64_t not_checkpointed = rig.sequence;

  Rig successor;
  ASSERT_EQ(successor.engine.restore(rig.segments.copy(SegmentRole::kState)), "");
  ASSERT_EQ(successor.engine.state().steps, 60U);
  Reply reply = successor.send_as(Kind::kComputeForces, compute, checkpointed, 2);
  EXPECT_EQ(reply.status, Status::kSuccess);
  EXPECT_EQ(metadata(reply, "already_applied"), "true");
  EXPECT_EQ(successor.engine.state().steps, 60U);
  reply = successor.send_as(Kind::kComputeForces, payload::make_compute(3), not_checkpointed, 2);
  EXPECT_EQ(metadata(reply, "already_applied"), "");

  // With links that are numbered anew the same numbers are another message's.
  Rig stranger;
  ASSERT_EQ(
      stranger.engine.restore(rig.segments.copy(SegmentRole::kState), Engine::Links::kNumberedAnew),
      "");
  reply = stranger.send_as(Kind::kComputeForces, compute, checkpointed, 2);
  EXPECT_EQ(metadata(reply, "already_applied"), "");
  EXPECT_EQ(stranger.engine.state().steps, 120U);
  EXPECT_EQ(successor.engine.state().steps, 63U);
}

TEST(EngineTest, FailedCreateOfASegmentNamesBytesAndKeepsTheOldState) {
  for (const SegmentRole role : {SegmentRole::kState, SegmentRole::kFrames}) {
    Rig rig;
    rig.start(40, 80);
    test::Random random(5);
    const test::TestGraph larger = test::random_graph(random, 500, 900, 100.0F);
    rig.segments.fail_role = role;
    const Reply reply = rig.send(Kind::kUpdateGpuGraphData, larger.bytes());
    EXPECT_EQ(reply.status, Status::kFailed);
    EXPECT_NE(reply.text.find("bytes: quota of the test is used up"), std::string::npos);
    EXPECT_EQ(rig.engine.state().graph.nodes(), 40U);
    EXPECT_EQ(rig.send(Kind::kComputeForces, payload::make_compute(60)).status, Status::kSuccess);
    Rig successor;
    EXPECT_EQ(successor.engine.restore(rig.segments.copy(SegmentRole::kState)), "");
    EXPECT_EQ(successor.engine.state().graph.nodes(), 40U);
    rig.segments.fail_role = SegmentRole::kReserved;
    EXPECT_EQ(rig.send(Kind::kUpdateGpuGraphData, larger.bytes()).status, Status::kSuccess);
    EXPECT_EQ(rig.engine.state().graph.nodes(), 500U);
  }
}

TEST(EngineTest, SmallerGraphDropsConstraintsThatNameNoNodeAndSaysSo) {
  Rig rig;
  rig.start(40, 80);
  const std::array<std::int32_t, 1> low = {1};
  const std::array<std::int32_t, 1> high = {39};
  const std::array<float, 1> depth = {5.0F};
  const std::array records = {
      payload::make_constraint(payload::ConstraintKind::kLayerDepth, low, depth),
      payload::make_constraint(payload::ConstraintKind::kLayerDepth, high, depth)};
  rig.send(Kind::kUploadConstraintsToGpu, payload::make_constraints(records));
  test::Random random(6);
  const test::TestGraph smaller = test::random_graph(random, 10, 10, 100.0F);
  const Reply reply = rig.send(Kind::kUpdateGpuGraphData, smaller.bytes());
  EXPECT_EQ(metadata(reply, "constraints_dropped"), "1");
  EXPECT_EQ(rig.engine.state().constraints.size(), 1U);
  EXPECT_EQ(rig.send(Kind::kComputeForces, payload::make_compute(5)).status, Status::kSuccess);
}

TEST(EngineTest, ProgressIsCalledBetweenSteps) {
  Rig rig;
  rig.start();
  int calls = 0;
  rig.engine.handle(Kind::kComputeForces, payload::make_compute(12), {1, 50, 1, [&] { ++calls; }});
  EXPECT_EQ(calls, 12);
}

TEST(EngineTest, RefusedPredecessorLeavesAnEmptyUsableEngine) {
  Rig rig;
  rig.start();
  std::vector<std::byte> predecessor = rig.segments.copy(SegmentRole::kState);
  predecessor[0] ^= std::byte{1};
  Rig successor;
  EXPECT_NE(successor.engine.restore(predecessor).find("wrong magic"), std::string::npos);
  const Reply reply = successor.send(Kind::kComputeForces, payload::make_compute(1));
  EXPECT_EQ(reply.text, kNotInitialised);
  successor.start();
}

}  // namespace
}  // namespace ackbus::gpu
