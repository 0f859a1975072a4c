// Follows one link: arms deadlines, decides retries and verdicts, hands over to a new consumer
// life, as docs/architecture.md says (what the daemon decides, the order of its stores).
//
// Writes the tracking segment, which only this process writes; reads the submission and ack
// segments, which are hostile: every value is copied, checked, then used. Pure memory and
// arithmetic: time comes in as a parameter, everything that waits (disk, sockets) goes out through
// TrackerHost, so a simulator can drive it. Thread: the bus thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "shm_layout/policy.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::daemon {

// What the configuration says of a kind.
struct KindRule {
  std::uint32_t timeout_ms = 5000;
  std::uint32_t max_retries = 3;
  std::uint32_t max_wait_ms = 60'000;
  std::uint64_t max_age_ms = 600'000;
  bool supersede = false;
  bool clock_from_commit = false;
};

struct TrackerRules {
  KindRule kinds[layout::kKindsMax];
  layout::BackoffPolicy backoff;
  std::uint32_t min_timeout_ms =
      0;  // what the link declared: no message's timeout is taken as less
};

enum class RetryCause : std::uint8_t { kTimeout, kGivenBack, kDeath };

// A dead letter to be written: what the tracker knows. The host adds names and the payload.
struct LetterDraft {
  std::uint32_t slot = 0;
  layout::DescriptorCopy descriptor;
  layout::VerdictReason reason = layout::VerdictReason::kReserved;
  std::uint32_t attempts = 0;
  std::uint32_t deaths = 0;
  std::uint64_t begun_ns = 0;
  std::vector<std::uint64_t> attempt_ns;
};

// What the tracker asks of the rest of the daemon.
class TrackerHost {
 public:
  virtual ~TrackerHost() = default;
  // Look at this slot again at `due_ns` (CLOCK_MONOTONIC).
  virtual void arm(std::uint32_t slot, std::uint64_t due_ns) = 0;
  // Orders this process's stores against every registered process's loads: membarrier.
  virtual void barrier() = 0;
  virtual void ring_producer() = 0;
  virtual void ring_consumer() = 0;
  // Writes the letter on the worker thread, unless the message turns out settled after the payload
  // was copied; then letter_done() is called.
  virtual void write_letter(LetterDraft draft) = 0;
  // Takes a letter back, or marks it as one of a late success. True: the disk has not followed yet,
  // and letter_corrected() is called when it has.
  virtual bool remove_letter(std::uint32_t slot, const layout::DescriptorCopy& descriptor) = 0;
  virtual bool mark_late_success(std::uint32_t slot, const layout::DescriptorCopy& descriptor) = 0;
  // Figures and logs.
  virtual void count_retry(std::uint16_t kind, RetryCause cause) = 0;
  virtual void count_dead(std::uint16_t kind, layout::VerdictReason reason) = 0;
  virtual void count_late(std::uint16_t /*kind*/) {}
  // Before the store of an entry that a figure goes with, which is counted after it. A daemon that
  // dies in between leaves the promise, and the next one keeps it if the slot's entry has reached
  // that version: each is counted once, whenever a daemon dies.
  virtual void will_count_retry(std::uint32_t /*slot*/, std::uint64_t /*version*/,
                                std::uint16_t /*kind*/, RetryCause /*cause*/) {}
  virtual void will_count_dead(std::uint32_t /*slot*/, std::uint64_t /*version*/,
                               std::uint16_t /*kind*/, layout::VerdictReason /*reason*/) {}
  virtual void will_count_late(std::uint32_t /*slot*/, std::uint64_t /*version*/,
                               std::uint16_t /*kind*/) {}
};

enum class LetterResult : std::uint8_t {
  kWritten,
  kSettled,  // the message was answered meanwhile; there is no letter
  kFailed,   // the store is full or broken: no verdict, try again later
  kPutOff,   // too many others are being written: letter_room() says when it is this one's turn
};

// What a hand-over needs to know of the ended life.
struct HandOver {
  std::uint64_t new_epoch = 0;
  bool counts_deaths = true;  // false when an operator or the supervisor asked for the death
  bool sole_begun = false;    // in the whole queue exactly one message was begun and unanswered
};

// Outcome words carry the public outcome codes (ackbus/outcome.hpp): these two end a message by the
// verdict itself.
[[nodiscard]] constexpr bool ended_by_verdict(std::uint8_t outcome) {
  constexpr std::uint8_t kExhausted = 4;
  constexpr std::uint8_t kClosed = 8;
  return outcome == kExhausted || outcome == kClosed;
}

