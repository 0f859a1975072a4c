#include "gpu_proc/physics/repulsion_fields.hpp"

#include <algorithm>
#include <limits>
#include <memory>

#include "gpu_proc/physics/accumulate.hpp"

namespace ackbus::gpu {
namespace {

// A leaf deeper than the tree's levels can hold more nodes than this (many nodes at one place).
// Then runs of its nodes stand together, which bounds the work per target; they lie within 1/65536
// of the box of each other.
constexpr std::uint32_t kMaxDirect = 2048;

// One thread's targets and sources, and the flush between them.
class Block {
 public:
  Block(const RepulsionInput& input, float cutoff_squared)
      : input_(input), limits_{input.epsilon, cutoff_squared} {
    targets_.clear();
  }
  void clear() { targets_.clear(); }
  void add_target(std::uint32_t node) {
    target_nodes_[targets_.count] = node;
    targets_.add(input_.positions.x[node], input_.positions.y[node], input_.positions.z[node],
                 input_.strength * input_.masses[node], static_cast<float>(node));
  }
  void add_source(const RepulsionSource& source) {
    sources_.sources[sources_.count++] = source;
    if (sources_.full()) accumulate(targets_, sources_, limits_);
  }
  void add_node_source(std::uint32_t node, const Vector3& position, float mass) {
    add_source(
        {position.x, position.y, position.z, mass, input_.max_force, static_cast<float>(node)});
  }
  void store(VectorArrays& forces) {
    if (sources_.count > 0) accumulate(targets_, sources_, limits_);
    for (std::size_t lane = 0; lane < targets_.count; ++lane) {
      forces.set(target_nodes_[lane],
                 {targets_.force_x[lane], targets_.force_y[lane], targets_.force_z[lane]});
    }
  }
  [[nodiscard]] const TargetBlock& targets() const { return targets_; }

 private:
  const RepulsionInput& input_;
  RepulsionLimits limits_;
  TargetBlock targets_;
  SourceBlock sources_;
  std::array<std::uint32_t, kTargets> target_nodes_{};
};

constexpr float kNoCutoff = std::numeric_limits<float>::infinity();

void add_node(Block& block, const RepulsionInput& input, std::uint32_t node) {
  block.add_node_source(node, input.positions.at(node), input.masses[node]);
}

// The box around a block's targets.
Bounds bounds_of_targets(const TargetBlock& targets) {
  const auto range = [&targets](const std::array<float, kTargets>& lanes, float& low, float& high) {
    const auto [least, most] = std::minmax_element(
        lanes.begin(), lanes.begin() + static_cast<std::ptrdiff_t>(targets.count));
    low = *least;
    high = *most;
  };
  Bounds bounds;
  range(targets.x, bounds.low.x, bounds.high.x);
  range(targets.y, bounds.low.y, bounds.high.y);
  range(targets.z, bounds.low.z, bounds.high.z);
  return bounds;
}

float squared_distance(const Bounds& bounds, const Vector3& point) {
  const auto gap = [](float value, float low, float high) {
    const float below = low - value;
    const float above = value - high;
    return std::max({below, above, 0.0F});
  };
  const float x = gap(point.x, bounds.low.x, bounds.high.x);
  const float y = gap(point.y, bounds.low.y, bounds.high.y);
  const float z = gap(point.z, bounds.low.z, bounds.high.z);
  return x * x + y * y + z * z;
}

// `run` neighbouring nodes of an overfull leaf as one source.
void add_run(Block& block, const RepulsionInput& input, const Tree& tree, std::uint32_t first,
             std::uint32_t run) {
  double mass = 0;
  for (std::uint32_t place = first; place < first + run; ++place) {
    mass += static_cast<double>(tree.mass(place));
  }
  const Vector3 at = tree.position(first);
  block.add_source({at.x, at.y, at.z, static_cast<float>(mass),
                    input.max_force * static_cast<float>(run),
                    static_cast<float>(tree.order()[first])});
}

void add_leaf(Block& block, const RepulsionInput& input, const Tree& tree, const TreeCell& leaf) {
  if (leaf.count <= kMaxDirect) {
    for (std::uint32_t place = leaf.first; place < leaf.first + leaf.count; ++place) {
      block.add_node_source(tree.order()[place], tree.position(place), tree.mass(place));
    }
    return;
  }
  const std::uint32_t run = (leaf.count + kMaxDirect - 1) / kMaxDirect;
  for (std::uint32_t place = leaf.first; place < leaf.first + leaf.count; place += run) {
    add_run(block, input, tree, place, std::min(run, leaf.first + leaf.count - place));
  }
}

void walk(Block& block, const RepulsionInput& input, const Tree& tree, float opening_angle) {
  const Bounds bounds = bounds_of_targets(block.targets());
  const float open_squared = opening_angle * opening_angle;
  const std::vector<TreeCell>& cells = tree.cells();
  std::size_t index = 0;
  while (index < cells.size()) {
    const TreeCell& cell = cells[index];
    const float distance = squared_distance(bounds, cell.centre);
    if (cell.radius * cell.radius < open_squared * distance) {
      block.add_source({cell.centre.x, cell.centre.y, cell.centre.z, cell.mass,
                        input.max_force * static_cast<float>(cell.count), -1.0F});
      index = cell.skip;
      continue;
    }
    if (cell.is_leaf != 0) add_leaf(block, input, tree, cell);
    ++index;
  }
}

}  // namespace

void repulsion_exact(const RepulsionInput& input, ThreadPool& pool, VectorArrays& forces) {
  const std::size_t nodes = input.positions.size();
  pool.parallel_for((nodes + kTargets - 1) / kTargets, [&](std::size_t chunk) {
    Block block(input, kNoCutoff);
    const std::size_t end = std::min(nodes, (chunk + 1) * kTargets);
    for (std::size_t node = chunk * kTargets; node < end; ++node) {
      block.add_target(static_cast<std::uint32_t>(node));
    }
    for (std::size_t node = 0; node < nodes; ++node) {
      add_node(block, input, static_cast<std::uint32_t>(node));
    }
    block.store(forces);
  });
}

void repulsion_grid(const RepulsionInput& input, float cutoff, Grid& grid, ThreadPool& pool,
                    VectorArrays& forces) {
  grid.build(input.positions, cutoff);
  pool.parallel_for(grid.cells(), [&](std::size_t cell) {
    if (grid.begin(cell) == grid.end(cell)) return;
    Block block(input, cutoff * cutoff);
    for (const std::uint32_t* first = grid.begin(cell); first != grid.end(cell);) {
      block.clear();
      for (; first != grid.end(cell) && !block.targets().full(); ++first) block.add_target(*first);
      grid.for_each_near(cell, [&](std::size_t near) {
        for (const std::uint32_t* node = grid.begin(near); node != grid.end(near); ++node) {
          add_node(block, input, *node);
        }
      });
      block.store(forces);
    }
  });
}

void repulsion_tree(const RepulsionInput& input, float opening_angle, Tree& tree, ThreadPool& pool,
                    VectorArrays& forces) {
  tree.build(input.positions, input.masses);
  pool.parallel_for(tree.leaves().size(), [&](std::size_t index) {
    const TreeCell& leaf = tree.cells()[tree.leaves()[index]];
    Block block(input, kNoCutoff);
    const std::uint32_t end = leaf.first + leaf.count;
    for (std::uint32_t place = leaf.first; place < end;) {
      block.clear();
      for (; place < end && !block.targets().full(); ++place) block.add_target(tree.order()[place]);
      walk(block, input, tree, opening_angle);
      block.store(forces);
    }
  });
}

}  // namespace ackbus::gpu
