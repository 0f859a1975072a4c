// The orderings that stand in the product's sources, found as the tidy test finds them, with the
// labels of their edges: what the litmus tests have to execute.
#pragma once

#include <string>
#include <vector>

#include "tests/weak/explorer.hpp"

namespace ackbus::weak {

struct SourceOrdering {
  OrderingSite site;
  std::string label;  // of the edge that stands nearest, such as "E1"
  std::string text;   // its line, and the next one when the statement goes on
};

// Of shm_layout, libclient, daemon and gpu_proc, but for the door itself.
std::vector<SourceOrdering> source_orderings();

}  // namespace ackbus::weak
