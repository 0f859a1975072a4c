// Sums of figures. Every load of a counter here is relaxed because a figure orders nothing: the
// values of one moment may be apart by what happens while they are read.
#include "daemon/bus_figures.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace ackbus::daemon {

using layout::AckCode;
using layout::PendingState;

namespace {

constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kStallTimeouts = 2;  // begun for so many timeouts: stalled

// No link can have counted more than it has sequences.
std::uint64_t read_count(const layout::Cell<std::uint64_t>& counter) {
  return std::min(counter.load_relaxed(), layout::kSequenceMax);  // relaxed because it is a figure
}

bool is_tracked(const LinkTracker::SlotView& view) {
  return (layout::flags_of(view.descriptor.kind_flags) & layout::kFlagTracked) != 0;
}

Ending ending_of_answer(AckCode code) {
  switch (code) {
    case AckCode::kSuccess:
      return Ending::kSuccess;
    case AckCode::kPartialSuccess:
      return Ending::kPartialSuccess;
    case AckCode::kFailed:
      return Ending::kFailed;
    case AckCode::kSkippedCancelled:
      return Ending::kCancelled;
    case AckCode::kSkippedCancelledMayHaveRun:
      return Ending::kCancelledMayHaveRun;
    case AckCode::kSkippedSuperseded:
      return Ending::kSuperseded;
    case AckCode::kSkippedVerdict:
    case AckCode::kReserved:
      break;
  }
  return Ending::kReserved;  // The verdict says how it ended.
}

void count_ending(EndedTotals& totals, Ending ending) {
  switch (ending) {
    case Ending::kReserved:
      return;
    case Ending::kSuccess:
      totals.success += 1;
      return;
    case Ending::kPartialSuccess:
      totals.partial_success += 1;
      return;
    case Ending::kFailed:
      totals.failed += 1;
      return;
    case Ending::kExhausted:
      totals.exhausted += 1;
      return;
    case Ending::kSuperseded:
      totals.superseded += 1;
      return;
    case Ending::kCancelled:
    case Ending::kCancelledMayHaveRun:
      totals.cancelled += 1;
      return;
    case Ending::kClosed:
      totals.closed += 1;
      return;
  }
}

void count_untaken(KindTotals& totals, const LinkMemory& memory) {
  for (std::uint32_t slot = 0; slot < memory.tracker->slots(); ++slot) {
    const std::optional<LinkTracker::SlotView> view = memory.tracker->look(slot);
    if (!view || !view->committed || !is_tracked(*view) ||
        ending_taken(*view) != Ending::kReserved) {
      continue;
    }
    const std::uint16_t kind = layout::kind_of(view->descriptor.kind_flags);
    count_ending(totals[kind % layout::kKindsMax], ending_untaken(*view, slot, memory.ended_lives));
  }
}

// A producer that died between counting a message as sent and publishing its place has sent one
// message less: its descriptor says which.
void drop_uncommitted(KindTotals& totals, const LinkMemory& memory) {
  std::uint64_t counted = 0;
  for (const EndedTotals& kind : totals) {
    counted = saturating_add(counted, saturating_add(kind.sent, kind.posted));
  }
  std::uint64_t newest = memory.first_sequence - 1;
  for (std::uint64_t i = 0; i < memory.submission.slots(); ++i) {
    // relaxed because the producer has ended
    newest = std::max(newest, memory.submission.place(i).number.load_relaxed());
  }
  if (counted != newest - (memory.first_sequence - 1) + 1) {
    return;
  }
  for (std::uint32_t slot = 0; slot < memory.tracker->slots(); ++slot) {
    const std::optional<LinkTracker::SlotView> view = memory.tracker->look(slot);
    if (view && view->descriptor.number == newest + 1) {
      EndedTotals& kind = totals[layout::kind_of(view->descriptor.kind_flags) % layout::kKindsMax];
      std::uint64_t& count = is_tracked(*view) ? kind.sent : kind.posted;
      count -= count > 0 ? 1 : 0;
    }
  }
}

// A producer that died between storing an outcome and counting it left the word of it in
// `settling`; its kind then has one ending less than messages that are not open.
void count_uncounted(KindTotals& totals, const LinkMemory& memory) {
  std::array<std::uint64_t, layout::kKindsMax> open{};
  std::array<Ending, layout::kKindsMax> settling{};
  for (std::uint32_t slot = 0; slot < memory.tracker->slots(); ++slot) {
    const std::optional<LinkTracker::SlotView> view = memory.tracker->look(slot);
    if (!view || !view->committed || !is_tracked(*view)) {
      continue;
    }
    const std::size_t kind = layout::kind_of(view->descriptor.kind_flags) % layout::kKindsMax;
    const Ending taken = ending_taken(*view);
    if (taken == Ending::kReserved) {
      open[kind] += ending_untaken(*view, slot, memory.ended_lives) == Ending::kReserved ? 1 : 0;
    } else if (memory.submission.counters(static_cast<std::uint32_t>(kind))
                   .settling.load_relaxed() == view->outcome) {
      settling[kind] = taken;  // relaxed because the producer has ended
    }
  }
  for (std::size_t kind = 0; kind < layout::kKindsMax; ++kind) {
    if (saturating_add(settled_count(totals[kind]), open[kind]) < totals[kind].sent) {
      count_ending(totals[kind], settling[kind]);
    }
  }
}

// As the tracker takes it: the message's wish or the kind's, never less than the link declared.
std::uint64_t timeout_of(const layout::DescriptorCopy& descriptor, const TrackerRules& rules) {
  const KindRule& rule = rules.kinds[layout::kind_of(descriptor.kind_flags) % layout::kKindsMax];
  const std::uint32_t wished_ms =
      descriptor.timeout_ms == 0 ? rule.timeout_ms : descriptor.timeout_ms;
  return std::max(layout::clamp_timeout_ms(wished_ms), rules.min_timeout_ms) * kMillisecondNs;
}

// When what runs in this slot last showed a sign of life; nothing when the life runs nothing there.
std::optional<std::uint64_t> running_since(const LinkTracker::SlotView& view, std::uint32_t slot,
                                           const layout::AckView& life) {
  if (!life || view.acked || view.begun.sequence == 0) {
    return std::nullopt;
  }
  layout::MarkCopy mark;
  if (!layout::mark_read(life.record(slot), view.descriptor.number, mark)) {
    return view.begun.begun_ns;
  }
  if (mark.kind == layout::MarkKind::kGivenBack && mark.value >= view.begun.attempt) {
    return std::nullopt;
  }
  return mark.kind == layout::MarkKind::kProgress ? std::max(view.begun.begun_ns, mark.marked_ns)
                                                  : view.begun.begun_ns;
}

void note_running(SlotCounts& counts, const LinkTracker::SlotView& view, std::uint64_t since_ns,
                  const TrackerRules& rules, std::uint64_t now_ns) {
  counts.begun += 1;
  const std::uint64_t age_ns = now_ns - std::min(since_ns, now_ns);
  if (age_ns / kStallTimeouts <= timeout_of(view.descriptor, rules) ||
      (counts.stall && counts.stall->age_ns >= age_ns)) {
    return;
  }
  counts.stall.emplace();
  counts.stall->age_ns = age_ns;
  std::memcpy(counts.stall->id.data(), view.descriptor.id, counts.stall->id.size());
}

// An untracked message holds its slot until it is answered, or gone with its consumer.
bool holds_slot(const LinkTracker::SlotView& view, std::uint32_t slot, const LinkMemory& memory) {
  if (!is_tracked(view)) {
    return !view.acked && view.entry.state != PendingState::kVerdict &&
           view.entry.state != PendingState::kFinal;
  }
  return ending_taken(view) == Ending::kReserved &&
         !(memory.producer_gone &&
           ending_untaken(view, slot, memory.ended_lives) != Ending::kReserved);
}

}  // namespace

