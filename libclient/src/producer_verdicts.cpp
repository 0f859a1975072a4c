// What the daemon decides, as ProducerLink takes it: verdicts, entries, and the slots that wait for
// them.
#include <algorithm>

#include "libclient/src/producer_settle.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

using layout::PendingState;
using layout::VerdictReason;

namespace {

OutcomeReason reason_of(VerdictReason reason) {
  switch (reason) {
    case VerdictReason::kRetries:
      return OutcomeReason::kRetries;
    case VerdictReason::kUndelivered:
      return OutcomeReason::kUndelivered;
    case VerdictReason::kMaxAge:
      return OutcomeReason::kMaxAge;
    case VerdictReason::kPoison:
      return OutcomeReason::kPoison;
    case VerdictReason::kClosedQueue:
      return OutcomeReason::kQueueRemoved;
    case VerdictReason::kClosedBus:
      return OutcomeReason::kBusShutDown;
    case VerdictReason::kClosedViolation:
      return OutcomeReason::kViolation;
    default:
      return OutcomeReason::kUnknown;
  }
}

bool decides(PendingState state) {
  return state == PendingState::kExhausting || state == PendingState::kVerdict;
}

}  // namespace

std::size_t ProducerLink::take_verdicts(std::uint64_t now_ns) {
  std::size_t known = 0;
  for (std::uint64_t taken = 0; taken < tracking_.verdict_ring_places(); ++taken) {
    layout::VerdictCopy copy;
    const layout::VerdictPlace& place = tracking_.verdict(next_verdict_);
    if (!layout::verdict_read(place, next_verdict_, copy)) {
      // relaxed because lapped is lapped: the tables are read next
      return place.number.load_relaxed() > next_verdict_ ? known + scan_verdicts(now_ns) : known;
    }
    next_verdict_ += 1;
    ACKBUS_POINT(kVerdictTaken);
    if (copy.slot < slots_.size()) {
      known += settle_verdict(copy.slot, copy.sequence, copy.reason, now_ns) ? 1 : 0;
    }
  }
  return known;
}

// Lapped on the verdict ring: the end of the ring first, then the entries, which are the truth.
std::size_t ProducerLink::scan_verdicts(std::uint64_t now_ns) {
  std::uint64_t newest = next_verdict_;
  for (std::uint64_t i = 0; i < tracking_.verdict_ring_places(); ++i) {
    // [E10] acquire: the entries read below are at least as new as this place
    newest = std::max(newest, tracking_.verdict(i).number.load_acquire());
  }
  next_verdict_ = newest + 1;
  std::size_t known = 0;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
    if (entry.state == PendingState::kVerdict) {
      known += settle_verdict(slot, entry.sequence, entry.reason, now_ns) ? 1 : 0;
    }
  }
  return known;
}

// The daemon moved `interventions` after it stored an entry that matters here: look at every slot
// in use.
void ProducerLink::look_at_entries() {
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].sequence != 0) {
      look_at_entry(slot);
      try_free(slot);
    }
  }
  const auto closed = static_cast<VerdictReason>(
      tracking_.words().closed.load_relaxed());  // relaxed because interventions brought it
  if (layout::is_closed(closed) && closed_ == OutcomeReason::kNone) {
    closed_ = reason_of(closed);
  }
}

void ProducerLink::look_at_entry(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
  mine.set(kWatched, entry.sequence == mine.sequence && decides(entry.state));
  if (entry.sequence == mine.sequence &&
      (entry.state == PendingState::kVerdict || entry.state == PendingState::kFinal)) {
    mine.set(kOwesVerdict, false);
  }
}

// The verdict that caused a SkippedVerdict; when the daemon withdrew it meanwhile it gives it again
// (tracker.cpp).
void ProducerLink::follow_verdict(std::uint32_t slot, Ending& ending) {
  Slot& mine = slots_[slot];
  const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
  const bool named = entry.sequence == mine.sequence && decides(entry.state);
  ending.code =
      named && layout::is_closed(entry.reason) ? OutcomeCode::kClosed : OutcomeCode::kExhausted;
  ending.reason = named ? reason_of(entry.reason) : OutcomeReason::kUndelivered;
  mine.set(kOwesVerdict, !(named && entry.state == PendingState::kVerdict));
}

bool ProducerLink::settle_verdict(std::uint32_t slot, std::uint64_t sequence, VerdictReason reason,
                                  std::uint64_t now_ns) {
  Slot& mine = slots_[slot];
  if (sequence == 0 || mine.sequence != sequence) {
    return false;
  }
  mine.set(kByVerdict);
  bool known = false;
  if (mine.is(kTracked) && !mine.is(kSettled) && reason != VerdictReason::kGone) {
    known =
        settle(slot, {layout::is_closed(reason) ? OutcomeCode::kClosed : OutcomeCode::kExhausted,
                      reason_of(reason), 0, now_ns > mine.sent_ns ? now_ns - mine.sent_ns : 0});
  }
  try_free(slot);
  return known;
}

void ProducerLink::close_all(OutcomeReason reason, std::uint64_t now_ns) {
  closed_ = reason;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    Slot& mine = slots_[slot];
    if (mine.sequence == 0 || !mine.is(kTracked) || mine.is(kSettled)) {
      continue;
    }
    settle(slot,
           {OutcomeCode::kClosed, reason, 0, now_ns > mine.sent_ns ? now_ns - mine.sent_ns : 0});
  }
}

bool ProducerLink::outcome_is_verdict(std::uint32_t slot) const {
  const std::uint64_t word =
      submission_.descriptor(slot).outcome.load_relaxed();  // relaxed because we wrote it
  const auto code = static_cast<OutcomeCode>(layout::outcome_code(word));
  return slots_[slot].is(kSettled) &&
         (code == OutcomeCode::kExhausted || code == OutcomeCode::kClosed);
}

// The rare ways: a verdict is being given, or was.
bool ProducerLink::may_free_now(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  bool free = mine.is(kAnswered) && !mine.is(kOwesVerdict);
  if (free && mine.is(kWatched)) {
    // A verdict is being given on what the consumer answered: the daemon still removes or marks the
    // letter. An answer that *is* the verdict does not wait for more.
    look_at_entry(slot);
    free = !mine.is(kWatched) || outcome_is_verdict(slot);
  }
  // A Success that was taken before the verdict holds the slot until the daemon has marked the
  // letter: the epoch frees only what ended by the verdict.
  if (!free && mine.is(kByVerdict) && (!mine.is(kTracked) || outcome_is_verdict(slot)) &&
      !lives_.empty()) {
    const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
    free = entry.sequence == mine.sequence && entry.state == PendingState::kVerdict &&
           lives_.front().epoch > entry.epoch && mine.sequence < lives_.front().main_start;
  }
  return free;
}

}  // namespace ackbus
