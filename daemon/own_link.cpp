#include "daemon/own_link.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

// Outcome words carry the public outcome codes (ackbus/outcome.hpp).
constexpr std::uint8_t kNoOutcome = 0;
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

bool is_answer(std::uint8_t outcome) {
  return outcome != kNoOutcome && outcome != kOutcomeExhausted && outcome != kOutcomeClosed;
}

void add(layout::Cell<std::uint64_t>& counter) {
  counter.store_relaxed(counter.load_relaxed() + 1);  // relaxed because a figure orders nothing
}

}  // namespace

OwnLink::OwnLink(layout::SubmissionView submission, layout::TrackingView tracking,
                 const DeadLetters& letters)
    : submission_(submission), tracking_(tracking), letters_(letters), slots_(submission.slots()) {}

// A descriptor whose place was never published was never sent: its number is given again, for a
// number left out would hold up the ring. All others are in use until try_free() says otherwise.
void OwnLink::recover() {
  for (std::uint64_t i = 0; i < slots_.size(); ++i) {
    // relaxed because the daemon before this one wrote it, and it has ended
    next_sequence_ = std::max(next_sequence_, submission_.place(i).number.load_relaxed() + 1);
  }
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    layout::DescriptorCopy copy;
    if (!layout::descriptor_read(submission_.descriptor(slot), 0, copy) ||
        copy.number >= next_sequence_) {
      continue;
    }
    Slot& mine = slots_[slot];
    mine.sequence = copy.number;
    std::memcpy(mine.id.data(), copy.id, mine.id.size());
    mine.answered = is_answer(outcome_taken(slot));
    mine.whole = needs_whole_arena(copy.length);
  }
}

std::vector<RedriveEnd> OwnLink::take_ends() { return std::exchange(ends_, {}); }

std::vector<RedriveEnd> OwnLink::take_all() {
  std::vector<RedriveEnd> left = take_ends();
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].sequence != 0 && !slots_[slot].ended) {
      left.push_back({slots_[slot].id, is_answer(outcome_taken(slot))});
    }
  }
  return left;
}

bool OwnLink::holds(const LetterId& id) const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [&](const Slot& slot) { return slot.sequence != 0 && slot.id == id; });
}

void OwnLink::set_life(layout::AckView ack, std::uint64_t epoch, std::uint64_t main_start) {
  drain();
  ack_ = ack;
  epoch_ = epoch;
  main_start_ = main_start;
  next_ack_ = 1;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    Slot& mine = slots_[slot];
    layout::AnswerCopy answer;
    // Only a new daemon finds any: the ack was taken by the one before it, with the outcome.
    mine.answered =
        mine.answered || (outcome_taken(slot) != kNoOutcome &&
                          layout::answer_read(ack_.record(slot), mine.sequence, answer));
  }
  reap();
}

bool OwnLink::send(const Letter& letter, const LetterId& new_id, std::span<const std::byte> payload,
                   std::uint64_t now_ns) {
  const auto free = std::find_if(slots_.begin(), slots_.end(),
                                 [](const Slot& slot) { return slot.sequence == 0; });
  const bool inlined = payload.size() <= layout::kInlineBytesMax;
  const bool whole = needs_whole_arena(payload.size());
  const bool arena_taken =
      std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.whole; });
  if (free == slots_.end() || payload.size() > submission_.arena_bytes() ||
      (whole && in_use() > 0) || arena_taken) {
    return false;
  }
  const auto slot = static_cast<std::uint32_t>(free - slots_.begin());
  layout::DescriptorCopy copy;
  copy.number = next_sequence_++;
  std::memcpy(copy.id, new_id.data(), sizeof(copy.id));
  copy.length = payload.size();
  copy.offset = inlined || whole ? 0 : slot * share_bytes();
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
  slots_[slot] = Slot{copy.number, new_id, whole};
  return true;
}

