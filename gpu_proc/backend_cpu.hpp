// The backend on CPU threads. Two sets of positions and velocities: a step reads one and writes the
// other, and they are swapped only when no node diverged, so the last good frame is never touched.
// Called from one thread; its pool's threads run inside the calls.
#pragma once

#include <string>
#include <vector>

#include "gpu_proc/backend.hpp"
#include "gpu_proc/physics/constraint_index.hpp"
#include "gpu_proc/physics/repulsion_fields.hpp"
#include "gpu_proc/thread_pool.hpp"

namespace ackbus::gpu {

class BackendCpu final : public Backend {
 public:
  // Graphs of up to this many nodes are summed exactly even with the far field on: it is as fast as
  // the tree there.
  static constexpr std::size_t kExactNodes = 512;

  // `threads` counts the calling one; 0 means one per processor.
  explicit BackendCpu(unsigned threads);

  [[nodiscard]] const char* name() const override { return "cpu"; }
  [[nodiscard]] const char* device() const override { return device_.c_str(); }
  [[nodiscard]] std::int32_t device_count() const override { return 0; }
  [[nodiscard]] std::uint64_t required_bytes(std::uint64_t nodes,
                                             std::uint64_t edges) const override;
  BackendStatus upload_graph(const BackendGraph& graph) override;
  BackendStatus upload_constraints(const payload::ConstraintRecord* records,
                                   std::size_t count) override;
  BackendStatus write_motion(const float* positions, const float* velocities) override;
  BackendStatus read_motion(float* positions, float* velocities) override;
  BackendStatus write_nodes(std::size_t count, const std::uint32_t* places, const float* positions,
                            const float* velocities) override;
  BackendStatus run(const StepRequest& request, StepReport& report) override;

 private:
  struct Motion {
    VectorArrays positions;
    VectorArrays velocities;
  };
  // What one chunk of nodes adds up; chunks have a fixed size, and are summed in order.
  struct ChunkResult {
    double kinetic_energy;
    double max_displacement_squared;
    bool diverged;
  };
  struct GraphArrays {
    std::vector<float> masses;
    std::vector<std::uint32_t> flags;
    std::vector<std::uint32_t> row;
    std::vector<std::uint32_t> neighbour;
    std::vector<float> weight;
    std::uint64_t active_nodes = 0;
  };

  void compute_repulsion(const Settings& settings);
  bool step(const Settings& settings, std::uint64_t step_number, StepReport& report);
  ChunkResult step_chunk(std::size_t first, std::size_t end, const Settings& settings,
                         std::uint64_t step_number);
  void step_node(std::size_t node, const Settings& settings, std::uint64_t step_number,
                 ChunkResult& result);
  bool finish_step(StepReport& report);
  [[nodiscard]] std::size_t nodes() const { return graph_.masses.size(); }
  [[nodiscard]] CsrRows rows() const {
    return {graph_.row.data(), graph_.neighbour.data(), graph_.weight.data()};
  }

  ThreadPool pool_;
  std::string device_;
  GraphArrays graph_;
  Motion current_;
  Motion next_;
  VectorArrays forces_;
  ConstraintIndex constraints_;
  Grid grid_;
  Tree tree_;
  std::vector<ChunkResult> chunks_;
};

}  // namespace ackbus::gpu
