// The reaping half of ProducerLink: acks, verdicts, the switch to a new life, and when a slot is
// free again.
#include <algorithm>

#include "libclient/src/ack_text.hpp"
#include "libclient/src/producer_link.hpp"
#include "shm_layout/assert.hpp"

namespace ackbus {

using layout::AckCode;
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

// ---- reap ----

std::size_t ProducerLink::reap(std::uint64_t now_ns) {
  follow_interventions();
  std::size_t known = take_acks(now_ns);
  known += take_verdicts(now_ns);
  for (int lives = 0; lives < 16 && follow_epoch(now_ns, known); ++lives) {
    known += take_acks(now_ns);
  }
  return known;
}

bool ProducerLink::has_work() const {
  // relaxed because the sleeper's full fence stands before this look
  if (tracking_.words().interventions.load_relaxed() != interventions_) {
    return true;
  }
  if (tracking_.verdict(next_verdict_).number.load_relaxed() >= next_verdict_) {
    return true;
  }
  if (lives_.empty()) {
    return false;
  }
  if (lives_.front().ack.place(next_ack_).number.load_relaxed() == next_ack_) {
    return true;
  }
  const bool ended = tracking_.words().epoch.load_relaxed() > lives_.front().epoch;
  return ended && (!scanned_ended_ || lives_.size() > 1);
}

std::size_t ProducerLink::take_acks(std::uint64_t now_ns) {
  if (lives_.empty()) {
    return 0;
  }
  const layout::AckView& ack = lives_.front().ack;
  std::size_t known = 0;
  for (std::uint64_t taken = 0; taken < slots_.size(); ++taken) {
    layout::AckPlaceCopy copy;
    const layout::AckPlace& place = ack.place(next_ack_);
    if (!layout::ack_place_read(place, next_ack_, copy)) {
      // relaxed because a number beyond the expected one is a violation whatever else it says
      if (place.number.load_relaxed() > next_ack_) {
        close_all(OutcomeReason::kViolation, now_ns);
      }
      break;
    }
    next_ack_ += 1;
    if (copy.slot >= slots_.size() || copy.sequence == 0 ||
        slots_[copy.slot].sequence != copy.sequence) {
      continue;  // Hostile or of an older life: nothing of ours.
    }
    known +=
        settle_answer(copy.slot, copy.sequence, copy.code_flags, copy.acked_ns, now_ns) ? 1 : 0;
    slots_[copy.slot].answered = true;
    try_free(copy.slot);
  }
  return known;
}

std::size_t ProducerLink::scan_records(std::uint64_t now_ns) {
  const layout::AckView& ack = lives_.front().ack;
  std::size_t known = 0;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    layout::AnswerCopy answer;
    const std::uint64_t sequence = slots_[slot].sequence;
    if (sequence == 0 || !layout::answer_read(ack.record(slot), sequence, answer)) {
      continue;
    }
    known += settle_answer(slot, sequence, answer.code_flags, answer.acked_ns, now_ns) ? 1 : 0;
    slots_[slot].answered = true;
    try_free(slot);
  }
  return known;
}

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
void ProducerLink::follow_interventions() {
  const std::uint64_t moved =
      tracking_.words().interventions.load_acquire();  // [E15] acquire: brings the entries
  if (moved == interventions_) {
    return;
  }
  interventions_ = moved;
  look_at_entries();
}

void ProducerLink::look_at_entries() {
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].sequence != 0) {
      look_at_entry(slot);
      try_free(slot);
    }
  }
  const auto closed = static_cast<VerdictReason>(
      tracking_.words().closed.load_acquire());  // [E15] with the entries
  if (layout::is_closed(closed) && closed_ == OutcomeReason::kNone) {
    closed_ = reason_of(closed);
  }
}

void ProducerLink::look_at_entry(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
  mine.watched = entry.sequence == mine.sequence && decides(entry.state);
  if (entry.sequence == mine.sequence &&
      (entry.state == PendingState::kVerdict || entry.state == PendingState::kFinal)) {
    mine.owes_verdict = false;
  }
}

