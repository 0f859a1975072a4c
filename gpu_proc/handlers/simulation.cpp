#include "gpu_proc/handlers/simulation.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace ackbus::gpu {

Reply failed(std::string error) { return {Reply::Status::kFailed, std::move(error), {}, false}; }

Reply succeeded() { return {Reply::Status::kSuccess, {}, {}, false}; }

void add_metadata(Reply& reply, std::string key, std::string value) {
  reply.metadata.emplace_back(std::move(key), std::move(value));
}

void add_metadata(Reply& reply, std::string key, std::uint64_t value) {
  add_metadata(reply, std::move(key), std::to_string(value));
}

void add_metadata(Reply& reply, std::string key, double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.9g", value);
  add_metadata(reply, std::move(key), std::string(text.data()));
}

Reply backend_failed(BackendStatus status, std::string what) {
  Reply reply = failed(std::move(what));
  if (status == BackendStatus::kDeviceLost) {
    reply.text += ": the device is lost, the process must be restarted";
    reply.must_exit = true;
  } else {
    reply.text += ": not enough memory on the device; send a smaller graph or free memory";
  }
  return reply;
}

Reply applied_before(const Simulation& simulation) {
  Reply reply = succeeded();
  add_metadata(reply, "already_applied", std::string("true"));
  add_metadata(reply, "step", simulation.state.steps);
  return reply;
}

BackendStatus Simulation::upload(const Graph& graph, const std::vector<float>& positions,
                                 const std::vector<float>& velocities) {
  const Csr csr = make_csr(graph.nodes(), graph.edges);
  const BackendGraph rows{graph.nodes(),
                          csr.neighbour.size(),
                          {csr.row.data(), csr.neighbour.data(), csr.weight.data()},
                          graph.masses.data(),
                          graph.flags.data()};
  const BackendStatus status = backend.upload_graph(rows);
  if (status != BackendStatus::kOk) return status;
  return backend.write_motion(positions.data(), velocities.data());
}

BackendStatus Simulation::upload_motion() {
  const BackendStatus status =
      backend.write_motion(state.positions.data(), state.velocities.data());
  if (status != BackendStatus::kOk) return status;
  commit_motion();
  publish_frame();
  return status;
}

void Simulation::commit_all() {
  store.commit_all(state);
  unsaved_steps = 0;
}

void Simulation::commit_motion() {
  store.commit_motion(state);
  unsaved_steps = 0;
}

std::string Simulation::adopt(SimulationState restored) {
  const std::uint64_t nodes =
      std::max<std::uint64_t>(restored.node_capacity, restored.graph.nodes());
  const std::uint64_t edges =
      std::max<std::uint64_t>(restored.edge_capacity, restored.graph.edges.size());
  std::string error = store.prepare(nodes, edges, restored.constraints.size(), Room::kExact);
  if (error.empty() && nodes > 0) error = frames.prepare(nodes, Room::kExact);
  if (!error.empty()) return error;
  IdIndex index;
  if (index.build(restored.graph.ids).has_value()) return "restored state has an id twice";
  if (restored.graph.nodes() > 0) {
    BackendStatus status = upload(restored.graph, restored.positions, restored.velocities);
    if (status == BackendStatus::kOk) {
      status = backend.upload_constraints(restored.constraints.data(), restored.constraints.size());
    }
    if (status != BackendStatus::kOk) return backend_failed(status, "restore").text;
  }
  state = std::move(restored);
  ids = std::move(index);
  commit_all();
  publish_frame();
  return {};
}

}  // namespace ackbus::gpu
