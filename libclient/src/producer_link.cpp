#include "libclient/src/producer_link.hpp"

#include <algorithm>
#include <cstring>

#include "libclient/src/prefetch.hpp"
#include "shm_layout/assert.hpp"

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

// ---- claim and commit ----

std::optional<std::uint32_t> ProducerLink::claim() {
  if (free_.empty() || outcomes_.free_nodes() <= claimed_ || closed_ != OutcomeReason::kNone) {
    return std::nullopt;
  }
  // The place lies in the consumer's cache. Asked for now, it is here when commit() writes it.
  const layout::Place& place = submission_.place(next_sequence_);
  prefetch_to_write(&place.number);
  prefetch_to_write(&place.inline_words[layout::kInlineWords - 1]);
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  claimed_ += 1;
  return slot;
}

void ProducerLink::unclaim(std::uint32_t slot) {
  ACKBUS_ASSERT(slots_[slot].sequence == 0 && claimed_ > 0);
  claimed_ -= 1;
  free_.push_back(slot);
}

void ProducerLink::fill(InlineWords& words, std::span<const std::byte> payload) {
  words.used = (payload.size() + 7) / 8;
  if (payload.size() == sizeof(words.words)) {
    std::memcpy(words.words, payload.data(), sizeof(words.words));  // A size known here is cheap.
  } else if (!payload.empty()) {
    words.words[words.used - 1] = 0;
    std::memcpy(words.words, payload.data(), payload.size());
  }
}

std::uint64_t ProducerLink::commit(std::uint32_t slot, const CommitRequest& request) {
  const std::uint64_t sequence = next_sequence_;
  ACKBUS_ASSERT(sequence < layout::kSequenceMax && slots_[slot].sequence == 0 && claimed_ > 0);
  claimed_ -= 1;
  next_sequence_ += 1;
  Slot& mine = slots_[slot];
  mine = Slot{};
  mine.sequence = sequence;
  mine.sent_ns = request.now_ns;
  mine.kind = request.kind;
  mine.tracked = request.tracked;
  auto& counters = submission_.counters(static_cast<std::uint32_t>(request.kind));
  auto& counter = request.tracked ? counters.sent : counters.posted;
  if (request.tracked) {
    mine.node =
        outcomes_.reserve(slot, sequence, request.kind, request.id, request.options.forget_outcome);
    pending_count_ += 1;
  }
  const bool inlined = request.length <= layout::kInlineBytesMax;
  std::uint32_t flags = request.tracked ? layout::kFlagTracked : 0U;
  flags |= inlined ? layout::kFlagInline : 0U;
  flags |= request.options.after_sequence != 0 ? layout::kFlagAfter : 0U;
  flags |= request.options.key != 0 ? layout::kFlagKeyed : 0U;
  const std::uint32_t kind_flags =
      layout::pack_kind(static_cast<std::uint16_t>(request.kind), flags);
  InlineWords words;
  if (inlined) {
    fill(words, request.inlined);
  }
  write_descriptor(slot, request, kind_flags, words);
  // relaxed because a figure orders nothing; before the place, so that sent never lags what was
  // committed.
  counter.store_relaxed(counter.load_relaxed() + 1);
  write_place(slot, request, kind_flags, words);
  submission_.words().committed.store_relaxed(
      sequence);  // relaxed because it is a hint for the daemon's scan
  return sequence;
}

void ProducerLink::write_descriptor(std::uint32_t slot, const CommitRequest& request,
                                    std::uint32_t kind_flags, const InlineWords& words) {
  layout::DescriptorCopy copy;
  copy.number = slots_[slot].sequence;
  static_assert(sizeof(MessageId) == sizeof(copy.id));
  std::memcpy(copy.id, &request.id, sizeof(copy.id));
  copy.length = request.length;
  copy.offset = request.length <= layout::kInlineBytesMax ? 0 : request.offset;
  copy.sent_ns = request.now_ns;
  copy.key = request.options.key;
  copy.after = request.options.after_sequence;
  copy.kind_flags = kind_flags;
  copy.timeout_ms = static_cast<std::uint32_t>(request.options.timeout.count());
  copy.max_wait_ms = static_cast<std::uint32_t>(request.options.max_wait.count());
  const std::uint32_t retries =
      request.options.max_retries ? std::min<std::uint32_t>(*request.options.max_retries, 1000) + 1
                                  : 0;
  copy.retries_after_slot = retries << 16 | (request.after_slot & 0xffffU);
  layout::Descriptor& descriptor = submission_.descriptor(slot);
  layout::descriptor_begin(descriptor);
  for (std::size_t i = 0; i < words.used; ++i) {
    // relaxed because the number publishes it
    descriptor.inline_words[i].store_relaxed(words.words[i]);
  }
  layout::descriptor_publish(descriptor, copy);
}

void ProducerLink::write_place(std::uint32_t slot, const CommitRequest& request,
                               std::uint32_t kind_flags, const InlineWords& words) {
  layout::PlaceCopy copy;
  copy.number = slots_[slot].sequence;
  copy.length = request.length;
  copy.sent_ns = request.now_ns;
  copy.slot = slot;
  copy.kind_flags = kind_flags;
  layout::Place& place = submission_.place(copy.number);
  layout::place_begin(place);
  for (std::size_t i = 0; i < words.used; ++i) {
    // relaxed because the number publishes it
    place.inline_words[i].store_relaxed(words.words[i]);
  }
  layout::place_publish(place, copy);
}

bool ProducerLink::must_ring() {
  layout::fence_full();  // [F2] publish before the look at `sleeping`; pairs with the consumer's
                         // fence before its look
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

// ---- cancel, close, questions ----

bool ProducerLink::pending(std::uint32_t slot, std::uint64_t sequence) const {
  return slot < slots_.size() && sequence != 0 && slots_[slot].sequence == sequence &&
         slots_[slot].tracked && !slots_[slot].settled;
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
  submission_.descriptor(slot).cancel.store_release(
      sequence);  // [E17] the wish, before the counter that tells of it
  cancels_ += 1;
  submission_.words().cancels.store_release(
      cancels_);  // [E17] release: pairs with the consumer's look before begin
  return true;
}

void ProducerLink::close_all(OutcomeReason reason, std::uint64_t now_ns) {
  closed_ = reason;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    Slot& mine = slots_[slot];
    if (mine.sequence == 0 || !mine.tracked || mine.settled) {
      continue;
    }
    settle(slot,
           {OutcomeCode::kClosed, reason, 0, now_ns > mine.sent_ns ? now_ns - mine.sent_ns : 0});
  }
}

}  // namespace ackbus
