// What a layout spends beside the bus: reading a small graph from its file, and the repulsion of
// one step. One thread; the graph's file lies in a folder of its own, removed at the end.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "bench/process.hpp"
#include "gpu_proc/payload/settings.hpp"
#include "gpu_proc/physics/repulsion_fields.hpp"
#include "shm_layout/assert.hpp"
#include "tools/matrix_market.hpp"

namespace ackbus::bench {
namespace {

// A square grid of side * side nodes as a Matrix Market file.
void write_grid(const std::string& path, int side) {
  std::ofstream file(path);
  const int nodes = side * side;
  file << "%%MatrixMarket matrix coordinate pattern symmetric\n"
       << nodes << ' ' << nodes << ' ' << 2 * side * (side - 1) << '\n';
  for (int node = 1; node <= nodes; ++node) {
    if (node % side != 0) {
      file << node + 1 << ' ' << node << '\n';
    }
    if (node + side <= nodes) {
      file << node + side << ' ' << node << '\n';
    }
  }
}

void read_graph(benchmark::State& state) {
  const Result<TemporaryFolder> folder = TemporaryFolder::create();
  ACKBUS_ASSERT(folder.ok());
  const std::string path = folder->path() + "/grid.mtx";
  const auto side = static_cast<int>(state.range(0));
  write_grid(path, side);
  for ([[maybe_unused]] auto _ : state) {
    tools::FileResult<tools::Graph> graph = tools::read_matrix_market(path);
    ACKBUS_ASSERT(graph.ok());
    benchmark::DoNotOptimize(graph.value().edges.data());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 2 * side * (side - 1));
}

struct Cloud {
  explicit Cloud(std::size_t nodes) : masses(nodes, 1.0F) {
    std::mt19937_64 random(1);
    std::uniform_real_distribution<float> coordinate(-100.0F, 100.0F);
    positions.resize(nodes);
    forces.resize(nodes);
    for (std::size_t node = 0; node < nodes; ++node) {
      const float x = coordinate(random);
      const float y = coordinate(random);
      positions.set(node, {x, y, coordinate(random)});
    }
  }
  [[nodiscard]] gpu::RepulsionInput input() const {
    const gpu::Settings settings;
    return {positions, masses, settings.repulsion_strength, settings.epsilon, settings.max_force};
  }
  gpu::VectorArrays positions;
  gpu::VectorArrays forces;
  std::vector<float> masses;
};

void repel_exactly(benchmark::State& state) {
  Cloud cloud(static_cast<std::size_t>(state.range(0)));
  gpu::ThreadPool pool(1);
  for ([[maybe_unused]] auto _ : state) {
    gpu::repulsion_exact(cloud.input(), pool, cloud.forces);
    benchmark::ClobberMemory();
  }
}

void repel_by_tree(benchmark::State& state) {
  Cloud cloud(static_cast<std::size_t>(state.range(0)));
  gpu::ThreadPool pool(1);
  gpu::Tree tree;
  for ([[maybe_unused]] auto _ : state) {
    gpu::repulsion_tree(cloud.input(), gpu::Settings{}.opening_angle, tree, pool, cloud.forces);
    benchmark::ClobberMemory();
  }
}

BENCHMARK(read_graph)->Arg(50)->Unit(benchmark::kMicrosecond);
BENCHMARK(repel_exactly)->Arg(1000)->Unit(benchmark::kMicrosecond);
BENCHMARK(repel_by_tree)->Arg(1000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace ackbus::bench
