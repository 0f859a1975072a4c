#include "tools/layout_plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "gpu_proc/payload/build.hpp"
#include "gpu_proc/payload/settings.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/segment.hpp"

namespace ackbus::tools {
namespace {

namespace payload = gpu::payload;

constexpr std::size_t kNudgedNodesMax = 64;
constexpr std::uint64_t kArenaReserveBytes = 1 << 20;
constexpr std::uint64_t kArenaAlignBytes = 1 << 16;
// Up to this many nodes every step's positions are stored before its ack, so that no acked step is
// ever computed again; beyond it the copy would cost more than the steps that a death repeats.
constexpr std::uint32_t kCheckpointEveryStepNodes = 100'000;

// Uniform in [0, 1): the generator's own words, because the library's distributions differ between
// compilers.
class Uniform {
 public:
  explicit Uniform(std::uint64_t seed) : generator_(seed) {}
  double next() { return static_cast<double>(generator_() >> 11) * 0x1.0p-53; }

 private:
  std::mt19937_64 generator_;
};

double ball_radius(std::uint32_t node_count) {
  constexpr double kSpacing = 10.0;
  return kSpacing * std::cbrt(static_cast<double>(node_count));
}

// A direction uniform on the sphere (Archimedes: its height is uniform), a distance whose cube is.
Position random_in_ball(Uniform& uniform, double radius) {
  const double height = 2.0 * uniform.next() - 1.0;
  const double angle = 2.0 * 3.14159265358979323846 * uniform.next();
  const double distance = radius * std::cbrt(uniform.next());
  const double across = distance * std::sqrt(std::max(0.0, 1.0 - height * height));
  return {static_cast<float>(across * std::cos(angle)),
          static_cast<float>(across * std::sin(angle)), static_cast<float>(distance * height)};
}

// A node is as heavy as it has edges. What pulls a hub then moves it no faster than anything else,
// so one time step is stable for every degree, and hubs, which repel by their mass, push their
// neighbourhoods apart instead of collapsing onto each other.
payload::NodeRecord node_record(NodeIndex node, std::uint32_t degree, const Position& position) {
  payload::NodeRecord record{};
  record.id = node;
  record.position[0] = position.x;
  record.position[1] = position.y;
  record.position[2] = position.z;
  record.mass = 1.0F + static_cast<float>(degree);
  return record;
}

payload::ParameterRecord parameter(const char* name, double value) {
  const gpu::ParameterInfo* info = gpu::find_parameter(std::string_view(name));
  ACKBUS_ASSERT(info != nullptr);
  return gpu::make_parameter(*info, value);
}

}  // namespace

std::vector<Position> initial_positions(std::uint32_t node_count, std::uint64_t seed) {
  Uniform uniform(seed);
  const double radius = ball_radius(node_count);
  std::vector<Position> positions;
  positions.reserve(node_count);
  for (std::uint32_t node = 0; node < node_count; ++node) {
    positions.push_back(random_in_ball(uniform, radius));
  }
  return positions;
}

std::vector<payload::ParameterRecord> layout_parameters(const Graph& graph, bool far_field,
                                                        std::uint64_t seed) {
  std::vector<payload::ParameterRecord> parameters{
      parameter("spring_strength", 2.0),
      parameter("repulsion_strength", 500.0),
      parameter("rest_length", 10.0),
      parameter("centering", 0.1),
      parameter("max_force", 100'000.0),
      parameter("max_velocity", 900.0),
      parameter("damping", 0.7),
      parameter("time_step", 0.3),
      parameter("boundary", 20'000.0),
      parameter("warmup_steps", 20.0),
      parameter("far_field", far_field ? 1.0 : 0.0),
      parameter("seed", static_cast<double>(seed & 0xffffffffU)),
  };
  if (graph.node_count <= kCheckpointEveryStepNodes) {
    parameters.push_back(parameter("checkpoint_steps", 1.0));
  }
  return parameters;
}

std::size_t graph_payload_bytes(const Graph& graph) {
  return payload::graph_bytes(graph.node_count, graph.edges.size());
}

void fill_graph_payload(const Graph& graph, std::span<const Position> positions,
                        std::span<std::byte> out) {
  ACKBUS_ASSERT(positions.size() == graph.node_count);
  ACKBUS_ASSERT(out.size() == graph_payload_bytes(graph));
  payload::build_graph_header(out, graph.node_count, graph.edges.size());
  std::byte* place = out.data() + payload::graph_nodes_offset();
  for (NodeIndex node = 0; node < graph.node_count; ++node) {
    const payload::NodeRecord record = node_record(node, graph.degree(node), positions[node]);
    std::memcpy(place, &record, sizeof(record));
    place += sizeof(record);
  }
  for (const Edge& edge : graph.edges) {
    const payload::EdgeRecord record{edge.source, edge.target, edge.weight};
    std::memcpy(place, &record, sizeof(record));
    place += sizeof(record);
  }
}

std::vector<payload::MovedNodeRecord> nudged_nodes(std::uint32_t node_count, std::uint64_t seed) {
  Uniform uniform(seed);
  const double radius = ball_radius(node_count);
  const std::size_t count = std::min<std::size_t>(kNudgedNodesMax, node_count);
  std::vector<payload::MovedNodeRecord> nodes(count);
  // One node out of each of `count` equal stretches, so none is named twice.
  for (std::size_t index = 0; index < count; ++index) {
    const std::uint64_t first = std::uint64_t{node_count} * index / count;
    const std::uint64_t end = std::uint64_t{node_count} * (index + 1) / count;
    const auto offset =
        static_cast<std::uint64_t>(uniform.next() * static_cast<double>(end - first));
    const Position position = random_in_ball(uniform, radius);
    nodes[index].id = static_cast<std::uint32_t>(first + offset);
    nodes[index].position[0] = position.x;
    nodes[index].position[1] = position.y;
    nodes[index].position[2] = position.z;
  }
  return nodes;
}

std::uint64_t layout_arena_bytes(const Graph& graph) {
  return layout::align_up(graph_payload_bytes(graph) + kArenaReserveBytes, kArenaAlignBytes);
}

}  // namespace ackbus::tools
