// Verdicts: Exhausting -> letter -> everything read again -> Verdict -> place, and the ways back
// (docs/architecture.md, the order of the daemon's stores). A new daemon re-enters at whatever the
// entry says; each step may be done twice.
#include <algorithm>

#include "daemon/tracker.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

using layout::AckCode;
using layout::PendingCopyValue;
using layout::PendingState;
using layout::VerdictReason;

namespace {

// Outcome words carry the public outcome codes (ackbus/outcome.hpp).
constexpr std::uint8_t kOutcomeSuccess = 1;
constexpr std::uint8_t kOutcomePartialSuccess = 2;

constexpr std::uint64_t kLetterPauseNs = 1'000'000'000;  // the store refused: try again then
constexpr std::uint64_t kUntilRoom = UINT64_MAX;         // put off: until letter_room()
constexpr std::uint64_t kLateLookNs =
    5'000'000;  // when to look whether the producer had taken an ack first

bool is_success(const LinkTracker::SlotView& view) {
  const std::uint8_t outcome = layout::outcome_code(view.outcome);
  return outcome == kOutcomeSuccess || outcome == kOutcomePartialSuccess;
}

}  // namespace

void LinkTracker::start_verdict(const SlotView& view, std::uint32_t slot, VerdictReason reason,
                                std::uint64_t now_ns) {
  mirrors_[slot].letter_after_ns = 0;
  PendingCopyValue entry = view.entry;
  entry.state = PendingState::kExhausting;
  entry.reason = reason;
  entry.epoch = epoch_;
  store(slot, entry);
  intervene();
  ACKBUS_POINT(kExhaustingStored);
  if (const std::optional<SlotView> again = look(slot);
      again && again->descriptor.number == entry.sequence) {
    continue_verdict(*again, slot, now_ns);
  }
}

// max_wait: Exhausting, then begun and acked are read again; what was begun meanwhile is left to
// run.
void LinkTracker::end_undelivered(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns) {
  mirrors_[slot].letter_after_ns = 0;
  PendingCopyValue entry = view.entry;
  entry.state = PendingState::kExhausting;
  entry.reason = VerdictReason::kUndelivered;
  entry.epoch = epoch_;
  store(slot, entry);
  intervene();
  ACKBUS_POINT_WITH(kUndeliveredStored, entry.sequence);
  const std::optional<SlotView> again = look(slot);
  if (!again || again->descriptor.number != entry.sequence) {
    return;
  }
  if (again->acked) {
    examine_answered(*again, slot, now_ns);
  } else if (again->begun.sequence == entry.sequence) {
    withdraw_undelivered(*again, slot);
    examine(slot, now_ns);
  } else {
    continue_verdict(*again, slot, now_ns);
  }
}

// Exhausting: write the letter, unless the store refused it just now; or, when the message was
// settled meanwhile, withdraw.
void LinkTracker::continue_verdict(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns) {
  Mirror& mirror = mirrors_[slot];
  if (mirror.letter_running) {
    return;
  }
  const bool settled = layout::outcome_sequence(view.outcome) == view.descriptor.number &&
                       !ended_by_verdict(layout::outcome_code(view.outcome));
  const bool answered =
      view.acked && layout::answer_code(view.answer.code_flags) != AckCode::kSkippedVerdict;
  if (settled || answered) {
    withdraw_verdict(view, slot);
    return;
  }
  if (mirror.letter_after_ns == kUntilRoom) {
    return;
  }
  if (now_ns < mirror.letter_after_ns) {
    host_.arm(slot, mirror.letter_after_ns);
    return;
  }
  LetterDraft draft;
  draft.slot = slot;
  draft.descriptor = view.descriptor;
  draft.reason = view.entry.reason;
  draft.attempts = attempts_begun(view, slot);
  draft.deaths = view.entry.deaths;
  if (draft.attempts != 0) {
    draft.begun_ns = view.begun.begun_ns;
    if (mirror.attempts_of == view.descriptor.number) {
      draft.attempt_ns = mirror.attempt_ns;
    }
  }
  mirror.letter_running = true;
  letters_running_ += 1;
  host_.write_letter(std::move(draft));
}

