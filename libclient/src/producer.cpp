// The public face of a producer: refuses a handle from before a fork, takes the lock of a shared
// handle, forwards.
#include <ackbus/producer.hpp>
#include <utility>

#include "libclient/src/producer_core.hpp"

namespace ackbus {
namespace {

std::unique_lock<std::mutex> lock_of(ProducerCore& core) {
  return core.options.shared_between_threads ? std::unique_lock<std::mutex>(core.mutex)
                                             : std::unique_lock<std::mutex>();
}

}  // namespace

Loan::Loan(Loan&& other) noexcept
    : bytes_(other.bytes_),
      kind_(other.kind_),
      slot_(other.slot_),
      offset_(other.offset_),
      owner_(std::exchange(other.owner_, nullptr)) {}

Loan& Loan::operator=(Loan&& other) noexcept {
  if (this != &other) {
    std::swap(bytes_, other.bytes_);
    std::swap(kind_, other.kind_);
    std::swap(slot_, other.slot_);
    std::swap(offset_, other.offset_);
    std::swap(owner_, other.owner_);
  }
  return *this;
}

Loan::~Loan() {
  if (owner_ != nullptr && !owner_->forked()) {
    const auto lock = lock_of(*owner_);
    owner_->give_back_loan(slot_, offset_);
  }
}

Producer::Producer(std::unique_ptr<ProducerCore> core) : core_(std::move(core)) {}
Producer::Producer(Producer&&) noexcept = default;
Producer& Producer::operator=(Producer&&) noexcept = default;
Producer::~Producer() = default;

Result<Producer> Producer::connect(const ProducerOptions& options) {
  Result<std::unique_ptr<ProducerCore>> core = ProducerCore::connect(options);
  if (!core) {
    return core.error();
  }
  return Producer(std::move(*core));
}

Result<Loan> Producer::loan(Kind kind, std::uint64_t bytes, Deadline deadline) {
  if (core_->forked()) {
    return forked_error();
  }
  auto lock = lock_of(*core_);
  Result<Loan> loan = core_->loan(kind, bytes, to_ns(deadline), lock);
  core_->settle_completion_fd();  // Waiting for room, it may have reaped.
  return loan;
}

Result<Ticket> Producer::commit(Loan loan, const SendOptions& options) {
  if (core_->forked()) {
    return forked_error();
  }
  // The loan goes back, if it does, while the lock is held by this thread: hand it over as a whole.
  auto lock = lock_of(*core_);
  Result<Ticket> ticket = core_->commit(loan, options);
  core_->settle_completion_fd();
  if (lock.owns_lock()) {
    lock.unlock();
  }
  return ticket;
}

Result<Ticket> Producer::send(Kind kind, std::span<const std::byte> payload, Deadline deadline,
                              const SendOptions& options) {
  Result<Ticket> ticket{Ticket{}};
  if (core_->forked()) [[unlikely]] {
    ticket = forked_error();
    return ticket;
  }
  auto lock = lock_of(*core_);
  core_->send(kind, payload, options, true, to_ns(deadline), lock, ticket);
  core_->settle_completion_fd();
  return ticket;
}

Result<void> Producer::post(Kind kind, std::span<const std::byte> payload, Deadline deadline) {
  if (core_->forked()) {
    return forked_error();
  }
  auto lock = lock_of(*core_);
  Result<Ticket> ticket{Ticket{}};
  core_->send(kind, payload, {}, false, to_ns(deadline), lock, ticket);
  core_->settle_completion_fd();
  return ticket ? Result<void>() : Result<void>(ticket.error());
}

Result<Outcome> Producer::wait(const Ticket& ticket, Deadline deadline) {
  if (core_->forked()) {
    return forked_error();
  }
  auto lock = lock_of(*core_);
  Result<Outcome> outcome = core_->wait(ticket, to_ns(deadline), lock);
  core_->settle_completion_fd();
  return outcome;
}

std::optional<Outcome> Producer::poll(const Ticket& ticket) {
  if (core_->forked()) {
    return std::nullopt;
  }
  const auto lock = lock_of(*core_);
  core_->reap();
  std::optional<OutcomeStore::Node> node = core_->outcomes->take(ticket.slot, ticket.sequence);
  core_->settle_completion_fd();
  return node ? std::optional<Outcome>(std::move(node->outcome)) : std::nullopt;
}

std::size_t Producer::reap(std::vector<Completion>& completions, std::size_t max) {
  if (core_->forked()) {
    return 0;
  }
  const auto lock = lock_of(*core_);
  core_->reap();
  const std::size_t taken = core_->take(completions, max);
  core_->settle_completion_fd();
  return taken;
}

Result<std::size_t> Producer::wait_any(std::vector<Completion>& completions, Deadline deadline,
                                       std::size_t max) {
  if (core_->forked()) {
    return forked_error();
  }
  auto lock = lock_of(*core_);
  const Result<void> waited = core_->wait_any(to_ns(deadline), lock);
  const std::size_t taken = core_->take(completions, max);
  core_->settle_completion_fd();
  if (!waited) {
    return waited.error();
  }
  return taken;
}

Result<void> Producer::cancel(const Ticket& ticket) {
  if (core_->forked()) {
    return forked_error();
  }
  const auto lock = lock_of(*core_);
  Result<void> cancelled = core_->cancel(ticket);
  core_->settle_completion_fd();
  return cancelled;
}

int Producer::completion_fd() const {
  if (core_->forked()) {
    return -1;
  }
  const auto lock = lock_of(*core_);
  core_->exposed = true;
  core_->settle_completion_fd();
  return core_->waiter.fd();
}

std::uint64_t Producer::pending() const {
  if (core_->forked()) {
    return 0;
  }
  const auto lock = lock_of(*core_);
  return core_->link->pending_count();
}

ProducerStatistics Producer::statistics() const {
  if (core_->forked()) {
    return {};
  }
  const auto lock = lock_of(*core_);
  return core_->statistics();
}

std::uint64_t Producer::link() const {
  if (core_->forked()) {
    return 0;
  }
  const auto lock = lock_of(*core_);
  return core_->link_number;
}

std::optional<Kind> Producer::kind(const char* name) const {
  if (core_->forked()) {
    return std::nullopt;
  }
  const auto lock = lock_of(*core_);
  for (std::uint32_t number = 1; number < layout::kKindsMax; ++number) {
    const KindInfo info = read_kind(layout::BusView(core_->bus.base()), number);
    if ((info.flags & layout::kKindDefined) != 0 && info.name == name) {
      return static_cast<Kind>(number);
    }
  }
  return std::nullopt;
}

Result<void> Producer::close(Deadline deadline) {
  if (core_->forked()) {
    return forked_error();
  }
  auto lock = lock_of(*core_);
  return core_->close(to_ns(deadline), lock);
}

}  // namespace ackbus
