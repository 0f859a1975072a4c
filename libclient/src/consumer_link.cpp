#include "libclient/src/consumer_link.hpp"

#include <algorithm>
#include <cstring>

#include "libclient/src/ack_text.hpp"
#include "libclient/src/prefetch.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

using layout::AckCode;
using layout::PendingState;

ConsumerLink::ConsumerLink(const ConsumerLinkSetup& setup)
    : submission_(setup.submission),
      tracking_(setup.tracking),
      ack_(setup.ack),
      slots_(setup.submission.slots()),
      inlined_(setup.submission.slots()),
      next_main_(setup.main_start),
      next_redelivery_(setup.redelivery_start),
      interventions_(
          UINT64_MAX),  // so that the first look reads every entry that an earlier life left
      fence_after_begin_(setup.fence_after_begin) {}

bool ConsumerLink::has_work() const {
  // relaxed because the sleeper's full fence stands before this look
  if (tracking_.words().interventions.load_relaxed() != interventions_) {
    return true;
  }
  // A message that waits for another one is no work: what ends its wait is.
  if (!redelivery_held_ &&
      // relaxed because the sleeper's full fence stands before this look
      tracking_.redelivery(next_redelivery_).number.load_relaxed() == next_redelivery_) {
    return true;
  }
  return !held_ && submission_.place(next_main_).number.load_relaxed() == next_main_;
}

// ---- observe ----

NextResult ConsumerLink::next_redelivery(std::uint64_t now_ns, bool idle, std::uint64_t supersedes,
                                         Delivery& begun) {
  layout::RedeliveryCopy copy;
  if (!layout::redelivery_read(tracking_.redelivery(next_redelivery_), next_redelivery_, copy)) {
    return NextResult::kNothing;
  }
  Candidate candidate;
  candidate.sequence = copy.sequence;
  candidate.slot = copy.slot;
  candidate.attempt = copy.attempt;
  candidate.may_have_run = copy.attempt > 1 || (copy.flags & layout::kRedeliverMayHaveRun) != 0;
  candidate.alone = (copy.flags & layout::kRedeliverAlone) != 0;
  candidate.redelivered = true;
  candidate.check_cancel = true;
  const bool known = copy.slot < slots_.size() && copy.attempt != 0 && load_descriptor(candidate);
  const bool runs_here = known && slots_[copy.slot].running == copy.sequence;
  if (known && !runs_here) {
    redelivery_held_ = key_busy(candidate, supersedes);
    if (redelivery_held_) {
      return NextResult::kNothing;
    }
    if (candidate.alone && !idle && slots_[copy.slot].finished < copy.sequence) {
      return NextResult::kWantsAlone;
    }
  }
  ACKBUS_POINT(kRedeliveryObserved);
  next_redelivery_ += 1;
  ack_.words().redelivery_cursor.store_release(
      next_redelivery_);  // [E13] release: the daemon may rewrite the place
  ACKBUS_POINT(kRedeliveryCursorPublished);
  if (!known) {
    add(ack_.counters(0).stale);
    return NextResult::kSkipped;  // The slot holds something else by now.
  }
  return begin(candidate, supersedes, now_ns, begun);
}