// ---- settling ----

bool ProducerLink::settle_answer(std::uint32_t slot, std::uint64_t sequence,
                                 std::uint32_t code_flags, std::uint64_t acked_ns,
                                 std::uint64_t now_ns) {
  Slot& mine = slots_[slot];
  if (mine.settled || !mine.tracked) {
    return false;
  }
  Ending ending;
  ending.attempt = std::max(1U, layout::answer_attempt(code_flags));
  ending.latency_ns =
      std::clamp(acked_ns, mine.sent_ns, std::max(now_ns, mine.sent_ns)) - mine.sent_ns;
  switch (layout::answer_code(code_flags)) {
    case AckCode::kSuccess:
      ending.code = OutcomeCode::kSuccess;
      break;
    case AckCode::kPartialSuccess:
      ending.code = OutcomeCode::kPartialSuccess;
      break;
    case AckCode::kFailed:
      ending.code = OutcomeCode::kFailed;
      break;
    case AckCode::kSkippedCancelled:
      ending.code = OutcomeCode::kCancelled;
      break;
    case AckCode::kSkippedCancelledMayHaveRun:
      ending.code = OutcomeCode::kCancelledMayHaveRun;
      break;
    case AckCode::kSkippedSuperseded:
      ending.code = OutcomeCode::kSuperseded;
      break;
    case AckCode::kSkippedVerdict: {
      // The verdict that caused it; when the daemon withdrew it meanwhile it gives it again
      // (tracker.cpp).
      const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
      const bool named = entry.sequence == sequence && decides(entry.state);
      ending.code =
          named && layout::is_closed(entry.reason) ? OutcomeCode::kClosed : OutcomeCode::kExhausted;
      ending.reason = named ? reason_of(entry.reason) : OutcomeReason::kUndelivered;
      mine.owes_verdict = !(named && entry.state == PendingState::kVerdict);
      break;
    }
    default:
      ending.code = OutcomeCode::kFailed;
      outcomes_.outcome(mine.node).text = "the consumer answered with an unknown code";
  }
  if ((layout::answer_flags(code_flags) & layout::kAckHasText) != 0) {
    read_text(slot, sequence, outcomes_.outcome(mine.node));
  }
  return settle(slot, ending);
}

void ProducerLink::read_text(std::uint32_t slot, std::uint64_t sequence, Outcome& outcome) const {
  const layout::AckView& ack = lives_.front().ack;
  layout::AnswerCopy answer;
  if (!layout::answer_read(ack.record(slot), sequence, answer)) {
    return;
  }
  outcome.text_cut = (layout::answer_flags(answer.code_flags) & layout::kAckTextCut) != 0;
  read_ack_text(ack.text(slot), answer.text_lengths, outcome.text, outcome.metadata);
}

bool ProducerLink::settle_verdict(std::uint32_t slot, std::uint64_t sequence, VerdictReason reason,
                                  std::uint64_t now_ns) {
  Slot& mine = slots_[slot];
  if (sequence == 0 || mine.sequence != sequence) {
    return false;
  }
  mine.by_verdict = true;
  bool known = false;
  if (mine.tracked && !mine.settled && reason != VerdictReason::kGone) {
    known =
        settle(slot, {layout::is_closed(reason) ? OutcomeCode::kClosed : OutcomeCode::kExhausted,
                      reason_of(reason), 0, now_ns > mine.sent_ns ? now_ns - mine.sent_ns : 0});
  }
  try_free(slot);
  return known;
}

