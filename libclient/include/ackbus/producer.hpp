// Start here: sending tracked messages. See examples/producer.cpp for the twenty lines that matter.
//
//   claim/fill/commit:  loan() -> write into it -> commit()        no copy
//                       send()                                      one copy
//                       post()                                      untracked: no outcome, fire and
//                       forget
//   reap:               wait(ticket), poll(ticket), reap(), or completion_fd() in any event loop
//
// Threads: a handle is used by one thread at a time, or by several when
// ConnectOptions::shared_between_threads is set. A handle must not be used after fork(): every call
// then fails with kForked. There are no hidden threads. What survives: the daemon may die, restart
// or be upgraded at any time; sends and outcomes go on. When the consumer dies its successor gets
// what was not answered. When the daemon lost its memory every outstanding message ends Closed.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/message_id.hpp>
#include <ackbus/options.hpp>
#include <ackbus/outcome.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace ackbus {

using Deadline = std::chrono::steady_clock::time_point;  // CLOCK_MONOTONIC

// A committed message: what to wait for, and what to name in logs.
struct Ticket {
  std::uint64_t sequence = 0;  // 1, 2, 3 ... on this producer; 0 is no ticket
  std::uint32_t slot = 0;      // where `ackbus show` finds it
  MessageId id;
};

struct Completion {
  Ticket ticket;
  Kind kind = Kind::kReserved;
  Outcome outcome;
};

// Memory for a payload, in the shared arena. Fill it, then commit it; destroying an uncommitted
// loan gives it back. It must not outlive its producer and belongs to the thread that may use the
// producer.
class Loan {
 public:
  Loan() = default;
  Loan(Loan&& other) noexcept;
  Loan& operator=(Loan&& other) noexcept;
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan();

  // Writable until commit(); the consumer reads these very bytes.
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  [[nodiscard]] Kind kind() const { return kind_; }

 private:
  friend class Producer;
  friend struct ProducerCore;
  std::span<std::byte> bytes_;
  Kind kind_ = Kind::kReserved;
  std::uint32_t slot_ = 0;
  std::uint64_t offset_ = 0;
  struct ProducerCore* owner_ = nullptr;
};

// Figures of this handle since it connected; see design section 8 for the sum they always add up
// to.
struct ProducerStatistics {
  std::uint64_t sent = 0;
  std::uint64_t success = 0;  // partial included
  std::uint64_t failed = 0;
  std::uint64_t exhausted = 0;
  std::uint64_t superseded = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t closed = 0;
  std::uint64_t posted = 0;
  std::uint64_t pending = 0;
  std::uint64_t lives = 0;  // consumer lives this handle has been served by
};

class Producer {
 public:
  // Connects and allocates the link. Errors: kNoDaemon, kPermission, kVersion, kQuota, kMemory,
  // kInvalid, kTimeout.
  [[nodiscard]] static Result<Producer> connect(const ProducerOptions& options);

  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  ~Producer();  // Like close() with a deadline of now: what is committed is still delivered.

  // Claims a slot and `bytes` of payload memory; waits until `deadline` for room. Errors:
  // kBackPressured (no room in time, or outcomes not taken), kInvalid (unknown kind; larger than
  // the arena: the text names the option), kClosed.
  [[nodiscard]] Result<Loan> loan(Kind kind, std::uint64_t bytes, Deadline deadline);
  // Publishes the loan as a tracked message. Errors: kInvalid (an option out of range, `after` not
  // earlier), kClosed.
  [[nodiscard]] Result<Ticket> commit(Loan loan, const SendOptions& options = {});
  // loan, copy, commit in one.
  [[nodiscard]] Result<Ticket> send(Kind kind, std::span<const std::byte> payload,
                                    Deadline deadline, const SendOptions& options = {});
  // Untracked: delivered at most once, no outcome, no retry.
  [[nodiscard]] Result<void> post(Kind kind, std::span<const std::byte> payload, Deadline deadline);

  // The outcome of one message. Errors: kTimeout, kNotFound (taken before, or never sent), kClosed.
  [[nodiscard]] Result<Outcome> wait(const Ticket& ticket, Deadline deadline);
  // Without waiting: nullopt while it is pending, and for a ticket whose outcome was taken.
  [[nodiscard]] std::optional<Outcome> poll(const Ticket& ticket);
  // Takes up to `max` outcomes in the order they became known, without waiting; appends to
  // `completions`.
  std::size_t reap(std::vector<Completion>& completions, std::size_t max = SIZE_MAX);
  // Waits until at least one outcome is there or the deadline passes, then reaps.
  [[nodiscard]] Result<std::size_t> wait_any(std::vector<Completion>& completions,
                                             Deadline deadline, std::size_t max = SIZE_MAX);

  // Asks that the message not be begun. The consumer decides at begin; the outcome says what came
  // of it. Errors: kNotFound when its outcome is known already.
  [[nodiscard]] Result<void> cancel(const Ticket& ticket);

  // Readable (epoll, poll) when reap() has something to do. Level-triggered; call reap() until it
  // returns 0.
  [[nodiscard]] int completion_fd() const;

  [[nodiscard]] std::uint64_t pending() const;  // committed and tracked, outcome not known
  [[nodiscard]] ProducerStatistics statistics() const;
  [[nodiscard]] std::uint64_t link() const;  // the link's number, as in `ackbus status`
  // Number of a kind by its configured name; nullopt when the bus does not know it.
  [[nodiscard]] std::optional<Kind> kind(const char* name) const;

  // Waits until every outcome is known or the deadline passes, then ends the link; what is
  // committed is delivered either way. Errors: kTimeout with the number still pending.
  [[nodiscard]] Result<void> close(Deadline deadline);

 private:
  explicit Producer(std::unique_ptr<struct ProducerCore> core);
  std::unique_ptr<struct ProducerCore> core_;
};

}  // namespace ackbus
