// The three ways to sum repulsion over many nodes, all through the block kernel: every pair (the
// oracle, and small graphs), near pairs by a uniform grid, and all pairs by a tree with a stated
// error. Data flow: positions and masses -> forces (overwritten). Parallel inside by the pool; each
// node's sum has one fixed order, so the number of threads changes no bit.
#pragma once

#include <cstdint>
#include <vector>

#include "gpu_proc/physics/grid.hpp"
#include "gpu_proc/physics/node_arrays.hpp"
#include "gpu_proc/physics/tree.hpp"
#include "gpu_proc/thread_pool.hpp"

namespace ackbus::gpu {

struct RepulsionInput {
  const VectorArrays& positions;
  const std::vector<float>& masses;
  float strength;  // k_r
  float epsilon;
  float max_force;  // The cap of one pair.
};

// O(n^2), exact up to rounding.
void repulsion_exact(const RepulsionInput& input, ThreadPool& pool, VectorArrays& forces);

// Exact over the pairs closer than `cutoff`; what is further apart does not repel.
void repulsion_grid(const RepulsionInput& input, float cutoff, Grid& grid, ThreadPool& pool,
                    VectorArrays& forces);

// All pairs, cells of the tree standing for their nodes where radius < opening_angle * distance.
// The error that goes with an opening angle is measured and stated in docs/gpu-process.md.
void repulsion_tree(const RepulsionInput& input, float opening_angle, Tree& tree, ThreadPool& pool,
                    VectorArrays& forces);

}  // namespace ackbus::gpu
