// The producer's half of the link protocol: claim, fill, commit, reap, and the switch to a new
// consumer life. Pure memory and arithmetic: no system call, no clock, no lock, so that a simulator
// can drive it; producer_core.* gives it sockets, pipes and time. Runs in the producer's process,
// on whichever thread may use the handle.
//
// It writes the submission segment; it reads ack segments (one per life) and the tracking segment,
// both hostile or at least foreign: every value is copied, checked, then used.
#pragma once

#include <ackbus/message_id.hpp>
#include <ackbus/options.hpp>
#include <ackbus/outcome.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "libclient/src/hot.hpp"
#include "libclient/src/outcome_store.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"

namespace ackbus {

// One consumer life as the producer sees it.
struct LifeView {
  std::uint64_t epoch = 0;
  std::uint64_t main_start = 0;
  layout::AckView ack;
};

inline const SendOptions kPlainOptions;

// What to publish. Times in nanoseconds of CLOCK_MONOTONIC.
struct CommitRequest {
  Kind kind = Kind::kReserved;
  bool tracked = true;
  MessageId id;
  std::uint64_t length = 0;
  std::uint64_t offset = 0;            // in the arena, when not inline
  bool holds_arena = false;            // its slot is told to drain_freed() (a small loan, too)
  std::span<const std::byte> inlined;  // the payload, when length <= kInlineBytesMax
  std::uint64_t now_ns = 0;
  std::uint32_t after_slot = 0;
  std::uint64_t after_sequence = 0;             // options' own, or 0 when that one is final
  const SendOptions* options = &kPlainOptions;  // outlives the call
};

class ProducerLink {
 public:
  // Outcomes may wait to be taken beside the outstanding messages: so many nodes a slot.
  static constexpr std::uint32_t kNodesPerSlot = 4;

  ProducerLink(layout::SubmissionView submission, layout::TrackingView tracking,
               OutcomeStore& outcomes, std::uint64_t first_sequence, bool fence_after_outcome);

  // claim(), commit() and what they call are defined in producer_commit.hpp.
  // ---- claim: a slot, or nullopt when none is free (backpressure). Each claim counts for a node
  // of the outcome store too, so that every claimed slot can be committed.
  [[nodiscard]] std::optional<std::uint32_t> claim();
  void unclaim(std::uint32_t slot);

  // ---- commit: publishes the message in a claimed slot; gives its sequence.
  std::uint64_t commit(std::uint32_t slot, const CommitRequest& request);
  // The writer's steps after publishing (docs/architecture.md#sleeping-and-waking): true when the
  // consumer of the newest life sleeps and was not rung since: the caller writes one byte into that
  // life's pipe.
  [[nodiscard]] bool must_ring();
  // The same for who may not have heard of the newest life yet: `hear` takes what its daemon says,
  // and may add that life. Only after the fence: what is not there to be heard then comes later,
  // and the daemon wakes that life's consumer after it, which finds what was published before.
  // Heard before the fence it may come in between, and the consumer may sleep again beside a
  // message that nobody rings for.
  template <typename Hear>
  [[nodiscard]] bool must_ring_or_hear(Hear hear) {
    if (must_ring()) {
      return true;
    }
    if (!awaits_life()) [[likely]] {
      return false;
    }
    hear();
    return must_ring();
  }
  void forget_rung() { rung_ = 0; }
  // True when the tracking segment names a life that add_life() has not brought yet.
  [[nodiscard]] bool awaits_life() const {
    // relaxed because the control message that brings the life orders what matters
    return tracking_.words().epoch.load_relaxed() > newest_epoch_;
  }

  // ---- lives. The caller keeps a life's mapping until retired_epoch() has passed it.
  void add_life(const LifeView& life);
  [[nodiscard]] std::uint64_t newest_epoch() const { return newest_epoch_; }
  [[nodiscard]] std::uint64_t retired_epoch() const { return retired_epoch_; }
  [[nodiscard]] bool switched() const {
    return switched_;
  }  // since the last call of clear_switched()
  void clear_switched() { switched_ = false; }

  // ---- reap: takes what is there, at most a ring of acks per call; gives the number of messages
  // that became known.
  std::size_t reap(std::uint64_t now_ns);
  // Whether reap() would find something: the sleeper's last look.
  [[nodiscard]] bool has_work() const;
  // fence_armed() follows at the caller; pairs with must_ring() of the consumer.
  void arm(std::uint64_t generation) {
    // relaxed because that full fence orders it [E16]
    submission_.words().sleeping.store_relaxed(generation);
  }

  // Slots that hold a range of the arena and became free since the last call.
  template <typename Release>
  void drain_freed(Release release) {
    for (const std::uint32_t slot : freed_) {
      release(slot);
    }
    freed_.clear();
  }

  bool cancel(std::uint32_t slot, std::uint64_t sequence);
  // Everything pending ends Closed: the link is gone.
  void close_all(OutcomeReason reason, std::uint64_t now_ns);

