// How a message ends and its slot becomes free: each ack passes here, so it is in a header and
// inlined (hot.hpp) into the two sources that include it, producer_reap.cpp and
// producer_verdicts.cpp.
#pragma once

#include <algorithm>
#include <memory>

#include "libclient/src/hot.hpp"
#include "libclient/src/producer_link.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

ACKBUS_HOT void ProducerLink::count(Kind kind, OutcomeCode code) {
  auto& counters = submission_.counters(static_cast<std::uint32_t>(kind));
  const auto add = [](layout::Cell<std::uint64_t>& counter) {
    counter.store_relaxed(counter.load_relaxed() + 1);  // relaxed because a figure orders nothing
  };
  switch (code) {
    case OutcomeCode::kSuccess:
      add(counters.success);
      break;
    case OutcomeCode::kPartialSuccess:
      add(counters.partial_success);
      break;
    case OutcomeCode::kFailed:
      add(counters.failed);
      break;
    case OutcomeCode::kExhausted:
      add(counters.exhausted);
      break;
    case OutcomeCode::kSuperseded:
      add(counters.superseded);
      break;
    case OutcomeCode::kCancelled:
    case OutcomeCode::kCancelledMayHaveRun:
      add(counters.cancelled);
      break;
    case OutcomeCode::kClosed:
      add(counters.closed);
      break;
    case OutcomeCode::kReserved:
      break;
  }
}

// The first answer is the outcome: stored in the descriptor, counted, kept for the application.
ACKBUS_HOT bool ProducerLink::settle(std::uint32_t slot, const Ending& ending) {
  Slot& mine = slots_[slot];
  mine.set(kSettled);
  const OutcomeCode code = ending.code;
  const std::uint64_t word = layout::pack_outcome(mine.sequence, static_cast<std::uint8_t>(code));
  // relaxed because the daemon asks for it only after this process has ended
  submission_.counters(static_cast<std::uint32_t>(mine.kind)).settling.store_relaxed(word);
  // [E18] relaxed because [F1] orders it, here or by the daemon's membarrier; read in tracker.cpp
  submission_.descriptor(slot).outcome.store_relaxed(word);
  ACKBUS_POINT(kOutcomeStored);
  if (fence_after_outcome_) {
    layout::fence_full();  // [F1] [E18] outcome before the look at interventions, where the
                           // daemon's membarrier can't help
  } else {
    layout::fence_light();  // [F1] the same, where the membarrier makes a full one of it
  }
  count(mine.kind, code);
  ACKBUS_POINT(kOutcomeCounted);
  Outcome& outcome = outcomes_.outcome(mine.node);
  outcome.code = code;
  outcome.reason = ending.reason;
  outcome.attempt = ending.attempt;
  outcome.latency_ns = ending.latency_ns;
  outcomes_.know(mine.node);
  mine.node = OutcomeStore::kNone;
  pending_count_ -= 1;
  follow_interventions();
  return true;
}

ACKBUS_HOT bool ProducerLink::settle_answer(std::uint32_t slot, std::uint64_t sequence,
                                            std::uint32_t code_flags, std::uint64_t acked_ns,
                                            std::uint64_t now_ns) {
  Slot& mine = slots_[slot];
  if (mine.is(kSettled) || !mine.is(kTracked)) {
    return false;
  }
  Ending ending;
  ending.attempt = std::max(1U, layout::answer_attempt(code_flags));
  ending.latency_ns =
      std::clamp(acked_ns, mine.sent_ns, std::max(now_ns, mine.sent_ns)) - mine.sent_ns;
  switch (layout::answer_code(code_flags)) {
    case layout::AckCode::kSuccess:
      ending.code = OutcomeCode::kSuccess;
      break;
    case layout::AckCode::kPartialSuccess:
      ending.code = OutcomeCode::kPartialSuccess;
      break;
    case layout::AckCode::kFailed:
      ending.code = OutcomeCode::kFailed;
      break;
    case layout::AckCode::kSkippedCancelled:
      ending.code = OutcomeCode::kCancelled;
      break;
    case layout::AckCode::kSkippedCancelledMayHaveRun:
      ending.code = OutcomeCode::kCancelledMayHaveRun;
      break;
    case layout::AckCode::kSkippedSuperseded:
      ending.code = OutcomeCode::kSuperseded;
      break;
    case layout::AckCode::kSkippedVerdict:
      follow_verdict(slot, ending);
      break;
    default:
      ending.code = OutcomeCode::kFailed;
      outcomes_.outcome(mine.node).notes = std::make_shared<const OutcomeNotes>(
          OutcomeNotes{"the consumer answered with an unknown code", {}, false});
  }
  if ((layout::answer_flags(code_flags) & layout::kAckHasText) != 0) [[unlikely]] {
    read_text(slot, sequence, outcomes_.outcome(mine.node));
  }
  return settle(slot, ending);
}

ACKBUS_HOT void ProducerLink::free_slot(std::uint32_t slot) {
  Slot& mine = slots_[slot];
  mine.sequence = 0;
  if (mine.is(kHoldsArena)) {
    freed_.push_back(slot);
  }
  free_.push_back(slot);
  ACKBUS_POINT(kSlotFreed);
}

// When a slot is free: docs/architecture.md, "When a slot is free".
ACKBUS_HOT void ProducerLink::try_free(std::uint32_t slot) {
  const Slot& mine = slots_[slot];
  if (mine.sequence == 0) {
    return;
  }
  // NOLINTNEXTLINE(bugprone-branch-clone): the same end; the first branch is the hot one, inlined.
  if ((mine.marks & (kAnswered | kOwesVerdict | kWatched)) == kAnswered) {
    free_slot(slot);
  } else if (may_free_now(slot)) {
    free_slot(slot);
  }
}

}  // namespace ackbus