ACKBUS_HOT NextResult ConsumerLink::next_main(std::uint64_t now_ns, std::uint64_t supersedes,
                                              Delivery& begun) {
  layout::PlaceCopy copy;
  const layout::Place& place = submission_.place(next_main_);
  if (!layout::place_read(place, next_main_, copy)) {
    // relaxed because a number beyond the expected one is a violation whatever else it says
    if (place.number.load_relaxed() > next_main_) {
      note_violation(layout::LinkFault::kAhead);
    }
    return NextResult::kNothing;
  }
  prefetch_ahead();
  Candidate candidate;
  candidate.sequence = copy.number;
  candidate.slot = copy.slot;
  candidate.sent_ns = copy.sent_ns;
  candidate.length = copy.length;
  candidate.kind = layout::kind_of(copy.kind_flags);
  candidate.flags = layout::flags_of(copy.kind_flags);
  const bool plain = (candidate.flags & (layout::kFlagAfter | layout::kFlagKeyed)) == 0 &&
                     (candidate.flags & layout::kFlagInline) != 0;
  bool sound =
      copy.slot < slots_.size() && candidate.kind != 0 && candidate.kind < layout::kKindsMax;
  if (sound && !plain) {
    sound = load_descriptor(candidate);
    held_ = sound && (key_busy(candidate, supersedes) || held(candidate));
    if (held_) {
      return NextResult::kNothing;
    }
  }
  if (sound && (candidate.flags & layout::kFlagInline) != 0) {
    layout::inline_load(place.inline_words, copy.length, inlined_[copy.slot]);
  }
  ACKBUS_POINT(kMainObserved);
  next_main_ += 1;
  ack_.words().cursor.store_release(
      next_main_);  // [E12] release: read before acted on; pairs with the daemon's scan
  ACKBUS_POINT(kCursorPublished);
  if (!sound) [[unlikely]] {
    // Nobody will ever answer it, so it must not stay pending: the link ends.
    add(ack_.words().rejected);
    note_violation(layout::LinkFault::kUnsound);
    return NextResult::kSkipped;
  }
  const std::uint64_t cancels =
      submission_.words().cancels.load_acquire();  // [E17] acquire: brings the wishes
  if (cancels != cancels_) {
    cancels_ = cancels;
    cancel_check_until_ = candidate.sequence + slots_.size();
  }
  candidate.check_cancel = candidate.sequence < cancel_check_until_;
  return begin(candidate, supersedes, now_ns, begun);
}

// The lines of the next messages and their answers, which still lie in the producer's cache.
ACKBUS_HOT void ConsumerLink::prefetch_ahead() const {
  const layout::Place& place = submission_.place(next_main_ + kPrefetchPlaces);
  prefetch_to_read(&place.number);
  prefetch_to_read(&place.inline_words[layout::kInlineWords - 1]);
  prefetch_to_write(&ack_.place(next_ack_ + kPrefetchPlaces));
}

void ConsumerLink::note_violation(layout::LinkFault fault) {
  if (!violated_) {
    violated_ = true;
    // The daemon closes the link; relaxed because nothing else is to be seen with it.
    ack_.words().violation.store_relaxed(static_cast<std::uint64_t>(fault));
  }
}

bool ConsumerLink::load_descriptor(Candidate& candidate) const {
  layout::DescriptorCopy copy;
  if (!layout::descriptor_read(submission_.descriptor(candidate.slot), candidate.sequence, copy)) {
    return false;
  }
  candidate.kind = layout::kind_of(copy.kind_flags);
  candidate.flags = layout::flags_of(copy.kind_flags);
  candidate.sent_ns = copy.sent_ns;
  candidate.length = copy.length;
  candidate.offset = copy.offset;
  candidate.key = copy.key;
  return candidate.kind != 0 && candidate.kind < layout::kKindsMax;
}

// `after`: holds the main ring until the earlier sequence is final and no longer runs here. A
// message that has its own verdict is not held; one that names itself or a later one is not either.
bool ConsumerLink::held(const Candidate& candidate) {
  layout::DescriptorCopy copy;
  if ((candidate.flags & layout::kFlagAfter) == 0 ||
      !layout::descriptor_read(submission_.descriptor(candidate.slot), candidate.sequence, copy)) {
    return false;
  }
  const std::uint32_t slot = copy.retries_after_slot & 0xffffU;
  if (copy.after == 0 || copy.after >= candidate.sequence || slot >= slots_.size()) {
    return false;
  }
  const Slot& earlier = slots_[slot];
  if (earlier.running == copy.after) {
    return true;
  }
  const layout::PendingCopyValue own = layout::pending_read(tracking_.entry(candidate.slot));
  if (own.sequence == candidate.sequence && own.state == PendingState::kVerdict) {
    return false;
  }
  if (earlier.finished >= copy.after) {
    return false;
  }
  const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
  if (entry.sequence == copy.after &&
      (entry.state == PendingState::kVerdict || entry.state == PendingState::kFinal)) {
    return false;
  }
  // A later one in its slot; relaxed because nothing of that message is read.
  const std::uint64_t number = submission_.descriptor(slot).number.load_relaxed();
  if (number != 0 && number < copy.after) {
    note_violation(layout::LinkFault::kUnsound);  // It was never there, so its end never comes.
    return false;
  }
  return number == copy.after;  // 0: its slot is being filled anew, so it is over.
}

