// Start here: sending tracked messages. See examples/producer.cpp for the twenty lines that matter.
//
//   claim/fill/commit:  loan() -> write into it -> commit()        no copy
//                       send()                                      one copy
//                       post()                                      untracked: no outcome, fire and
//                       forget
//   reap:               wait(ticket), poll(ticket), reap(), or completion_fd() in any event loop
//
// Threads: a handle is used by one thread at a time, or by several when
// ConnectOptions::shared_between_threads is set. There are no hidden threads. What survives: the
// daemon may die, restart or be upgraded at any time; sends and outcomes go on. When the consumer
// dies its successor gets what was not answered. When the daemon lost its memory every outstanding
// message ends Closed, and the handle gets a new link from the next daemon.
//
// Fork: a handle must not be used after fork(). In the child, calls that return a Result fail with
// kForked; the others say what they give there.
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

// A message whose outcome was taken with reap() or wait_any(). A plain value.
struct Completion {
  Ticket ticket;                // as commit() or send() gave it
  Kind kind = Kind::kReserved;  // as it was sent
  Outcome outcome;
};

// Memory for a payload, in the shared arena. Fill it, then commit it; destroying an uncommitted
// loan gives it back. It must not outlive its producer and belongs to the thread that may use the
// producer.
class Loan {
 public:
  Loan() = default;  // empty: commit() refuses it
  // What was moved from owns nothing and is not to be used.
  Loan(Loan&& other) noexcept;
  // Swaps the two.
  Loan& operator=(Loan&& other) noexcept;
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan();

  // Writable until commit(); the consumer reads these very bytes. Not cleared: they hold what an
  // earlier message left there.
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  [[nodiscard]] Kind kind() const { return kind_; }  // as asked for with loan()

 private:
  friend class Producer;
  friend struct ProducerCore;
  std::span<std::byte> bytes_;
  Kind kind_ = Kind::kReserved;
  std::uint32_t slot_ = 0;
  std::uint64_t offset_ = 0;
  struct ProducerCore* owner_ = nullptr;
};

// Figures of this handle since it connected, over every link it had; each counts messages unless
// said. Always: sent = success + failed + exhausted + superseded + cancelled + closed + pending
// (docs/architecture.md#the-sum-of-a-link). An outcome counts when this handle has learnt of it, in
// reap() or any other call, whether or not it was taken.
struct ProducerStatistics {
  std::uint64_t sent = 0;        // committed and tracked
  std::uint64_t success = 0;     // partial included
  std::uint64_t failed = 0;      // by the consumer's answer
  std::uint64_t exhausted = 0;   // by the daemon's verdict; a dead letter was written
  std::uint64_t superseded = 0;  // by a newer message of the same kind and key
  std::uint64_t cancelled = 0;   // may-have-run included
  std::uint64_t closed = 0;      // pending when the queue, the bus or the link ended
  std::uint64_t posted = 0;      // untracked; not in `sent`
  std::uint64_t pending = 0;     // outcome not known yet
  std::uint64_t lives = 0;       // consumer lives this handle has been served by
};

// One link to a queue. Moved, never copied; of a handle that was moved from nothing but destroying
// it and assigning to it is allowed. Deadlines are moments of CLOCK_MONOTONIC; with one in the past
// a call looks once and does not wait.
class Producer {
 public:
  // Connects and allocates the link. Errors: kInvalid (slots, arena_bytes or min_timeout out of
  // range, a name or path that is too long), kNoDaemon, kPermission (not admitted to the queue),
  // kNotFound (no such queue), kVersion, kQuota (the text names the limit), kMemory, kTimeout
  // (after connect_timeout), kDisconnected (the daemon hung up meanwhile), kProtocol, kSystem.
  [[nodiscard]] static Result<Producer> connect(const ProducerOptions& options);

  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  // Like close() with a deadline of now: what is committed is still delivered. In a forked child it
  // only frees memory.
  ~Producer();

