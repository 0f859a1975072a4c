// A TrackerHost without a daemon: deadlines in a map under virtual time, dead letters in a map, and
// switches for a store that is slow or refuses. What the real daemon loses when it dies (deadlines,
// jobs) is apart from what stays (letters on disk), so a test can restart the tracker.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/tracker.hpp"

namespace ackbus::test {

// What the worker is still to do to a letter.
struct Correction {
  std::uint32_t slot = 0;
  layout::DescriptorCopy descriptor;
  bool late_success = false;
};

// A letter on disk.
struct FakeLetter {
  layout::VerdictReason reason = layout::VerdictReason::kReserved;
  std::uint32_t attempts = 0;
  std::uint32_t deaths = 0;
  std::vector<std::uint64_t> attempt_ns;
  bool late_success = false;
};

class FakeHost final : public daemon::TrackerHost {
 public:
  FakeHost(layout::SubmissionView submission, layout::TrackingView tracking)
      : submission_(submission), tracking_(tracking) {}

  // ---- TrackerHost ----
  void arm(std::uint32_t slot, std::uint64_t due_ns) override { deadlines[slot] = due_ns; }
  void barrier() override { barriers += 1; }
  void ring_producer() override { producer_rings += 1; }
  void ring_consumer() override { consumer_rings += 1; }
  void write_letter(daemon::LetterDraft draft) override {
    std::erase_if(corrections, [&](const Correction& correction) {  // The newer word on it.
      return id_of(correction.descriptor) == id_of(draft.descriptor);
    });
    jobs.push_back(std::move(draft));
  }
  bool remove_letter(std::uint32_t slot, const layout::DescriptorCopy& descriptor) override {
    const bool exists = letters.contains(id_of(descriptor));
    if (exists) {
      corrections.push_back({slot, descriptor, false});
    }
    return exists;
  }
  bool mark_late_success(std::uint32_t slot, const layout::DescriptorCopy& descriptor) override {
    corrections.push_back({slot, descriptor, true});
    return true;
  }
  void count_retry(std::uint16_t, daemon::RetryCause cause) override { retries[cause] += 1; }
  void count_dead(std::uint16_t, layout::VerdictReason reason) override { dead[reason] += 1; }

  // ---- the test's side ----
  // Ids of test messages are their sequence, see LinkWorld::commit().
  static std::uint64_t id_of(const layout::DescriptorCopy& descriptor) { return descriptor.id[0]; }

  [[nodiscard]] std::optional<std::uint64_t> next_deadline_ns() const {
    std::optional<std::uint64_t> next;
    for (const auto& [slot, due_ns] : deadlines) {
      next = std::min(next.value_or(due_ns), due_ns);
    }
    return next;
  }
  // A slot whose deadline has come; it is no longer armed then.
  std::optional<std::uint32_t> take_due(std::uint64_t now_ns) {
    for (auto entry = deadlines.begin(); entry != deadlines.end(); ++entry) {
      if (entry->second <= now_ns) {
        const std::uint32_t slot = entry->first;
        deadlines.erase(entry);
        return slot;
      }
    }
    return std::nullopt;
  }

  // The worker's job: copy, look whether the message was settled meanwhile, write.
  daemon::LetterResult write(const daemon::LetterDraft& draft, const layout::AckView& ack) {
    if (store_broken) {
      return daemon::LetterResult::kFailed;
    }
    if (settled(draft, ack)) {
      return daemon::LetterResult::kSettled;
    }
    FakeLetter letter;
    letter.reason = draft.reason;
    letter.attempts = draft.attempts;
    letter.deaths = draft.deaths;
    letter.attempt_ns = draft.attempt_ns;
    letters[id_of(draft.descriptor)] = letter;
    return daemon::LetterResult::kWritten;
  }

  // Another job of the worker.
  void correct(const Correction& correction) {
    const auto letter = letters.find(id_of(correction.descriptor));
    if (letter == letters.end()) {
      return;
    }
    if (correction.late_success) {
      letter->second.late_success = true;
    } else {
      letters.erase(letter);
    }
  }

  // The daemon's death: only the disk stays.
  void forget_process() {
    deadlines.clear();
    jobs.clear();
    corrections.clear();
  }

  std::map<std::uint32_t, std::uint64_t> deadlines;  // slot -> due; arming again replaces
  std::deque<daemon::LetterDraft> jobs;
  std::deque<Correction> corrections;
  std::map<std::uint64_t, FakeLetter> letters;  // by id
  std::map<daemon::RetryCause, int> retries;
  std::map<layout::VerdictReason, int> dead;
  bool store_broken = false;
  int barriers = 0;
  int producer_rings = 0;
  int consumer_rings = 0;

 private:
  // Settled: the slot holds another message, or the consumer answered it, or the producer took an
  // answer. A Skipped{verdict} and an outcome that is the verdict itself still want their letter.
  [[nodiscard]] bool settled(const daemon::LetterDraft& draft, const layout::AckView& ack) const {
    const std::uint64_t sequence = draft.descriptor.number;
    const layout::Descriptor& descriptor = submission_.descriptor(draft.slot);
    if (descriptor.number.load_acquire() != sequence) {
      return true;
    }
    layout::AnswerCopy answer;
    if (ack && layout::answer_read(ack.record(draft.slot), sequence, answer) &&
        layout::answer_code(answer.code_flags) != layout::AckCode::kSkippedVerdict) {
      return true;
    }
    const std::uint64_t outcome = descriptor.outcome.load_acquire();
    constexpr std::uint8_t kExhausted = 4;
    constexpr std::uint8_t kClosed = 8;
    return layout::outcome_sequence(outcome) == sequence &&
           layout::outcome_code(outcome) != kExhausted && layout::outcome_code(outcome) != kClosed;
  }

  layout::SubmissionView submission_;
  layout::TrackingView tracking_;
};

}  // namespace ackbus::test
