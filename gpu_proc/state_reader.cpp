// Restoring a predecessor's state: everything is copied into private memory first, then its sum and
// every value are checked. What fails is refused with its name; nothing is guessed.
#include "gpu_proc/state_reader.hpp"

#include <cmath>
#include <cstring>
#include <string>

#include "gpu_proc/id_index.hpp"
#include "gpu_proc/payload/validate.hpp"
#include "gpu_proc/state_store.hpp"
#include "shm_layout/checksum.hpp"

namespace ackbus::gpu {
namespace {

using layout::StateGraphHeader;
using layout::StateHeader;
using layout::StateMotionHeader;

template <typename Array>
void add_array(layout::Checksum& sum, const Array& array) {
  sum.add(array.data(), array.size() * sizeof(array[0]));
}

template <typename Value>
void get(const std::byte* copy, std::uint64_t offset, std::uint64_t count,
         std::vector<Value>& out) {
  out.resize(count);
  if (count > 0) std::memcpy(out.data(), copy + offset, count * sizeof(Value));
}

struct Capacities {
  std::uint64_t nodes;
  std::uint64_t edges;
  std::uint64_t constraints;
};

std::string header_error(std::span<const std::byte> segment, Capacities& capacities) {
  if (segment.size() < sizeof(StateHeader)) return "shorter than its header";
  if (reinterpret_cast<std::uintptr_t>(segment.data()) % alignof(StateHeader) != 0) {
    return "not aligned to 8 bytes";
  }
  const auto* header = reinterpret_cast<const StateHeader*>(segment.data());
  if (header->magic != layout::kStateMagic) return "wrong magic";
  if (header->version != layout::kStateVersion || header->header_bytes != sizeof(StateHeader)) {
    return "layout version " + std::to_string(header->version) + ", this program reads " +
           std::to_string(layout::kStateVersion);
  }
  capacities = {header->node_capacity, header->edge_capacity, header->constraint_capacity};
  if (capacities.nodes > layout::kStateMaxNodes || capacities.edges > layout::kStateMaxEdges ||
      capacities.constraints > layout::kStateMaxConstraints) {
    return "capacities beyond the limits";
  }
  const std::size_t needed =
      state_required_bytes(capacities.nodes, capacities.edges, capacities.constraints);
  if (header->total_bytes != needed || needed > segment.size()) {
    return "its capacities need " + std::to_string(needed) + " bytes, it has " +
           std::to_string(segment.size());
  }
  return {};
}

std::string read_graph(const std::byte* copy, const Capacities& capacities, std::uint64_t commit,
                       SimulationState& state) {
  StateGraphHeader header;
  std::memcpy(&header, copy, sizeof(header));
  if (header.commit == 0 || header.commit > commit) return "graph copy of another commit";
  if (header.node_count > capacities.nodes || header.edge_count > capacities.edges ||
      header.constraint_count > capacities.constraints) {
    return "graph copy larger than the capacities";
  }
  const auto arrays =
      layout::state_graph_geometry(header.node_count, header.edge_count, header.constraint_count);
  Graph& graph = state.graph;
  get(copy, arrays.ids, header.node_count, graph.ids);
  get(copy, arrays.masses, header.node_count, graph.masses);
  get(copy, arrays.flags, header.node_count, graph.flags);
  get(copy, arrays.edges, header.edge_count, graph.edges);
  get(copy, arrays.constraints, header.constraint_count, state.constraints);
  if (graph_checksum(header, graph, state.constraints) != header.checksum) {
    return "graph copy does not match its checksum";
  }
  graph.structure_hash = header.structure_hash;
  state.generation = header.generation;
  return {};
}

std::string read_motion(const std::byte* copy, std::uint64_t commit, SimulationState& state) {
  StateMotionHeader header;
  std::memcpy(&header, copy, sizeof(header));
  if (header.commit == 0 || header.commit > commit) return "motion copy of another commit";
  if (header.node_count != state.graph.nodes()) return "motion and graph differ in nodes";
  if (header.parameter_count > layout::kStateMaxParameters ||
      header.link_count > layout::kStateMaxLinks) {
    return "motion copy larger than the limits";
  }
  const auto arrays = layout::state_motion_geometry(header.node_count);
  std::vector<payload::ParameterRecord> parameters;
  std::vector<layout::StateLink> links;
  get(copy, arrays.parameters, header.parameter_count, parameters);
  get(copy, arrays.links, header.link_count, links);
  get(copy, arrays.positions, header.node_count * 3, state.positions);
  get(copy, arrays.velocities, header.node_count * 3, state.velocities);
  if (motion_checksum(header, parameters, links, state.positions, state.velocities) !=
      header.checksum) {
    return "motion copy does not match its checksum";
  }
  for (const payload::ParameterRecord& record : parameters) {
    std::string error = payload::parameter_error(record);
    if (!error.empty()) return error;
    set_parameter(state.settings, record);
  }
  state.initialised = header.parameter_count > 0;
  state.steps = header.steps;
  state.node_capacity = header.node_capacity;
  state.edge_capacity = header.edge_capacity;
  state.applied.assign(std::move(links));
  return {};
}

bool all_finite(const std::vector<float>& values) {
  for (const float value : values) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

// A sum shows that the predecessor wrote these values, not that they are safe to index with.
std::string content_error(const SimulationState& state) {
  const Graph& graph = state.graph;
  if (!all_finite(state.positions) || !all_finite(state.velocities)) return "a value is not finite";
  for (const float mass : graph.masses) {
    if (!std::isfinite(mass) || mass <= 0.0F) return "a mass is not above 0";
  }
  for (const IndexedEdge& edge : graph.edges) {
    if (edge.source >= graph.nodes() || edge.target >= graph.nodes() ||
        !std::isfinite(edge.weight)) {
      return "an edge names no node";
    }
  }
  for (const payload::ConstraintRecord& record : state.constraints) {
    std::string error = payload::constraint_error(record, graph.nodes());
    if (!error.empty()) return "constraint: " + error;
  }
  IdIndex index;
  if (index.build(graph.ids).has_value()) return "two nodes have the same id";
  return {};
}

}  // namespace

std::uint64_t graph_checksum(StateGraphHeader header, const Graph& graph,
                             const std::vector<payload::ConstraintRecord>& constraints) {
  layout::Checksum sum;
  header.checksum = 0;
  sum.add(&header, sizeof(header));
  add_array(sum, graph.ids);
  add_array(sum, graph.masses);
  add_array(sum, graph.flags);
  add_array(sum, graph.edges);
  add_array(sum, constraints);
  return sum.value();
}

std::uint64_t motion_checksum(StateMotionHeader header,
                              std::span<const payload::ParameterRecord> parameters,
                              const std::vector<layout::StateLink>& links,
                              const std::vector<float>& positions,
                              const std::vector<float>& velocities) {
  layout::Checksum sum;
  header.checksum = 0;
  sum.add(&header, sizeof(header));
  add_array(sum, parameters);
  add_array(sum, links);
  add_array(sum, positions);
  add_array(sum, velocities);
  return sum.value();
}

RestoredState restore_state(std::span<const std::byte> segment) {
  const auto refuse = [](const std::string& why) {
    return RestoredState{std::nullopt, "state segment refused: " + why + "; send the graph again"};
  };
  Capacities capacities{};
  std::string error = header_error(segment, capacities);
  if (!error.empty()) return refuse(error);
  const auto* header = reinterpret_cast<const StateHeader*>(segment.data());
  // [S1] acquire: the copies are read after the word that names them; pairs with [S1] in
  // StateStore::store_commit.
  const std::uint64_t word = header->commit.load_acquire();
  if (word == 0) return {};
  const std::uint64_t commit = layout::state_commit_number(word);
  const auto place =
      layout::state_geometry(capacities.nodes, capacities.edges, capacities.constraints);
  SimulationState state;
  error = read_graph(segment.data() + place.graph_copy[layout::state_graph_copy(word)], capacities,
                     commit, state);
  if (!error.empty()) return refuse(error);
  error = read_motion(segment.data() + place.motion_copy[layout::state_motion_copy(word)], commit,
                      state);
  if (error.empty()) error = content_error(state);
  if (!error.empty()) return refuse(error);
  return {std::move(state), {}};
}

}  // namespace ackbus::gpu
