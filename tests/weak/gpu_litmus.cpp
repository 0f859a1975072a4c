// Litmus tests of the GPU process's two segments: frames, which anybody reads while they are
// written, and the state, which the next life reads.
#include "gpu_proc/frame_publisher.hpp"
#include "gpu_proc/state_store.hpp"
#include "tests/weak/litmus.hpp"

namespace ackbus::weak {
namespace {

using layout::FrameReadResult;

class ModelSegments final : public gpu::SegmentProvider {
 public:
  std::span<std::byte> create(gpu::SegmentRole, std::size_t bytes) override {
    segment = {allocate(bytes), bytes};
    return segment;
  }
  void publish(gpu::SegmentRole) override {}
  std::span<std::byte> segment;
};

gpu::SimulationState one_node() {
  gpu::SimulationState state;
  state.graph.ids = {5};
  state.graph.masses = {1.0F};
  state.graph.flags = {0};
  state.positions = {0.0F, 0.0F, 0.0F};
  state.velocities = {0.0F, 0.0F, 0.0F};
  state.generation = 1;
  return state;
}

// Frames of one node, which stands where its step says.
struct FramesWorld : Scenario {
  explicit FramesWorld(std::uint64_t published) : publisher(provider, 1), state(one_node()) {
    require(publisher.prepare(1, gpu::Room::kExact).empty(), "no segment");
    while (publisher.sequence() < published) {
      publish();
    }
  }
  void publish() {
    state.steps += 1;
    state.positions[0] = static_cast<float>(state.steps);
    state.velocities[0] = static_cast<float>(state.steps);
    publisher.publish(state, state.steps);
  }
  void check_frame(FrameReadResult result, const layout::FrameInfo& info) const {
    require(result != FrameReadResult::kCorrupt, "a torn frame");
    if (result == FrameReadResult::kOk) {
      const auto step = static_cast<float>(info.step);
      require(info.sequence == info.step && info.time_ns == info.step && positions[0] == step &&
                  velocities[0] == step,
              "a frame of mixed versions");
    }
  }
  ModelSegments provider;
  gpu::FramePublisher publisher;
  gpu::SimulationState state;
  float positions[3] = {};
  float velocities[3] = {};
};

// Frame 4 is written where frame 1 was.
struct FrameRewritten : FramesWorld {
  FrameRewritten() : FramesWorld(3) {
    threads = {[this] { publish(); },
               [this] {
                 layout::FrameInfo info{};
                 const std::uint64_t wanted = choose(2) == 0 ? 1 : 4;
                 check_frame(layout::try_copy_frame(provider.segment.data(), 1, wanted, positions,
                                                    velocities, 1, info),
                             info);
               }};
  }
};

// The newest frame is whole when `latest` names it: one look suffices.
struct LatestIsWhole : FramesWorld {
  LatestIsWhole() : FramesWorld(1) {
    threads = {[this] { publish(); },
               [this] {
                 layout::FrameInfo info{};
                 const FrameReadResult result =
                     layout::copy_latest_frame(provider.segment.data(), provider.segment.size(),
                                               positions, velocities, 1, info);
                 require(result != FrameReadResult::kBusy, "the newest frame is not whole");
                 check_frame(result, info);
               }};
  }
};

struct NodeIdsRewritten : FramesWorld {
  NodeIdsRewritten() : FramesWorld(1) {
    threads = {[this] {
                 state.generation = 2;
                 state.graph.ids[0] = 6;
                 publish();
               },
               [this] {
                 std::uint32_t id = 0;
                 std::uint64_t count = 0;
                 std::uint64_t generation = 0;
                 const FrameReadResult result = layout::copy_node_ids(
                     provider.segment.data(), provider.segment.size(), &id, 1, count, generation);
                 require(result != FrameReadResult::kCorrupt, "torn ids");
                 require(result != FrameReadResult::kOk || id == generation + 4,
                         "ids of another generation");
               }};
  }
};

// The copies that the commit word names are whole for who reads the word.
struct StateCommitted : Scenario {
  StateCommitted() : store(provider), state(one_node()) {
    require(store.prepare(1, 0, 0, gpu::Room::kExact).empty(), "no segment");
    state.steps = 1;
    store.commit_all(state);
    threads = {[this] {
                 const auto place = layout::state_geometry(1, 0, 0);
                 plain_write(provider.segment.data() + place.motion_copy[0], kMotionBytes);
                 state.steps = 2;
                 store.commit_motion(state);
               },
               [this] {
                 const auto place = layout::state_geometry(1, 0, 0);
                 const gpu::RestoredState restored = gpu::restore_state(provider.segment);
                 require(restored.error.empty() && restored.state, restored.error);
                 const std::uint64_t copy = restored.state->steps == 2 ? 0 : 1;
                 plain_read(provider.segment.data() + place.motion_copy[copy], kMotionBytes);
               }};
  }
  static constexpr std::uint64_t kMotionBytes = layout::state_motion_geometry(1).bytes;
  ModelSegments provider;
  gpu::StateStore store;
  gpu::SimulationState state;
};

}  // namespace

std::vector<Litmus> gpu_litmus() {
  return {
      litmus_of<FrameRewritten>("frame_rewritten", "P1 P2"),
      litmus_of<LatestIsWhole>("latest_is_whole", "P3"),
      litmus_of<NodeIdsRewritten>("node_ids_rewritten", "P4 P5"),
      litmus_of<StateCommitted>("state_committed", "S1"),
  };
}

}  // namespace ackbus::weak
