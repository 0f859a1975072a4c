#include "gpu_proc/state_store.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "gpu_proc/state_reader.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/checksum.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::gpu {
namespace {

using layout::StateGraphHeader;
using layout::StateHeader;
using layout::StateMotionHeader;

// Copies an array into a copy's place.
template <typename Array>
void put(std::byte* copy, std::uint64_t offset, const Array& array) {
  if (array.size() == 0) return;
  std::memcpy(copy + offset, array.data(), array.size() * sizeof(array[0]));
}

}  // namespace

std::size_t state_required_bytes(std::uint64_t nodes, std::uint64_t edges,
                                 std::uint64_t constraints) {
  return layout::state_geometry(nodes, edges, constraints).total_bytes;
}

std::string StateStore::prepare(std::uint64_t nodes, std::uint64_t edges, std::uint64_t constraints,
                                Room room) {
  const Capacity needed{nodes, edges, constraints};
  if (!pending_.empty() && pending_capacity_.fits(needed)) return {};
  if (pending_.empty() && !segment_.empty() && capacity_.fits(needed)) return {};
  Capacity wanted = capacity_;
  if (nodes > wanted.nodes) wanted.nodes = with_room(nodes, layout::kStateMaxNodes, room);
  if (edges > wanted.edges) wanted.edges = with_room(edges, layout::kStateMaxEdges, room);
  if (constraints > wanted.constraints) {
    wanted.constraints = with_room(constraints, layout::kStateMaxConstraints, room);
  }
  pending_ = {};
  const std::size_t bytes = state_required_bytes(wanted.nodes, wanted.edges, wanted.constraints);
  const std::span<std::byte> made = provider_.create(SegmentRole::kState, bytes);
  if (made.size() < bytes) {
    const std::string why = provider_.failure();
    return "no state segment of " + std::to_string(bytes) + " bytes: " +
           (why.empty() ? "not enough shared memory; free some or raise the limit" : why);
  }
  pending_ = made;
  pending_capacity_ = wanted;
  return {};
}

// From here on the created segment is the one in use; nothing is committed in it yet.
void StateStore::adopt_pending() {
  segment_ = pending_;
  capacity_ = pending_capacity_;
  pending_ = {};
  ACKBUS_ASSERT(reinterpret_cast<std::uintptr_t>(segment_.data()) % alignof(StateHeader) == 0);
  auto* header = reinterpret_cast<StateHeader*>(segment_.data());
  header->magic = layout::kStateMagic;
  header->version = layout::kStateVersion;
  header->header_bytes = sizeof(StateHeader);
  header->node_capacity = capacity_.nodes;
  header->edge_capacity = capacity_.edges;
  header->constraint_capacity = capacity_.constraints;
  header->total_bytes =
      state_required_bytes(capacity_.nodes, capacity_.edges, capacity_.constraints);
}

void StateStore::write_graph(const SimulationState& state, std::uint64_t copy,
                             std::uint64_t commit) {
  const auto place =
      layout::state_geometry(capacity_.nodes, capacity_.edges, capacity_.constraints);
  std::byte* to = segment_.data() + place.graph_copy[copy];
  const Graph& graph = state.graph;
  const auto arrays =
      layout::state_graph_geometry(graph.nodes(), graph.edges.size(), state.constraints.size());
  put(to, arrays.ids, graph.ids);
  put(to, arrays.masses, graph.masses);
  put(to, arrays.flags, graph.flags);
  put(to, arrays.edges, graph.edges);
  put(to, arrays.constraints, state.constraints);
  StateGraphHeader header{};
  header.commit = commit;
  header.node_count = graph.nodes();
  header.edge_count = graph.edges.size();
  header.constraint_count = state.constraints.size();
  header.structure_hash = graph.structure_hash;
  header.generation = state.generation;
  header.checksum = graph_checksum(header, graph, state.constraints);
  std::memcpy(to, &header, sizeof(header));
}

void StateStore::write_motion(const SimulationState& state, std::uint64_t copy,
                              std::uint64_t commit) {
  const auto place =
      layout::state_geometry(capacity_.nodes, capacity_.edges, capacity_.constraints);
  std::byte* to = segment_.data() + place.motion_copy[copy];
  const auto arrays = layout::state_motion_geometry(state.graph.nodes());
  const auto parameters = all_parameters(state.settings);
  const std::span<const payload::ParameterRecord> kept(parameters.data(),
                                                       state.initialised ? parameters.size() : 0);
  put(to, arrays.parameters, kept);
  put(to, arrays.links, state.applied.links());
  put(to, arrays.positions, state.positions);
  put(to, arrays.velocities, state.velocities);
  StateMotionHeader header{};
  header.commit = commit;
  header.node_count = state.graph.nodes();
  header.steps = state.steps;
  header.node_capacity = state.node_capacity;
  header.edge_capacity = state.edge_capacity;
  header.parameter_count = static_cast<std::uint32_t>(kept.size());
  header.link_count = static_cast<std::uint32_t>(state.applied.links().size());
  header.checksum =
      motion_checksum(header, kept, state.applied.links(), state.positions, state.velocities);
  std::memcpy(to, &header, sizeof(header));
}

void StateStore::store_commit(std::uint64_t word) {
  word_ = word;
  ACKBUS_POINT(kStateFilled);
  // [S1] release: both copies that the word names are whole before it; pairs with [S1] in
  // restore_state.
  reinterpret_cast<StateHeader*>(segment_.data())->commit.store_release(word);
  ACKBUS_POINT(kStateCommitted);
}

void StateStore::commit_all(const SimulationState& state) {
  const bool fresh = !pending_.empty();
  if (fresh) adopt_pending();
  ACKBUS_ASSERT(!segment_.empty() && state.graph.nodes() <= capacity_.nodes &&
                state.graph.edges.size() <= capacity_.edges &&
                state.constraints.size() <= capacity_.constraints);
  const std::uint64_t commit = commits() + 1;
  const std::uint64_t graph_copy = 1 - layout::state_graph_copy(word_);
  const std::uint64_t motion_copy = 1 - layout::state_motion_copy(word_);
  write_graph(state, graph_copy, commit);
  write_motion(state, motion_copy, commit);
  store_commit(layout::state_commit_word(commit, graph_copy, motion_copy));
  if (fresh) provider_.publish(SegmentRole::kState);
}

void StateStore::commit_motion(const SimulationState& state) {
  ACKBUS_ASSERT(word_ != 0 && state.graph.nodes() <= capacity_.nodes);
  const std::uint64_t commit = commits() + 1;
  const std::uint64_t motion_copy = 1 - layout::state_motion_copy(word_);
  write_motion(state, motion_copy, commit);
  store_commit(layout::state_commit_word(commit, layout::state_graph_copy(word_), motion_copy));
}

}  // namespace ackbus::gpu
