// Payloads of the six kinds, and a predecessor's state segment, as the GPU process takes them.
// Data flow: an input is a conversation: payloads are built soundly, then damaged, and applied to a
// real engine over the CPU backend; what it publishes is damaged too and restored by a successor.
// Checked: every reply is an answer, a Failed one changed nothing, and the state always satisfies
// its documented ranges. Virtual time, one thread.
#include <cmath>
#include <vector>

#include "gpu_proc/backend_cpu.hpp"
#include "gpu_proc/engine.hpp"
#include "gpu_proc/payload/build.hpp"
#include "gpu_proc/payload/settings.hpp"
#include "gpu_proc/payload/validate.hpp"
#include "gpu_proc/state_reader.hpp"
#include "gpu_proc/state_store.hpp"
#include "shm_layout/frames.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu {
namespace {

using fuzz::Input;
using payload::Bytes;
using test::HeapSegments;

constexpr int kMessagesMax = 24;
constexpr std::uint32_t kStepsMax = 8;
constexpr std::uint64_t kFreeBytes = 4 << 20;

// Mostly of the size that payloads have: one that is refused takes all of its payload with it.
float number(Input& input) {
  const std::uint8_t choice = input.byte();
  switch (choice % 32) {
    case 0:
      return std::bit_cast<float>(input.take<std::uint32_t>());
    case 1:
      return (choice & 32) != 0 ? payload::kMaxPosition : payload::kMaxVelocity;
    case 2:
      return -static_cast<float>(input.take<std::uint16_t>());
    case 3:
      return 1.0F / static_cast<float>(1 + input.byte());
    default:
      return static_cast<float>(choice) / 16.0F;
  }
}

std::vector<payload::ParameterRecord> parameters(Input& input) {
  std::vector<payload::ParameterRecord> records(input.below(6));
  for (payload::ParameterRecord& record : records) {
    const ParameterInfo& info = kParameters[input.below(kParameters.size())];
    if (input.below(8) != 0) {
      const double share = input.byte() / 255.0;
      record = make_parameter(info, info.minimum + share * (info.maximum - info.minimum));
    } else {
      record = {input.byte(), input.take<std::uint32_t>()};
    }
  }
  return records;
}

Bytes graph(Input& input) {
  // Seldom so many that they are summed by the tree or the grid.
  const bool large = input.below(64) == 0;
  std::vector<payload::NodeRecord> nodes(large ? 600 : input.below(24));
  std::vector<payload::EdgeRecord> edges(input.below(32));
  const bool shuffled = input.flag();
  for (std::size_t place = 0; place < nodes.size(); ++place) {
    payload::NodeRecord& node = nodes[place];
    node.id = shuffled && !large ? input.byte() : static_cast<std::uint32_t>(place);
    if (large) {
      node.position[place % 3] = static_cast<float>(place);
      node.mass = 1.0F;
      continue;
    }
    for (float& value : node.position) value = number(input);
    for (float& value : node.velocity) value = number(input);
    node.mass = input.below(16) == 0 ? number(input) : 1.0F;
    node.flags = static_cast<std::uint32_t>(input.below(3));
  }
  for (payload::EdgeRecord& edge : edges) {
    const auto limit = static_cast<std::uint64_t>(nodes.size() + 1);
    edge = {static_cast<std::uint32_t>(input.below(limit)),
            static_cast<std::uint32_t>(input.below(limit)), number(input)};
    if (input.below(32) != 0 && !nodes.empty()) {  // Else one past the last node.
      edge.source = nodes[edge.source % nodes.size()].id;
      edge.target = nodes[edge.target % nodes.size()].id;
    }
  }
  return payload::make_graph(nodes, edges);
}

Bytes constraints(Input& input) {
  std::vector<payload::ConstraintRecord> records(input.below(12));
  for (payload::ConstraintRecord& record : records) {
    const bool odd = input.below(16) == 0;
    record.kind = static_cast<std::int32_t>(input.below(payload::kConstraintKinds + (odd ? 1 : 0)));
    record.count = static_cast<std::int32_t>(odd ? input.below(6) : 1 + input.below(4));
    for (std::int32_t& node : record.node) {
      node = static_cast<std::int32_t>(input.below(odd ? 26 : 8));
    }
    for (float& value : record.params) value = number(input);
    record.weight = number(input);
    record.activation_frame = odd ? static_cast<std::int32_t>(input.word(60)) : 0;
  }
  return payload::make_constraints(records);
}

Bytes positions(Input& input) {
  std::vector<payload::MovedNodeRecord> nodes(input.below(8));
  for (payload::MovedNodeRecord& node : nodes) {
    node.id = static_cast<std::uint32_t>(input.below(26));
    for (float& value : node.position) value = number(input);
    for (float& value : node.velocity) value = number(input);
  }
  return payload::make_positions(nodes);
}

Bytes sound_payload(Input& input, Kind kind) {
  switch (kind) {
    case Kind::kInitializeGpu:
      return payload::make_initialize(static_cast<std::int32_t>(input.below(3)) - 1,
                                      input.below(4) == 0 ? input.word(64) : 1024,
                                      input.below(4) == 0 ? input.word(64) : 64, parameters(input));
    case Kind::kUpdateGpuGraphData:
      return graph(input);
    case Kind::kUploadConstraintsToGpu:
      return constraints(input);
    case Kind::kComputeForces:
      return payload::make_compute(static_cast<std::uint32_t>(1 + input.below(kStepsMax)),
                                   parameters(input));
    case Kind::kUpdateNodePositions:
      return positions(input);
    case Kind::kSetSharedGpuContext:
      return payload::make_shared_context(static_cast<std::uint32_t>(input.below(5)),
                                          input.take<std::uint32_t>());
    default: {
      const auto raw = input.bytes(input.below(200));
      return Bytes(raw.begin(), raw.end());
    }
  }
}

// Some words of it changed, or its end cut off or grown. Steps stay few: that a step takes long is
// no fault.
void damage(Input& input, Kind kind, Bytes& bytes) {
  for (std::uint64_t left = input.below(4); left > 0 && !bytes.empty(); --left) {
    const std::size_t at = input.below(std::min<std::size_t>(bytes.size(), 65536));
    const std::uint64_t value = input.word(bytes.size());
    const std::size_t width = std::min<std::size_t>(input.flag() ? 8 : 4, bytes.size() - at);
    std::memcpy(bytes.data() + at, &value, width);
  }
  if (input.below(8) == 0) {
    bytes.resize(input.below(bytes.size() + 9));
  }
  payload::ComputeHeader header;
  if (kind == Kind::kComputeForces && bytes.size() >= sizeof(header)) {
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.steps <= payload::kMaxSteps) {
      header.steps %= kStepsMax + 1;
      std::memcpy(bytes.data(), &header, sizeof(header));
    }
  }
}