  // Claims a slot and `bytes` of payload memory, 0 to the arena's size; waits until `deadline` for
  // room, and takes in outcomes meanwhile. Errors: kBackPressured (no room in time, or four
  // outcomes a slot were not taken), kInvalid (unknown kind; outside the bounds of its kind; larger
  // than the arena: the text names the option), kClosed, kForked.
  [[nodiscard]] Result<Loan> loan(Kind kind, std::uint64_t bytes, Deadline deadline);
  // Publishes the loan as a tracked message. Never waits. After an error the loan is given back and
  // nothing was sent. Errors: kInvalid (an option out of range, see SendOptions; an empty loan or
  // one of another producer), kClosed (also when the link was lost since the loan was taken: loan
  // again), kForked.
  [[nodiscard]] Result<Ticket> commit(Loan loan, const SendOptions& options = {});
  // loan, copy, commit in one; `payload` is free when it returns. Waits as loan() does. Errors:
  // those of loan() and commit(); nothing was sent then.
  [[nodiscard]] Result<Ticket> send(Kind kind, std::span<const std::byte> payload,
                                    Deadline deadline, const SendOptions& options = {});
  // Untracked: delivered at most once, no outcome, no retry. Waits for room as loan() does. Errors:
  // those of loan().
  [[nodiscard]] Result<void> post(Kind kind, std::span<const std::byte> payload, Deadline deadline);

  // The outcome of one message, taken: it is given once, here, by poll() or by reap(). Waits until
  // it is known or the deadline passes; a link that closes gives the outcome Closed, not an error.
  // Errors: kTimeout, kNotFound (taken before, sent with forget_outcome and ended, or never sent),
  // kForked.
  [[nodiscard]] Result<Outcome> wait(const Ticket& ticket, Deadline deadline);
  // Without waiting: nullopt while it is pending, for a ticket whose outcome was taken, and in a
  // forked child.
  [[nodiscard]] std::optional<Outcome> poll(const Ticket& ticket);
  // Takes up to `max` outcomes in the order they became known, without waiting; appends to
  // `completions` and gives how many. 0 in a forked child.
  std::size_t reap(std::vector<Completion>& completions, std::size_t max = SIZE_MAX);
  // Waits until at least one outcome is there or the deadline passes, then takes like reap() and
  // gives how many. Errors: kTimeout (also when nothing is pending), kForked.
  [[nodiscard]] Result<std::size_t> wait_any(std::vector<Completion>& completions,
                                             Deadline deadline, std::size_t max = SIZE_MAX);

  // Asks that the message not be begun. The consumer decides at begin; the outcome says what came
  // of it. Never waits. Errors: kNotFound when its outcome is known already, kForked.
  [[nodiscard]] Result<void> cancel(const Ticket& ticket);

  // Readable (epoll, poll) when reap() has something to do. Level-triggered; call reap() until it
  // returns 0. The same descriptor for the handle's life, which owns it: do not read, write or
  // close it. -1 in a forked child.
  [[nodiscard]] int completion_fd() const;

  // Messages committed and tracked whose outcome this handle has not learnt of; 0 in a forked
  // child.
  [[nodiscard]] std::uint64_t pending() const;
  // All 0 in a forked child.
  [[nodiscard]] ProducerStatistics statistics() const;
  // The link's number, as in `ackbus status`; 0 while a lost link has no successor yet, and in a
  // forked child. A new link has another number.
  [[nodiscard]] std::uint64_t link() const;
  // Number of a kind by its configured name, written exactly so; nullopt when the bus does not know
  // it and in a forked child. `name` is not null.
  [[nodiscard]] std::optional<Kind> kind(const char* name) const;

  // Waits until every outcome is known or the deadline passes, then ends the link; what is
  // committed is delivered either way. Afterwards loan(), commit(), send() and post() fail with
  // kClosed, and outcomes that are known can still be taken. Errors: kTimeout with the number still
  // pending (the link is ended all the same), kForked.
  [[nodiscard]] Result<void> close(Deadline deadline);

 private:
  explicit Producer(std::unique_ptr<struct ProducerCore> core);
  std::unique_ptr<struct ProducerCore> core_;
};

}  // namespace ackbus
