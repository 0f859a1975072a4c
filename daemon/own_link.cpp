#include "daemon/own_link.hpp"

#include <algorithm>
#include <cstring>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

// Outcome words carry the public outcome codes (ackbus/outcome.hpp).
constexpr std::uint8_t kOutcomeSuccess = 1;
constexpr std::uint8_t kOutcomePartialSuccess = 2;
constexpr std::uint8_t kOutcomeFailed = 3;
constexpr std::uint8_t kOutcomeExhausted = 4;
constexpr std::uint8_t kOutcomeSuperseded = 5;
constexpr std::uint8_t kOutcomeClosed = 8;

std::uint8_t outcome_of(layout::AckCode code) {
  switch (code) {
    case layout::AckCode::kSuccess:
      return kOutcomeSuccess;
    case layout::AckCode::kPartialSuccess:
      return kOutcomePartialSuccess;
    case layout::AckCode::kSkippedSuperseded:
      return kOutcomeSuperseded;
    case layout::AckCode::kSkippedVerdict:
      return kOutcomeExhausted;
    default:
      return kOutcomeFailed;
  }
}

void add(layout::Cell<std::uint64_t>& counter) {
  counter.store_relaxed(counter.load_relaxed() + 1);  // relaxed because a figure orders nothing
}

}  // namespace

OwnLink::OwnLink(layout::SubmissionView submission, layout::TrackingView tracking)
    : submission_(submission), tracking_(tracking), slots_(submission.slots()) {}

void OwnLink::recover() {
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    layout::DescriptorCopy copy;
    if (!layout::descriptor_read(submission_.descriptor(slot), 0, copy)) {
      continue;
    }
    next_sequence_ = std::max(next_sequence_, copy.number + 1);
    // relaxed because the daemon before this one wrote it, and it has ended
    const std::uint64_t outcome = submission_.descriptor(slot).outcome.load_relaxed();
    slots_[slot].sequence = layout::outcome_sequence(outcome) == copy.number ? 0 : copy.number;
  }
}

void OwnLink::set_life(layout::AckView ack, std::uint64_t epoch, std::uint64_t main_start) {
  drain();
  ack_ = ack;
  epoch_ = epoch;
  main_start_ = main_start;
  next_ack_ = 1;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    try_free(slot);
  }
}

bool OwnLink::send(const Letter& letter, const LetterId& new_id, std::span<const std::byte> payload,
                   std::uint64_t now_ns) {
  const auto free = std::find_if(slots_.begin(), slots_.end(),
                                 [](const Slot& slot) { return slot.sequence == 0; });
  const bool inlined = payload.size() <= layout::kInlineBytesMax;
  // Each slot has its share of the arena; a payload above that share waits until it can have all of
  // it.
  const std::uint64_t share = submission_.arena_bytes() / slots_.size() / layout::kArenaAlignBytes *
                              layout::kArenaAlignBytes;
  const bool whole = !inlined && payload.size() > share;
  if (free == slots_.end() || payload.size() > submission_.arena_bytes() ||
      (whole && in_use() > 0) || big_in_use_) {
    return false;
  }
  const auto slot = static_cast<std::uint32_t>(free - slots_.begin());
  layout::DescriptorCopy copy;
  copy.number = next_sequence_++;
  std::memcpy(copy.id, new_id.data(), sizeof(copy.id));
  copy.length = payload.size();
  copy.offset = inlined || whole ? 0 : slot * share;
  copy.sent_ns = now_ns;
  copy.key = letter.supersede_key;
  std::uint32_t flags = layout::kFlagTracked | (inlined ? layout::kFlagInline : 0U);
  flags |= letter.supersede_key != 0 ? layout::kFlagKeyed : 0U;
  copy.kind_flags = layout::pack_kind(static_cast<std::uint16_t>(letter.kind_id), flags);
  copy.timeout_ms = static_cast<std::uint32_t>(letter.timeout_ns / 1'000'000);
  copy.retries_after_slot = letter.max_retries << 16;
  layout::Descriptor& descriptor = submission_.descriptor(slot);
  layout::Place& place = submission_.place(copy.number);
  std::uint64_t words[layout::kInlineWords] = {};
  if (inlined) {
    std::memcpy(words, payload.data(), payload.size());
  } else {
    std::memcpy(submission_.arena() + copy.offset, payload.data(), payload.size());
  }
  layout::descriptor_begin(descriptor);
  layout::place_begin(place);
  for (std::size_t i = 0; i < layout::kInlineWords; ++i) {
    descriptor.inline_words[i].store_relaxed(
        words[i]);  // relaxed because the numbers publish both copies
    place.inline_words[i].store_relaxed(words[i]);
  }
  layout::descriptor_publish(descriptor, copy);
  add(submission_.counters(letter.kind_id).sent);
  layout::place_publish(place, {copy.number, copy.length, now_ns, slot, copy.kind_flags});
  submission_.words().committed.store_relaxed(copy.number);  // relaxed because it is a hint
  slots_[slot] = Slot{copy.number, false};
  big_in_use_ = whole;
  return true;
}