class LinkTracker {
 public:
  LinkTracker(TrackerHost& host, layout::SubmissionView submission, layout::TrackingView tracking,
              const TrackerRules& rules);

  // A new daemon's first look: mirrors the entries, finds the ends of the rings, announces verdicts
  // again.
  void recover();
  void set_rules(const TrackerRules& rules) { rules_ = rules; }
  // The life whose records count from now on; an empty view between lives.
  void set_life(layout::AckView ack, std::uint64_t epoch, std::uint64_t main_start);

  // ---- duties of the loop ----
  // Looks at every slot when anything moved or is pending. Gives the number of slots looked at.
  std::size_t scan(std::uint64_t now_ns);
  // A deadline of this slot has come.
  void expire(std::uint32_t slot, std::uint64_t now_ns) { examine(slot, now_ns); }
  void letter_done(std::uint32_t slot, std::uint64_t sequence, LetterResult result,
                   std::uint64_t now_ns);
  // After kPutOff: there is room for this letter now.
  void letter_room(std::uint32_t slot, std::uint64_t sequence, std::uint64_t now_ns);
  void letter_corrected(std::uint32_t slot, std::uint64_t sequence);
  // When the link must be looked at again at the latest, whatever is armed.
  [[nodiscard]] std::uint64_t next_scan_ns() const { return next_scan_ns_; }
  // Looks at every slot in the next scan, whatever the producer's hint says.
  void scan_soon() {
    next_scan_ns_ = 0;
    scan_all_ = true;
  }

  // ---- the end of a life ----
  // Its process has ended: what it had begun waits for the hand-over; verdicts and max_wait go on.
  void end_life() { ended_ = true; }
  // Freezes the link for a hand-over: false while a letter is being written.
  [[nodiscard]] bool letters_idle() const { return letters_running_ == 0; }
  // Messages begun and unanswered in the ended life.
  [[nodiscard]] std::uint32_t begun_count() const;
  // Letters of messages that were answered after all: removed before prepare_hand_over().
  [[nodiscard]] std::vector<layout::DescriptorCopy> letters_to_remove() const;
  [[nodiscard]] std::uint64_t hand_over_start(std::uint64_t first_sequence) const;
  [[nodiscard]] std::uint64_t redelivery_end() const { return next_redelivery_; }
  // Steps 1 and 3; `fresh` is the new life's ack segment, not yet seen by anybody. Step 4 is
  // move_epoch().
  void settle_ended_life(const HandOver& plan, std::uint64_t start, layout::AckView fresh);
  void redeliver(const HandOver& plan, std::uint64_t start, std::uint64_t now_ns);
  void move_epoch(std::uint64_t epoch, std::uint64_t start);

  // ---- the end of a link ----
  // Everything pending ends Closed with this reason; no letters.
  void close(layout::VerdictReason reason);
  // True when nothing committed is left to be delivered or decided (a lost producer's link may go).
  [[nodiscard]] bool all_final() const;
  // Of a producer that has ended: whether something committed is left that no consumer can ever
  // read, because its main ring does not hold what its descriptors say. An honest one leaves none.
  [[nodiscard]] bool has_unreadable(std::uint64_t first_sequence) const;

  // ---- questions of `ackbus show` and the metrics ----
  struct SlotView {
    layout::DescriptorCopy descriptor;
    layout::PendingCopyValue entry;
    layout::BegunCopy begun;
    std::uint64_t outcome = 0;  // the descriptor's outcome word
    bool acked = false;
    layout::AnswerCopy answer;
    bool committed = false;
  };
  [[nodiscard]] std::optional<SlotView> look(std::uint32_t slot) const;
  // The latest attempt of this message that was begun, 0 for none: what its letter says. See
  // docs/dead-letters.md.
  [[nodiscard]] std::uint32_t attempts_begun(const SlotView& view, std::uint32_t slot) const;
  [[nodiscard]] std::uint64_t slots() const { return submission_.slots(); }
  [[nodiscard]] std::uint64_t pending_seen() const { return pending_seen_; }
  [[nodiscard]] std::uint64_t oldest_sent_ns() const { return oldest_sent_ns_; }

