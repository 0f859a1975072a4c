// The consumer's half of the link protocol for one link and one life: observe, begin, ack. Pure
// memory and arithmetic: no system call, no clock, no lock; consumer_core.* gives it sockets, pipes
// and time.
//
// It writes the ack segment; it reads the submission segment (hostile: each value is copied,
// checked, then used) and the tracking segment (the daemon's).
#pragma once

#include <ackbus/consumer.hpp>
#include <ackbus/message_id.hpp>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libclient/src/hot.hpp"
#include "libclient/src/payload_bounds.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"

namespace ackbus {

enum class NextResult : std::uint8_t {
  kNothing,     // both rings are empty, or the next message has to wait
  kBegun,       // a message to run
  kSkipped,     // something was consumed without running it; look again
  kWantsAlone,  // the next one must run with nothing else begun in this process
};

struct ConsumerLinkSetup {
  layout::SubmissionView submission;
  layout::TrackingView tracking;
  layout::AckView ack;
  std::uint64_t main_start = 1;
  std::uint64_t redelivery_start = 1;
  bool fence_after_begin = false;  // the daemon's membarrier does not reach this process
};

class ConsumerLink {
 public:
  explicit ConsumerLink(const ConsumerLinkSetup& setup);

  // Redelivery places first, then the main ring; with kBegun all of `begun` is filled in but its
  // link and its id. `idle`: nothing is begun in this whole process.
  // `supersedes` has a bit per kind that may be superseded.
  NextResult next(std::uint64_t now_ns, bool idle, std::uint64_t supersedes, Delivery& begun);

  // Messages of kinds that have bounds are looked at before they are given; `bounds` outlives the
  // link.
  void bound_payloads(const PayloadBounds& bounds) {
    bounds_ = &bounds;
    bounded_kinds_ = bounds.kinds();
  }

  // The answer to a begun message. False when it is not running (stale: counted).
  bool ack(std::uint32_t slot, std::uint64_t sequence, layout::AckCode code, std::string_view text,
           std::span<const std::pair<std::string, std::string>> metadata, std::uint64_t now_ns);
  bool give_back(std::uint32_t slot, std::uint64_t sequence, std::uint32_t delay_ms,
                 std::uint64_t now_ns);
  bool progress(std::uint32_t slot, std::uint64_t sequence, std::uint32_t retries,
                std::uint64_t now_ns);

  // The writer's steps after publishing: true when the producer sleeps and was not rung since.
  [[nodiscard]] bool must_ring();
  void forget_rung() { rung_ = 0; }
  // fence_armed() follows at the caller; pairs with must_ring() of the producer.
  void arm(std::uint64_t generation) {
    // relaxed because that full fence orders it [E16]
    ack_.words().sleeping.store_relaxed(generation);
  }
  [[nodiscard]] bool has_work() const;

  [[nodiscard]] bool running(std::uint32_t slot, std::uint64_t sequence) const;
  // The link is gone, so no answer is written; true when it ran here.
  bool forget(std::uint32_t slot, std::uint64_t sequence);
  [[nodiscard]] bool cancel_wished(std::uint32_t slot, std::uint64_t sequence) const;
  [[nodiscard]] MessageId id(std::uint32_t slot, std::uint64_t sequence) const;
  [[nodiscard]] std::uint32_t running_count() const { return running_count_; }
  [[nodiscard]] bool violated() const { return violated_; }
  [[nodiscard]] std::uint64_t skipped() const { return skipped_; }
  [[nodiscard]] std::uint64_t duplicates() const { return duplicates_; }

 private:
  struct Slot {
    std::uint64_t finished = 0;  // greatest sequence finished in this life
    std::uint64_t running = 0;
    std::uint64_t given_back = 0;
    std::uint64_t key = 0;  // of the running one
    std::uint64_t sent_ns = 0;
    std::uint64_t ended = 0;  // sequence whose entry says Verdict, or Exhausting{undelivered}
    std::uint32_t attempt = 0;
    std::uint32_t given_back_attempt = 0;
    std::uint16_t kind = 0;
    bool tracked = false;
    bool may_have_run = false;
    bool given_back_verdict = false;
  };

