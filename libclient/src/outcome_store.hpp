// What a producer knows of its tracked messages and has not given to the application yet. One node
// per message, reserved at commit, so an outcome always has a place; nodes that wait to be taken
// form a queue. Private to the producer.
#pragma once

#include <ackbus/message_id.hpp>
#include <ackbus/options.hpp>
#include <ackbus/outcome.hpp>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

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
  void know(std::uint32_t node, Outcome outcome);
  // Takes the known outcome of (slot, sequence); nullopt when it is not there.
  std::optional<Node> take(std::uint32_t slot, std::uint64_t sequence);
  // Takes the oldest known outcome.
  std::optional<Node> take_oldest();
  // The same in two steps, which moves nothing but what is wanted: a known node, or kNone; and its
  // end.
  [[nodiscard]] std::uint32_t oldest() const { return first_; }
  [[nodiscard]] std::uint32_t find(std::uint32_t slot, std::uint64_t sequence) const;
  void drop(std::uint32_t node);
  [[nodiscard]] std::uint32_t waiting() const { return waiting_; }
  [[nodiscard]] Node& node(std::uint32_t index) { return nodes_[index]; }

 private:
  void release(std::uint32_t index);
  Node remove(std::uint32_t index);
  void unlink(std::uint32_t index);

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> by_slot_;  // first node of a slot's chain
  std::uint32_t free_ = kNone;
  std::uint32_t first_ = kNone;
  std::uint32_t last_ = kNone;
  std::uint32_t waiting_ = 0;
  std::uint32_t free_nodes_ = 0;
};

}  // namespace ackbus