void check_state(const SimulationState& state) {
  const std::size_t nodes = state.graph.nodes();
  ACKBUS_ASSERT(state.positions.size() == 3 * nodes && state.velocities.size() == 3 * nodes);
  for (const float value : state.positions) ACKBUS_ASSERT(std::isfinite(value));
  for (const float value : state.velocities) ACKBUS_ASSERT(std::isfinite(value));
  for (const float mass : state.graph.masses) ACKBUS_ASSERT(std::isfinite(mass) && mass > 0.0F);
  for (const IndexedEdge& edge : state.graph.edges) {
    ACKBUS_ASSERT(edge.source < nodes && edge.target < nodes && std::isfinite(edge.weight));
  }
  for (const payload::ConstraintRecord& record : state.constraints) {
    ACKBUS_ASSERT(payload::constraint_error(record, nodes).empty());
  }
  for (const payload::ParameterRecord& record : all_parameters(state.settings)) {
    ACKBUS_ASSERT(payload::parameter_error(record).empty());
  }
}

void check_frame(const HeapSegments& segments) {
  const auto frames = segments.published(SegmentRole::kFrames);
  if (frames.empty()) return;
  layout::FrameInfo info{};
  std::vector<float> places(3 * 64);
  const layout::FrameReadResult result =
      layout::copy_latest_frame(frames.data(), frames.size(), places.data(), nullptr, 64, info);
  ACKBUS_ASSERT(result != layout::FrameReadResult::kCorrupt);
}

EngineOptions virtual_options(std::uint64_t& now_ns) {
  EngineOptions options;
  options.epoch = 1;
  options.time_ns = [&now_ns] { return now_ns += 1000; };
  options.free_bytes = [] { return kFreeBytes; };
  return options;
}

// A sum is no secret: whoever damages a copy writes the sum that goes with it.
void seal_copies(std::vector<std::byte>& segment) {
  layout::StateHeader header;
  if (segment.size() < sizeof(header)) return;
  const auto* words = reinterpret_cast<const layout::StateHeader*>(segment.data());
  const std::uint64_t word = words->commit.load_acquire();
  const std::uint64_t nodes = words->node_capacity;
  const std::uint64_t edges = words->edge_capacity;
  const std::uint64_t records = words->constraint_capacity;
  if (nodes > 4096 || edges > 4096 || records > 4096) return;
  const auto place = layout::state_geometry(nodes, edges, records);
  if (place.total_bytes > segment.size()) return;
  std::byte* copy = segment.data() + place.graph_copy[layout::state_graph_copy(word)];
  layout::StateGraphHeader graph;
  std::memcpy(&graph, copy, sizeof(graph));
  if (graph.node_count > nodes || graph.edge_count > edges || graph.constraint_count > records) {
    return;
  }
  const auto take = [](const std::byte* from, std::uint64_t offset, auto& out,
                       std::uint64_t count) {
    out.resize(count);
    if (count > 0) std::memcpy(out.data(), from + offset, count * sizeof(out[0]));
  };
  const auto arrays =
      layout::state_graph_geometry(graph.node_count, graph.edge_count, graph.constraint_count);
  Graph content;
  std::vector<payload::ConstraintRecord> constraint_records;
  take(copy, arrays.ids, content.ids, graph.node_count);
  take(copy, arrays.masses, content.masses, graph.node_count);
  take(copy, arrays.flags, content.flags, graph.node_count);
  take(copy, arrays.edges, content.edges, graph.edge_count);
  take(copy, arrays.constraints, constraint_records, graph.constraint_count);
  graph.checksum = graph_checksum(graph, content, constraint_records);
  std::memcpy(copy, &graph, sizeof(graph));

  copy = segment.data() + place.motion_copy[layout::state_motion_copy(word)];
  layout::StateMotionHeader motion;
  std::memcpy(&motion, copy, sizeof(motion));
  if (motion.node_count > nodes || motion.parameter_count > layout::kStateMaxParameters ||
      motion.link_count > layout::kStateMaxLinks) {
    return;
  }
  const auto motion_arrays = layout::state_motion_geometry(motion.node_count);
  std::vector<payload::ParameterRecord> parameter_records;
  std::vector<layout::StateLink> links;
  std::vector<float> places;
  std::vector<float> speeds;
  take(copy, motion_arrays.parameters, parameter_records, motion.parameter_count);
  take(copy, motion_arrays.links, links, motion.link_count);
  take(copy, motion_arrays.positions, places, motion.node_count * 3);
  take(copy, motion_arrays.velocities, speeds, motion.node_count * 3);
  motion.checksum = motion_checksum(motion, parameter_records, links, places, speeds);
  std::memcpy(copy, &motion, sizeof(motion));
}

