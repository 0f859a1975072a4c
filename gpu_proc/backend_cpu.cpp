#include "gpu_proc/backend_cpu.hpp"

#include <algorithm>
#include <new>

#include "gpu_proc/physics/centering.hpp"
#include "gpu_proc/physics/constraint.hpp"
#include "gpu_proc/physics/integration.hpp"
#include "gpu_proc/physics/spring.hpp"

namespace ackbus::gpu {
namespace {

constexpr std::size_t kChunkNodes = 512;

void resize_motion(auto& motion, std::size_t nodes) {
  motion.positions.resize(nodes);
  motion.velocities.resize(nodes);
}

Vector3 vector_of(const float* row) { return {row[0], row[1], row[2]}; }

void put_row(float* row, const Vector3& value) {
  row[0] = value.x;
  row[1] = value.y;
  row[2] = value.z;
}

}  // namespace

BackendCpu::BackendCpu(unsigned threads)
    : pool_(threads), device_("CPU, " + std::to_string(pool_.threads()) + " threads") {}

std::uint64_t BackendCpu::required_bytes(std::uint64_t nodes, std::uint64_t edges) const {
  // Motion twice, forces, mass, flags, row; tree: keys and order twice, sorted copy, cells. Rows:
  // two entries an edge.
  constexpr std::uint64_t kNodeBytes = 48 + 12 + 4 + 4 + 4 + 24 + 16 + 24;
  constexpr std::uint64_t kEdgeBytes = 16;
  return nodes * kNodeBytes + edges * kEdgeBytes;
}

BackendStatus BackendCpu::upload_graph(const BackendGraph& graph) {
  try {
    GraphArrays fresh;
    fresh.masses.assign(graph.masses, graph.masses + graph.nodes);
    fresh.flags.assign(graph.flags, graph.flags + graph.nodes);
    fresh.row.assign(graph.rows.row, graph.rows.row + graph.nodes + 1);
    fresh.neighbour.assign(graph.rows.neighbour, graph.rows.neighbour + graph.neighbours);
    fresh.weight.assign(graph.rows.weight, graph.rows.weight + graph.neighbours);
    for (const std::uint32_t flags : fresh.flags) {
      fresh.active_nodes += (flags & payload::kNodePinned) == 0 ? 1 : 0;
    }
    Motion current;
    Motion next;
    VectorArrays forces;
    ConstraintIndex constraints;
    resize_motion(current, graph.nodes);
    resize_motion(next, graph.nodes);
    forces.resize(graph.nodes);
    constraints.build(nullptr, 0, graph.nodes);
    chunks_.resize((graph.nodes + kChunkNodes - 1) / kChunkNodes);
    // All memory is there: from here on nothing can fail.
    graph_ = std::move(fresh);
    current_ = std::move(current);
    next_ = std::move(next);
    forces_ = std::move(forces);
    constraints_ = std::move(constraints);
  } catch (const std::bad_alloc&) {
    return BackendStatus::kOutOfMemory;
  }
  return BackendStatus::kOk;
}

BackendStatus BackendCpu::upload_constraints(const payload::ConstraintRecord* records,
                                             std::size_t count) {
  try {
    ConstraintIndex fresh;
    fresh.build(records, count, nodes());
    constraints_ = std::move(fresh);
  } catch (const std::bad_alloc&) {
    return BackendStatus::kOutOfMemory;
  }
  return BackendStatus::kOk;
}

BackendStatus BackendCpu::write_motion(const float* positions, const float* velocities) {
  for (std::size_t node = 0; node < nodes(); ++node) {
    current_.positions.set(node, vector_of(positions + 3 * node));
    current_.velocities.set(node, vector_of(velocities + 3 * node));
  }
  return BackendStatus::kOk;
}

BackendStatus BackendCpu::read_motion(float* positions, float* velocities) {
  for (std::size_t node = 0; node < nodes(); ++node) {
    put_row(positions + 3 * node, current_.positions.at(node));
    put_row(velocities + 3 * node, current_.velocities.at(node));
  }
  return BackendStatus::kOk;
}

BackendStatus BackendCpu::write_nodes(std::size_t count, const std::uint32_t* places,
                                      const float* positions, const float* velocities) {
  for (std::size_t row = 0; row < count; ++row) {
    current_.positions.set(places[row], vector_of(positions + 3 * row));
    current_.velocities.set(places[row], vector_of(velocities + 3 * row));
  }
  return BackendStatus::kOk;
}

void BackendCpu::compute_repulsion(const Settings& settings) {
  const RepulsionInput input{current_.positions, graph_.masses, settings.repulsion_strength,
                             settings.epsilon, settings.max_force};
  if (settings.far_field == 0) {
    repulsion_grid(input, settings.cutoff, grid_, pool_, forces_);
  } else if (nodes() <= kExactNodes) {
    repulsion_exact(input, pool_, forces_);
  } else {
    repulsion_tree(input, settings.opening_angle, tree_, pool_, forces_);
  }
}

void BackendCpu::step_node(std::size_t node, const Settings& settings, std::uint64_t step_number,
                           ChunkResult& result) {
  const Positions positions = current_.positions.view();
  const NodeMotion before{positions.at(node), current_.velocities.at(node)};
  if ((graph_.flags[node] & payload::kNodePinned) != 0) {
    next_.positions.set(node, before.position);
    next_.velocities.set(node, {});
    return;
  }
  Vector3 force = forces_.at(node);
  force += spring_force(node, rows(), positions, settings.spring_strength, settings.rest_length);
  force += centering_force(before.position, settings.centering, settings.gravity);
  force +=
      constraint_force(static_cast<std::uint32_t>(node), constraints_.rows(), positions,
                       step_number, settings.constraint_ramp_steps, settings.constraint_maximum);
  const float mass = graph_.masses[node];
  const float warmup = warmup_factor(step_number, settings.warmup_steps);
  const NodeMotion after = integrate(before, force, mass, warmup, settings);
  next_.positions.set(node, after.position);
  next_.velocities.set(node, after.velocity);
  const Vector3 moved = after.position - before.position;
  const auto square = [](const Vector3& value) {
    const auto size = static_cast<double>(length(value));
    return size * size;
  };
  result.kinetic_energy += 0.5 * static_cast<double>(mass) * square(after.velocity);
  result.max_displacement_squared = std::max(result.max_displacement_squared, square(moved));
  result.diverged = result.diverged || after.diverged;
}

BackendCpu::ChunkResult BackendCpu::step_chunk(std::size_t first, std::size_t end,
                                               const Settings& settings,
                                               std::uint64_t step_number) {
  ChunkResult result{0.0, 0.0, false};
  for (std::size_t node = first; node < end; ++node) {
    step_node(node, settings, step_number, result);
  }
  return result;
}

// Sums the chunks in order; false and nothing applied when a node diverged.
bool BackendCpu::finish_step(StepReport& report) {
  ChunkResult total{0.0, 0.0, false};
  for (const ChunkResult& chunk : chunks_) {
    total.kinetic_energy += chunk.kinetic_energy;
    total.max_displacement_squared =
        std::max(total.max_displacement_squared, chunk.max_displacement_squared);
    total.diverged = total.diverged || chunk.diverged;
  }
  if (total.diverged) {
    report.diverged = 1;
    return false;
  }
  std::swap(current_, next_);
  report.kinetic_energy = total.kinetic_energy;
  report.max_displacement =
      std::max(report.max_displacement, std::sqrt(total.max_displacement_squared));
  ++report.steps_done;
  return true;
}

bool BackendCpu::step(const Settings& settings, std::uint64_t step_number, StepReport& report) {
  compute_repulsion(settings);
  constraints_.update_centroids(current_.positions);
  pool_.parallel_for(chunks_.size(), [&](std::size_t chunk) {
    const std::size_t end = std::min(nodes(), (chunk + 1) * kChunkNodes);
    chunks_[chunk] = step_chunk(chunk * kChunkNodes, end, settings, step_number);
  });
  return finish_step(report);
}

BackendStatus BackendCpu::run(const StepRequest& request, StepReport& report) {
  report = {};
  report.active_nodes = graph_.active_nodes;
  for (std::uint32_t done = 0; done < request.steps; ++done) {
    if (!step(*request.settings, request.steps_before + done + 1, report)) break;
    if (request.progress != nullptr) request.progress(request.progress_context);
  }
  return BackendStatus::kOk;
}

}  // namespace ackbus::gpu
