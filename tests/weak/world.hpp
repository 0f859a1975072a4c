// A link with its three roles in the model's memory, built from the product's own halves, with one
// consumer life in force. Each litmus test lets some of the roles be threads; what the others did
// before is done in the constructor, on plain memory.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/tracker.hpp"
#include "libclient/src/consumer_link.hpp"
#include "libclient/src/outcome_store.hpp"
#include "libclient/src/producer_link.hpp"
#include "tests/weak/litmus.hpp"

namespace ackbus::weak {

inline constexpr std::uint64_t kMs = 1'000'000;
inline constexpr std::uint64_t kNow = 1'000 * kMs;

// What the tracker asks for, written down.
class WeakHost final : public daemon::TrackerHost {
 public:
  void arm(std::uint32_t, std::uint64_t) override {}
  void barrier() override {
    if (membarrier_works) {
      weak::barrier(registered, {"daemon/link_host.cpp", 0, Operation::kBarrier});
    }
  }
  void ring_producer() override {}
  void ring_consumer() override {}
  void write_letter(daemon::LetterDraft draft) override { letters.push_back(draft.slot); }
  bool remove_letter(std::uint32_t, const layout::DescriptorCopy&) override { return false; }
  bool mark_late_success(std::uint32_t, const layout::DescriptorCopy&) override { return false; }
  void count_retry(std::uint16_t, daemon::RetryCause) override {}
  void count_dead(std::uint16_t, layout::VerdictReason) override {}

  bool membarrier_works = false;
  std::uint32_t registered = 0;  // threads that the daemon's membarrier reaches
  std::vector<std::uint32_t> letters;
};

struct LinkMemory {
  explicit LinkMemory(std::uint32_t slots)
      : submission(allocate(layout::SubmissionGeometry{slots, kArenaBytes}.bytes()),
                   {slots, kArenaBytes}),
        tracking(allocate(layout::TrackingGeometry{slots}.bytes()), {slots}),
        ack(allocate(layout::AckGeometry{slots}.bytes()), {slots}) {
    ack.words().cursor.store_relaxed(1);  // relaxed because nobody reads yet
    ack.words().redelivery_cursor.store_relaxed(1);
    tracking.words().epoch.store_relaxed(1);
    tracking.words().start.store_relaxed(1);
  }
  static constexpr std::uint64_t kArenaBytes = 256;
  layout::SubmissionView submission;
  layout::TrackingView tracking;
  layout::AckView ack;
};

struct World : Scenario {
  // `client_fences`: the clients could not register for the daemon's membarrier.
  explicit World(std::uint32_t slots = 1, bool client_fences = true)
      : memory(slots),
        outcomes(slots, slots * ProducerLink::kNodesPerSlot),
        producer(memory.submission, memory.tracking, outcomes, 1, client_fences),
        consumer({memory.submission, memory.tracking, memory.ack, 1, 1, client_fences}),
        tracker(host, memory.submission, memory.tracking, daemon::TrackerRules{}) {
    producer.add_life({1, 1, memory.ack});
    tracker.set_life(memory.ack, 1, 1);
  }

  // ---- producer ----
  // A payload of one word, each message's its own, in the place or in the arena.
  std::uint64_t send(std::uint32_t slot, bool in_arena = false, const SendOptions& options = {},
                     Kind kind = Kind::kComputeForces) {
    const std::uint64_t sequence = producer.next_sequence();
    const std::array<std::uint64_t, 10> payload{sequence * 1000};
    CommitRequest request;
    request.kind = kind;
    request.now_ns = kNow;
    request.options = &options;
    request.after_sequence = options.after_sequence;
    if (in_arena) {
      request.length = sizeof(payload);
      request.offset = slot * sizeof(payload);
      request.holds_arena = true;
      if (modelled) {
        plain_write(memory.submission.arena() + request.offset, request.length);
      }
      std::memcpy(memory.submission.arena() + request.offset, payload.data(), request.length);
    } else {
      request.length = 8;
      request.inlined = std::as_bytes(std::span(payload).first(1));
    }
    return producer.commit(slot, request);
  }
  std::uint64_t claim_and_send(bool in_arena = false, const SendOptions& options = {},
                               Kind kind = Kind::kComputeForces) {
    const std::optional<std::uint32_t> slot = producer.claim();
    require(slot.has_value(), "no slot");
    return send(*slot, in_arena, options, kind);
  }

  // Not in the slot whose number an unwritten word would give.
  void send_in_the_second_slot() {
    const auto first = producer.claim();
    const auto second = producer.claim();
    require(first && second, "no slot");
    send(*second);
  }

  // ---- consumer ----
  NextResult next(Delivery& begun, std::uint64_t supersedes = 0) {
    const NextResult result = consumer.next(kNow, consumer.running_count() == 0, supersedes, begun);
    if (result == NextResult::kBegun) {
      std::uint64_t word = 0;
      if (begun.payload.size() > 8 && modelled) {
        plain_read(begun.payload.data(), begun.payload.size());
      }
      std::memcpy(&word, begun.payload.data(), sizeof(word));
      require(word == begun.sequence * 1000, "the payload of another message");
    }
    return result;
  }
  void ack(const Delivery& begun, std::string_view text = {}) {
    require(consumer.ack(begun.slot, begun.sequence, layout::AckCode::kSuccess, text, {}, kNow),
            "the answer to a running message was called stale");
  }
  // The life that follows, as the daemon makes it.
  layout::AckView fresh_life(std::uint64_t start) {
    const std::uint64_t slots = memory.ack.slots();
    const layout::AckView fresh(allocate(layout::AckGeometry{slots}.bytes()), {slots});
    fresh.words().cursor.store_relaxed(start);  // relaxed because nobody has mapped it yet
    return fresh;
  }

  LinkMemory memory;
  WeakHost host;
  OutcomeStore outcomes;
  ProducerLink producer;
  ConsumerLink consumer;
  daemon::LinkTracker tracker;
};

}  // namespace ackbus::weak
