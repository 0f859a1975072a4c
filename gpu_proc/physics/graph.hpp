// The graph on the host: what an upload brought, in upload order, and the CSR rows made from it.
// Data flow: checked payload or restored state -> Graph -> backend. Plain data; owned by the
// engine's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu_proc/payload/format.hpp"

namespace ackbus::gpu {

// An edge by places in the node arrays, not by ids.
struct IndexedEdge {
  std::uint32_t source;
  std::uint32_t target;
  float weight;
};
static_assert(sizeof(IndexedEdge) == 12);

struct Graph {
  std::vector<std::uint32_t> ids;
  std::vector<float> masses;
  std::vector<std::uint32_t> flags;
  std::vector<IndexedEdge> edges;
  std::uint64_t structure_hash = 0;

  [[nodiscard]] std::size_t nodes() const { return ids.size(); }
};

struct Csr {
  std::vector<std::uint32_t> row;  // nodes + 1
  std::vector<std::uint32_t> neighbour;
  std::vector<float> weight;
};

// Rows of an undirected graph: every edge in both rows, in edge order, self-loops left out. Edge
// end points must be below `nodes`; twice the limit of edges fits 32 bits.
Csr make_csr(std::size_t nodes, const std::vector<IndexedEdge>& edges);

// A hash of ids, masses, flags and edges, but not of positions: equal for two uploads that differ
// only in motion.
std::uint64_t structure_hash(const Graph& graph);

}  // namespace ackbus::gpu
