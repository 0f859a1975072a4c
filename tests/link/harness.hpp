// One link with all its roles in one thread and virtual time: producer, consumer lives, tracker.
// What survives a daemon's death (segments, the ledger of lives, letters) is apart from what does
// not, so a test kills and restarts any role between two calls; simulation.hpp does it between any
// two accesses to shared memory. Data flow: the test calls the roles, the roles meet in memory.
#pragma once

#include <ackbus/options.hpp>
#include <ackbus/outcome.hpp>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/tracker.hpp"
#include "libclient/src/consumer_link.hpp"
#include "libclient/src/outcome_store.hpp"
#include "libclient/src/producer_link.hpp"
#include "tests/link/fake_host.hpp"
#include "tests/link/memory.hpp"

namespace ackbus::test {

inline constexpr std::uint64_t kMs = 1'000'000;
inline constexpr Kind kSuperseding = Kind::kUpdateGpuGraphData;

struct Ticket {
  std::uint32_t slot = 0;
  std::uint64_t sequence = 0;
};

// What is said of a message besides its options.
struct Message {
  Kind kind = Kind::kComputeForces;
  bool tracked = true;
  std::uint64_t bytes = 8;  // each byte is a function of the sequence and its place
  SendOptions options;
  std::uint32_t after_slot = 0;
};

inline std::byte payload_byte(std::uint64_t sequence, std::uint64_t index) {
  return static_cast<std::byte>((sequence * 131 + index * 7) & 0xff);
}

// 100 ms timeout, 3 retries, 60 s max_wait, 10 min max_age; UpdateGPUGraphData supersedes.
inline daemon::TrackerRules test_rules() {
  daemon::TrackerRules rules;
  for (daemon::KindRule& rule : rules.kinds) {
    rule.timeout_ms = 100;
    rule.max_retries = 3;
  }
  rules.kinds[static_cast<std::size_t>(kSuperseding)].supersede = true;
  return rules;
}

class LinkWorld {
 public:
  static constexpr std::uint64_t kBytesPerSlot = 256;

  // A consumer's life as the ledger keeps it.
  struct Life {
    Life(std::uint64_t slots, std::uint64_t life_epoch)
        : epoch(life_epoch),
          memory(layout::AckGeometry{slots}.bytes()),
          ack(memory.base(), layout::AckGeometry{slots}) {}
    std::uint64_t epoch;
    std::uint64_t start = 0;
    std::uint64_t redelivery_start = 0;
    SegmentMemory memory;
    layout::AckView ack;
    bool ended = false;
    bool mapped = true;  // by its consumer, and the daemon knows; a new daemon reads no other
  };

  explicit LinkWorld(std::uint32_t slots = 8, daemon::TrackerRules rules = test_rules())
      : rules_(rules),
        slots_(slots),
        submission_memory_(layout::SubmissionGeometry{slots, slots * kBytesPerSlot}.bytes()),
        tracking_memory_(layout::TrackingGeometry{slots}.bytes()),
        submission(submission_memory_.base(), {slots, slots * kBytesPerSlot}),
        tracking(tracking_memory_.base(), {slots}),
        host(submission, tracking),
        outcomes(slots, slots * ProducerLink::kNodesPerSlot),
        producer(std::make_unique<ProducerLink>(submission, tracking, outcomes, 1, true)) {
    restart_tracker();
  }

