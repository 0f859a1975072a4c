// A producer's handle that writes down what it does: intent, call, fact. Both producer roles send
// through it. Threads: one.
#pragma once

#include <ackbus/producer.hpp>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tests/chaos/journal.hpp"
#include "tests/chaos/message.hpp"
#include "tests/chaos/roles.hpp"

namespace ackbus::chaos {

class ProducerHandle {
 public:
  // Tries until there is a daemon.
  ProducerHandle(const RoleArguments& arguments, const std::string& queue);

  // Sends this payload as the plan says; the ticket's sequence is 0 when nothing was sent.
  Ticket send(const Plan& plan, std::span<const std::byte> payload, bool by_loan);
  void post(const Plan& plan, std::span<const std::byte> payload);
  void cancel(const Ticket& ticket);
  // Waits until then, and takes what comes meanwhile.
  void take_until(Deadline deadline);
  // Takes everything outstanding and ends the link; false when something never ended.
  [[nodiscard]] bool finish();

  [[nodiscard]] std::uint64_t next_number() const { return number_ + 1; }
  [[nodiscard]] std::uint64_t pending() const { return producer_.pending(); }
  [[nodiscard]] const Completion* last_completion() const {
    return completions_.empty() ? nullptr : &completions_.back();
  }

 private:
  void note(Record record);
  void trouble(const Error& error);
  void take(std::size_t from);
  void committed(std::uint64_t sequence);
  void check_figures();

  std::uint32_t index_;
  std::uint32_t incarnation_;
  Journal journal_;
  Producer producer_;
  std::uint64_t number_ = 0;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t sent_ = 0;
  std::uint64_t ended_ = 0;
  std::unordered_map<std::uint64_t, Record> outstanding_;  // by sequence
  std::vector<Completion> completions_;
};

}  // namespace ackbus::chaos
