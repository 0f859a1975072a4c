#include "daemon/tracker.hpp"

#include <algorithm>

#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

using layout::AckCode;
using layout::MarkKind;
using layout::PendingCopyValue;
using layout::PendingState;
using layout::VerdictReason;

namespace {

constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kScanMinMs =
    5;  // however little a link declares: its user pays no more of our time
constexpr std::uint64_t kRoomPauseNs =
    2 * kMillisecondNs;  // no room in the redelivery ring: look again then
constexpr std::size_t kAttemptTimesMax = 16;

}  // namespace

LinkTracker::LinkTracker(TrackerHost& host, layout::SubmissionView submission,
                         layout::TrackingView tracking, const TrackerRules& rules)
    : host_(host),
      submission_(submission),
      tracking_(tracking),
      rules_(rules),
      mirrors_(submission.slots()) {}

void LinkTracker::recover() {
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    mirrors_[slot].entry = layout::pending_read(tracking_.entry(slot));
  }
  for (std::uint64_t i = 0; i < submission_.slots(); ++i) {
    // relaxed because the daemon before this one wrote it, and it has ended
    next_redelivery_ =
        std::max(next_redelivery_, tracking_.redelivery(i).number.load_relaxed() + 1);
  }
  for (std::uint64_t i = 0; i < tracking_.verdict_ring_places(); ++i) {
    next_verdict_ = std::max(next_verdict_, tracking_.verdict(i).number.load_relaxed() + 1);
  }
  interventions_ = tracking_.words().interventions.load_relaxed();
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    const PendingCopyValue& entry = mirrors_[slot].entry;
    const std::optional<SlotView> view = look(slot);
    if (entry.state == PendingState::kVerdict && view &&
        view->descriptor.number == entry.sequence &&
        layout::outcome_sequence(view->outcome) != entry.sequence) {
      announce(slot, entry.sequence, entry.reason);
    }
  }
  // The daemon before this one may have died between an entry and `interventions`.
  intervene();
  host_.ring_producer();
  host_.ring_consumer();
  scan_soon();
}

void LinkTracker::set_life(layout::AckView ack, std::uint64_t epoch, std::uint64_t main_start) {
  ack_ = ack;
  epoch_ = epoch;
  main_start_ = main_start;
  frozen_ = false;
  ended_ = false;
  scan_soon();
}

// ---- scan ----

std::size_t LinkTracker::scan(std::uint64_t now_ns) {
  std::uint64_t shortest_ms = layout::kTimeoutMaxMs;
  for (const KindRule& rule : rules_.kinds) {
    shortest_ms = std::min<std::uint64_t>({shortest_ms, rule.timeout_ms, rule.max_wait_ms});
  }
  if (rules_.min_timeout_ms != 0) {
    shortest_ms = std::min<std::uint64_t>(shortest_ms, rules_.min_timeout_ms);
  }
  next_scan_ns_ = now_ns + std::max(shortest_ms, kScanMinMs) * kMillisecondNs;
  const std::uint64_t committed_now =
      submission_.words().committed.load_acquire();  // [E21] acquire: brings what it counts
  if (frozen_ || (!scan_all_ && committed_now == committed_seen_ && pending_seen_ == 0)) {
    return 0;
  }
  scan_all_ = false;
  committed_seen_ = committed_now;
  pending_seen_ = 0;
  oldest_sent_ns_ = 0;
  for (std::uint32_t slot = 0; slot < mirrors_.size(); ++slot) {
    if (const std::optional<SlotView> view = look(slot)) {
      note_pending(*view, now_ns);
      decide(*view, slot, now_ns);
    }
  }
  return mirrors_.size();
}

// Pending is what has no outcome yet, unless its answer only waits to be reaped. A verdict counts:
// the producer may still take a late ack first, and only a scan finds that.
void LinkTracker::note_pending(const SlotView& view, std::uint64_t now_ns) {
  const bool tracked = (layout::flags_of(view.descriptor.kind_flags) & layout::kFlagTracked) != 0;
  // A letter is owed, or has to be taken back, whatever the consumer or the producer said since.
  scan_all_ = scan_all_ || (tracked && view.entry.state == PendingState::kExhausting);
  const bool answered = view.acked &&
                        layout::answer_code(view.answer.code_flags) != AckCode::kSkippedVerdict &&
                        view.entry.state != PendingState::kVerdict;
  if (!tracked || !view.committed || answered || view.entry.state == PendingState::kFinal ||
      layout::outcome_sequence(view.outcome) == view.descriptor.number) {
    return;
  }
  pending_seen_ += 1;
  const std::uint64_t sent_ns = std::min(view.descriptor.sent_ns, now_ns);
  oldest_sent_ns_ = oldest_sent_ns_ == 0 ? sent_ns : std::min(oldest_sent_ns_, sent_ns);
}