// With the clock at begin an attempt is used up by what was begun only, so the entry tells, whoever
// restarted. With the clock at commit it tells nothing of the kind: then what this life or this
// daemon saw, and each counted death was a begun delivery too.
std::uint32_t LinkTracker::attempts_begun(const SlotView& view, std::uint32_t slot) const {
  const PendingCopyValue& entry = view.entry;
  const Mirror& mirror = mirrors_[slot];
  if (entry.reason == VerdictReason::kUndelivered) {
    return 0;  // What its life answers with Skipped{verdict} has a begun word, and did not run.
  }
  if (limits_of(view.descriptor).clock_from_commit) {
    const std::uint32_t noted =
        mirror.attempts_of == view.descriptor.number ? mirror.last_begun : 0;
    const std::uint32_t seen = view.begun.sequence != 0 ? view.begun.attempt : noted;
    return std::max<std::uint32_t>(entry.deaths, std::min(seen, entry.attempt));
  }
  const bool used_up =
      entry.reason == VerdictReason::kRetries || entry.reason == VerdictReason::kMaxAge;
  const bool begun = view.begun.sequence != 0 && view.begun.attempt >= entry.attempt;
  return std::max(entry.attempt, 1U) - (used_up || begun ? 0 : 1);
}

void LinkTracker::letter_done(std::uint32_t slot, std::uint64_t sequence, LetterResult result,
                              std::uint64_t now_ns) {
  Mirror& mirror = mirrors_[slot];
  mirror.letter_running = false;
  letters_running_ -= 1;
  if (mirror.entry.sequence != sequence || mirror.entry.state != PendingState::kExhausting) {
    return;
  }
  if (result == LetterResult::kPutOff) {
    mirror.letter_after_ns = kUntilRoom;
    return;
  }
  if (result == LetterResult::kFailed) {
    mirror.letter_after_ns = now_ns + kLetterPauseNs;
    host_.arm(slot, mirror.letter_after_ns);  // No verdict without a letter: it stays pending.
    return;
  }
  const std::optional<SlotView> view = look(slot);
  const bool ours = view && view->descriptor.number == sequence;
  const bool settled = ours && layout::outcome_sequence(view->outcome) == sequence &&
                       !ended_by_verdict(layout::outcome_code(view->outcome));
  const bool answered = ours && view->acked &&
                        layout::answer_code(view->answer.code_flags) != AckCode::kSkippedVerdict;
  if (!ours || settled || answered || result == LetterResult::kSettled) {
    SlotView gone = view.value_or(SlotView{});
    withdraw_verdict(gone, slot);
    return;
  }
  ACKBUS_POINT_WITH(kLetterHeard, view->entry.reason);
  finish_verdict(slot, sequence);
  host_.arm(slot, now_ns + kLateLookNs);
}

void LinkTracker::letter_room(std::uint32_t slot, std::uint64_t sequence, std::uint64_t now_ns) {
  Mirror& mirror = mirrors_[slot];
  if (mirror.entry.sequence == sequence && mirror.letter_after_ns == kUntilRoom) {
    mirror.letter_after_ns = 0;
    examine(slot, now_ns);
  }
}

void LinkTracker::finish_verdict(std::uint32_t slot, std::uint64_t sequence) {
  PendingCopyValue entry = mirrors_[slot].entry;
  entry.state = PendingState::kVerdict;  // Keeps the epoch in which it went Exhausting.
  const std::optional<SlotView> view = look(slot);
  const std::uint16_t kind = view ? layout::kind_of(view->descriptor.kind_flags) : std::uint16_t{0};
  host_.will_count_dead(slot, next_version(slot), kind, entry.reason);
  store(slot, entry);
  intervene();
  ACKBUS_POINT(kVerdictStored);
  announce(slot, sequence, entry.reason);
  ACKBUS_POINT(kVerdictAnnounced);
  host_.count_dead(kind, entry.reason);
  ACKBUS_POINT(kVerdictCounted);
  if (const auto now = look(slot); now && now->descriptor.number == sequence) {
    note_late(*now, slot);
  }
}

// Answered while the verdict was being given: the letter goes first, then Final.
void LinkTracker::withdraw_verdict(const SlotView& view, std::uint32_t slot) {
  Mirror& mirror = mirrors_[slot];
  if (mirror.correcting == mirror.entry.sequence) {
    return;
  }
  mirror.correcting = mirror.entry.sequence;
  const bool ours = view.descriptor.number == mirror.entry.sequence;
  const bool waits = ours && host_.remove_letter(slot, view.descriptor);
  ACKBUS_POINT(kWithdrawing);
  if (!waits) {
    end_by_answer(slot);
  }
}