bool ConsumerLink::key_busy(const Candidate& candidate, std::uint64_t supersedes) const {
  if (candidate.key == 0 || (supersedes >> candidate.kind & 1U) == 0 || running_count_ == 0) {
    return false;
  }
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    return slot.running != 0 && slot.running != candidate.sequence && slot.kind == candidate.kind &&
           slot.key == candidate.key;
  });
}

// ---- begin ----

ACKBUS_HOT NextResult ConsumerLink::begin(const Candidate& candidate, std::uint64_t supersedes,
                                          std::uint64_t now_ns, Delivery& begun) {
  Slot& mine = slots_[candidate.slot];
  const bool given_back = mine.given_back == candidate.sequence;
  const bool seen = mine.finished >= candidate.sequence || mine.running != 0 || given_back;
  if (seen && !may_begin_again(candidate, now_ns)) [[unlikely]] {
    return NextResult::kSkipped;
  }
  const bool may_have_run = candidate.may_have_run || given_back;
  if ((candidate.check_cancel || candidate.redelivered) &&
      skips_unbegun(candidate, may_have_run, supersedes, now_ns)) [[unlikely]] {
    return NextResult::kSkipped;
  }
  layout::AckRecord& record = ack_.record(candidate.slot);
  layout::begun_publish(record, {candidate.sequence, now_ns, candidate.attempt});
  if (fence_after_begin_) {
    layout::fence_full();  // [F1] begun before the look at interventions, where the daemon's
                           // membarrier can't help
  } else {
    layout::fence_light();  // [F1] the same, where the membarrier makes a full one of it
  }
  follow_interventions(now_ns);
  ACKBUS_POINT(kInterventionsRead);
  if (mine.finished >= candidate.sequence) {
    return NextResult::kSkipped;  // Given back before, and its verdict was answered just now.
  }
  if (mine.ended == candidate.sequence) {
    skip(candidate, AckCode::kSkippedVerdict, now_ns);
    return NextResult::kSkipped;
  }
  take_up(candidate, may_have_run, begun);
  if (!locate_payload(candidate, begun)) [[unlikely]] {
    return reject(candidate, "the payload lies outside the link's arena", now_ns);
  }
  if ((bounded_kinds_ >> candidate.kind & 1U) != 0) [[unlikely]] {
    return begin_bounded(candidate, now_ns);
  }
  return NextResult::kBegun;
}

// What this life has finished, runs or gave back already; true for a later attempt of the last.
bool ConsumerLink::may_begin_again(const Candidate& candidate, std::uint64_t now_ns) {
  Slot& mine = slots_[candidate.slot];
  layout::ConsumerCounters& counters = ack_.counters(candidate.kind);
  const bool slot_in_use = mine.finished > candidate.sequence ||
                           (mine.running != 0 && mine.running != candidate.sequence);
  if (slot_in_use && !candidate.redelivered) {
    add(ack_.words().rejected);
    note_violation(layout::LinkFault::kSlotInUse);
    return false;
  }
  if (mine.finished >= candidate.sequence) {
    duplicates_ += 1;
    add(counters.duplicates);
    return false;
  }
  if (mine.running != 0) {
    if (mine.running == candidate.sequence && candidate.attempt > mine.attempt) {
      mine.attempt = candidate.attempt;
      layout::raised_publish(ack_.record(candidate.slot),
                             {candidate.sequence, now_ns, candidate.attempt});
    }
    duplicates_ += 1;
    add(counters.duplicates);
    return false;
  }
  if (candidate.attempt <= mine.given_back_attempt) {
    add(counters.stale);
    return false;
  }
  return true;
}

