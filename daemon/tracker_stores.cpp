// What the tracker stores in the tracking segment (ring places, entries, `interventions`), and the
// end of a link, which is stores only.
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

bool decided(PendingState state) {
  return state == PendingState::kVerdict || state == PendingState::kFinal;
}

}  // namespace

// ---- rings and entries ----

// No life has read its main place yet, so it can't be final.
bool LinkTracker::unread(std::uint64_t sequence) const {
  // relaxed because who asks saw begun of what the life read [E4], and the cursor moved before that
  return !ack_ || sequence >= ack_.words().cursor.load_relaxed();
}

bool LinkTracker::has_room() const {
  if (!ack_) {
    return false;
  }
  // [E13] acquire: the consumer has copied every place below it
  const std::uint64_t cursor = ack_.words().redelivery_cursor.load_acquire();
  return next_redelivery_ < std::min(cursor, next_redelivery_) + submission_.slots();
}

bool LinkTracker::place_redelivery(std::uint32_t slot, std::uint64_t sequence,
                                   std::uint32_t attempt, std::uint32_t flags) {
  layout::redelivery_publish(tracking_.redelivery(next_redelivery_), next_redelivery_,
                             {sequence, slot, attempt, flags});
  next_redelivery_ += 1;
  return true;
}

void LinkTracker::announce(std::uint32_t slot, std::uint64_t sequence, VerdictReason reason) {
  layout::verdict_publish(tracking_.verdict(next_verdict_), next_verdict_,
                          {sequence, slot, reason});
  next_verdict_ += 1;
  host_.ring_producer();
  host_.ring_consumer();
}

void LinkTracker::store(std::uint32_t slot, PendingCopyValue value) {
  Mirror& mirror = mirrors_[slot];
  value.version = mirror.entry.version + 1;
  layout::pending_publish(tracking_.entry(slot).copies[value.version & 1U], value);
  mirror.entry = value;
}

// After every store that the hot path must hear of, and before an ack record or descriptor is read
// again.
void LinkTracker::intervene() {
  interventions_ += 1;
  tracking_.words().interventions.store_release(
      interventions_);   // [E15] release: brings the entry; pairs with the
  layout::fence_full();  // follow_interventions() of both clients
  ACKBUS_POINT(kInterventionsMoved);
  host_.barrier();  // [F1] pairs with begun_publish() and settle() of processes that registered
  ACKBUS_POINT(kBarrierDone);
}

// ---- the end of a link ----

bool LinkTracker::all_final() const {
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const std::optional<SlotView> view = look(slot);
    if (!view || !view->committed) {
      continue;
    }
    const bool settled = layout::outcome_sequence(view->outcome) == view->descriptor.number;
    const bool skipped =
        view->acked && layout::answer_code(view->answer.code_flags) == AckCode::kSkippedVerdict;
    const bool answered = view->acked && !skipped;
    // A verdict whose message had been answered before its producer heard of it: the letter has to
    // say so first.
    const bool late = settled && view->entry.state == PendingState::kVerdict &&
                      !ended_by_verdict(layout::outcome_code(view->outcome));
    // The answer to a verdict that was withdrawn meanwhile: it is given again, with its letter.
    const bool tracked =
        (layout::flags_of(view->descriptor.kind_flags) & layout::kFlagTracked) != 0;
    const bool withdrawn = tracked && skipped && !decided(view->entry.state);
    const bool owes_letter = view->entry.state == PendingState::kExhausting || late || withdrawn;
    if (owes_letter || (!answered && !settled && !decided(view->entry.state))) {
      return false;  // A Skipped{verdict} is final when its verdict stands.
    }
  }
  return letters_running_ == 0;
}

bool LinkTracker::has_unreadable(std::uint64_t first_sequence) const {
  const std::uint64_t cursor = hand_over_start(first_sequence);
  std::uint64_t end = cursor;  // of what is read in order, from the cursor on
  // relaxed because its producer has ended: no place changes any more
  while (end < cursor + submission_.slots() &&
         submission_.place(end).number.load_relaxed() == end) {
    end += 1;
  }
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const std::optional<SlotView> view = look(slot);
    const bool undecided = view && (view->entry.state == PendingState::kReserved ||
                                    (view->entry.state == PendingState::kExhausting &&
                                     view->entry.reason == VerdictReason::kUndelivered));
    if (!undecided || !view->committed || view->acked || view->begun.sequence != 0 ||
        layout::outcome_sequence(view->outcome) == view->descriptor.number) {
      continue;  // It was read, or is decided about.
    }
    const std::uint64_t sequence = view->descriptor.number;
    const layout::Place& place = submission_.place(sequence);
    // relaxed as above. Below the cursor it may have been read just now, and be begun next.
    const bool in_ring = place.number.load_relaxed() == sequence &&
                         place.slot.load_relaxed() == slot && sequence < end;
    if (!in_ring) {
      return true;
    }
  }
  return false;
}

void LinkTracker::close(VerdictReason reason) {
  ACKBUS_ASSERT(layout::is_closed(reason));
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const std::optional<SlotView> view = look(slot);
    const bool tracked =
        view && (layout::flags_of(view->descriptor.kind_flags) & layout::kFlagTracked) != 0;
    if (!tracked || !view->committed || view->acked || decided(view->entry.state) ||
        layout::outcome_sequence(view->outcome) == view->descriptor.number) {
      continue;
    }
    PendingCopyValue entry = view->entry;
    entry.state = PendingState::kVerdict;
    entry.reason = reason;
    entry.epoch = epoch_;
    store(slot, entry);
  }
  // relaxed because interventions publishes it
  tracking_.words().closed.store_relaxed(static_cast<std::uint64_t>(reason));
  intervene();
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const PendingCopyValue& entry = mirrors_[slot].entry;
    if (entry.state == PendingState::kVerdict && entry.reason == reason) {
      announce(slot, entry.sequence, reason);
    }
  }
}

}  // namespace ackbus::daemon