// A new daemon begins anywhere in the ring: a place that says a later number was taken by the one
// before it, and leads to the oldest that is still there.
void OwnLink::take_acks() {
  layout::AckPlaceCopy copy;
  for (std::size_t looks = 0; looks < 2 * slots_.size(); ++looks) {
    // relaxed because ack_place_read() asks it again
    const std::uint64_t number = ack_.place(next_ack_).number.load_relaxed();
    if (number >= next_ack_ + slots_.size()) {
      next_ack_ = number - slots_.size() + 1;
      continue;
    }
    if (!layout::ack_place_read(ack_.place(next_ack_), next_ack_, copy)) {
      break;
    }
    next_ack_ += 1;
    if (copy.slot < slots_.size() && slots_[copy.slot].sequence == copy.sequence &&
        copy.sequence != 0) {
      settle(copy.slot, outcome_of(layout::answer_code(copy.code_flags)));
      slots_[copy.slot].answered = true;
    }
  }
}

void OwnLink::reap() {
  if (ack_) {
    take_acks();
  }
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
    if (slots_[slot].sequence != 0 && entry.sequence == slots_[slot].sequence &&
        entry.state == layout::PendingState::kVerdict) {
      settle(slot, layout::is_closed(entry.reason) ? kOutcomeClosed : kOutcomeExhausted);
    }
    note_end(slot);
    try_free(slot);
  }
}

// After a life's process has ended: its ring, then its records, once.
void OwnLink::drain() {
  if (!ack_) {
    return;
  }
  take_acks();
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    layout::AnswerCopy answer;
    if (slots_[slot].sequence != 0 &&
        layout::answer_read(ack_.record(slot), slots_[slot].sequence, answer)) {
      settle(slot, outcome_of(layout::answer_code(answer.code_flags)));
      slots_[slot].answered = true;
    }
  }
  reap();
}

void OwnLink::settle(std::uint32_t slot, std::uint8_t outcome) {
  if (outcome_taken(slot) != kNoOutcome) {
    return;
  }
  layout::Descriptor& descriptor = submission_.descriptor(slot);
  // relaxed because the tracker that reads it runs in this thread
  descriptor.outcome.store_relaxed(layout::pack_outcome(slots_[slot].sequence, outcome));
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

std::uint8_t OwnLink::outcome_taken(std::uint32_t slot) const {
  // relaxed because this process alone writes the word
  const std::uint64_t outcome = submission_.descriptor(slot).outcome.load_relaxed();
  const std::uint64_t sequence = slots_[slot].sequence;
  return sequence != 0 && layout::outcome_sequence(outcome) == sequence
             ? layout::outcome_code(outcome)
             : kNoOutcome;
}

// An answer counts once no verdict is being given against it; Exhausted, be it a verdict or a
// Skipped that goes before one, once the verdict stands, for then its own letter is written.
void OwnLink::note_end(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  const std::uint8_t outcome = outcome_taken(slot);
  if (mine.ended || outcome == kNoOutcome) {
    return;
  }
  const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
  const bool ours = entry.sequence == mine.sequence;
  const bool verdict = ours && entry.state == layout::PendingState::kVerdict;
  const bool deciding = ours && entry.state == layout::PendingState::kExhausting;
  mine.ended = is_answer(outcome) ? !deciding && !verdict : verdict;
  if (mine.ended) {
    ends_.push_back({mine.id, is_answer(outcome) || layout::is_exhausted(entry.reason)});
  }
}

// Each slot has its share of the arena; a payload above that share waits until it can have all of
// it.
std::uint64_t OwnLink::share_bytes() const {
  return submission_.arena_bytes() / slots_.size() / layout::kArenaAlignBytes *
         layout::kArenaAlignBytes;
}

bool OwnLink::needs_whole_arena(std::uint64_t payload_bytes) const {
  return payload_bytes > layout::kInlineBytesMax && payload_bytes > share_bytes();
}

// The rules of every producer (docs/architecture.md, when a slot is free), read from the entry each
// time: nothing here is hot.
void OwnLink::try_free(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  if (mine.sequence == 0 || !mine.ended || letters_.is_redriven(mine.id)) {
    return;
  }
  const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
  const bool verdict =
      entry.sequence == mine.sequence && entry.state == layout::PendingState::kVerdict;
  if (mine.answered || (verdict && epoch_ > entry.epoch && mine.sequence < main_start_)) {
    mine = Slot{};
  }
}

std::size_t OwnLink::in_use() const {
  return static_cast<std::size_t>(std::count_if(
      slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.sequence != 0; }));
}

}  // namespace ackbus::daemon
