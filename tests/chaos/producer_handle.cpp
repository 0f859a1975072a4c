#include "tests/chaos/producer_handle.hpp"

#include <cstdio>
#include <cstring>

namespace ackbus::chaos {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr milliseconds kRoomPatience{200};
constexpr seconds kEndPatience{90};  // only a message that never ends takes so long
constexpr std::size_t kKeptCompletions = 256;

Producer connect(const RoleArguments& arguments, const std::string& queue) {
  ProducerOptions options;
  options.runtime_dir = arguments.folder + "/run";
  options.queue = queue;
  options.client = "chaos-" + arguments.role + "-" + std::to_string(arguments.index);
  options.slots = 64;
  options.arena_bytes = 1 << 20;
  for (;;) {
    Result<Producer> producer = Producer::connect(options);
    if (producer) {
      return std::move(producer).value();
    }
    pause_ms(5);
  }
}

}  // namespace

ProducerHandle::ProducerHandle(const RoleArguments& arguments, const std::string& queue)
    : index_(arguments.index),
      incarnation_(arguments.incarnation),
      journal_(journal_path(arguments)),
      producer_(connect(arguments, queue)) {
  Record record;
  record.entry = Entry::kConnected;
  record.sequence = producer_.link();
  note(record);
}

void ProducerHandle::note(Record record) {
  record.producer = index_;
  record.incarnation = incarnation_;
  journal_.write(record);
}

void ProducerHandle::trouble(const Error& error) {
  std::fprintf(stderr, "producer %u.%u: %s\n", index_, incarnation_, error.text.c_str());
  Record record;
  record.entry = Entry::kTrouble;
  record.extra = static_cast<std::uint64_t>(error.code);
  note(record);
}

void ProducerHandle::committed(std::uint64_t sequence) {
  if (sequence != next_sequence_) {
    trouble({ErrorCode::kSystem, "sequence " + std::to_string(sequence) + " instead of " +
                                     std::to_string(next_sequence_)});
  }
  next_sequence_ = sequence + 1;
}

Ticket ProducerHandle::send(const Plan& plan, std::span<const std::byte> payload, bool by_loan) {
  Record record;
  record.entry = Entry::kSending;
  record.kind = static_cast<std::uint16_t>(plan.kind);
  record.number = ++number_;
  record.sequence = next_sequence_;
  record.key = plan.options.key;
  note(record);
  const Deadline deadline = steady_clock::now() + kRoomPatience;
  Result<Ticket> ticket = Ticket{};
  if (by_loan) {
    Result<Loan> loan = producer_.loan(plan.kind, payload.size(), deadline);
    if (loan) {
      std::memcpy(loan->bytes().data(), payload.data(), payload.size());
      ticket = producer_.commit(std::move(loan).value(), plan.options);
    } else {
      ticket = loan.error();
    }
  } else {
    ticket = producer_.send(plan.kind, payload, deadline, plan.options);
  }
  if (!ticket) {
    record.entry = Entry::kNotSent;
    note(record);
    if (ticket.error().code != ErrorCode::kBackPressured) {
      trouble(ticket.error());
    }
    return {};
  }
  record.entry = Entry::kSent;
  record.sequence = ticket->sequence;
  note(record);
  committed(ticket->sequence);
  sent_ += 1;
  outstanding_[ticket->sequence] = record;
  return *ticket;
}

void ProducerHandle::post(const Plan& plan, std::span<const std::byte> payload) {
  Record record;
  record.entry = Entry::kPosting;
  record.kind = static_cast<std::uint16_t>(plan.kind);
  record.number = ++number_;
  record.sequence = next_sequence_;
  note(record);
  const Result<void> posted =
      producer_.post(plan.kind, payload, steady_clock::now() + kRoomPatience);
  record.entry = posted ? Entry::kPosted : Entry::kNotSent;
  note(record);
  if (posted) {
    committed(next_sequence_);
  } else if (posted.error().code != ErrorCode::kBackPressured) {
    trouble(posted.error());
  }
}

void ProducerHandle::cancel(const Ticket& ticket) {
  const auto found = outstanding_.find(ticket.sequence);
  if (found == outstanding_.end()) {
    return;  // It has ended already.
  }
  Record record = found->second;
  record.entry = Entry::kCancelling;
  note(record);
  const Result<void> asked = producer_.cancel(ticket);
  if (!asked && asked.error().code != ErrorCode::kNotFound) {
    trouble(asked.error());
  }
}

void ProducerHandle::take(std::size_t from) {
  for (std::size_t i = from; i < completions_.size(); ++i) {
    const Completion& completion = completions_[i];
    const auto found = outstanding_.find(completion.ticket.sequence);
    if (found == outstanding_.end() ||
        static_cast<std::uint16_t>(completion.kind) != found->second.kind) {
      trouble({ErrorCode::kSystem, "an outcome of sequence " +
                                       std::to_string(completion.ticket.sequence) +
                                       ", which is not outstanding"});
      continue;
    }
    Record record = found->second;
    record.entry = Entry::kOutcome;
    record.code = static_cast<std::uint8_t>(completion.outcome.code);
    record.attempt = completion.outcome.attempt;
    record.extra = static_cast<std::uint64_t>(completion.outcome.reason);
    note(record);
    ended_ += 1;
    outstanding_.erase(found);
  }
}

void ProducerHandle::take_until(Deadline deadline) {
  do {
    if (completions_.size() >= kKeptCompletions) {
      completions_.clear();
    }
    const std::size_t before = completions_.size();
    const Result<std::size_t> taken = producer_.wait_any(completions_, deadline);
    take(before);
    if (!taken && producer_.pending() == 0) {
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
      pause_ms(static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    }
  } while (steady_clock::now() < deadline);
}

void ProducerHandle::check_figures() {
  const ProducerStatistics figures = producer_.statistics();
  if (figures.sent != sent_ || ended_ != sent_ || figures.pending != 0 || !outstanding_.empty()) {
    trouble({ErrorCode::kSystem, "the handle's figures: sent " + std::to_string(figures.sent) +
                                     " instead of " + std::to_string(sent_) + ", ended " +
                                     std::to_string(ended_) + ", pending " +
                                     std::to_string(figures.pending)});
  }
}

bool ProducerHandle::finish() {
  const Deadline patience = steady_clock::now() + kEndPatience;
  while (producer_.pending() != 0 && steady_clock::now() < patience) {
    take_until(steady_clock::now() + milliseconds(20));
  }
  const std::size_t before = completions_.size();
  producer_.reap(completions_);
  take(before);
  check_figures();
  if (producer_.pending() != 0) {
    return false;
  }
  if (const Result<void> closed = producer_.close(patience); !closed) {
    trouble(closed.error());
    return false;
  }
  Record record;
  record.entry = Entry::kFinished;
  note(record);
  return true;
}

}  // namespace ackbus::chaos