bool LinkTracker::committed(const layout::DescriptorCopy& descriptor, std::uint32_t slot) const {
  const layout::Place& place = submission_.place(descriptor.number);
  // relaxed because a published place commits its message, and nothing else of it is wanted: a slot
  // that can't be seen yet only puts the answer off to the next look
  const std::uint64_t number = place.number.load_relaxed();
  return number > descriptor.number ||
         (number == descriptor.number && place.slot.load_relaxed() == slot);
}

std::optional<LinkTracker::SlotView> LinkTracker::look(std::uint32_t slot) const {
  SlotView view;
  const layout::Descriptor& descriptor = submission_.descriptor(slot);
  if (!layout::descriptor_read(descriptor, 0, view.descriptor)) {
    return std::nullopt;
  }
  const std::uint64_t sequence = view.descriptor.number;
  view.entry = entry_of(slot, sequence);
  view.committed = committed(view.descriptor, slot) ||
                   // relaxed because only this is asked: the life read it
                   (ack_ && sequence < ack_.words().cursor.load_relaxed());
  // relaxed because the full fences of [F1] decide who sees what; it brings nothing
  view.outcome = descriptor.outcome.load_relaxed();  // [E18] pairs with ProducerLink::settle()
  if (ack_) {
    view.acked = layout::answer_read(ack_.record(slot), sequence, view.answer);
    const layout::BegunCopy begun = layout::begun_read(ack_.record(slot));
    if (begun.sequence == sequence) {
      view.begun = begun;
    }
  }
  return view;
}

PendingCopyValue LinkTracker::entry_of(std::uint32_t slot, std::uint64_t sequence) const {
  const PendingCopyValue& entry = mirrors_[slot].entry;
  if (entry.sequence == sequence) {
    return entry;
  }
  PendingCopyValue fresh;
  fresh.sequence = sequence;
  fresh.attempt = 1;
  return fresh;
}

LinkTracker::Limits LinkTracker::limits_of(const layout::DescriptorCopy& descriptor) const {
  const KindRule& rule = rules_.kinds[layout::kind_of(descriptor.kind_flags) % layout::kKindsMax];
  Limits limits;
  std::uint32_t timeout_ms = descriptor.timeout_ms == 0 ? rule.timeout_ms : descriptor.timeout_ms;
  timeout_ms = std::max(layout::clamp_timeout_ms(timeout_ms), rules_.min_timeout_ms);
  const std::uint32_t max_wait_ms =
      descriptor.max_wait_ms == 0 ? rule.max_wait_ms : descriptor.max_wait_ms;
  const std::uint32_t retries = descriptor.retries_after_slot >> 16;
  limits.timeout_ns = timeout_ms * kMillisecondNs;
  limits.max_wait_ns = layout::clamp_timeout_ms(max_wait_ms) * kMillisecondNs;
  limits.max_age_ns = rule.max_age_ms * kMillisecondNs;
  limits.max_retries = layout::clamp_retries(retries == 0 ? rule.max_retries : retries - 1);
  limits.clock_from_commit = rule.clock_from_commit;
  return limits;
}

// One slot, one decision. Called by every scan and by every deadline of the slot; doing it twice
// changes nothing.
void LinkTracker::examine(std::uint32_t slot, std::uint64_t now_ns) {
  if (const std::optional<SlotView> view = look(slot)) {
    decide(*view, slot, now_ns);
  }
}

void LinkTracker::decide(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns) {
  if (frozen_ || !view.committed || mirrors_[slot].letter_running) {
    return;
  }
  if ((layout::flags_of(view.descriptor.kind_flags) & layout::kFlagTracked) == 0 ||
      view.entry.state == PendingState::kFinal) {
    return;
  }
  if (view.acked) {
    examine_answered(view, slot, now_ns);
  } else if (view.entry.state == PendingState::kVerdict) {
    note_late(view, slot);
  } else if (layout::outcome_sequence(view.outcome) != view.descriptor.number) {
    examine_open(view, slot, now_ns);
  } else if (view.entry.state == PendingState::kExhausting) {
    continue_verdict(view, slot, now_ns);
  }
}

