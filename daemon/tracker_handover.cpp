// The end of a consumer's life and the start of the next (docs/architecture.md, hand-over). The old
// process has ended, so its ack segment no longer changes; the new life sees nothing before
// move_epoch().
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

constexpr std::uint16_t kSoleDeathsMax = 2;  // the only one begun at so many deaths: poison

bool answered_for_good(const LinkTracker::SlotView& view) {
  return view.acked && layout::answer_code(view.answer.code_flags) != AckCode::kSkippedVerdict;
}

void carry_entry(layout::AckView fresh, std::uint32_t index, std::uint64_t kind, std::uint64_t key,
                 std::uint64_t sequence) {
  layout::SupersedeEntry& entry = fresh.supersede(index);
  entry.kind.store_relaxed(kind);  // relaxed because nobody has mapped this segment yet
  entry.key.store_relaxed(key);
  entry.sequence.store_relaxed(sequence);
  entry.number.store_relaxed(1);
}

// Greatest sequence per (kind, key); a full table forgets the lowest.
void carry_success(layout::AckView fresh, std::uint64_t kind, std::uint64_t key,
                   std::uint64_t sequence) {
  std::uint32_t lowest = 0;
  for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
    const layout::SupersedeEntry& entry = fresh.supersede(index);
    // relaxed because nobody has mapped this segment yet
    if (entry.kind.load_relaxed() == kind && entry.key.load_relaxed() == key) {
      if (entry.sequence.load_relaxed() < sequence) {
        carry_entry(fresh, index, kind, key, sequence);
      }
      return;
    }
    if (entry.sequence.load_relaxed() < fresh.supersede(lowest).sequence.load_relaxed()) {
      lowest = index;
    }
  }
  if (fresh.supersede(lowest).sequence.load_relaxed() < sequence) {
    carry_entry(fresh, lowest, kind, key, sequence);
  }
}

// An entry of the ended life, unless that life died rewriting it.
void carry_entry_of(const layout::SupersedeEntry& old, layout::AckView fresh) {
  const std::uint64_t number = old.number.load_acquire();  // [E19] acquire: brings the entry
  // relaxed because the numbers around bracket the fields
  const std::uint64_t kind = old.kind.load_relaxed();
  const std::uint64_t key = old.key.load_relaxed();
  const std::uint64_t sequence = old.sequence.load_relaxed();
  layout::fence_acquire();  // [E19] fields before the second look
  // relaxed because the fence orders it
  if (number != 0 && old.number.load_relaxed() == number) {
    carry_success(fresh, kind, key, sequence);
  }
}

}  // namespace

std::uint32_t LinkTracker::begun_count() const {
  std::uint32_t count = 0;
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const std::optional<SlotView> view = look(slot);
    const bool given_back = [&] {
      layout::MarkCopy mark;
      return view && ack_ && layout::mark_read(ack_.record(slot), view->descriptor.number, mark) &&
             mark.kind == layout::MarkKind::kGivenBack && mark.value >= view->begun.attempt;
    }();
    count += view && view->begun.sequence != 0 && !view->acked && !given_back ? 1 : 0;
  }
  return count;
}

std::vector<layout::DescriptorCopy> LinkTracker::letters_to_remove() const {
  std::vector<layout::DescriptorCopy> letters;
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const std::optional<SlotView> view = look(slot);
    if (view && answered_for_good(*view) && view->entry.state == PendingState::kExhausting) {
      letters.push_back(view->descriptor);
    }
  }
  return letters;
}

// Where the next life begins on the main ring: the ended life's own cursor, kept within what can be
// true.
std::uint64_t LinkTracker::hand_over_start(std::uint64_t first_sequence) const {
  if (!ack_) {
    // No life yet, or one that nobody mapped before it and the daemon ended: it had read nothing.
    // relaxed because only daemons write these words, one after the other
    const bool had_life = tracking_.words().epoch.load_relaxed() != 0;
    return had_life ? tracking_.words().start.load_relaxed() : first_sequence;
  }
  const std::uint64_t cursor =
      ack_.words().cursor.load_acquire();  // [E12] acquire: beyond it nothing was read
  std::uint64_t newest =
      submission_.words().committed.load_relaxed();  // relaxed because places are asked next
  for (std::uint64_t i = 0; i < submission_.slots(); ++i) {
    newest = std::max(newest, submission_.place(i).number.load_relaxed());
  }
  return std::clamp(cursor, main_start_, std::max(newest + 1, main_start_));
}