// The slot is free for another message after this, so the disk has followed: a daemon that dies
// before finds the entry as it is and asks the disk again.
void LinkTracker::letter_corrected(std::uint32_t slot, std::uint64_t sequence) {
  ACKBUS_ASSERT(slot < mirrors_.size());
  Mirror& mirror = mirrors_[slot];
  if (mirror.correcting != sequence) {
    return;
  }
  mirror.correcting = 0;
  const bool open = mirror.entry.state == PendingState::kExhausting ||
                    mirror.entry.state == PendingState::kVerdict;
  if (mirror.entry.sequence == sequence && open) {
    end_by_answer(slot);
  }
}

// Final, after a verdict that was being given or stands.
void LinkTracker::end_by_answer(std::uint32_t slot) {
  mirrors_[slot].correcting = 0;
  PendingCopyValue entry = mirrors_[slot].entry;
  const std::optional<SlotView> view = look(slot);
  const bool late = entry.state == PendingState::kVerdict && view &&
                    view->descriptor.number == entry.sequence && is_success(*view);
  const std::uint16_t kind = view ? layout::kind_of(view->descriptor.kind_flags) : std::uint16_t{0};
  if (late) {
    host_.will_count_late(slot, next_version(slot), kind);
  }
  entry.state = PendingState::kFinal;
  store(slot, entry);
  if (late) {
    host_.count_late(kind);
  }
  intervene();
  host_.ring_producer();
}

// Undelivered, but begun before its life could read that: it runs on, as if nothing had been said.
// When the life did read it, it answers Skipped{verdict}, and examine_answered() gives it again.
void LinkTracker::withdraw_undelivered(const SlotView& view, std::uint32_t slot) {
  [[maybe_unused]] const bool waits = host_.remove_letter(slot, view.descriptor);
  PendingCopyValue entry = mirrors_[slot].entry;
  entry.state = PendingState::kReserved;
  entry.reason = VerdictReason::kReserved;
  store(slot, entry);
  ACKBUS_POINT(kUndeliveredWithdrawn);
  intervene();
}

// The producer had taken the consumer's answer first: it is the outcome, and the letter says so.
void LinkTracker::note_late(const SlotView& view, std::uint32_t slot) {
  const std::uint64_t sequence = view.descriptor.number;
  if (layout::outcome_sequence(view.outcome) != sequence || view.entry.sequence != sequence ||
      view.entry.state != PendingState::kVerdict) {
    return;
  }
  const std::uint8_t outcome = layout::outcome_code(view.outcome);
  if (ended_by_verdict(outcome)) {
    return;
  }
  Mirror& mirror = mirrors_[slot];
  if (mirror.correcting == sequence) {
    return;
  }
  mirror.correcting = sequence;
  const bool late = is_success(view);
  const bool waits = late ? host_.mark_late_success(slot, view.descriptor)
                          : host_.remove_letter(slot, view.descriptor);
  if (late) {
    ACKBUS_POINT(kLateNoted);
  }
  if (!waits) {
    end_by_answer(slot);
  }
}

// The consumer answered. Only three things are left: a verdict that was being given is withdrawn,
// one that stands may be late, and a Skipped{verdict} whose verdict was withdrawn gets it after
// all, letter and all.
void LinkTracker::examine_answered(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns) {
  if (layout::answer_code(view.answer.code_flags) == AckCode::kSkippedVerdict) {
    if (view.entry.state == PendingState::kExhausting) {
      continue_verdict(view, slot, now_ns);
    } else if (view.entry.state != PendingState::kVerdict) {
      start_verdict(view, slot, VerdictReason::kUndelivered, now_ns);
    }
    return;
  }
  if (view.entry.state == PendingState::kExhausting) {
    withdraw_verdict(view, slot);
  } else if (view.entry.state == PendingState::kVerdict) {
    note_late(view, slot);
    if (layout::outcome_sequence(view.outcome) != view.descriptor.number) {
      host_.arm(slot, now_ns + kLateLookNs);
    }
  }
}

}  // namespace ackbus::daemon
