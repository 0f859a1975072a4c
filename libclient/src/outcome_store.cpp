#include "libclient/src/outcome_store.hpp"

#include "shm_layout/assert.hpp"

namespace ackbus {

OutcomeStore::OutcomeStore(std::uint32_t slots, std::uint32_t nodes)
    : nodes_(nodes), by_slot_(slots, kNone), free_nodes_(nodes) {
  for (std::uint32_t i = nodes; i-- > 0;) {
    nodes_[i].next = free_;
    free_ = i;
  }
}

std::uint32_t OutcomeStore::reserve(std::uint32_t slot, std::uint64_t sequence, Kind kind,
                                    const MessageId& id, bool forget) {
  ACKBUS_ASSERT(free_ != kNone);
  const std::uint32_t index = free_;
  Node& node = nodes_[index];
  free_ = node.next;
  free_nodes_ -= 1;
  node.sequence = sequence;
  node.id = id;
  node.slot = slot;
  node.kind = kind;
  node.known = false;
  node.forget = forget;
  node.next = kNone;
  node.previous = kNone;
  node.next_in_slot = by_slot_[slot];
  by_slot_[slot] = index;
  return index;
}

void OutcomeStore::know(std::uint32_t index) {
  Node& node = nodes_[index];
  ACKBUS_ASSERT(!node.known && node.sequence != 0);
  node.known = true;
  node.previous = last_;
  (last_ == kNone ? first_ : nodes_[last_].next) = index;
  last_ = index;
  waiting_ += 1;
  if (node.forget) {
    drop(index);
  }
}

void OutcomeStore::know(std::uint32_t index, Outcome outcome) {
  nodes_[index].outcome = std::move(outcome);
  know(index);
}

// Out of the queue and out of its slot's chain.
void OutcomeStore::unlink(std::uint32_t index) {
  Node& node = nodes_[index];
  (node.previous == kNone ? first_ : nodes_[node.previous].next) = node.next;
  (node.next == kNone ? last_ : nodes_[node.next].previous) = node.previous;
  waiting_ -= 1;
  std::uint32_t* link = &by_slot_[node.slot];
  while (*link != index) {  // Bounded by the number of nodes: the chain has each node once.
    ACKBUS_ASSERT(*link != kNone);
    link = &nodes_[*link].next_in_slot;
  }
  *link = node.next_in_slot;
}

void OutcomeStore::drop(std::uint32_t index) {
  unlink(index);
  release(index);
}

OutcomeStore::Node OutcomeStore::remove(std::uint32_t index) {
  unlink(index);
  Node taken = std::move(nodes_[index]);
  release(index);
  return taken;
}

void OutcomeStore::release(std::uint32_t index) {
  Node& node = nodes_[index];
  node.sequence = 0;
  node.known = false;
  node.next = free_;
  free_ = index;
  free_nodes_ += 1;
  Outcome& outcome = node.outcome;
  outcome.code = OutcomeCode::kReserved;
  // Rare, so that the rest costs nothing.
  if (!outcome.text.empty() || !outcome.metadata.empty() || outcome.text_cut) {
    outcome = Outcome{};
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

std::optional<OutcomeStore::Node> OutcomeStore::take(std::uint32_t slot, std::uint64_t sequence) {
  const std::uint32_t index = find(slot, sequence);
  return index == kNone ? std::nullopt : std::optional<Node>(remove(index));
}

std::optional<OutcomeStore::Node> OutcomeStore::take_oldest() {
  return first_ == kNone ? std::nullopt : std::optional<Node>(remove(first_));
}

}  // namespace ackbus