void OwnLink::reap() {
  if (ack_) {
    layout::AckPlaceCopy copy;
    for (std::size_t taken = 0; taken < slots_.size(); ++taken) {
      if (!layout::ack_place_read(ack_.place(next_ack_), next_ack_, copy)) {
        break;
      }
      next_ack_ += 1;
      if (copy.slot < slots_.size() && slots_[copy.slot].sequence == copy.sequence &&
          copy.sequence != 0) {
        settle(copy.slot, outcome_of(layout::answer_code(copy.code_flags)));
        slots_[copy.slot].answered = true;
        try_free(copy.slot);
      }
    }
  }
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
    if (slots_[slot].sequence != 0 && entry.sequence == slots_[slot].sequence &&
        entry.state == layout::PendingState::kVerdict) {
      settle(slot, layout::is_closed(entry.reason) ? kOutcomeClosed : kOutcomeExhausted);
    }
    try_free(slot);
  }
}

// After a life's process has ended: its ring, then its records, once.
void OwnLink::drain() {
  if (!ack_) {
    return;
  }
  reap();
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    layout::AnswerCopy answer;
    if (slots_[slot].sequence != 0 &&
        layout::answer_read(ack_.record(slot), slots_[slot].sequence, answer)) {
      settle(slot, outcome_of(layout::answer_code(answer.code_flags)));
      slots_[slot].answered = true;
      try_free(slot);
    }
  }
}

void OwnLink::settle(std::uint32_t slot, std::uint8_t outcome) {
  layout::Descriptor& descriptor = submission_.descriptor(slot);
  // relaxed because this process alone writes the word
  if (layout::outcome_sequence(descriptor.outcome.load_relaxed()) == slots_[slot].sequence) {
    return;
  }
  descriptor.outcome.store_release(
      layout::pack_outcome(slots_[slot].sequence, outcome));  // [E18] read by the tracker
  layout::ProducerCounters& counters = submission_.counters(layout::kind_of(
      descriptor.kind_flags.load_relaxed()));  // relaxed because this process wrote it
  switch (outcome) {
    case kOutcomeSuccess:
      add(counters.success);
      break;
    case kOutcomePartialSuccess:
      add(counters.partial_success);
      break;
    case kOutcomeExhausted:
      add(counters.exhausted);
      break;
    case kOutcomeSuperseded:
      add(counters.superseded);
      break;
    case kOutcomeClosed:
      add(counters.closed);
      break;
    default:
      add(counters.failed);
  }
}

// The rules of every producer (design section 3), read from the entry each time: nothing here is
// hot.
void OwnLink::try_free(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  if (mine.sequence == 0) {
    return;
  }
  const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
  const bool ours = entry.sequence == mine.sequence;
  const bool deciding = ours && entry.state == layout::PendingState::kExhausting;
  const bool verdict = ours && entry.state == layout::PendingState::kVerdict;
  const bool free = (mine.answered && !deciding) ||
                    (verdict && epoch_ > entry.epoch && mine.sequence < main_start_);
  if (free) {
    mine = Slot{};
    big_in_use_ = big_in_use_ && in_use() > 0;
  }
}

std::size_t OwnLink::in_use() const {
  return static_cast<std::size_t>(std::count_if(
      slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.sequence != 0; }));
}

}  // namespace ackbus::daemon
