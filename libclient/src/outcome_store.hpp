// What a producer knows of its tracked messages and has not given to the application yet. One node
// per message, reserved at commit, so an outcome always has a place; nodes that wait to be taken
// form a queue. Private to the producer.
#pragma once

#include <ackbus/message_id.hpp>
#include <ackbus/options.hpp>
#include <ackbus/outcome.hpp>
#include <cstdint>
#include <optional>
#include <vector>

#include "shm_layout/assert.hpp"

namespace ackbus {

class OutcomeStore {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Node {
    std::uint64_t sequence = 0;
    MessageId id;
    Outcome outcome;
    std::uint32_t slot = 0;
    Kind kind = Kind::kReserved;
    bool known = false;
    bool forget = false;
    std::uint32_t next = kNone;  // in the queue of known ones, or in the free list
    std::uint32_t previous = kNone;
    std::uint32_t next_in_slot = kNone;
  };

  OutcomeStore(std::uint32_t slots, std::uint32_t nodes);

  [[nodiscard]] bool has_room() const { return free_ != kNone; }
  [[nodiscard]] std::uint32_t free_nodes() const { return free_nodes_; }
  std::uint32_t reserve(std::uint32_t slot, std::uint64_t sequence, Kind kind, const MessageId& id,
                        bool forget);
  // The outcome of a reserved node, empty until it is filled in; to be followed by know().
  [[nodiscard]] Outcome& outcome(std::uint32_t node) { return nodes_[node].outcome; }
  // The outcome of a reserved node is known: it joins the queue, or goes at once when nobody wants
  // it.
  void know(std::uint32_t node);

  // The node of a known outcome: the oldest one, or that of (slot, sequence); kNone when there is
  // none. What is wanted of it is moved out, then it is dropped.
  [[nodiscard]] std::uint32_t oldest() const { return first_; }
  [[nodiscard]] std::uint32_t find(std::uint32_t slot, std::uint64_t sequence) const;
  [[nodiscard]] Node& node(std::uint32_t index) { return nodes_[index]; }
  void drop(std::uint32_t node);
  // Both steps in one, for who wants a node of its own.
  std::optional<Node> take(std::uint32_t slot, std::uint64_t sequence);
  std::optional<Node> take_oldest();
  [[nodiscard]] std::uint32_t waiting() const { return waiting_; }

 private:
  std::optional<Node> take_known(std::uint32_t index);
  void unlink(std::uint32_t index);

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> by_slot_;  // first node of a slot's chain
  std::uint32_t free_ = kNone;
  std::uint32_t first_ = kNone;
  std::uint32_t last_ = kNone;
  std::uint32_t waiting_ = 0;
  std::uint32_t free_nodes_ = 0;
};

inline std::uint32_t OutcomeStore::reserve(std::uint32_t slot, std::uint64_t sequence, Kind kind,
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
  node.forget = forget;
  node.next = kNone;
  node.next_in_slot = by_slot_[slot];
  by_slot_[slot] = index;
  return index;
}

inline void OutcomeStore::know(std::uint32_t index) {
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

// Out of the queue and out of its slot's chain.
inline void OutcomeStore::unlink(std::uint32_t index) {
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

inline void OutcomeStore::drop(std::uint32_t index) {
  unlink(index);
  Node& node = nodes_[index];
  node.sequence = 0;
  node.known = false;
  node.next = free_;
  free_ = index;
  free_nodes_ += 1;
  node.outcome.code = OutcomeCode::kReserved;
  if (node.outcome.notes != nullptr) {  // Rare, so that the rest costs nothing.
    node.outcome.notes.reset();
  }
}

}  // namespace ackbus
