// UpdateGPUGraphData: replaces the graph, or, when only the motion differs from the graph in use,
// the positions. Checked and built beside the graph in use, which is replaced only when nothing can
// fail any more.
#include <algorithm>
#include <cstring>

#include "gpu_proc/handlers/handlers.hpp"
#include "gpu_proc/handlers/simulation.hpp"
#include "gpu_proc/payload/validate.hpp"

namespace ackbus::gpu {
namespace {

struct Candidate {
  Graph graph;
  IdIndex ids;
  std::vector<float> positions;
  std::vector<float> velocities;
};

void read_nodes(std::span<const payload::NodeRecord> nodes, Candidate& candidate) {
  candidate.graph.ids.reserve(nodes.size());
  candidate.graph.masses.reserve(nodes.size());
  candidate.graph.flags.reserve(nodes.size());
  candidate.positions.reserve(3 * nodes.size());
  candidate.velocities.reserve(3 * nodes.size());
  for (const payload::NodeRecord& node : nodes) {
    candidate.graph.ids.push_back(node.id);
    candidate.graph.masses.push_back(node.mass);
    candidate.graph.flags.push_back(node.flags);
    candidate.positions.insert(candidate.positions.end(), node.position, node.position + 3);
    candidate.velocities.insert(candidate.velocities.end(), node.velocity, node.velocity + 3);
  }
}

std::string read_edges(std::span<const payload::EdgeRecord> edges, Candidate& candidate) {
  candidate.graph.edges.reserve(edges.size());
  for (const payload::EdgeRecord& edge : edges) {
    const auto source = candidate.ids.find(edge.source);
    const auto target = candidate.ids.find(edge.target);
    if (!source.has_value() || !target.has_value()) {
      return "edge " + std::to_string(edge.source) + " - " + std::to_string(edge.target) +
             ": unknown node id " + std::to_string(source.has_value() ? edge.target : edge.source) +
             "; every end point must be among the nodes sent";
    }
    candidate.graph.edges.push_back({*source, *target, edge.weight});
  }
  return {};
}

std::string read_graph(const payload::GraphView& view, Candidate& candidate) {
  read_nodes(view.nodes, candidate);
  if (const auto twice = candidate.ids.build(candidate.graph.ids); twice.has_value()) {
    return "duplicate node id " + std::to_string(*twice) + ": send each node once";
  }
  std::string error = read_edges(view.edges, candidate);
  if (error.empty()) candidate.graph.structure_hash = structure_hash(candidate.graph);
  return error;
}

Reply graph_reply(const Simulation& simulation) {
  Reply reply = succeeded();
  add_metadata(reply, "nodes", std::uint64_t{simulation.state.graph.nodes()});
  add_metadata(reply, "edges", std::uint64_t{simulation.state.graph.edges.size()});
  return reply;
}

// Bits, not values: an upload that changes nothing at all is told from one that moves nodes.
bool same_bits(const std::vector<float>& left, const std::vector<float>& right) {
  return left.size() == right.size() &&
         std::memcmp(left.data(), right.data(), left.size() * sizeof(float)) == 0;
}

Reply replace_motion(Simulation& simulation, Candidate& candidate) {
  SimulationState& state = simulation.state;
  if (same_bits(state.positions, candidate.positions) &&
      same_bits(state.velocities, candidate.velocities)) {
    Reply reply = graph_reply(simulation);
    add_metadata(reply, "unchanged", std::string("all"));
    return reply;
  }
  state.positions.swap(candidate.positions);
  state.velocities.swap(candidate.velocities);
  const BackendStatus status = simulation.upload_motion();
  if (status != BackendStatus::kOk) return backend_failed(status, "positions");
  Reply reply = graph_reply(simulation);
  add_metadata(reply, "unchanged", std::string("structure"));
  return reply;
}

// Constraints name nodes by place: those beyond a smaller graph can't be kept.
std::vector<payload::ConstraintRecord> constraints_within(const SimulationState& state,
                                                          std::size_t nodes) {
  std::vector<payload::ConstraintRecord> kept;
  for (const payload::ConstraintRecord& record : state.constraints) {
    if (payload::constraint_error(record, nodes).empty()) kept.push_back(record);
  }
  return kept;
}

Reply replace_graph(Simulation& simulation, Candidate& candidate, const DeliveryContext& context) {
  SimulationState& state = simulation.state;
  const std::size_t nodes = candidate.graph.nodes();
  std::vector<payload::ConstraintRecord> kept = constraints_within(state, nodes);
  std::string error =
      simulation.store.prepare(nodes, candidate.graph.edges.size(), kept.size(), Room::kGrow);
  if (error.empty()) error = simulation.frames.prepare(nodes, Room::kGrow);
  if (!error.empty()) return failed(error);
  if (context.progress) context.progress();
  const BackendStatus status =
      simulation.upload(candidate.graph, candidate.positions, candidate.velocities);
  if (status != BackendStatus::kOk) return backend_failed(status, "graph");
  // The graph is in use from here on; constraints that the device has no room for are dropped, and
  // counted so.
  if (simulation.backend.upload_constraints(kept.data(), kept.size()) != BackendStatus::kOk) {
    kept.clear();
  }
  const std::size_t dropped = state.constraints.size() - kept.size();
  state.graph = std::move(candidate.graph);
  state.positions.swap(candidate.positions);
  state.velocities.swap(candidate.velocities);
  state.constraints.swap(kept);
  simulation.ids = std::move(candidate.ids);
  state.steps = 0;
  ++state.generation;
  simulation.commit_all();
  simulation.publish_frame();
  Reply reply = graph_reply(simulation);
  if (dropped > 0) add_metadata(reply, "constraints_dropped", std::uint64_t{dropped});
  return reply;
}

}  // namespace

Reply handle_graph(Simulation& simulation, std::span<const std::byte> payload,
                   const DeliveryContext& context) {
  const auto checked = payload::check_graph(payload);
  if (!checked.ok()) return failed(checked.error);
  if (!simulation.state.initialised) return failed(kNotInitialised);
  Candidate candidate;
  const std::string error = read_graph(*checked.value, candidate);
  if (!error.empty()) return failed(error);
  const Graph& in_use = simulation.state.graph;
  const bool same_structure = in_use.nodes() == candidate.graph.nodes() &&
                              in_use.structure_hash == candidate.graph.structure_hash;
  return same_structure ? replace_motion(simulation, candidate)
                        : replace_graph(simulation, candidate, context);
}

}  // namespace ackbus::gpu
