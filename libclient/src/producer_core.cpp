#include "libclient/src/producer_core.hpp"

#include <algorithm>
#include <cstring>

#include "shm_layout/assert.hpp"
#include "shm_layout/policy.hpp"

namespace ackbus {

using layout::ControlType;

namespace {

constexpr std::uint64_t kTimeoutMsMax = 24ULL * 3600 * 1000;

Error range_error(const char* option, const std::string& value, const std::string& range) {
  return {ErrorCode::kInvalid, std::string(option) + " " + value + " is out of range: " + range};
}

}  // namespace

// ---- claim, fill, commit ----

bool ProducerCore::try_claim(std::uint64_t bytes, std::uint32_t& slot) {
  const std::optional<std::uint32_t> claimed = link->claim();
  if (!claimed) {
    return false;
  }
  slot = *claimed;
  payload_of_slot[slot] = {0, 0};
  if (bytes > layout::kInlineBytesMax) {
    const std::optional<std::uint64_t> offset = arena.allocate(bytes);
    if (!offset) {
      link->unclaim(slot);
      return false;
    }
    payload_of_slot[slot] = {*offset, bytes};
  }
  return true;
}

Result<std::uint32_t> ProducerCore::claim(Kind kind, std::uint64_t bytes, std::uint64_t deadline_ns,
                                          std::unique_lock<std::mutex>& lock) {
  if (closed) {
    return closed_error();
  }
  if (!kind_known(kind)) {
    return Error{ErrorCode::kInvalid, "kind " + std::to_string(static_cast<unsigned>(kind)) +
                                          " is not configured on bus '" + options.bus +
                                          "': add a [[kind]] to the daemon's configuration"};
  }
  if (bytes > layout::kInlineBytesMax && bytes > arena.capacity()) {
    return Error{
        ErrorCode::kInvalid,
        "a payload of " + std::to_string(bytes) + " bytes is larger than the link's arena of " +
            std::to_string(arena.capacity()) +
            ": raise ProducerOptions::arena_bytes (the bus's quota is [limits] arena_max_bytes)"};
  }
  std::uint32_t slot = 0;
  if (try_claim(bytes, slot)) {
    return slot;
  }
  const Result<void> waited = wait_until(
      deadline_ns, lock, [&] { return closed || try_claim(bytes, slot) || !outcomes->has_room(); });
  if (closed) {
    return closed_error();
  }
  if (!outcomes->has_room()) {
    return Error{
        ErrorCode::kBackPressured,
        std::to_string(outcomes->waiting()) +
            " outcomes were not taken: call reap(), wait() or poll(), or send with forget_outcome"};
  }
  if (!waited) {
    return Error{ErrorCode::kBackPressured,
                 "no room in time: " + std::to_string(link->in_use()) + " of " +
                     std::to_string(options.slots) + " slots in use, " +
                     std::to_string(arena.free_bytes()) + " of " +
                     std::to_string(arena.capacity()) + " arena bytes free"};
  }
  return slot;
}

Result<Loan> ProducerCore::loan(Kind kind, std::uint64_t bytes, std::uint64_t deadline_ns,
                                std::unique_lock<std::mutex>& lock) {
  // A loan always lies in the arena, so that it can be filled in place; zero bytes need none.
  const std::uint64_t reserved =
      bytes == 0 ? 0 : std::max<std::uint64_t>(bytes, layout::kInlineBytesMax + 1);
  Result<std::uint32_t> slot = claim(kind, reserved, deadline_ns, lock);
  if (!slot) {
    return slot.error();
  }
  Loan loan;
  loan.kind_ = kind;
  loan.slot_ = *slot;
  loan.offset_ = link_generation;
  loan.owner_ = this;
  loan.bytes_ = {bytes == 0 ? nullptr : link->arena() + payload_of_slot[*slot].first, bytes};
  loans += 1;
  return loan;
}

void ProducerCore::give_back_loan(std::uint32_t slot, std::uint64_t generation) {
  loans -= 1;
  if (generation == link_generation) {
    const auto [offset, bytes] = payload_of_slot[slot];
    if (bytes != 0) {
      arena.release(offset, bytes);
    }
    link->unclaim(slot);
  }
  if (loans == 0) {
    lost_links.clear();
  }
}

Result<CommitRequest> ProducerCore::request(Kind kind, const SendOptions& send_options,
                                            bool tracked) {
  const auto timeout = send_options.timeout.count();
  if (timeout < 0 || static_cast<std::uint64_t>(timeout) > kTimeoutMsMax) {
    return range_error("timeout", std::to_string(timeout) + " ms",
                       "1 ms to 24 h, or 0 for the kind's");
  }
  const auto max_wait = send_options.max_wait.count();
  if (max_wait < 0 || static_cast<std::uint64_t>(max_wait) > kTimeoutMsMax) {
    return range_error("max_wait", std::to_string(max_wait) + " ms",
                       "1 ms to 24 h, or 0 for the kind's");
  }
  if (send_options.max_retries && *send_options.max_retries > layout::kRetriesMax) {
    return range_error("max_retries", std::to_string(*send_options.max_retries), "0 to 1000");
  }
  CommitRequest made;
  made.kind = kind;
  made.tracked = tracked;
  made.options = send_options;
  const auto asked = [&](std::int64_t value) {
    return value > 0 && static_cast<std::uint64_t>(value) < declared_min_ms;
  };
  if (asked(timeout) || asked(max_wait)) {
    return range_error("timeout or max_wait",
                       std::to_string(asked(timeout) ? timeout : max_wait) + " ms",
                       "the daemon looks at this link every " + std::to_string(declared_min_ms) +
                           " ms; declare less with ProducerOptions::min_timeout");
  }
  if (send_options.after_sequence != 0) {
    if (send_options.after_sequence >= link->next_sequence()) {
      return range_error("after_sequence", std::to_string(send_options.after_sequence),
                         "it must name an earlier message of this producer");
    }
    const std::uint32_t slot = link->slot_of(send_options.after_sequence);
    if (slot == OutcomeStore::kNone) {
      made.options.after_sequence = 0;  // Its slot is free again: it is final.
    } else {
      made.after_slot = slot;
    }
  }
  made.id = MessageId::create();
  made.now_ns = now_ns();
  return made;
}

Result<Ticket> ProducerCore::commit(Loan& loan, const SendOptions& send_options) {
  if (loan.owner_ != this) {
    return Error{ErrorCode::kInvalid, "this loan is empty or belongs to another producer"};
  }
  if (loan.offset_ != link_generation || closed) {
    return closed ? closed_error()
                  : Error{ErrorCode::kClosed,
                          "the link was lost after this loan was taken: loan again"};
  }
  Result<CommitRequest> made = request(loan.kind_, send_options, true);
  if (!made) {
    return made.error();
  }
  CommitRequest& filled = *made;
  filled.length = loan.bytes_.size();
  filled.offset = payload_of_slot[loan.slot_].first;
  if (filled.length <= layout::kInlineBytesMax) {
    filled.inlined = loan.bytes_;
  }
  const Ticket ticket{link->commit(loan.slot_, filled), loan.slot_, filled.id};
  loan.owner_ = nullptr;  // The slot and its bytes belong to the message now.
  loans -= 1;
  ring();
  return ticket;
}

Result<Ticket> ProducerCore::send(Kind kind, std::span<const std::byte> payload,
                                  const SendOptions& send_options, bool tracked,
                                  std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock) {
  Result<std::uint32_t> slot = claim(kind, payload.size(), deadline_ns, lock);
  if (!slot) {
    return slot.error();
  }
  Result<CommitRequest> made = request(kind, send_options, tracked);
  const auto [offset, bytes] = payload_of_slot[*slot];
  if (!made) {
    if (bytes != 0) {
      arena.release(offset, bytes);
    }
    link->unclaim(*slot);
    return made.error();
  }
  made->length = payload.size();
  made->offset = offset;
  if (bytes == 0) {
    made->inlined = payload;
  } else {
    std::memcpy(link->arena() + offset, payload.data(), payload.size());
  }
  const Ticket ticket{link->commit(*slot, *made), *slot, made->id};
  ring();
  return ticket;
}

void ProducerCore::ring() {
  if (link->awaits_life()) {
    read_control();
  }
  if (link->must_ring()) {
    Waiter::ring(lives.back().ring.get());
  }
}

Result<void> ProducerCore::cancel(const Ticket& ticket) {
  if (!link->cancel(ticket.slot, ticket.sequence)) {
    return Error{ErrorCode::kNotFound,
                 "message " + ticket.id.to_string() + " has its outcome already"};
  }
  ring();
  return {};
}

// ---- reap and wait ----

void ProducerCore::reap() {
  if (link->awaits_life()) {
    read_control();
  }
  const std::size_t known = link->reap(now_ns());
  if (link->switched()) {
    link->clear_switched();
    retire_lives();
    if (!lives.empty() && link->must_ring()) {  // The writer's steps once for the new life.
      Waiter::ring(lives.back().ring.get());
    }
  }
  link->drain_freed([this](std::uint32_t slot) {
    const auto [offset, bytes] = payload_of_slot[slot];
    if (bytes != 0) {
      arena.release(offset, bytes);
    }
  });
  if (known != 0 && (followers > 0 || someone_sleeps)) {
    woken.notify_all();
    waiter.raise();
  }
  // A link whose segments were lost is followed by a new one; every other closing is for good.
  const OutcomeReason ended = link->closed();
  if (ended != OutcomeReason::kNone && ended != OutcomeReason::kUnknown && !closed) {
    closed = true;
    link->close_all(link->closed(), now_ns());
  }
}

bool ProducerCore::arm_and_look() {
  for (const LifeEnds& life : lives) {
    Waiter::drain(life.rung.get());
  }
  waiter.lower();
  read_control();
  link->arm(++sleep_generation);
  layout::fence_full();  // [F2] armed before the last look; pairs with the writers' fence before
                         // they read `sleeping`
  return link->has_work();
}

void ProducerCore::sleep(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock) {
  if (someone_sleeps) {  // Another thread is in epoll: wait for its news.
    followers += 1;
    woken.wait_until(lock, Deadline(std::chrono::nanoseconds(deadline_ns)));
    followers -= 1;
    return;
  }
  if (arm_and_look()) {
    return;
  }
  const std::uint64_t until = control ? deadline_ns : std::min(deadline_ns, reconnect_at_ns);
  someone_sleeps = true;
  if (lock.owns_lock()) {
    lock.unlock();
    waiter.wait(until);
    lock.lock();
  } else {
    waiter.wait(until);
  }
  someone_sleeps = false;
  if (followers > 0) {
    woken.notify_all();
  }
}

template <typename Done>
Result<void> ProducerCore::wait_until(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock,
                                      Done done) {
  const std::uint64_t started = now_ns();
  const std::uint64_t spin_ns = options.wait == WaitMode::kAdaptive ? options.spin_us * 1000ULL : 0;
  for (std::uint32_t round = 0;; ++round) {
    reap();
    if (done()) {
      return {};
    }
    pause_briefly();
    if (options.wait != WaitMode::kBlock && round % 32 != 31) {
      continue;
    }
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns) {
      return Error{ErrorCode::kTimeout, "the deadline passed"};
    }
    if (!control) {
      try_reattach();
    }
    if (options.wait == WaitMode::kBlock ||
        (options.wait == WaitMode::kAdaptive && now - started > spin_ns)) {
      sleep(deadline_ns, lock);
    } else if (round % 4096 == 4095) {
      read_control();  // A spinner never sleeps, so it looks at its socket now and then.
    }
  }
}