// Gives how many words were changed.
std::uint64_t damage_segment(Input& input, std::vector<std::byte>& copy) {
  const std::uint64_t changes = input.below(6);
  for (std::uint64_t change = 0; change < changes; ++change) {
    // Headers and the beginnings of arrays are where the decisions are.
    const std::size_t at = input.below(8) < 5 ? input.below(2048) : input.take<std::uint32_t>();
    const std::uint64_t value = input.word(copy.size());
    std::memcpy(copy.data() + at % (copy.size() - 7), &value, input.flag() ? 8 : 4);
  }
  if (changes > 0 && input.flag()) {
    copy.resize(copy.size() - input.below(copy.size()));
  }
  if (input.below(8) != 0) {
    seal_copies(copy);
  }
  return changes;
}

// A successor takes over what was published: as it is, which must work, or damaged.
void restore(Input& input, const HeapSegments& segments) {
  const std::span<std::byte> published = segments.published(SegmentRole::kState);
  if (published.empty()) return;
  std::vector<std::byte> copy(published.size());
  std::memcpy(copy.data(), published.data(), published.size());
  const std::uint64_t changes = damage_segment(input, copy);
  BackendCpu backend(1);
  HeapSegments fresh;
  std::uint64_t now_ns = 1'000'000'000;
  Engine successor(backend, fresh, virtual_options(now_ns));
  const std::string error = successor.restore(copy);
  ACKBUS_ASSERT(changes > 0 || error.empty());
  check_state(successor.state());
  if (error.empty() && successor.state().initialised && successor.state().graph.nodes() > 0) {
    const Bytes compute = payload::make_compute(2, {});
    const Reply reply = successor.handle(Kind::kComputeForces, compute, {1, 1, 1, {}});
    ACKBUS_ASSERT(reply.status != Reply::Status::kReserved);
    check_state(successor.state());
  }
}

void converse(Input& input) {
  BackendCpu backend(1);
  HeapSegments segments;
  std::uint64_t now_ns = 1'000'000'000;
  Engine engine(backend, segments, virtual_options(now_ns));
  if (input.below(8) != 0) {  // Nearly every conversation begins as producers begin it.
    const Bytes first = payload::make_initialize(-1, 1024, 64, parameters(input));
    [[maybe_unused]] const Reply reply = engine.handle(Kind::kInitializeGpu, first, {1, 1, 1, {}});
    check_state(engine.state());
  }
  for (int message = 0; message < kMessagesMax && !input.empty(); ++message) {
    const auto choice = input.below(9);
    if (choice == 8) {
      restore(input, segments);
      continue;
    }
    const auto kind = static_cast<Kind>(choice);
    Bytes bytes = sound_payload(input, kind);
    damage(input, kind, bytes);
    const DeliveryContext context{1 + input.below(3),
                                  1 + input.below(80),
                                  static_cast<std::uint32_t>(1 + input.below(3)),
                                  {}};
    const std::uint64_t steps = engine.state().steps;
    const std::uint64_t generation = engine.state().generation;
    const Reply reply = engine.handle(kind, bytes, context);
    ACKBUS_ASSERT(reply.status != Reply::Status::kReserved && !reply.must_exit);
    if (reply.status == Reply::Status::kFailed) {
      ACKBUS_ASSERT(!reply.text.empty() && engine.state().generation == generation &&
                    (kind == Kind::kComputeForces || engine.state().steps == steps));
    }
    check_state(engine.state());
    check_frame(segments);
  }
}

}  // namespace
}  // namespace ackbus::gpu

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ackbus::fuzz::Input input(data, size);
  ackbus::gpu::converse(input);
  return 0;
}