// Cancelled or superseded: answered without being begun.
bool ConsumerLink::skips_unbegun(const Candidate& candidate, bool may_have_run,
                                 std::uint64_t supersedes, std::uint64_t now_ns) {
  if (candidate.check_cancel && cancel_wished(candidate.slot, candidate.sequence)) {
    skip(candidate,
         may_have_run ? AckCode::kSkippedCancelledMayHaveRun : AckCode::kSkippedCancelled, now_ns);
    return true;
  }
  if (candidate.redelivered && (supersedes >> candidate.kind & 1U) != 0 && superseded(candidate)) {
    skip(candidate, AckCode::kSkippedSuperseded, now_ns);
    return true;
  }
  return false;
}

// The message runs from here on, in this process's books and in its figures.
ACKBUS_HOT void ConsumerLink::take_up(const Candidate& candidate, bool may_have_run,
                                      Delivery& begun) {
  Slot& mine = slots_[candidate.slot];
  layout::ConsumerCounters& counters = ack_.counters(candidate.kind);
  begun.sequence = candidate.sequence;
  begun.sent_ns = candidate.sent_ns;
  begun.key = candidate.key;
  begun.slot = candidate.slot;
  begun.attempt = candidate.attempt;
  begun.kind = static_cast<Kind>(candidate.kind);
  begun.tracked = (candidate.flags & layout::kFlagTracked) != 0;
  begun.may_have_run = may_have_run;
  begun.alone = candidate.alone;
  mine.running = candidate.sequence;
  mine.attempt = candidate.attempt;
  mine.kind = candidate.kind;
  mine.key = candidate.key;
  mine.sent_ns = candidate.sent_ns;
  mine.tracked = begun.tracked;
  mine.may_have_run = may_have_run;
  running_count_ += 1;
  add(counters.begun);
  if (candidate.attempt > 1) {
    add(counters.redelivered);
  }
  ACKBUS_POINT(kTakenUp);
}

ACKBUS_HOT bool ConsumerLink::locate_payload(const Candidate& candidate, Delivery& begun) {
  if ((candidate.flags & layout::kFlagInline) != 0) {
    if (candidate.length > layout::kInlineBytesMax) {
      return false;
    }
    auto& words = inlined_[candidate.slot];
    if (candidate.redelivered) {
      layout::inline_load(submission_.descriptor(candidate.slot).inline_words, candidate.length,
                          words);
    }
    begun.payload = std::as_bytes(std::span(words)).first(candidate.length);
    return true;
  }
  const std::uint64_t arena = submission_.arena_bytes();
  if (candidate.offset > arena || candidate.length > arena - candidate.offset) {
    return false;
  }
  begun.payload = {submission_.arena() + candidate.offset, candidate.length};
  return true;
}

// ---- the two rings ----

NextResult ConsumerLink::next(std::uint64_t now_ns, bool idle, std::uint64_t supersedes,
                              Delivery& begun) {
  supersedes_seen_ = supersedes;
  follow_interventions(now_ns);
  // relaxed because next_redelivery() reads the place again, with acquire
  if (tracking_.redelivery(next_redelivery_).number.load_relaxed() == next_redelivery_)
      [[unlikely]] {
    const NextResult redelivered = next_redelivery(now_ns, idle, supersedes, begun);
    if (redelivered != NextResult::kNothing) {
      return redelivered;
    }
  }
  return next_main(now_ns, supersedes, begun);
}

}  // namespace ackbus
