// The sending half of ProducerCore: loan, commit, send, cancel, and the ring that may follow.
#include <algorithm>
#include <cstring>
#include <utility>

#include "libclient/src/producer_core.hpp"
#include "shm_layout/policy.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

namespace {

constexpr std::uint64_t kTimeoutMsMax = 24ULL * 3600 * 1000;

Error range_error(const char* option, const std::string& value, const std::string& range) {
  return {ErrorCode::kInvalid, std::string(option) + " " + value + " is out of range: " + range};
}

}  // namespace

// ---- fill and commit ----

Result<Loan> ProducerCore::loan(Kind kind, std::uint64_t bytes, std::uint64_t deadline_ns,
                                std::unique_lock<std::mutex>& lock) {
  // A loan always lies in the arena, so that it can be filled in place; zero bytes need none.
  const std::uint64_t reserved =
      bytes == 0 ? 0 : std::max<std::uint64_t>(bytes, layout::kInlineBytesMax + 1);
  Result<std::uint32_t> slot = claim(kind, bytes, reserved, deadline_ns, lock);
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
    release_arena(slot);
    link->unclaim(slot);
  }
  if (loans == 0) {
    lost_links.clear();
  }
}

namespace {

// Whether a message goes as its kind says, but for its key and who wants its outcome.
bool plain(const SendOptions& options) {
  return options.timeout.count() == 0 && options.max_wait.count() == 0 && !options.max_retries &&
         options.after_sequence == 0;
}

}  // namespace

std::optional<Error> ProducerCore::apply(const SendOptions& send_options, CommitRequest& made) {
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
    if (slot != OutcomeStore::kNone) {  // Else its slot is free again: it is final.
      made.after_slot = slot;
      made.after_sequence = send_options.after_sequence;
    }
  }
  return std::nullopt;
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
  CommitRequest filled;
  if (!plain(send_options)) {
    if (std::optional<Error> refused = apply(send_options, filled)) {
      return *std::move(refused);
    }
  }
  filled.kind = loan.kind_;
  filled.id = ids.next();
  filled.now_ns = clock.now_ns();
  filled.options = &send_options;
  filled.holds_arena = payload_of_slot[loan.slot_].second != 0;
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

void ProducerCore::send(Kind kind, std::span<const std::byte> payload,
                        const SendOptions& send_options, bool tracked, std::uint64_t deadline_ns,
                        std::unique_lock<std::mutex>& lock, Result<Ticket>& ticket) {
  std::uint32_t slot = 0;
  if (!claim_at_once(kind, payload.size(), slot)) {
    Result<std::uint32_t> claimed = claim(kind, payload.size(), payload.size(), deadline_ns, lock);
    if (!claimed) {
      ticket = claimed.error();
      return;
    }
    slot = *claimed;
  }
  CommitRequest made;
  if (!plain(send_options)) {
    if (std::optional<Error> refused = apply(send_options, made)) {
      release_arena(slot);
      link->unclaim(slot);
      ticket = *std::move(refused);
      return;
    }
  }
  made.kind = kind;
  made.tracked = tracked;
  made.id = ids.next();
  made.now_ns = clock.now_ns();
  made.options = &send_options;
  made.length = payload.size();
  if (payload.size() <= layout::kInlineBytesMax) {
    made.inlined = payload;
  } else {
    made.offset = payload_of_slot[slot].first;
    made.holds_arena = true;
    std::memcpy(link->arena() + made.offset, payload.data(), payload.size());
    ACKBUS_POINT(kFilled);
  }
  Ticket& committed = *ticket;
  committed.sequence = link->commit(slot, made);
  committed.slot = slot;
  committed.id = made.id;
  ring();
}

void ProducerCore::ring() {
  if (link->must_ring_or_hear([this] { read_control(); })) [[unlikely]] {
    ACKBUS_POINT(kProducerRings);
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

}  // namespace ackbus
