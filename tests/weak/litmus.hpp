// The litmus tests of the product, in the files *_litmus.cpp, and the small world that those of a
// link share.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/weak/explorer.hpp"

namespace ackbus::weak {

std::vector<Litmus> record_litmus();  // one seqlock each
std::vector<Litmus> link_litmus();    // producer and consumer against each other
std::vector<Litmus> daemon_litmus();  // the daemon's decisions against both
std::vector<Litmus> gpu_litmus();     // the frames and state segments

inline std::vector<Litmus> all_litmus() {
  std::vector<Litmus> all;
  for (auto part : {record_litmus, link_litmus, daemon_litmus, gpu_litmus}) {
    for (Litmus& litmus : part()) {
      all.push_back(std::move(litmus));
    }
  }
  return all;
}

// One load of each execution may foretell a later store (load buffering).
template <typename S>
Litmus litmus_of(std::string name, std::string edges) {
  Litmus litmus;
  litmus.name = std::move(name);
  litmus.edges = std::move(edges);
  litmus.options.foretold_max = 1;
  litmus.make = [] { return std::make_unique<S>(); };
  return litmus;
}

// A shared struct in the model's memory, zeroed.
template <typename T>
T& shared() {
  return *reinterpret_cast<T*>(allocate(sizeof(T)));
}

}  // namespace ackbus::weak