// Step 1, and the carried supersede table of step 2.
void LinkTracker::settle_ended_life(const HandOver& plan, std::uint64_t start,
                                    layout::AckView fresh) {
  frozen_ = true;
  if (ack_ && fresh) {
    for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
      carry_entry_of(ack_.supersede(index), fresh);
    }
  }
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const std::optional<SlotView> view = look(slot);
    if (!view || !view->committed) {
      continue;
    }
    const std::uint16_t kind = layout::kind_of(view->descriptor.kind_flags);
    const AckCode code =
        view->acked ? layout::answer_code(view->answer.code_flags) : AckCode::kReserved;
    const bool success = code == AckCode::kSuccess || code == AckCode::kPartialSuccess;
    if (fresh && success && view->descriptor.key != 0 &&
        rules_.kinds[kind % layout::kKindsMax].supersede) {
      carry_success(fresh, kind, view->descriptor.key, view->descriptor.number);
    }
    PendingCopyValue entry = view->entry;
    const bool tracked =
        (layout::flags_of(view->descriptor.kind_flags) & layout::kFlagTracked) != 0;
    if (answered_for_good(*view) && entry.state != PendingState::kVerdict &&
        (entry.state != PendingState::kFinal || entry.answer == 0)) {
      entry.state = PendingState::kFinal;
      entry.answer = static_cast<std::uint8_t>(code);  // Outlives this life's memory.
      store(slot, entry);
    } else if (!tracked && !view->acked && view->begun.sequence != 0 &&
               entry.state != PendingState::kVerdict) {
      entry.state = PendingState::kVerdict;  // Untracked and begun in a life that ended: gone,
                                             // without an outcome.
      entry.reason = VerdictReason::kGone;
      entry.epoch = epoch_;
      store(slot, entry);
      announce(slot, view->descriptor.number, VerdictReason::kGone);
    } else if (view->acked && entry.state <= PendingState::kQueued) {
      entry.state = PendingState::kExhausting;  // Skipped{verdict} of a verdict that was withdrawn
      entry.reason = VerdictReason::kUndelivered;  // meanwhile: it gets one after all.
      entry.epoch = epoch_;
      store(slot, entry);
    } else if (entry.state == PendingState::kExhausting &&
               entry.reason == VerdictReason::kUndelivered && !view->acked &&
               view->begun.sequence != 0) {
      withdraw_undelivered(*view, slot);  // A daemon ended before it read begun again.
    } else if ((entry.state == PendingState::kVerdict ||
                entry.state == PendingState::kExhausting) &&
               view->descriptor.number >= start) {
      entry.epoch =
          plan.new_epoch;  // Its place is still in the main ring: the new life answers it.
      store(slot, entry);
    }
  }
  intervene();
}

// The entry of a redelivery, counted as a retry when its consumer died with it begun.
void LinkTracker::store_retried(std::uint32_t slot, const PendingCopyValue& entry,
                                std::uint16_t kind, bool died) {
  if (died) {
    host_.will_count_retry(slot, next_version(slot), kind, RetryCause::kDeath);
  }
  store(slot, entry);
  if (died) {
    host_.count_retry(kind, RetryCause::kDeath);
  }
}

// Step 3: in sequence order, everything unanswered below the start: Waiting -> place -> Queued.
void LinkTracker::redeliver(const HandOver& plan, std::uint64_t start, std::uint64_t now_ns) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> order;
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const std::optional<SlotView> view = look(slot);
    const bool waits = view && view->committed && !view->acked && view->descriptor.number < start &&
                       view->entry.state <= PendingState::kQueued &&
                       layout::outcome_sequence(view->outcome) != view->descriptor.number;
    if (waits) {
      order.emplace_back(view->descriptor.number, slot);
    }
  }
  std::sort(order.begin(), order.end());
  for (const auto& [sequence, slot] : order) {
    const std::optional<SlotView> view = look(slot);
    if (!view || view->descriptor.number != sequence) {
      continue;
    }
    PendingCopyValue entry = view->entry;
    const std::uint16_t kind = layout::kind_of(view->descriptor.kind_flags);
    bool may_have_run = entry.attempt > 1 || entry.deaths > 0;
    bool died = false;
    if (view->begun.sequence == sequence && view->begun.attempt >= entry.attempt) {
      note_begun(slot, view->begun);
      entry.attempt = view->begun.attempt +
                      1;  // With the deaths in one store: redoing this counts nothing twice.
      may_have_run = true;
      layout::MarkCopy mark;
      const bool given_back = layout::mark_read(ack_.record(slot), sequence, mark) &&
                              mark.kind == layout::MarkKind::kGivenBack &&
                              mark.value >= view->begun.attempt;
      if (plan.counts_deaths && !given_back) {
        entry.deaths = static_cast<std::uint16_t>(std::min(entry.deaths + 1, 0xffff));
        entry.sole_deaths =
            static_cast<std::uint16_t>(entry.sole_deaths + (plan.sole_begun ? 1 : 0));
      }
      died = true;
    }
    const bool tracked =
        (layout::flags_of(view->descriptor.kind_flags) & layout::kFlagTracked) != 0;
    if (tracked && entry.sole_deaths >= kSoleDeathsMax) {
      entry.state =
          PendingState::kExhausting;  // Poison: the scan after the hand-over writes the letter.
      entry.reason = VerdictReason::kPoison;
      entry.epoch = epoch_;
      store_retried(slot, entry, kind, died);
      continue;
    }
    entry.state = PendingState::kWaiting;
    entry.due_ns = now_ns;
    store_retried(slot, entry, kind, died);
    ACKBUS_POINT(kHandOverWaiting);
    std::uint32_t flags = may_have_run ? layout::kRedeliverMayHaveRun : 0U;
    flags |= entry.deaths > 0 ? layout::kRedeliverAlone : 0U;
    place_redelivery(slot, sequence, entry.attempt, flags);
    ACKBUS_POINT(kHandOverPlaced);
    entry.state = PendingState::kQueued;
    store(slot, entry);
  }
}

// Step 4.
void LinkTracker::move_epoch(std::uint64_t epoch, std::uint64_t start) {
  tracking_.words().start.store_relaxed(start);  // relaxed because the epoch publishes it
  ACKBUS_POINT(kStartStored);
  tracking_.words().epoch.store_release(
      epoch);  // [E14] release: the ended life's last stores are to be taken now
  ACKBUS_POINT(kEpochMoved);
  intervene();
}

}  // namespace ackbus::daemon