std::uint64_t saturating_add(std::uint64_t left, std::uint64_t right) {
  return right > std::numeric_limits<std::uint64_t>::max() - left
             ? std::numeric_limits<std::uint64_t>::max()
             : left + right;
}

void add_totals(EndedTotals& sum, const EndedTotals& more) {
  // Every field is a 64-bit count (asserted here), so the two are added as arrays of words.
  static_assert(std::has_unique_object_representations_v<EndedTotals>);
  std::array<std::uint64_t, sizeof(EndedTotals) / sizeof(std::uint64_t)> left;
  std::array<std::uint64_t, left.size()> right;
  static_assert(sizeof left == sizeof(EndedTotals));
  std::memcpy(left.data(), &sum, sizeof left);
  std::memcpy(right.data(), &more, sizeof right);
  for (std::size_t word = 0; word < left.size(); ++word) {
    left[word] = saturating_add(left[word], right[word]);
  }
  std::memcpy(&sum, left.data(), sizeof left);
}

void add_totals(KindTotals& sum, const KindTotals& more) {
  for (std::size_t kind = 0; kind < sum.size(); ++kind) {
    add_totals(sum[kind], more[kind]);
  }
}

// ---- peers' counters ----

EndedTotals read_producer(const layout::SubmissionView& submission, std::uint32_t kind) {
  const layout::ProducerCounters& counters = submission.counters(kind);
  EndedTotals totals{};
  totals.success = read_count(counters.success);
  totals.partial_success = read_count(counters.partial_success);
  totals.failed = read_count(counters.failed);
  totals.exhausted = read_count(counters.exhausted);
  totals.superseded = read_count(counters.superseded);
  totals.cancelled = read_count(counters.cancelled);
  totals.closed = read_count(counters.closed);
  totals.posted = read_count(counters.posted);
  totals.sent = read_count(counters.sent);
  return totals;
}

