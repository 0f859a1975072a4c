// A link's three segments in ordinary memory, with a tracker over them and the stores of producer,
// consumer and daemon that a test needs.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>

#include "daemon/bus_figures.hpp"
#include "daemon/tracker.hpp"

namespace ackbus::daemon {

struct FreeMemory {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte, FreeMemory>;

inline Memory zeroed_memory(std::uint64_t bytes) {
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(4096, bytes)));
  std::memset(memory.get(), 0, bytes);
  return memory;
}

// Figures ask a tracker, they never let it act.
struct SilentHost final : TrackerHost {
  void arm(std::uint32_t /*slot*/, std::uint64_t /*due_ns*/) override {}
  void barrier() override {}
  void ring_producer() override {}
  void ring_consumer() override {}
  void write_letter(LetterDraft /*draft*/) override {}
  bool remove_letter(std::uint32_t /*slot*/, const layout::DescriptorCopy& /*copy*/) override {
    return false;
  }
  bool mark_late_success(std::uint32_t /*slot*/, const layout::DescriptorCopy& /*copy*/) override {
    return false;
  }
  void count_retry(std::uint16_t /*kind*/, RetryCause /*cause*/) override {}
  void count_dead(std::uint16_t /*kind*/, layout::VerdictReason /*reason*/) override {}
};

inline constexpr std::uint64_t kFakeSlots = 8;

struct FakeLink {
  layout::SubmissionGeometry submission_geometry{kFakeSlots, 4096};
  layout::AckGeometry ack_geometry{kFakeSlots};
  layout::TrackingGeometry tracking_geometry{kFakeSlots};
  Memory submission_memory = zeroed_memory(submission_geometry.bytes());
  Memory ack_memory = zeroed_memory(ack_geometry.bytes());
  Memory ended_memory = zeroed_memory(ack_geometry.bytes());
  Memory tracking_memory = zeroed_memory(tracking_geometry.bytes());
  layout::SubmissionView submission{submission_memory.get(), submission_geometry};
  layout::AckView life{ack_memory.get(), ack_geometry};
  layout::AckView ended_life{ended_memory.get(), ack_geometry};
  layout::TrackingView tracking{tracking_memory.get(), tracking_geometry};
  SilentHost host;
  TrackerRules rules;
  std::unique_ptr<LinkTracker> tracker;

  // The tracker as a new daemon has it: call it after the entries were stored.
  LinkMemory memory(bool producer_gone = false) {
    tracker = std::make_unique<LinkTracker>(host, submission, tracking, rules);
    tracker->recover();
    tracker->set_life(life, 2, 1);
    LinkMemory memory;
    memory.tracker = tracker.get();
    memory.submission = submission;
    memory.life = life;
    memory.ended_lives = {ended_life};
    memory.producer_gone = producer_gone;
    return memory;
  }

  // Sequence `slot` + 1 in slot `slot`, as the first messages of a link lie; its id is its
  // sequence.
  std::uint64_t commit(std::uint32_t slot, std::uint16_t kind, std::uint64_t sent_ns,
                       std::uint32_t flags = layout::kFlagTracked) {
    layout::DescriptorCopy copy;
    copy.number = slot + 1;
    copy.id[0] = copy.number;
    copy.id[1] = copy.number;
    copy.sent_ns = sent_ns;
    copy.kind_flags = layout::pack_kind(kind, flags);
    layout::descriptor_publish(submission.descriptor(slot), copy);
    layout::place_publish(submission.place(copy.number),
                          {copy.number, 0, sent_ns, slot, copy.kind_flags});
    return copy.number;
  }
  void begin(std::uint32_t slot, std::uint64_t begun_ns, std::uint32_t attempt = 1) {
    layout::begun_publish(life.record(slot), {slot + 1, begun_ns, attempt});
  }
  static void answer(const layout::AckView& view, std::uint32_t slot, layout::AckCode code) {
    layout::answer_publish(view.record(slot),
                           {slot + 1, 1000, layout::pack_answer(code, 0, 1), 1, 0});
  }
  void take(std::uint32_t slot, Ending ending) {
    // [E18] release: as the producer takes an outcome
    submission.descriptor(slot).outcome.store_release(
        layout::pack_outcome(slot + 1, static_cast<std::uint8_t>(ending)));
  }
  void decide(std::uint32_t slot, layout::PendingState state,
              layout::VerdictReason reason = layout::VerdictReason::kReserved) {
    layout::PendingCopyValue value;
    value.version = 1;
    value.sequence = slot + 1;
    value.state = state;
    value.reason = reason;
    value.attempt = 1;
    layout::pending_publish(tracking.entry(slot).copies[1], value);
  }
};

}  // namespace ackbus::daemon