Result<Outcome> ProducerCore::wait(const Ticket& ticket, std::uint64_t deadline_ns,
                                   std::unique_lock<std::mutex>& lock) {
  std::optional<OutcomeStore::Node> found;
  const Result<void> waited = wait_until(deadline_ns, lock, [&] {
    found = outcomes->take(ticket.slot, ticket.sequence);
    return found.has_value() || !link->pending(ticket.slot, ticket.sequence);
  });
  if (found) {
    return std::move(found->outcome);
  }
  if (!waited) {
    return Error{ErrorCode::kTimeout, "message " + ticket.id.to_string() + " is still pending"};
  }
  return Error{ErrorCode::kNotFound, "message " + ticket.id.to_string() +
                                         " is not pending here: its outcome was taken before"};
}

Result<void> ProducerCore::wait_any(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock) {
  return wait_until(deadline_ns, lock, [&] { return outcomes->waiting() > 0; });
}

std::size_t ProducerCore::take(std::vector<Completion>& completions, std::size_t max) {
  std::size_t taken = 0;
  while (taken < max) {
    std::optional<OutcomeStore::Node> node = outcomes->take_oldest();
    if (!node) {
      break;
    }
    completions.push_back(Completion{Ticket{node->sequence, node->slot, node->id}, node->kind,
                                     std::move(node->outcome)});
    taken += 1;
  }
  return taken;
}