EndedTotals read_consumer(const layout::AckView& ack, std::uint32_t kind) {
  const layout::ConsumerCounters& counters = ack.counters(kind);
  EndedTotals totals{};
  totals.begun = read_count(counters.begun);
  totals.redelivered = read_count(counters.redelivered);
  totals.retrying = read_count(counters.retrying);
  totals.given_back = read_count(counters.given_back);
  totals.duplicates = read_count(counters.duplicates);
  totals.stale = read_count(counters.stale);
  totals.text_cut = read_count(counters.text_cut);
  totals.skipped = read_count(counters.skipped);
  totals.untracked = read_count(counters.untracked);
  totals.acked_success = read_count(counters.success);
  totals.acked_partial_success = read_count(counters.partial_success);
  totals.acked_failed = read_count(counters.failed);
  totals.latency_sum_ns = counters.latency_sum_ns.load_relaxed();  // relaxed because it is a figure
  for (std::size_t bucket = 0; bucket < layout::kLatencyBuckets; ++bucket) {
    totals.latency[bucket] = read_count(counters.latency[bucket]);
  }
  return totals;
}

KindTotals read_consumer(const layout::AckView& ack) {
  KindTotals totals{};
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    totals[kind] = read_consumer(ack, kind);
  }
  return totals;
}

std::uint64_t settled_count(const EndedTotals& totals) {
  std::uint64_t sum = 0;
  for (const std::uint64_t count :
       {totals.success, totals.partial_success, totals.failed, totals.exhausted, totals.superseded,
        totals.cancelled, totals.closed}) {
    sum = saturating_add(sum, count);
  }
  return sum;
}

std::uint64_t pending_count(const EndedTotals& totals) {
  return totals.sent - std::min(settled_count(totals), totals.sent);
}

std::uint64_t retry_count(const OwnTotals& own) {
  return own.retries_timeout + own.retries_given_back + own.retries_death;
}

