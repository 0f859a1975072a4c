#include "libclient/src/outcome_store.hpp"

#include <utility>

namespace ackbus {

OutcomeStore::OutcomeStore(std::uint32_t slots, std::uint32_t nodes)
    : nodes_(nodes), by_slot_(slots, kNone), free_nodes_(nodes) {
  for (std::uint32_t i = nodes; i-- > 0;) {
    nodes_[i].next = free_;
    free_ = i;
  }
}

std::uint32_t OutcomeStore::find(std::uint32_t slot, std::uint64_t sequence) const {
  if (slot >= by_slot_.size() || sequence == 0) {
    return kNone;
  }
  std::uint32_t index = by_slot_[slot];
  while (index != kNone && nodes_[index].sequence != sequence) {  // Bounded: each node once.
    index = nodes_[index].next_in_slot;
  }
  return index != kNone && nodes_[index].known ? index : kNone;
}

std::optional<OutcomeStore::Node> OutcomeStore::take_known(std::uint32_t index) {
  if (index == kNone) {
    return std::nullopt;
  }
  std::optional<Node> taken(std::move(nodes_[index]));
  drop(index);
  return taken;
}

std::optional<OutcomeStore::Node> OutcomeStore::take(std::uint32_t slot, std::uint64_t sequence) {
  return take_known(find(slot, sequence));
}

std::optional<OutcomeStore::Node> OutcomeStore::take_oldest() { return take_known(first_); }

}  // namespace ackbus