  // ---- producer ----
  std::optional<Ticket> try_commit(const Message& message) {
    const std::optional<std::uint32_t> slot = producer->claim();
    if (!slot) {
      return std::nullopt;
    }
    const std::uint64_t sequence = producer->next_sequence();
    std::vector<std::byte> payload(message.bytes);
    for (std::uint64_t i = 0; i < message.bytes; ++i) {
      payload[i] = payload_byte(sequence, i);
    }
    CommitRequest request;
    request.kind = message.kind;
    request.tracked = message.tracked;
    MessageId::Bytes id{};
    std::memcpy(id.data(), &sequence, sizeof(sequence));
    request.id = MessageId::from_bytes(id);
    request.length = message.bytes;
    request.now_ns = now_ns;
    request.options = &message.options;
    request.after_sequence = message.options.after_sequence;
    request.after_slot = message.after_slot;
    if (message.bytes <= layout::kInlineBytesMax) {
      request.inlined = payload;
    } else {
      request.offset = *slot * kBytesPerSlot;
      request.holds_arena = true;
      std::memcpy(submission.arena() + request.offset, payload.data(), payload.size());
    }
    return Ticket{*slot, producer->commit(*slot, request)};
  }
  Ticket commit(const Message& message = {}) {
    const std::optional<Ticket> ticket = try_commit(message);
    ACKBUS_ASSERT(ticket.has_value());
    return *ticket;
  }
  // Lives that the daemon told the producer of since.
  void deliver_lives() {
    const std::uint64_t told = tracking.words().epoch.load_acquire();
    for (const auto& life : lives) {
      if (life->epoch > producer->newest_epoch() && life->epoch <= told) {
        producer->add_life({life->epoch, life->start, life->ack});
      }
    }
  }
  std::size_t reap() {
    deliver_lives();
    const std::size_t known = producer->reap(now_ns);
    producer->clear_switched();
    producer->drain_freed([](std::uint32_t) {});
    return known;
  }
  // The outcome of a message, if it is known and was not taken; code kReserved otherwise.
  Outcome outcome(const Ticket& ticket) {
    auto node = outcomes.take(ticket.slot, ticket.sequence);
    return node ? std::move(node->outcome) : Outcome{};
  }
  Outcome reap_outcome(const Ticket& ticket) {
    reap();
    return outcome(ticket);
  }

  // ---- consumer ----
  // The next message to run; skips what next() skips.
  std::optional<Delivery> take(bool idle) {
    for (int looks = 0; looks < 200; ++looks) {
      Delivery begun;
      last_next = consumer->next(now_ns, idle, supersedes(), begun);
      if (last_next == NextResult::kBegun) {
        return begun;
      }
      if (last_next != NextResult::kSkipped) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }
  std::optional<Delivery> take() { return take(consumer->running_count() == 0); }
  bool ack(const Delivery& begun, layout::AckCode code = layout::AckCode::kSuccess,
           std::string_view text = {}) {
    return consumer->ack(begun.slot, begun.sequence, code, text, {}, now_ns);
  }
  bool give_back(const Delivery& begun, std::uint32_t delay_ms = 0) {
    return consumer->give_back(begun.slot, begun.sequence, delay_ms, now_ns);
  }
  bool progress(const Delivery& begun, std::uint32_t retries = 0) {
    return consumer->progress(begun.slot, begun.sequence, retries, now_ns);
  }
  [[nodiscard]] std::uint64_t supersedes() const {
    std::uint64_t bits = 0;
    for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
      bits |= rules_.kinds[kind].supersede ? 1ULL << kind : 0;
    }
    return bits;
  }