// The first answer is the outcome: stored in the descriptor, counted, kept for the application.
bool ProducerLink::settle(std::uint32_t slot, const Ending& ending) {
  Slot& mine = slots_[slot];
  mine.settled = true;
  const OutcomeCode code = ending.code;
  // [E18] release: the daemon takes it for the outcome; pairs with the acquire in tracker.cpp
  submission_.descriptor(slot).outcome.store_release(
      layout::pack_outcome(mine.sequence, static_cast<std::uint8_t>(code)));
  if (fence_after_outcome_) {
    layout::fence_full();  // [F1] outcome before the look at interventions, where the daemon's
                           // membarrier can't help
  }
  count(mine.kind, code);
  Outcome& outcome = outcomes_.outcome(mine.node);
  outcome.code = code;
  outcome.reason = ending.reason;
  outcome.attempt = ending.attempt;
  outcome.latency_ns = ending.latency_ns;
  outcomes_.know(mine.node);
  mine.node = OutcomeStore::kNone;
  pending_count_ -= 1;
  follow_interventions();
  return true;
}

bool ProducerLink::outcome_is_verdict(std::uint32_t slot) const {
  const std::uint64_t word =
      submission_.descriptor(slot).outcome.load_relaxed();  // relaxed because we wrote it
  const auto code = static_cast<OutcomeCode>(layout::outcome_code(word));
  return slots_[slot].settled && (code == OutcomeCode::kExhausted || code == OutcomeCode::kClosed);
}

// When a slot is free: design section 3.
void ProducerLink::try_free(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  if (mine.sequence == 0) {
    return;
  }
  bool free = mine.answered && !mine.owes_verdict;
  if (free && mine.watched) {
    // A verdict is being given on what the consumer answered: the daemon still removes or marks the
    // letter. An answer that *is* the verdict does not wait for more.
    look_at_entry(slot);
    free = !mine.watched || outcome_is_verdict(slot);
  }
  // A Success that was taken before the verdict holds the slot until the daemon has marked the
  // letter: the epoch frees only what ended by the verdict.
  if (!free && mine.by_verdict && (!mine.tracked || outcome_is_verdict(slot)) && !lives_.empty()) {
    const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
    free = entry.sequence == mine.sequence && entry.state == PendingState::kVerdict &&
           lives_.front().epoch > entry.epoch && mine.sequence < lives_.front().main_start;
  }
  if (free) {
    mine = Slot{};
    freed_.push_back(slot);
    free_.push_back(slot);
  }
}

void ProducerLink::count(Kind kind, OutcomeCode code) {
  auto& counters = submission_.counters(static_cast<std::uint32_t>(kind));
  const auto add = [](layout::Cell<std::uint64_t>& counter) {
    counter.store_relaxed(counter.load_relaxed() + 1);  // relaxed because a figure orders nothing
  };
  switch (code) {
    case OutcomeCode::kSuccess:
      add(counters.success);
      break;
    case OutcomeCode::kPartialSuccess:
      add(counters.partial_success);
      break;
    case OutcomeCode::kFailed:
      add(counters.failed);
      break;
    case OutcomeCode::kExhausted:
      add(counters.exhausted);
      break;
    case OutcomeCode::kSuperseded:
      add(counters.superseded);
      break;
    case OutcomeCode::kCancelled:
    case OutcomeCode::kCancelledMayHaveRun:
      add(counters.cancelled);
      break;
    case OutcomeCode::kClosed:
      add(counters.closed);
      break;
    case OutcomeCode::kReserved:
      break;
  }
}

// Drain, scan once, switch: design section 4. True when a switch happened and there may be more to
// take.
bool ProducerLink::follow_epoch(std::uint64_t now_ns, std::size_t& known) {
  if (lives_.empty()) {
    return false;
  }
  const std::uint64_t epoch =
      tracking_.words().epoch.load_acquire();  // [E14] acquire: that life's process has ended
  if (epoch <= lives_.front().epoch) {
    return false;
  }
  known += take_acks(
      now_ns);  // What was published before the process ended is visible after the load above.
  if (!scanned_ended_) {
    known += scan_records(now_ns);
    scanned_ended_ = true;
  }
  if (lives_.size() < 2) {
    return false;
  }
  retired_epoch_ = lives_.front().epoch;
  lives_.pop_front();
  next_ack_ = 1;
  scanned_ended_ = false;
  switched_ = true;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].by_verdict) {
      try_free(slot);
    }
  }
  return true;
}

}  // namespace ackbus
