// UpdateNodePositions: moves the named nodes, pinned ones too, and leaves the others where they
// are. All or none.
#include "gpu_proc/handlers/handlers.hpp"
#include "gpu_proc/handlers/simulation.hpp"
#include "gpu_proc/payload/validate.hpp"

namespace ackbus::gpu {
namespace {

struct Moves {
  std::vector<std::uint32_t> places;
  std::vector<float> positions;
  std::vector<float> velocities;
};

std::string read_moves(const Simulation& simulation,
                       std::span<const payload::MovedNodeRecord> nodes, Moves& moves) {
  moves.places.reserve(nodes.size());
  moves.positions.reserve(3 * nodes.size());
  moves.velocities.reserve(3 * nodes.size());
  for (const payload::MovedNodeRecord& node : nodes) {
    const auto place = simulation.ids.find(node.id);
    if (!place.has_value()) {
      return "unknown node id " + std::to_string(node.id) + ": send only nodes of the graph in use";
    }
    moves.places.push_back(*place);
    moves.positions.insert(moves.positions.end(), node.position, node.position + 3);
    moves.velocities.insert(moves.velocities.end(), node.velocity, node.velocity + 3);
  }
  return {};
}

// A node named twice ends where its last record says, here and in the backend.
void merge(SimulationState& state, const Moves& moves) {
  for (std::size_t row = 0; row < moves.places.size(); ++row) {
    const std::size_t to = 3 * std::size_t{moves.places[row]};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      state.positions[to + axis] = moves.positions[3 * row + axis];
      state.velocities[to + axis] = moves.velocities[3 * row + axis];
    }
  }
}

}  // namespace

Reply handle_positions(Simulation& simulation, std::span<const std::byte> payload,
                       const DeliveryContext& context) {
  const auto checked = payload::check_positions(payload);
  if (!checked.ok()) return failed(checked.error);
  if (!simulation.state.initialised) return failed(kNotInitialised);
  if (simulation.state.graph.nodes() == 0) return failed(kNoGraph);
  if (simulation.already_applied(context)) return applied_before(simulation);
  Moves moves;
  const std::string error = read_moves(simulation, checked.value->nodes, moves);
  if (!error.empty()) return failed(error);
  const BackendStatus status = simulation.backend.write_nodes(
      moves.places.size(), moves.places.data(), moves.positions.data(), moves.velocities.data());
  if (status != BackendStatus::kOk) return backend_failed(status, "positions");
  merge(simulation.state, moves);
  simulation.state.applied.record(context.link, context.sequence);
  simulation.commit_motion();
  simulation.publish_frame();
  Reply reply = succeeded();
  add_metadata(reply, "updated", std::uint64_t{moves.places.size()});
  return reply;
}

}  // namespace ackbus::gpu
