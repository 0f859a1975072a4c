#include "gpu_proc/physics/graph.hpp"

#include <span>

#include "shm_layout/checksum.hpp"

namespace ackbus::gpu {

Csr make_csr(std::size_t nodes, const std::vector<IndexedEdge>& edges) {
  Csr csr;
  csr.row.assign(nodes + 1, 0);
  for (const IndexedEdge& edge : edges) {
    if (edge.source == edge.target) continue;
    ++csr.row[edge.source + 1];
    ++csr.row[edge.target + 1];
  }
  for (std::size_t node = 0; node < nodes; ++node) csr.row[node + 1] += csr.row[node];
  csr.neighbour.resize(csr.row[nodes]);
  csr.weight.resize(csr.row[nodes]);
  std::vector<std::uint32_t> next(csr.row.begin(), csr.row.end() - 1);
  const auto put = [&](std::uint32_t from, std::uint32_t to, float weight) {
    const std::uint32_t place = next[from]++;
    csr.neighbour[place] = to;
    csr.weight[place] = weight;
  };
  for (const IndexedEdge& edge : edges) {
    if (edge.source == edge.target) continue;
    put(edge.source, edge.target, edge.weight);
    put(edge.target, edge.source, edge.weight);
  }
  return csr;
}

std::uint64_t structure_hash(const Graph& graph) {
  layout::Checksum sum;
  const auto add = [&sum](const auto& array) {
    const std::uint64_t count = array.size();
    sum.add(&count, sizeof(count));
    sum.add(array.data(), array.size() * sizeof(array[0]));
  };
  add(graph.ids);
  add(graph.masses);
  add(graph.flags);
  add(graph.edges);
  return sum.value();
}

}  // namespace ackbus::gpu