  // ---- daemon ----
  // A new daemon: nothing is left of the old one but memory, the ledger and the disk.
  void restart_tracker() {
    host.forget_process();
    const std::uint64_t epoch = tracking.words().epoch.load_acquire();
    if (!lives.empty() && lives.back()->epoch > epoch) {
      lives.pop_back();  // Made for a hand-over that was never finished.
    }
    tracker = std::make_unique<daemon::LinkTracker>(host, submission, tracking, rules_);
    tracker->recover();
    if (!lives.empty()) {
      const Life& life = *lives.back();
      if (life.mapped) {
        tracker->set_life(life.ack, life.epoch, life.start);
      }
      if (life.ended) {
        tracker->end_life();
      }
    }
  }
  // The first life, or the next after kill_consumer(): docs/architecture.md, hand-over, in its
  // order.
  void hand_over(bool counts_deaths = true) {
    prepare_hand_over(counts_deaths);
    tracker->set_life(lives.back()->ack, lives.back()->epoch, lives.back()->start);
    start_consumer();
  }
  void prepare_hand_over(bool counts_deaths = true) {
    for (const layout::DescriptorCopy& descriptor : tracker->letters_to_remove()) {
      host.correct({0, descriptor, false});
    }
    daemon::HandOver plan;
    plan.new_epoch = tracking.words().epoch.load_acquire() + 1;
    plan.counts_deaths = counts_deaths;
    plan.sole_begun = tracker->begun_count() == 1;
    const std::uint64_t start = tracker->hand_over_start(1);
    auto fresh = std::make_unique<Life>(slots_, plan.new_epoch);
    fresh->start = start;
    fresh->redelivery_start = tracker->redelivery_end();
    fresh->ack.words().cursor.store_release(start);
    fresh->ack.words().redelivery_cursor.store_release(fresh->redelivery_start);
    const layout::AckView ack = fresh->ack;
    lives.push_back(std::move(fresh));
    tracker->settle_ended_life(plan, start, ack);
    tracker->redeliver(plan, start, now_ns);
    tracker->move_epoch(plan.new_epoch, start);
  }
  void start_consumer() {
    ConsumerLinkSetup setup;
    setup.submission = submission;
    setup.tracking = tracking;
    setup.ack = lives.back()->ack;
    setup.main_start = lives.back()->start;
    setup.redelivery_start = lives.back()->redelivery_start;
    setup.fence_after_begin = true;
    consumer = std::make_unique<ConsumerLink>(setup);
  }
  // Its process has ended; the daemon knows.
  void kill_consumer() {
    consumer.reset();
    lives.back()->ended = true;
    tracker->end_life();
  }
  // One job of the worker: a letter, or a correction of one. False when there is none.
  bool run_letter_job() {
    if (host.jobs.empty()) {
      return run_correction();
    }
    const daemon::LetterDraft draft = std::move(host.jobs.front());
    host.jobs.pop_front();
    const layout::AckView ack = lives.empty() ? layout::AckView{} : lives.back()->ack;
    const daemon::LetterResult result = host.write(draft, ack);
    tracker->letter_done(draft.slot, draft.descriptor.number, result, now_ns);
    return true;
  }
  bool run_correction() {
    if (host.corrections.empty() || host.store_broken) {
      return false;  // A disk that refuses is asked again later.
    }
    const Correction correction = std::move(host.corrections.front());
    host.corrections.pop_front();
    host.correct(correction);
    tracker->letter_corrected(correction.slot, correction.descriptor.number);
    return true;
  }
  // The daemon's loop up to `end_ns`: letters, deadlines, scans, each at its time.
  void run_until(std::uint64_t end_ns) {
    for (int turns = 0; turns < 1'000'000; ++turns) {
      while (letters_run && run_letter_job()) {
      }
      const std::uint64_t scan_ns = std::max(tracker->next_scan_ns(), now_ns);
      const std::uint64_t due_ns = std::max(host.next_deadline_ns().value_or(scan_ns), now_ns);
      const std::uint64_t next_ns = std::min(scan_ns, due_ns);
      if (next_ns > end_ns) {
        now_ns = std::max(now_ns, end_ns);
        return;
      }
      now_ns = next_ns;
      if (const auto slot = host.take_due(now_ns)) {
        tracker->expire(*slot, now_ns);
      } else {
        tracker->scan(now_ns);
      }
    }
    ACKBUS_ASSERT(false);
  }
  void run_for(std::uint64_t duration_ns) { run_until(now_ns + duration_ns); }
  // Looks once now, with whatever letters follow from it.
  void look() {
    tracker->scan_soon();
    run_until(now_ns);
  }

  [[nodiscard]] layout::PendingCopyValue entry(const Ticket& ticket) const {
    return layout::pending_read(tracking.entry(ticket.slot));
  }
  [[nodiscard]] layout::PendingState state(const Ticket& ticket) const {
    const layout::PendingCopyValue value = entry(ticket);
    return value.sequence == ticket.sequence ? value.state : layout::PendingState::kReserved;
  }
  [[nodiscard]] const FakeLetter* letter(const Ticket& ticket) const {
    const auto found = host.letters.find(ticket.sequence);
    return found == host.letters.end() ? nullptr : &found->second;
  }

 private:
  daemon::TrackerRules rules_;
  std::uint32_t slots_;
  SegmentMemory submission_memory_;
  SegmentMemory tracking_memory_;

 public:
  std::uint64_t now_ns = 1'000 * kMs;
  layout::SubmissionView submission;
  layout::TrackingView tracking;
  std::vector<std::unique_ptr<Life>> lives;  // the ledger
  FakeHost host;
  OutcomeStore outcomes;
  std::unique_ptr<ProducerLink> producer;
  std::unique_ptr<ConsumerLink> consumer;
  std::unique_ptr<daemon::LinkTracker> tracker;
  NextResult last_next = NextResult::kNothing;
  bool letters_run = true;
};

}  // namespace ackbus::test
