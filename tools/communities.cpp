// Louvain's two phases, moving and merging, on a weighted graph that shrinks from level to level.
#include "tools/communities.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <random>
#include <span>
#include <utility>

namespace ackbus::tools {
namespace {

constexpr int kLevelsMax = 10;
constexpr int kSweepsMax = 10;

struct WeightedLink {
  std::uint32_t target = 0;
  double weight = 0.0;
};

// One level's graph. A node stands for a group of the level below; links inside the group count in
// its strength alone.
struct Level {
  std::vector<std::uint64_t> row_offsets;
  std::vector<WeightedLink> links;
  std::vector<double>
      strengths;  // For each node, the weight of all its links, those inside counted twice.
  double total_strength = 0.0;

  [[nodiscard]] std::size_t size() const { return strengths.size(); }
  [[nodiscard]] std::span<const WeightedLink> links_of(std::size_t node) const {
    return std::span(links).subspan(row_offsets[node], row_offsets[node + 1] - row_offsets[node]);
  }
};

Level level_of(const Graph& graph) {
  Level level;
  level.row_offsets = graph.row_offsets;
  level.links.reserve(graph.neighbors.size());
  for (const NodeIndex neighbor : graph.neighbors) level.links.push_back({neighbor, 1.0});
  for (NodeIndex node = 0; node < graph.node_count; ++node) {
    level.strengths.push_back(graph.degree(node));
  }
  level.total_strength = static_cast<double>(graph.neighbors.size());
  return level;
}

// Weights by community around one node: a dense array with a list of what is set, cleared in the
// time it took to fill.
class Surroundings {
 public:
  explicit Surroundings(std::size_t size) : weights_(size, 0.0), listed_(size, 0) {}

  void add(std::uint32_t community, double weight) {
    if (listed_[community] == 0) {
      listed_[community] = 1;
      list_.push_back(community);
    }
    weights_[community] += weight;
  }
  void clear() {
    for (const std::uint32_t community : list_) {
      weights_[community] = 0.0;
      listed_[community] = 0;
    }
    list_.clear();
  }
  [[nodiscard]] const std::vector<std::uint32_t>& list() const { return list_; }
  [[nodiscard]] double weight(std::uint32_t community) const { return weights_[community]; }

 private:
  std::vector<double> weights_;
  std::vector<char> listed_;
  std::vector<std::uint32_t> list_;
};

// Shuffled by the engine's numbers alone: what std::shuffle does with them is left to the library.
std::vector<std::uint32_t> shuffled_order(std::size_t size, std::mt19937_64& engine) {
  std::vector<std::uint32_t> order(size);
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t last = size; last > 1; --last) {
    std::swap(order[last - 1], order[engine() % last]);
  }
  return order;
}

// Moves nodes between communities while that gains modularity; returns the community of each node.
std::vector<std::uint32_t> move_nodes(const Level& level, std::mt19937_64& engine, bool& moved) {
  std::vector<std::uint32_t> community_of(level.size());
  std::iota(community_of.begin(), community_of.end(), 0U);
  std::vector<double> community_strengths = level.strengths;
  Surroundings surroundings(level.size());
  const std::vector<std::uint32_t> order = shuffled_order(level.size(), engine);
  moved = false;
  for (int sweep = 0; sweep < kSweepsMax; ++sweep) {
    std::size_t moves = 0;
    for (const std::uint32_t node : order) {
      const std::uint32_t home = community_of[node];
      surroundings.clear();
      surroundings.add(home, 0.0);
      for (const WeightedLink& link : level.links_of(node)) {
        surroundings.add(community_of[link.target], link.weight);
      }
      community_strengths[home] -= level.strengths[node];
      const auto gain = [&](std::uint32_t community) {
        return surroundings.weight(community) -
               community_strengths[community] * level.strengths[node] / level.total_strength;
      };
      std::uint32_t best = home;
      for (const std::uint32_t community : surroundings.list()) {
        if (gain(community) > gain(best) + 1e-12) best = community;
      }
      community_strengths[best] += level.strengths[node];
      community_of[node] = best;
      moves += best != home ? 1 : 0;
    }
    moved = moved || moves > 0;
    if (moves * 1000 <= level.size()) break;  // The last few moves change no picture.
  }
  return community_of;
}

// Renumbers communities 0, 1, ... by first node; returns how many there are.
std::size_t renumber(std::vector<std::uint32_t>& community_of) {
  std::vector<std::uint32_t> number(community_of.size(), kUnreached);
  std::uint32_t count = 0;
  for (std::uint32_t& community : community_of) {
    if (number[community] == kUnreached) number[community] = count++;
    community = number[community];
  }
  return count;
}

// The graph whose nodes are the communities of `level`.
Level merge_level(const Level& level, const std::vector<std::uint32_t>& community_of,
                  std::size_t count) {
  std::vector<std::vector<std::uint32_t>> members(count);
  for (std::uint32_t node = 0; node < level.size(); ++node) {
    members[community_of[node]].push_back(node);
  }
  Level merged;
  merged.total_strength = level.total_strength;
  merged.row_offsets.push_back(0);
  Surroundings surroundings(count);
  for (std::uint32_t community = 0; community < count; ++community) {
    surroundings.clear();
    double strength = 0.0;
    for (const std::uint32_t node : members[community]) {
      strength += level.strengths[node];
      for (const WeightedLink& link : level.links_of(node)) {
        if (community_of[link.target] != community) {
          surroundings.add(community_of[link.target], link.weight);
        }
      }
    }
    for (const std::uint32_t other : surroundings.list()) {
      merged.links.push_back({other, surroundings.weight(other)});
    }
    merged.row_offsets.push_back(merged.links.size());
    merged.strengths.push_back(strength);
  }
  return merged;
}

Communities sorted_by_size(std::vector<std::uint32_t> community_of) {
  const std::size_t count = renumber(community_of);
  std::vector<std::uint32_t> sizes(count, 0);
  for (const std::uint32_t community : community_of) ++sizes[community];
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&sizes](std::uint32_t left, std::uint32_t right) {
    return sizes[left] > sizes[right];
  });
  std::vector<std::uint32_t> rank(count);
  Communities communities;
  for (std::uint32_t place = 0; place < count; ++place) {
    rank[order[place]] = place;
    communities.sizes.push_back(sizes[order[place]]);
  }
  for (std::uint32_t& community : community_of) community = rank[community];
  communities.community_of = std::move(community_of);
  return communities;
}

}  // namespace

Communities find_communities(const Graph& graph, std::uint64_t seed) {
  std::vector<std::uint32_t> community_of(graph.node_count);
  std::iota(community_of.begin(), community_of.end(), 0U);
  if (graph.edges.empty()) return sorted_by_size(std::move(community_of));
  std::mt19937_64 engine(seed);
  Level level = level_of(graph);
  for (int round = 0; round < kLevelsMax; ++round) {
    bool moved = false;
    std::vector<std::uint32_t> groups = move_nodes(level, engine, moved);
    if (!moved) break;
    const std::size_t count = renumber(groups);
    for (std::uint32_t& community : community_of) community = groups[community];
    level = merge_level(level, groups, count);
  }
  return sorted_by_size(std::move(community_of));
}

}  // namespace ackbus::tools
