// A LinkTracker against memory that the test writes in the producer's and the consumer's place.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "daemon/tracker.hpp"
#include "tests/link/fake_host.hpp"
#include "tests/link/memory.hpp"

namespace ackbus::daemon {

class TrackerTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kSlots = 4;
  static constexpr std::uint64_t kMs = 1'000'000;
  static constexpr std::uint16_t kKind = 4;

  TrackerTest() {
    for (KindRule& rule : rules_.kinds) {
      rule.timeout_ms = 100;
      rule.max_retries = 1;
      rule.max_wait_ms = 1'000;
    }
    ack_.words().cursor.store_release(1);
    ack_.words().redelivery_cursor.store_release(1);
    tracker_ = std::make_unique<LinkTracker>(host_, submission_, tracking_, rules_);
    tracker_->recover();
    tracker_->set_life(ack_, 1, 1);
  }
  // Commits like a producer; the life has read it when `read`.
  void commit(std::uint32_t slot, std::uint64_t sequence, bool read = true, bool tracked = true) {
    layout::DescriptorCopy descriptor;
    descriptor.number = sequence;
    descriptor.id[0] = sequence;
    descriptor.sent_ns = now_ns_;
    descriptor.kind_flags = layout::pack_kind(kKind, tracked ? layout::kFlagTracked : 0U);
    layout::descriptor_publish(submission_.descriptor(slot), descriptor);
    layout::place_publish(submission_.place(sequence),
                          {sequence, 0, now_ns_, slot, descriptor.kind_flags});
    submission_.words().committed.store_release(sequence);
    if (read) {
      ack_.words().cursor.store_release(sequence + 1);
    }
  }
  void begin(std::uint32_t slot, std::uint64_t sequence, std::uint32_t attempt = 1) {
    layout::begun_publish(ack_.record(slot), {sequence, now_ns_, attempt});
  }
  void answer(std::uint32_t slot, std::uint64_t sequence, layout::AckCode code) {
    layout::answer_publish(ack_.record(slot),
                           {sequence, now_ns_, layout::pack_answer(code, 0, 1), 1, 0});
  }
  void take_outcome(std::uint32_t slot, std::uint64_t sequence, std::uint8_t code) {
    submission_.descriptor(slot).outcome.store_release(layout::pack_outcome(sequence, code));
  }
  void expire_after(std::uint64_t duration_ns, std::uint32_t slot) {
    now_ns_ += duration_ns;
    tracker_->expire(slot, now_ns_);
  }
  [[nodiscard]] layout::PendingCopyValue entry(std::uint32_t slot) const {
    return layout::pending_read(tracking_.entry(slot));
  }
  LetterResult write_letter(LetterResult result = LetterResult::kWritten) {
    const LetterDraft draft = host_.jobs.front();
    host_.jobs.pop_front();
    tracker_->letter_done(draft.slot, draft.descriptor.number, result, now_ns_);
    return result;
  }

  // What the worker does to a letter, and what follows.
  void correct_letter() {
    const test::Correction correction = host_.corrections.front();
    host_.corrections.pop_front();
    host_.correct(correction);
    tracker_->letter_corrected(correction.slot, correction.descriptor.number);
  }

  test::SegmentMemory submission_memory_{layout::SubmissionGeometry{kSlots, 4096}.bytes()};
  test::SegmentMemory tracking_memory_{layout::TrackingGeometry{kSlots}.bytes()};
  test::SegmentMemory ack_memory_{layout::AckGeometry{kSlots}.bytes()};
  layout::SubmissionView submission_{submission_memory_.base(), {kSlots, 4096}};
  layout::TrackingView tracking_{tracking_memory_.base(), {kSlots}};
  layout::AckView ack_{ack_memory_.base(), {kSlots}};
  TrackerRules rules_;
  test::FakeHost host_{submission_, tracking_};
  std::unique_ptr<LinkTracker> tracker_;
  std::uint64_t now_ns_ = 1'000 * kMs;
};

}  // namespace ackbus::daemon
