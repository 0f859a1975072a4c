#include "libclient/src/producer_core.hpp"

#include <algorithm>
#include <utility>

#include "libclient/src/sleep_fence.hpp"
#include "shm_layout/bus_records.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

using layout::ControlType;

// ---- wait and claim ----

template <typename Done>
Result<void> ProducerCore::wait_until(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock,
                                      Done done) {
  const std::uint64_t started = clock.now_ns();
  const std::uint64_t spin_ns = options.wait == WaitMode::kAdaptive ? options.spin_us * 1000ULL : 0;
  for (std::uint32_t round = 0;; ++round) {
    // The look costs a tenth of a reap, and an answer that it misses is found a few rounds later.
    if (round % 32 == 0 || options.wait == WaitMode::kBlock || link->has_work()) {
      reap();
    }
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
    if (options.wait == WaitMode::kBlock ||
        (options.wait == WaitMode::kAdaptive && now - started > spin_ns)) {
      sleep(deadline_ns, lock);
    } else if (round % 4096 == 4095) {
      read_control();  // A spinner never sleeps, so it looks at its socket now and then.
    }
  }
}

bool ProducerCore::try_claim(std::uint64_t bytes, std::uint32_t& slot) {
  const std::optional<std::uint32_t> claimed = link->claim();
  if (!claimed) {
    return false;
  }
  slot = *claimed;
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

void ProducerCore::release_arena(std::uint32_t slot) {
  auto& [offset, bytes] = payload_of_slot[slot];
  if (bytes != 0) {
    arena.release(offset, bytes);
    bytes = 0;
  }
}

bool ProducerCore::claim_at_once(Kind kind, std::uint64_t bytes, std::uint32_t& slot) {
  const auto number = static_cast<std::uint32_t>(kind);
  return !closed && number < layout::kKindsMax && (kinds_unbounded >> number & 1U) != 0 &&
         (bytes <= layout::kInlineBytesMax || bytes <= arena.capacity()) && try_claim(bytes, slot);
}

std::optional<Error> ProducerCore::refuse(Kind kind, std::uint64_t bytes,
                                          std::uint64_t reserved_bytes) {
  if (closed) {
    return closed_error();
  }
  if (!kind_known(kind)) {
    return Error{ErrorCode::kInvalid, "kind " + std::to_string(static_cast<unsigned>(kind)) +
                                          " is not configured on bus '" + options.bus +
                                          "': add a [[kind]] to the daemon's configuration"};
  }
  if (std::optional<std::string> problem =
          bounds.problem(static_cast<std::uint32_t>(kind), bytes)) {
    return Error{ErrorCode::kInvalid, *std::move(problem)};
  }
  if (reserved_bytes > layout::kInlineBytesMax && reserved_bytes > arena.capacity()) {
    return Error{
        ErrorCode::kInvalid,
        "a payload of " + std::to_string(bytes) + " bytes is larger than the link's arena of " +
            std::to_string(arena.capacity()) +
            ": raise ProducerOptions::arena_bytes (the bus's quota is [limits] max_arena_bytes)"};
  }
  return std::nullopt;
}

Result<std::uint32_t> ProducerCore::claim(Kind kind, std::uint64_t bytes,
                                          std::uint64_t reserved_bytes, std::uint64_t deadline_ns,
                                          std::unique_lock<std::mutex>& lock) {
  if (std::optional<Error> refused = refuse(kind, bytes, reserved_bytes)) {
    return *std::move(refused);
  }
  std::uint32_t slot = 0;
  if (try_claim(reserved_bytes, slot)) {
    return slot;
  }
  const Result<void> waited = wait_until(deadline_ns, lock, [&] {
    return closed || try_claim(reserved_bytes, slot) || !outcomes->has_room();
  });
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

// ---- reap and wait ----

void ProducerCore::reap() {
  if (!control || reattaching) {
    try_reattach();
  }
  if (link->awaits_life()) {
    read_control();
  }
  const std::size_t known = link->reap(clock.now_ns());
  if (link->switched()) {
    link->clear_switched();
    retire_lives();
    if (!lives.empty() && link->must_ring()) {  // The writer's steps once for the new life.
      Waiter::ring(lives.back().ring.get());
    }
  }
  if (!drained_untold.empty()) [[unlikely]] {
    tell_drained();
  }
  link->drain_freed([this](std::uint32_t slot) { release_arena(slot); });
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
  for (LifeEnds& life : lives) {
    life.rung.drain(waiter);
  }
  waiter.lower();
  const bool heard = read_control();
  link->arm(++sleep_generation);
  fence_armed();
  ACKBUS_POINT(kProducerArmed);
  return heard || link->has_work();
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

Result<Outcome> ProducerCore::wait(const Ticket& ticket, std::uint64_t deadline_ns,
                                   std::unique_lock<std::mutex>& lock) {
  std::uint32_t found = OutcomeStore::kNone;
  const Result<void> waited = wait_until(deadline_ns, lock, [&] {
    found = outcomes->find(ticket.slot, ticket.sequence);
    return found != OutcomeStore::kNone || !link->pending(ticket.slot, ticket.sequence);
  });
  if (found != OutcomeStore::kNone) {
    Result<Outcome> outcome(std::move(outcomes->node(found).outcome));
    outcomes->drop(found);
    return outcome;
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
    const std::uint32_t index = outcomes->oldest();
    if (index == OutcomeStore::kNone) {
      break;
    }
    OutcomeStore::Node& node = outcomes->node(index);
    Completion& completion = completions.emplace_back();
    completion.ticket.sequence = node.sequence;
    completion.ticket.slot = node.slot;
    completion.ticket.id = node.id;
    completion.kind = node.kind;
    completion.outcome = std::move(node.outcome);
    outcomes->drop(index);
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
  if ((kinds_known >> number & 1U) == 0) {
    const KindInfo info = read_kind(layout::BusView(bus.base()), number);
    if ((info.flags & layout::kKindDefined) != 0) {
      kinds_known |= 1ULL << number;
      const bool bounded =
          bounds.add(number, info.name, info.min_payload_bytes, info.max_payload_bytes);
      kinds_unbounded |= bounded ? 0 : 1ULL << number;
    }
  }
  return (kinds_known >> number & 1U) != 0;
}

// A reload of the daemon may change what a kind takes. A producer sees it the next time it waits;
// what it sends until then the consumer's library judges by the new rows.
void ProducerCore::forget_moved_kinds() {
  const std::uint64_t moved = layout::kinds_announced(layout::BusView(bus.base()).words());
  if (moved != kinds_moved) {
    kinds_moved = moved;
    kinds_known = 0;
    kinds_unbounded = 0;
    bounds = PayloadBounds();
  }
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
