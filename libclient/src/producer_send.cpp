// The sending half of ProducerCore: loan, commit, send, cancel, and the ring that may follow.
#include <algorithm>
#include <cstring>
#include <utility>

#include "libclient/src/producer_core.hpp"
#include "shm_layout/policy.hpp"

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

std::optional<Error> ProducerCore::request(Kind kind, const SendOptions& send_options, bool tracked,
                                           CommitRequest& made) {
  made.kind = kind;
  made.tracked = tracked;
  made.options.forget_outcome = send_options.forget_outcome;
  made.options.key = send_options.key;
  const bool plain = send_options.timeout.count() == 0 && send_options.max_wait.count() == 0 &&
                     !send_options.max_retries && send_options.after_sequence == 0;
  if (!plain) {
    if (std::optional<Error> refused = apply(send_options, made)) {
      return refused;
    }
  }
  made.id = has_next_id ? next_id : MessageId::create();
  has_next_id = false;
  made.now_ns = clock.now_ns();
  return std::nullopt;
}

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
  if (std::optional<Error> refused = request(loan.kind_, send_options, true, filled)) {
    return *std::move(refused);
  }
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
  std::uint32_t slot = 0;
  if (!claim_at_once(kind, payload.size(), slot)) {
    const Result<std::uint32_t> claimed = claim(kind, payload.size(), deadline_ns, lock);
    if (!claimed) {
      return claimed.error();
    }
    slot = *claimed;
  }
  CommitRequest made;
  const auto [offset, bytes] = payload_of_slot[slot];
  if (std::optional<Error> refused = request(kind, send_options, tracked, made)) {
    if (bytes != 0) {
      arena.release(offset, bytes);
    }
    link->unclaim(slot);
    return *std::move(refused);
  }
  made.length = payload.size();
  made.offset = offset;
  if (bytes == 0) {
    made.inlined = payload;
  } else {
    std::memcpy(link->arena() + offset, payload.data(), payload.size());
  }
  const Ticket ticket{link->commit(slot, made), slot, made.id};
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

}  // namespace ackbus