std::uint64_t dead_lettered_count(const OwnTotals& own) {
  std::uint64_t sum = 0;
  for (std::size_t reason = 0; reason <= layout::kVerdictReasonMax; ++reason) {
    sum += layout::is_exhausted(static_cast<layout::VerdictReason>(reason)) ? own.dead[reason] : 0;
  }
  return sum;
}

// ---- endings ----

const char* to_text(Ending ending) {
  constexpr const char* kTexts[] = {
      "pending",    "Success",   "PartialSuccess",           "Failed", "Exhausted",
      "Superseded", "Cancelled", "Cancelled (may have run)", "Closed"};
  const auto index = static_cast<std::size_t>(ending);
  return index < std::size(kTexts) ? kTexts[index] : kTexts[0];
}

Ending ending_taken(const LinkTracker::SlotView& view) {
  const std::uint8_t code = layout::outcome_code(view.outcome);
  const bool ours = layout::outcome_sequence(view.outcome) == view.descriptor.number;
  return ours && code <= static_cast<std::uint8_t>(Ending::kClosed) ? static_cast<Ending>(code)
                                                                    : Ending::kReserved;
}

Ending ending_untaken(const LinkTracker::SlotView& view, std::uint32_t slot,
                      std::span<const layout::AckView> ended_lives) {
  if (view.entry.state == PendingState::kVerdict) {
    return layout::is_exhausted(view.entry.reason) ? Ending::kExhausted : Ending::kClosed;
  }
  if (view.acked) {
    const Ending answered = ending_of_answer(layout::answer_code(view.answer.code_flags));
    if (answered != Ending::kReserved) {
      return answered;
    }
  }
  for (const layout::AckView& life : ended_lives) {
    layout::AnswerCopy answer;
    if (life && layout::answer_read(life.record(slot), view.descriptor.number, answer)) {
      const Ending answered = ending_of_answer(layout::answer_code(answer.code_flags));
      if (answered != Ending::kReserved) {
        return answered;
      }
    }
  }
  return view.entry.state == PendingState::kFinal
             ? ending_of_answer(static_cast<AckCode>(view.entry.answer))
             : Ending::kReserved;
}

// ---- links ----

KindTotals read_link(const LinkMemory& memory) {
  KindTotals totals{};
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    totals[kind] = read_producer(memory.submission, kind);
  }
  if (memory.producer_gone && memory.tracker != nullptr) {
    drop_uncommitted(totals, memory);
    count_untaken(totals, memory);
    count_uncounted(totals, memory);
  }
  for (EndedTotals& kind : totals) {
    kind.sent = std::max(kind.sent, settled_count(kind));
  }
  return totals;
}

KindTotals read_ended_link(const LinkMemory& memory) {
  KindTotals totals = read_link(memory);
  for (EndedTotals& kind : totals) {
    kind.closed = saturating_add(kind.closed, pending_count(kind));
  }
  return totals;
}

SlotCounts count_slots(const LinkMemory& memory, const TrackerRules& rules, bool consumer_runs,
                       std::uint64_t now_ns) {
  SlotCounts counts;
  const LinkTracker& tracker = *memory.tracker;
  for (std::uint32_t slot = 0; slot < tracker.slots(); ++slot) {
    const std::optional<LinkTracker::SlotView> view = tracker.look(slot);
    if (!view || !view->committed || !holds_slot(*view, slot, memory)) {
      counts.free += 1;
    } else if (is_tracked(*view)) {
      const std::uint64_t sent_ns = std::min(view->descriptor.sent_ns, now_ns);
      counts.pending += 1;
      counts.oldest_sent_ns =
          counts.oldest_sent_ns == 0 ? sent_ns : std::min(counts.oldest_sent_ns, sent_ns);
    }
    if (view && view->committed && consumer_runs) {
      if (const auto since_ns = running_since(*view, slot, memory.life)) {
        note_running(counts, *view, *since_ns, rules, now_ns);
      }
    }
  }
  return counts;
}

}  // namespace ackbus::daemon