 private:
  struct Mirror {
    layout::PendingCopyValue entry;
    std::vector<std::uint64_t> attempt_ns;
    std::uint64_t attempts_of = 0;      // the sequence that these two speak of
    std::uint32_t last_begun = 0;       // the highest attempt that was seen begun
    std::uint64_t letter_after_ns = 0;  // refused or put off: not tried before
    std::uint64_t correcting = 0;  // the sequence whose letter the disk is to take back or mark
    bool letter_running = false;
  };
  struct Limits {
    std::uint64_t timeout_ns = 0;
    std::uint64_t max_wait_ns = 0;
    std::uint64_t max_age_ns = 0;
    std::uint32_t max_retries = 0;
    bool clock_from_commit = false;
  };

  void examine(std::uint32_t slot, std::uint64_t now_ns);
  void decide(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns);
  void note_pending(const SlotView& view, std::uint64_t now_ns);
  void examine_open(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns);
  void examine_begun(const SlotView& view, std::uint32_t slot, const Limits& limits,
                     std::uint64_t now_ns);
  void examine_unbegun(const SlotView& view, std::uint32_t slot, const Limits& limits,
                       std::uint64_t now_ns);
  void examine_waiting(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns);
  void examine_answered(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns);
  void attempt_over(const SlotView& view, std::uint32_t slot, const Limits& limits,
                    std::uint32_t attempt, std::uint32_t reported, std::uint32_t delay_ms,
                    RetryCause cause, std::uint64_t now_ns);
  void start_verdict(const SlotView& view, std::uint32_t slot, layout::VerdictReason reason,
                     std::uint64_t now_ns);
  void end_undelivered(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns);
  void continue_verdict(const SlotView& view, std::uint32_t slot, std::uint64_t now_ns);
  void finish_verdict(std::uint32_t slot, std::uint64_t sequence);
  void withdraw_verdict(const SlotView& view, std::uint32_t slot);
  void end_by_answer(std::uint32_t slot);
  void withdraw_undelivered(const SlotView& view, std::uint32_t slot);
  void note_late(const SlotView& view, std::uint32_t slot);
  void announce(std::uint32_t slot, std::uint64_t sequence, layout::VerdictReason reason);
  bool place_redelivery(std::uint32_t slot, std::uint64_t sequence, std::uint32_t attempt,
                        std::uint32_t flags);
  [[nodiscard]] bool unread(std::uint64_t sequence) const;
  [[nodiscard]] bool has_room() const;
  void store(std::uint32_t slot, layout::PendingCopyValue value);
  // That the next store() of this slot will give its entry.
  [[nodiscard]] std::uint64_t next_version(std::uint32_t slot) const {
    return mirrors_[slot].entry.version + 1;
  }
  void store_retried(std::uint32_t slot, const layout::PendingCopyValue& entry, std::uint16_t kind,
                     bool died);
  void intervene();
  [[nodiscard]] Limits limits_of(const layout::DescriptorCopy& descriptor) const;
  [[nodiscard]] layout::PendingCopyValue entry_of(std::uint32_t slot, std::uint64_t sequence) const;
  [[nodiscard]] bool committed(const layout::DescriptorCopy& descriptor, std::uint32_t slot) const;
  void note_begun(std::uint32_t slot, const layout::BegunCopy& begun);
  [[nodiscard]] bool read_mark(std::uint32_t slot, std::uint64_t sequence,
                               layout::MarkCopy& mark) const;

  TrackerHost& host_;
  layout::SubmissionView submission_;
  layout::TrackingView tracking_;
  layout::AckView ack_;
  TrackerRules rules_;
  std::vector<Mirror> mirrors_;
  std::uint64_t epoch_ = 0;
  std::uint64_t main_start_ = 1;
  std::uint64_t next_redelivery_ = 1;
  std::uint64_t next_verdict_ = 1;
  std::uint64_t interventions_ = 0;
  std::uint64_t next_scan_ns_ = 0;
  std::uint64_t committed_seen_ = 0;
  std::uint64_t pending_seen_ = 0;
  std::uint64_t oldest_sent_ns_ = 0;
  std::uint32_t letters_running_ = 0;
  bool ended_ = false;    // the life in force has ended, no successor yet
  bool scan_all_ = true;  // the next scan may not trust the hint: new daemon, new life, asked for
  bool frozen_ = false;   // between the end of a life and its successor
};

}  // namespace ackbus::daemon
