// Groups of nodes that are linked more among themselves than with others, for the colours of a
// picture. Data flow: graph in, a group number for each node out. Threads: a pure function on the
// calling thread.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/graph.hpp"

namespace ackbus::tools {

struct Communities {
  std::vector<std::uint32_t> community_of;  // For each node, a community number.
  std::vector<std::uint32_t> sizes;         // Nodes by community number, largest first.
};

// Finds communities by the Louvain method (Blondel, Guillaume, Lambiotte, Lefebvre, "Fast unfolding
// of communities in large networks", 2008): nodes move to the neighbouring community that gains
// most modularity, then communities become the nodes of a smaller graph, until nothing moves.
// Weights are not used. The order of visits is shuffled by `seed`, so the same graph and seed give
// the same communities. The number of rounds is bounded; each takes O(nodes + edges).
[[nodiscard]] Communities find_communities(const Graph& graph, std::uint64_t seed);

}  // namespace ackbus::tools
