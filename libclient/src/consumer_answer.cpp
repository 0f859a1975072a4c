// The answering half of ConsumerLink: ack, nack, progress, what interventions ask for, and the
// supersede table.
#include <algorithm>
#include <cstring>

#include "libclient/src/ack_text.hpp"
#include "libclient/src/consumer_link.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

namespace {

// What the consumer answers with Skipped: a verdict that stands, or one for a message that nobody
// begun.
bool ends_unbegun(const layout::PendingCopyValue& entry) {
  return entry.state == PendingState::kVerdict ||
         (entry.state == PendingState::kExhausting && entry.reason == VerdictReason::kUndelivered);
}

}  // namespace

// The daemon moved `interventions` after it stored an entry: look at all of them, and answer
// verdicts on what this life gave back, which nobody will begin again.
void ConsumerLink::look_at_entries(std::uint64_t now_ns) {
  held_ = redelivery_held_ = false;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    const layout::PendingCopyValue entry = layout::pending_read(tracking_.entry(slot));
    Slot& mine = slots_[slot];
    mine.ended = ends_unbegun(entry) ? entry.sequence : 0;
    mine.given_back_verdict =
        entry.state == PendingState::kVerdict && entry.sequence == mine.given_back;
  }
  answer_given_back_verdicts(now_ns);
}

void ConsumerLink::answer_given_back_verdicts(std::uint64_t now_ns) {
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    Slot& mine = slots_[slot];
    if (mine.given_back_verdict && mine.given_back != 0 && mine.running == 0 &&
        mine.finished < mine.given_back) {
      Candidate candidate;
      candidate.slot = slot;
      candidate.sequence = mine.given_back;
      candidate.kind = mine.kind;
      candidate.attempt = mine.given_back_attempt;
      skip(candidate, AckCode::kSkippedVerdict, now_ns);
    }
  }
}

void ConsumerLink::skip(const Candidate& candidate, AckCode code, std::uint64_t now_ns) {
  Slot& mine = slots_[candidate.slot];
  mine.kind = candidate.kind;
  mine.sent_ns = candidate.sent_ns;
  mine.tracked = true;
  answer(candidate.slot, candidate.sequence, layout::pack_answer(code, 0, candidate.attempt), 0,
         now_ns);
  ACKBUS_POINT(kSkipAnswered);
  count_answer(mine, code, now_ns);
  skipped_ += 1;
}

// Answers what no handler may see. It was begun, so that it runs nowhere else meanwhile.
NextResult ConsumerLink::reject(const Candidate& candidate, std::string_view text,
                                std::uint64_t now_ns) {
  add(ack_.words().rejected);
  ack(candidate.slot, candidate.sequence, AckCode::kFailed, text, {}, now_ns);
  return NextResult::kSkipped;
}

// The producer's library refuses such a payload, but a producer's memory is hostile.
NextResult ConsumerLink::begin_bounded(const Candidate& candidate, std::uint64_t now_ns) {
  const std::optional<std::string> problem = bounds_->problem(candidate.kind, candidate.length);
  return problem ? reject(candidate, *problem, now_ns) : NextResult::kBegun;
}

// Record, supersede table, place: that order (docs/architecture.md#consumer-lives).
ACKBUS_HOT void ConsumerLink::answer(std::uint32_t slot, std::uint64_t sequence,
                                     std::uint32_t packed, std::uint32_t text_lengths,
                                     std::uint64_t now_ns) {
  Slot& mine = slots_[slot];
  layout::AckRecord& record = ack_.record(slot);
  if (text_lengths == 0) {
    layout::answer_begin(record);  // With a text the caller began it before the text.
  }
  layout::answer_publish(record,
                         {sequence, now_ns, packed, layout::answer_attempt(packed), text_lengths});
  const AckCode code = layout::answer_code(packed);
  if (mine.key != 0 && mine.running == sequence && (supersedes_seen_ >> mine.kind & 1U) != 0 &&
      (code == AckCode::kSuccess || code == AckCode::kPartialSuccess)) {
    remember_success(mine.kind, mine.key, sequence);
  }
  mine.finished = sequence;
  layout::ack_place_publish(ack_.place(next_ack_), next_ack_, {sequence, now_ns, slot, packed});
  next_ack_ += 1;
}

