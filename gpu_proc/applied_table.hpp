// Which UpdateNodePositions and ComputeForces of each link the positions already contain. A message
// that was applied and checkpointed, but whose ack was lost with the process, comes again with a
// higher attempt: it is answered from here instead of being applied twice. Bounded; kept in the
// state segment with the positions it speaks of. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "shm_layout/state.hpp"

namespace ackbus::gpu {

class AppliedTable {
 public:
  // True if that message was recorded. Sequences more than 64 below the link's highest are no
  // longer known, and are taken as not applied: at least once.
  [[nodiscard]] bool contains(std::uint64_t link, std::uint64_t sequence) const;
  // Records it; the link used longest ago makes room.
  void record(std::uint64_t link, std::uint64_t sequence);

  [[nodiscard]] const std::vector<layout::StateLink>& links() const { return links_; }
  // From a restored segment; at most kStateMaxLinks.
  void assign(std::vector<layout::StateLink> links);

 private:
  layout::StateLink& place_for(std::uint64_t link);
  std::vector<layout::StateLink> links_;
  std::uint64_t clock_ = 0;
};

}  // namespace ackbus::gpu
