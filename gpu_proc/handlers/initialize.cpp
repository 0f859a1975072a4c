// InitializeGPU: chooses the device, takes the parameters, reserves memory for the capacities. A
// graph that is already there stays; the count of steps, and with it the warm-up, begins again.
#include <algorithm>

#include "gpu_proc/handlers/handlers.hpp"
#include "gpu_proc/handlers/simulation.hpp"
#include "gpu_proc/payload/validate.hpp"

namespace ackbus::gpu {
namespace {

std::string device_error(const Simulation& simulation, std::int32_t ordinal) {
  if (ordinal < simulation.backend.device_count()) return {};
  return "no such device: " + std::to_string(ordinal) + ", backend " + simulation.backend.name() +
         " has " + std::to_string(simulation.backend.device_count()) +
         " numbered devices; send -1 for what there is";
}

// Only what goes beyond the memory already held is compared with the free memory.
std::string memory_error(const Simulation& simulation, std::uint64_t nodes, std::uint64_t edges) {
  const SimulationState& state = simulation.state;
  if (nodes <= state.node_capacity && edges <= state.edge_capacity) return {};
  const std::uint64_t need = simulation.backend.required_bytes(nodes, edges) +
                             state_required_bytes(nodes, edges, state.constraints.size()) +
                             layout::frames_geometry(nodes).total_bytes;
  const std::uint64_t free = simulation.options.free_bytes();
  if (need <= free) return {};
  return "capacity of " + std::to_string(nodes) + " nodes and " + std::to_string(edges) +
         " edges needs " + std::to_string(need) + " bytes, " + std::to_string(free) +
         " are free; ask for less or free memory";
}

}  // namespace

Reply handle_initialize(Simulation& simulation, std::span<const std::byte> payload) {
  const auto checked = payload::check_initialize(payload);
  if (!checked.ok()) return failed(checked.error);
  const payload::InitializeView& view = *checked.value;
  std::string error = device_error(simulation, view.device_ordinal);
  if (error.empty()) error = memory_error(simulation, view.node_capacity, view.edge_capacity);
  SimulationState& state = simulation.state;
  const std::uint64_t nodes = std::max<std::uint64_t>(view.node_capacity, state.graph.nodes());
  const std::uint64_t edges = std::max<std::uint64_t>(view.edge_capacity, state.graph.edges.size());
  if (error.empty()) {
    error = simulation.store.prepare(nodes, edges, state.constraints.size(), Room::kExact);
  }
  if (error.empty() && nodes > 0) error = simulation.frames.prepare(nodes, Room::kExact);
  if (!error.empty()) return failed(error);

  state.settings = Settings{};
  for (const payload::ParameterRecord& record : view.parameters)
    set_parameter(state.settings, record);
  state.initialised = true;
  state.node_capacity = nodes;
  state.edge_capacity = edges;
  state.steps = 0;
  simulation.commit_all();
  simulation.publish_frame();

  Reply reply = succeeded();
  add_metadata(reply, "backend", std::string(simulation.backend.name()));
  add_metadata(reply, "device", std::string(simulation.backend.device()));
  add_metadata(reply, "nodes", nodes);
  add_metadata(reply, "edges", edges);
  return reply;
}

}  // namespace ackbus::gpu