bool ConsumerLink::forget(std::uint32_t slot, std::uint64_t sequence) {
  if (!running(slot, sequence)) {
    return false;
  }
  slots_[slot].running = 0;
  running_count_ -= 1;
  return true;
}

bool ConsumerLink::ack(std::uint32_t slot, std::uint64_t sequence, AckCode code,
                       std::string_view text,
                       std::span<const std::pair<std::string, std::string>> metadata,
                       std::uint64_t now_ns) {
  if (!running(slot, sequence)) {
    add(ack_.counters(0).stale);
    return false;
  }
  Slot& mine = slots_[slot];
  std::uint32_t flags = 0;
  AckTextWritten written;
  if (!text.empty() || !metadata.empty()) [[unlikely]] {
    layout::answer_begin(ack_.record(slot));
    written = write_ack_text(ack_.text(slot), text, metadata);
    ACKBUS_POINT(kTextWritten);
    flags = layout::kAckHasText | (written.cut ? layout::kAckTextCut : 0U);
    if (written.cut) {
      add(ack_.counters(mine.kind).text_cut);
    }
  }
  answer(slot, sequence, layout::pack_answer(code, flags, mine.attempt), written.lengths, now_ns);
  count_answer(mine, code, now_ns);
  ACKBUS_POINT(kAnswerCounted);
  mine.running = 0;
  running_count_ -= 1;
  held_ = redelivery_held_ = false;
  return true;
}

bool ConsumerLink::give_back(std::uint32_t slot, std::uint64_t sequence, std::uint32_t delay_ms,
                             std::uint64_t now_ns) {
  if (!running(slot, sequence)) {
    add(ack_.counters(0).stale);
    return false;
  }
  Slot& mine = slots_[slot];
  if (!mine.tracked) {
    // Nobody follows an untracked message, so nobody would deliver it again: giving it back ends
    // it, or its slot would never be free.
    add(ack_.counters(mine.kind).given_back);
    return ack(slot, sequence, AckCode::kFailed, {}, {}, now_ns);
  }
  mine.given_back = sequence;
  mine.given_back_attempt = mine.attempt;
  mine.running = 0;
  running_count_ -= 1;
  held_ = redelivery_held_ = false;
  layout::mark_publish(ack_.record(slot),
                       {sequence, now_ns, layout::MarkKind::kGivenBack, mine.attempt, delay_ms});
  add(ack_.counters(mine.kind).given_back);
  interventions_ =
      UINT64_MAX;  // A verdict may stand already: look at the entries before the next message.
  return true;
}

bool ConsumerLink::progress(std::uint32_t slot, std::uint64_t sequence, std::uint32_t retries,
                            std::uint64_t now_ns) {
  if (!running(slot, sequence)) {
    add(ack_.counters(0).stale);
    return false;
  }
  layout::mark_publish(ack_.record(slot),
                       {sequence, now_ns, layout::MarkKind::kProgress, retries, 0});
  add(ack_.counters(slots_[slot].kind).retrying);
  return true;
}

bool ConsumerLink::must_ring() {
  layout::fence_full();  // [F2] [E16] publish before the look at `sleeping`; pairs with the
                         // producer's fence before its look
  ACKBUS_POINT(kConsumerFenced);
  // relaxed because the fence orders it; [E16] pairs with the producer's arm()
  const std::uint64_t generation = submission_.words().sleeping.load_relaxed();
  if (generation == 0 || generation == rung_) {
    return false;
  }
  rung_ = generation;
  return true;
}

// ---- questions ----

bool ConsumerLink::running(std::uint32_t slot, std::uint64_t sequence) const {
  return slot < slots_.size() && sequence != 0 && slots_[slot].running == sequence;
}