  struct Candidate {
    std::uint64_t sequence = 0;
    std::uint64_t sent_ns = 0;
    std::uint64_t length = 0;
    std::uint64_t offset = 0;
    std::uint64_t key = 0;
    std::uint32_t slot = 0;
    std::uint32_t attempt = 1;
    std::uint32_t flags = 0;
    std::uint16_t kind = 0;
    bool may_have_run = false;
    bool alone = false;
    bool redelivered = false;
    bool check_cancel = false;
  };

  NextResult next_redelivery(std::uint64_t now_ns, bool idle, std::uint64_t supersedes,
                             Delivery& begun);
  NextResult next_main(std::uint64_t now_ns, std::uint64_t supersedes, Delivery& begun);
  // How far ahead. Measured: from 8 on one figure; nearer ones make a round trip a quarter longer.
  static constexpr std::uint64_t kPrefetchPlaces = 8;
  void prefetch_ahead() const;
  bool load_descriptor(Candidate& candidate) const;
  [[nodiscard]] bool held(const Candidate& candidate);
  [[nodiscard]] bool key_busy(const Candidate& candidate, std::uint64_t supersedes) const;
  NextResult begin(const Candidate& candidate, std::uint64_t supersedes, std::uint64_t now_ns,
                   Delivery& begun);
  void note_violation(layout::LinkFault fault);
  bool may_begin_again(const Candidate& candidate, std::uint64_t now_ns);
  bool skips_unbegun(const Candidate& candidate, bool may_have_run, std::uint64_t supersedes,
                     std::uint64_t now_ns);
  void take_up(const Candidate& candidate, bool may_have_run, Delivery& begun);
  bool locate_payload(const Candidate& candidate, Delivery& begun);
  [[gnu::noinline]] NextResult begin_bounded(const Candidate& candidate, std::uint64_t now_ns);
  [[gnu::noinline]] NextResult reject(const Candidate& candidate, std::string_view text,
                                      std::uint64_t now_ns);
  ACKBUS_HOT void follow_interventions(std::uint64_t now_ns) {
    const std::uint64_t moved =
        tracking_.words().interventions.load_acquire();  // [E15] acquire: brings the entries
    if (moved != interventions_) [[unlikely]] {
      interventions_ = moved;
      look_at_entries(now_ns);
    }
  }
  void look_at_entries(std::uint64_t now_ns);
  void answer_given_back_verdicts(std::uint64_t now_ns);
  void answer(std::uint32_t slot, std::uint64_t sequence, std::uint32_t packed,
              std::uint32_t text_lengths, std::uint64_t now_ns);
  void skip(const Candidate& candidate, layout::AckCode code, std::uint64_t now_ns);
  void count_answer(const Slot& slot, layout::AckCode code, std::uint64_t now_ns);
  [[nodiscard]] bool superseded(const Candidate& candidate) const;
  void remember_success(std::uint16_t kind, std::uint64_t key, std::uint64_t sequence);
  static void add(layout::Cell<std::uint64_t>& counter) {
    counter.store_relaxed(counter.load_relaxed() + 1);  // relaxed because a figure orders nothing
  }

  layout::SubmissionView submission_;
  layout::TrackingView tracking_;
  layout::AckView ack_;
  std::vector<Slot> slots_;
  std::vector<std::array<std::uint64_t, layout::kInlineWords>>
      inlined_;  // private copies of small payloads
  std::uint64_t next_main_;
  std::uint64_t next_redelivery_;
  std::uint64_t next_ack_ = 1;
  std::uint64_t interventions_;
  std::uint64_t cancels_ = 0;
  std::uint64_t cancel_check_until_ = 0;
  std::uint64_t rung_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t duplicates_ = 0;
  std::uint64_t supersedes_seen_ = 0;
  std::uint64_t bounded_kinds_ = 0;        // a bit per kind
  const PayloadBounds* bounds_ = nullptr;  // set where a bit is
  std::size_t bucket_ = 0;  // of the latency counted last: the next one mostly falls into it too
  std::uint32_t running_count_ = 0;
  // The next message of the main ring, or of the redelivery ring, waits: until an answer, or until
  // the daemon intervenes.
  bool held_ = false;
  bool redelivery_held_ = false;
  bool violated_ = false;
  bool fence_after_begin_;
};

}  // namespace ackbus