void ProducerCore::settle_completion_fd() {
  if (!exposed || someone_sleeps) {
    return;
  }
  if (outcomes->waiting() > 0 || arm_and_look()) {
    waiter.raise();
  }
}

ProducerStatistics ProducerCore::statistics() const {
  ProducerStatistics sum = before;
  const layout::SubmissionView view(submission.base(), {options.slots, options.arena_bytes});
  for (std::uint32_t kind = 1; kind < layout::kKindsMax; ++kind) {
    const layout::ProducerCounters& counters = view.counters(kind);
    // relaxed because this process wrote the figures
    sum.sent += counters.sent.load_relaxed();
    sum.success += counters.success.load_relaxed() + counters.partial_success.load_relaxed();
    sum.failed += counters.failed.load_relaxed();
    sum.exhausted += counters.exhausted.load_relaxed();
    sum.superseded += counters.superseded.load_relaxed();
    sum.cancelled += counters.cancelled.load_relaxed();
    sum.closed += counters.closed.load_relaxed();
    sum.posted += counters.posted.load_relaxed();
  }
  sum.pending = link->pending_count();
  sum.lives = lives_seen;
  return sum;
}

bool ProducerCore::kind_known(Kind kind) {
  const auto number = static_cast<std::uint32_t>(kind);
  if (number == 0 || number >= layout::kKindsMax) {
    return false;
  }
  if ((kinds_known >> number & 1U) == 0 &&
      (read_kind(layout::BusView(bus.base()), number).flags & layout::kKindDefined) != 0) {
    kinds_known |= 1ULL << number;
  }
  return (kinds_known >> number & 1U) != 0;
}

Error ProducerCore::closed_error() const {
  const OutcomeReason reason = link->closed();
  return {ErrorCode::kClosed,
          std::string("the producer is closed") +
              (reason == OutcomeReason::kNone ? "" : std::string(": ") + reason_name(reason)) +
              "; connect a new one"};
}

Result<void> ProducerCore::close(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock) {
  const Result<void> drained =
      wait_until(deadline_ns, lock, [&] { return link->pending_count() == 0; });
  if (!closed && control) {
    layout::LinkMessage bye{};
    bye.header = layout::control_header<layout::LinkMessage>(ControlType::kBye);
    bye.link = link_number;
    control.send(bye);
  }
  closed = true;
  if (!drained) {
    return Error{ErrorCode::kTimeout,
                 std::to_string(link->pending_count()) +
                     " messages are still pending; they are delivered, their outcomes are "
                     "counted by the daemon"};
  }
  return {};
}

}  // namespace ackbus
