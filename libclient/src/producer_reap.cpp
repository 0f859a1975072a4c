// The reaping half of ProducerLink: acks, the switch to a new life, and what a text says.
#include "libclient/src/ack_text.hpp"
#include "libclient/src/producer_settle.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

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
    ACKBUS_POINT(kAckTaken);
    if (copy.slot >= slots_.size() || copy.sequence == 0 ||
        slots_[copy.slot].sequence != copy.sequence) {
      continue;  // Hostile or of an older life: nothing of ours.
    }
    known +=
        settle_answer(copy.slot, copy.sequence, copy.code_flags, copy.acked_ns, now_ns) ? 1 : 0;
    slots_[copy.slot].set(kAnswered);
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
    slots_[slot].set(kAnswered);
    try_free(slot);
  }
  return known;
}

void ProducerLink::read_text(std::uint32_t slot, std::uint64_t sequence, Outcome& outcome) const {
  const layout::AckView& ack = lives_.front().ack;
  layout::AnswerCopy answer;
  if (!layout::answer_read(ack.record(slot), sequence, answer)) {
    return;
  }
  auto notes = std::make_shared<OutcomeNotes>();
  notes->cut = (layout::answer_flags(answer.code_flags) & layout::kAckTextCut) != 0;
  read_ack_text(ack.text(slot), answer.text_lengths, notes->text, notes->metadata);
  outcome.notes = std::move(notes);
}

// Drain, scan once, switch: docs/architecture.md#hand-over. True when a switch happened and there
// may be more to take.
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
    ACKBUS_POINT(kOldLifeScanned);
  }
  if (lives_.size() < 2) {
    return false;
  }
  retired_epoch_ = lives_.front().epoch;
  lives_.pop_front();
  next_ack_ = 1;
  scanned_ended_ = false;
  switched_ = true;
  ACKBUS_POINT(kLifeSwitched);
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].is(kByVerdict)) {
      try_free(slot);
    }
  }
  return true;
}

}  // namespace ackbus
