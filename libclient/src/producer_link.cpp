#include "libclient/src/producer_link.hpp"

#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

ProducerLink::ProducerLink(layout::SubmissionView submission, layout::TrackingView tracking,
                           OutcomeStore& outcomes, std::uint64_t first_sequence,
                           bool fence_after_outcome)
    : submission_(submission),
      tracking_(tracking),
      outcomes_(outcomes),
      slots_(submission.slots()),
      next_sequence_(first_sequence),
      fence_after_outcome_(fence_after_outcome) {
  const auto count = static_cast<std::uint32_t>(slots_.size());
  free_.reserve(count);
  for (std::uint32_t slot = count; slot-- > 0;) {
    free_.push_back(slot);
  }
}

// ---- claims and lives ----

void ProducerLink::unclaim(std::uint32_t slot) {
  ACKBUS_ASSERT(slots_[slot].sequence == 0 && claimed_ > 0);
  claimed_ -= 1;
  free_.push_back(slot);
}

bool ProducerLink::must_ring() {
  layout::fence_full();  // [F2] [E16] publish before the look at `sleeping`; pairs with the
                         // consumer's fence before its look
  ACKBUS_POINT(kProducerFenced);
  if (lives_.empty() || awaits_life()) {
    return false;  // The life to come looks at the ring before it first sleeps, and the daemon
                   // wakes it once more.
  }
  // relaxed because the fence orders it; [E16] pairs with the consumer's arm()
  const std::uint64_t generation = lives_.back().ack.words().sleeping.load_relaxed();
  if (generation == 0 || generation == rung_) {
    return false;
  }
  rung_ = generation;
  return true;
}

// ---- lives ----

void ProducerLink::add_life(const LifeView& life) {
  ACKBUS_ASSERT(life.epoch > newest_epoch_);
  lives_.push_back(life);
  newest_epoch_ = life.epoch;
  rung_ = 0;
  if (lives_.size() == 1) {
    next_ack_ = 1;
    scanned_ended_ = false;
  }
  switched_ = true;
}

// ---- cancel, questions ----

bool ProducerLink::pending(std::uint32_t slot, std::uint64_t sequence) const {
  return slot < slots_.size() && sequence != 0 && slots_[slot].sequence == sequence &&
         slots_[slot].is(kTracked) && !slots_[slot].is(kSettled);
}

std::uint32_t ProducerLink::slot_of(std::uint64_t sequence) const {
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].sequence == sequence) {
      return slot;
    }
  }
  return OutcomeStore::kNone;
}

bool ProducerLink::cancel(std::uint32_t slot, std::uint64_t sequence) {
  if (!pending(slot, sequence)) {
    return false;
  }
  // The wish, before the counter that tells of it; relaxed because the counter publishes it.
  submission_.descriptor(slot).cancel.store_relaxed(sequence);
  ACKBUS_POINT(kCancelWished);
  cancels_ += 1;
  submission_.words().cancels.store_release(
      cancels_);  // [E17] release: pairs with the consumer's look before begin
  ACKBUS_POINT(kCancelCounted);
  return true;
}

}  // namespace ackbus