bool ConsumerLink::cancel_wished(std::uint32_t slot, std::uint64_t sequence) const {
  // relaxed because the counter brought the wish [E17]; see ProducerLink::cancel()
  return submission_.descriptor(slot).cancel.load_relaxed() == sequence;
}

MessageId ConsumerLink::id(std::uint32_t slot, std::uint64_t sequence) const {
  layout::DescriptorCopy copy;
  MessageId id;
  if (slot < slots_.size() &&
      layout::descriptor_read(submission_.descriptor(slot), sequence, copy)) {
    std::memcpy(&id, copy.id, sizeof(id));
  }
  return id;
}

// ---- figures and the supersede table ----

ACKBUS_HOT void ConsumerLink::count_answer(const Slot& slot, AckCode code, std::uint64_t now_ns) {
  layout::ConsumerCounters& counters = ack_.counters(slot.kind);
  if (!slot.tracked) {
    add(counters.untracked);
    return;
  }
  switch (code) {
    case AckCode::kSuccess:
      add(counters.success);
      break;
    case AckCode::kPartialSuccess:
      add(counters.partial_success);
      break;
    case AckCode::kFailed:
      add(counters.failed);
      break;
    case AckCode::kSkippedCancelled:
    case AckCode::kSkippedCancelledMayHaveRun:
      add(counters.cancelled);
      return;
    case AckCode::kSkippedSuperseded:
      add(counters.superseded);
      return;
    default:
      add(counters.skipped);
      return;
  }
  const std::uint64_t latency_ns = now_ns > slot.sent_ns ? now_ns - slot.sent_ns : 0;
  auto& sum = counters.latency_sum_ns;
  sum.store_relaxed(sum.load_relaxed() + latency_ns);  // relaxed because a figure orders nothing
  const bool above =
      bucket_ + 1 < layout::kLatencyBuckets && latency_ns > layout::kLatencyBoundsNs[bucket_];
  if (above || (bucket_ > 0 && latency_ns <= layout::kLatencyBoundsNs[bucket_ - 1])) {
    bucket_ = layout::latency_bucket(latency_ns);
  }
  add(counters.latency[bucket_]);
}

bool ConsumerLink::superseded(const Candidate& candidate) const {
  if (candidate.key == 0) {
    return false;
  }
  for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
    const layout::SupersedeEntry& entry = ack_.supersede(index);
    // relaxed because this process alone writes the table while it lives
    if (entry.key.load_relaxed() == candidate.key && entry.kind.load_relaxed() == candidate.kind) {
      return entry.sequence.load_relaxed() > candidate.sequence;
    }
  }
  return false;
}

// Bounded: a full table forgets the entry with the lowest sequence, which then supersedes nothing.
void ConsumerLink::remember_success(std::uint16_t kind, std::uint64_t key, std::uint64_t sequence) {
  layout::SupersedeEntry* chosen = &ack_.supersede(0);
  for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
    layout::SupersedeEntry& entry = ack_.supersede(index);
    // relaxed because this process alone writes the table while it lives
    if (entry.key.load_relaxed() == key && entry.kind.load_relaxed() == kind) {
      if (entry.sequence.load_relaxed() >= sequence) {
        return;
      }
      chosen = &entry;
      break;
    }
    if (entry.sequence.load_relaxed() < chosen->sequence.load_relaxed()) {
      chosen = &entry;
    }
  }
  const std::uint64_t number =
      chosen->number.load_relaxed();  // relaxed because this process alone writes it
  chosen->number.store_relaxed(0);    // relaxed because the fence orders it
  layout::fence_release();            // [E19] number 0 before the fields
  ACKBUS_POINT(kSuccessOpen);
  chosen->kind.store_relaxed(kind);  // relaxed because the number publishes the fields
  chosen->key.store_relaxed(key);
  chosen->sequence.store_relaxed(sequence);
  ACKBUS_POINT(kSuccessFilled);
  chosen->number.store_release(
      number + 1);  // [E19] release: read by the daemon at a hand-over, after this life ended
  ACKBUS_POINT(kSuccessRemembered);
}

}  // namespace ackbus
