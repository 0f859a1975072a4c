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
  return !ack_ || sequence >= ack_.words().cursor.load_acquire();  // [E12] acquire: read below it
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
    const bool answered =
        view->acked && layout::answer_code(view->answer.code_flags) != AckCode::kSkippedVerdict;
    const bool owes_letter = view->entry.state == PendingState::kExhausting;
    if (owes_letter || (!answered && !settled && !decided(view->entry.state))) {
      return false;  // A Skipped{verdict} is final when its verdict stands.
    }
  }
  return letters_running_ == 0;
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
  tracking_.words().closed.store_release(
      static_cast<std::uint64_t>(reason));  // [E15] before interventions moves
  intervene();
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const PendingCopyValue& entry = mirrors_[slot].entry;
    if (entry.state == PendingState::kVerdict && entry.reason == reason) {
      announce(slot, entry.sequence, reason);
    }
  }
}

}  // namespace ackbus::daemon