void LinkTracker::examine_open(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns) {
  const Limits limits = limits_of(view.descriptor);
  switch (view.entry.state) {
    case PendingState::kReserved:
    case PendingState::kQueued:
      if (view.begun.sequence != 0 && view.begun.attempt >= view.entry.attempt) {
        examine_begun(view, slot, limits, now_ns);
      } else {
        examine_unbegun(view, slot, limits, now_ns);
      }
      break;
    case PendingState::kWaiting:
      examine_waiting(view, slot, now_ns);
      break;
    case PendingState::kExhausting:
      if (view.entry.reason == VerdictReason::kUndelivered && view.begun.sequence != 0) {
        // A daemon before this one ended before it read begun again: the message runs.
        withdraw_undelivered(view, slot);
        examine(slot, now_ns);
      } else {
        continue_verdict(view, slot, now_ns);
      }
      break;
    case PendingState::kVerdict:
    case PendingState::kFinal:
      break;
  }
}

void LinkTracker::note_begun(std::uint32_t slot, const layout::BegunCopy& begun) {
  Mirror& mirror = mirrors_[slot];
  if (mirror.attempts_of != begun.sequence) {
    mirror.attempts_of = begun.sequence;
    mirror.attempt_ns.clear();
    mirror.last_begun = 0;
  }
  mirror.last_begun = std::max(mirror.last_begun, begun.attempt);
  if (mirror.attempt_ns.size() < kAttemptTimesMax &&
      (mirror.attempt_ns.empty() || mirror.attempt_ns.back() < begun.begun_ns)) {
    mirror.attempt_ns.push_back(begun.begun_ns);
  }
}

// The consumer may be rewriting its mark just now: a few looks, so that progress is not taken for
// silence.
bool LinkTracker::read_mark(std::uint32_t slot, std::uint64_t sequence,
                            layout::MarkCopy& mark) const {
  for (int tries = 0; tries < layout::kSeqlockTriesMax; ++tries) {
    if (layout::mark_read(ack_.record(slot), sequence, mark)) {
      return true;
    }
  }
  return false;
}

// The clock of an attempt starts at begin; progress starts it anew; giving back ends it at once.
void LinkTracker::examine_begun(const SlotView& view, std::uint32_t slot, const Limits& limits,
                                std::uint64_t now_ns) {
  if (ended_) {
    return;  // The hand-over deals with it.
  }
  note_begun(slot, view.begun);
  layout::MarkCopy mark;
  const bool marked = read_mark(slot, view.descriptor.number, mark);
  if (marked && mark.kind == MarkKind::kGivenBack && mark.value >= view.begun.attempt) {
    attempt_over(view, slot, limits, view.begun.attempt, 0, mark.delay_ms, RetryCause::kGivenBack,
                 now_ns);
    return;
  }
  std::uint64_t started_ns = limits.clock_from_commit && view.entry.attempt == 1
                                 ? view.descriptor.sent_ns
                                 : view.begun.begun_ns;
  std::uint32_t reported = 0;
  const bool progressed = marked && mark.kind == MarkKind::kProgress;
  if (progressed) {
    started_ns = std::max(started_ns, mark.marked_ns);
    reported = mark.value;
  }
  const std::uint64_t oldest_ns = std::min(view.descriptor.sent_ns, now_ns);
  std::uint64_t due_ns = std::min(started_ns, now_ns) + limits.timeout_ns;
  if (progressed) {
    due_ns = std::min(due_ns, oldest_ns + limits.max_age_ns);
    if (now_ns >= oldest_ns + limits.max_age_ns) {
      start_verdict(view, slot, VerdictReason::kMaxAge, now_ns);
      return;
    }
  }
  if (now_ns < due_ns) {
    host_.arm(slot, due_ns);
    return;
  }
  attempt_over(view, slot, limits, view.begun.attempt, reported, 0, RetryCause::kTimeout, now_ns);
}