  [[nodiscard]] bool pending(std::uint32_t slot, std::uint64_t sequence) const;
  [[nodiscard]] std::uint64_t pending_count() const { return pending_count_; }
  [[nodiscard]] std::uint64_t next_sequence() const { return next_sequence_; }
  [[nodiscard]] std::uint32_t slot_of(std::uint64_t sequence) const;
  [[nodiscard]] std::size_t in_use() const { return slots_.size() - free_.size(); }
  // The daemon closed the link, or the consumer broke the protocol.
  [[nodiscard]] OutcomeReason closed() const { return closed_; }
  [[nodiscard]] std::byte* arena() const { return submission_.arena(); }

 private:
  // What is true of the message in a slot.
  enum SlotMark : std::uint16_t {
    kTracked = 1U << 0,
    kSettled = 1U << 1,    // its outcome is known
    kByVerdict = 1U << 2,  // ... from the daemon: only an ack place or a later life frees the slot
    kAnswered = 1U << 3,   // its ack place (or its record in an ended life) was consumed
    kWatched = 1U << 4,    // its entry says Exhausting or Verdict for this sequence
    // answered SkippedVerdict: free once the entry says Verdict or Final
    kOwesVerdict = 1U << 5,
    kHoldsArena = 1U << 6,  // has a range of the arena to give back
  };
  struct Slot {
    std::uint64_t sequence = 0;  // 0: free or claimed
    std::uint64_t sent_ns = 0;
    std::uint32_t node = OutcomeStore::kNone;
    Kind kind = Kind::kReserved;
    std::uint16_t marks = 0;  // SlotMark

    [[nodiscard]] bool is(SlotMark mark) const { return (marks & mark) != 0; }
    void set(SlotMark mark, bool value = true) {
      marks = static_cast<std::uint16_t>(value ? marks | mark : marks & ~mark);
    }
  };

  // What ends a message, beside the text that stands in its node already.
  struct Ending {
    OutcomeCode code = OutcomeCode::kReserved;
    OutcomeReason reason = OutcomeReason::kNone;
    std::uint32_t attempt = 0;
    std::uint64_t latency_ns = 0;
  };

  // Measured: with two places ahead a stream is a fifth faster; a message on its own is a tenth
  // slower, because the consumer waits at those places.
  static constexpr std::uint64_t kPrefetchPlaces = 2;
  static constexpr std::uint64_t kStreamMin = 8;
  void write_descriptor(std::uint32_t slot, std::uint64_t sequence, std::uint32_t kind_flags,
                        const CommitRequest& request);
  void write_place(std::uint32_t slot, std::uint64_t sequence, std::uint32_t kind_flags,
                   const CommitRequest& request);
  std::size_t take_acks(std::uint64_t now_ns);
  std::size_t take_verdicts(std::uint64_t now_ns);
  std::size_t scan_verdicts(std::uint64_t now_ns);
  std::size_t scan_records(std::uint64_t now_ns);
  bool follow_epoch(std::uint64_t now_ns, std::size_t& known);
  ACKBUS_HOT void follow_interventions() {
    const std::uint64_t moved =
        tracking_.words().interventions.load_acquire();  // [E15] acquire: brings the entries
    if (moved != interventions_) [[unlikely]] {
      interventions_ = moved;
      look_at_entries();
    }
  }
  void look_at_entries();
  void look_at_entry(std::uint32_t slot);
  bool settle_answer(std::uint32_t slot, std::uint64_t sequence, std::uint32_t code_flags,
                     std::uint64_t acked_ns, std::uint64_t now_ns);
  void follow_verdict(std::uint32_t slot, Ending& ending);
  bool settle_verdict(std::uint32_t slot, std::uint64_t sequence, layout::VerdictReason reason,
                      std::uint64_t now_ns);
  bool settle(std::uint32_t slot, const Ending& ending);
  [[nodiscard]] bool outcome_is_verdict(std::uint32_t slot) const;
  void try_free(std::uint32_t slot);
  bool may_free_now(std::uint32_t slot);
  void free_slot(std::uint32_t slot);
  void count(Kind kind, OutcomeCode code);
  void read_text(std::uint32_t slot, std::uint64_t sequence, Outcome& outcome) const;

  layout::SubmissionView submission_;
  layout::TrackingView tracking_;
  OutcomeStore& outcomes_;  // outlives the link: what is known stays known when a link is lost
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> freed_;
  std::deque<LifeView> lives_;      // front: acks are taken from; back: is rung
  std::uint64_t newest_epoch_ = 0;  // of lives_.back(), or of the life retired last
  std::uint64_t next_sequence_;
  std::uint64_t next_ack_ = 1;
  std::uint64_t next_verdict_ = 1;
  std::uint64_t interventions_ = 0;
  std::uint64_t rung_ = 0;
  std::uint64_t cancels_ = 0;
  std::uint64_t pending_count_ = 0;
  std::uint32_t claimed_ = 0;  // claimed and not committed
  std::uint64_t retired_epoch_ = 0;
  OutcomeReason closed_ = OutcomeReason::kNone;
  bool scanned_ended_ = false;
  bool switched_ = false;
  bool fence_after_outcome_;  // the daemon's membarrier does not reach this process
};

}  // namespace ackbus

#include "libclient/src/producer_commit.hpp"  // claim() and commit()