// What nobody began uses no attempt and is never queued twice; max_wait ends what was never begun
// at all. A kind with `clock = "commit"` uses its retries here too.
void LinkTracker::examine_unbegun(const SlotView& view, std::uint32_t slot, const Limits& limits,
                                  std::uint64_t now_ns) {
  if (limits.clock_from_commit) {
    const std::uint64_t queued_ns =
        view.entry.state == PendingState::kQueued ? view.entry.due_ns : view.descriptor.sent_ns;
    const std::uint64_t due_ns = std::min(queued_ns, now_ns) + limits.timeout_ns;
    if (now_ns < due_ns) {
      host_.arm(slot, due_ns);
    } else {
      attempt_over(view, slot, limits, view.entry.attempt, 0, 0, RetryCause::kTimeout, now_ns);
    }
    return;
  }
  if (view.entry.attempt > 1 || view.entry.deaths > 0 || view.begun.sequence != 0) {
    return;  // It was begun once: it waits for its consumer.
  }
  const std::uint64_t due_ns = std::min(view.descriptor.sent_ns, now_ns) + limits.max_wait_ns;
  if (now_ns < due_ns) {
    host_.arm(slot, due_ns);
    return;
  }
  end_undelivered(view, slot, now_ns);
}

// A retry whose delay is over gets its redelivery place, then the entry says Queued: in that order.
void LinkTracker::examine_waiting(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns) {
  if (ended_) {
    return;  // The hand-over redelivers it.
  }
  const std::uint64_t sequence = view.descriptor.number;
  PendingCopyValue entry = view.entry;
  entry.state = PendingState::kQueued;
  if (view.begun.sequence == sequence && view.begun.attempt >= entry.attempt) {
    entry.due_ns = now_ns;
    store(slot, entry);  // A daemon before this one had put the place; the attempt runs.
    examine(slot, now_ns);
    return;
  }
  if (now_ns < entry.due_ns) {
    host_.arm(slot, entry.due_ns);
    return;
  }
  if (unread(sequence)) {
    // Its main place is still to be read and serves this attempt too (clock = "commit"). A second
    // place would let it end before its life has read the first, and the main ring would be lapped.
    entry.due_ns = now_ns;
    store(slot, entry);
    examine(slot, now_ns);
    return;
  }
  if (!has_room()) {
    host_.arm(slot, now_ns + kRoomPauseNs);
    return;
  }
  std::uint32_t flags = entry.attempt > 1 ? layout::kRedeliverMayHaveRun : 0U;
  flags |= entry.deaths > 0 ? layout::kRedeliverAlone : 0U;
  place_redelivery(slot, sequence, entry.attempt, flags);
  ACKBUS_POINT(kRetryPlaced);
  entry.due_ns = now_ns;  // Queued: since when, for clock = "commit"
  store(slot, entry);
  ACKBUS_POINT(kQueuedStored);
  host_.ring_consumer();
}

void LinkTracker::attempt_over(const SlotView& view, std::uint32_t slot, const Limits& limits,
                               std::uint32_t attempt, std::uint32_t reported,
                               std::uint32_t delay_ms, RetryCause cause, std::uint64_t now_ns) {
  PendingCopyValue entry = view.entry;
  entry.retries = std::max(entry.retries, std::min(reported, layout::kRetriesMax));
  if (entry.retries >= limits.max_retries) {
    start_verdict(view, slot, VerdictReason::kRetries, now_ns);
    return;
  }
  entry.retries += 1;
  entry.attempt = attempt + 1;
  entry.state = PendingState::kWaiting;
  const auto word = static_cast<std::uint32_t>(
      (view.descriptor.id[0] ^ entry.attempt) * 0x9e3779b97f4a7c15ULL >> 32);
  const std::uint64_t pause_ms =
      delay_ms != 0 ? delay_ms : rules_.backoff.delay_ms(entry.retries, word);
  entry.due_ns = now_ns + pause_ms * kMillisecondNs;
  const std::uint16_t kind = layout::kind_of(view.descriptor.kind_flags);
  host_.will_count_retry(slot, next_version(slot), kind, cause);
  store(slot, entry);
  ACKBUS_POINT(kWaitingStored);
  host_.count_retry(kind, cause);
  ACKBUS_POINT(kRetryCounted);
  host_.arm(slot, entry.due_ns);
}

}  // namespace ackbus::daemon
