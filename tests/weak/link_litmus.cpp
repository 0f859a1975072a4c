// Litmus tests of producer and consumer against each other, and of what passes through both.
#include "libclient/src/sleep_fence.hpp"
#include "tests/weak/world.hpp"

namespace ackbus::weak {
namespace {

// A message there and back, and the next one in the same slot, the same place and the same bytes.
template <bool kInArena>
struct ThereAndBack : World {
  ThereAndBack() {
    threads = {[this] {
                 claim_and_send(kInArena);
                 producer.reap(kNow);
                 if (producer.in_use() == 0) {
                   const auto outcome = outcomes.take_oldest();
                   require(
                       outcome && outcome->outcome.notes && outcome->outcome.notes->text == "done",
                       "an outcome without its text");
                   claim_and_send(kInArena);
                 }
               },
               [this] {
                 for (int looks = 0; looks < 2; ++looks) {
                   Delivery begun;
                   if (next(begun) == NextResult::kBegun) {
                     ack(begun, "done");
                   }
                 }
               }};
  }
  void check() override { require(!consumer.violated(), "a violation that nobody committed"); }
};

// Who publishes and then finds nobody asleep was seen by who goes to sleep: there.
struct ConsumerSleeps : World {
  ConsumerSleeps() {
    threads = {[this] {
                 claim_and_send();
                 rings = producer.must_ring();
               },
               [this] {
                 Delivery begun;
                 if (next(begun) == NextResult::kNothing) {
                   consumer.arm(1);
                   fence_armed();
                   sleeps = !consumer.has_work();
                 }
               }};
  }
  void check() override { require(!sleeps || rings, "the consumer sleeps on a message"); }
  bool rings = false;
  bool sleeps = false;
};

// The same in a life that its producer has not heard of when it publishes, and who never calls in
// again: the daemon tells it first, then wakes the consumer once.
struct ConsumerOfANewLifeSleeps : World {
  ConsumerOfANewLifeSleeps() {
    // relaxed because nothing runs yet
    memory.tracking.words().epoch.store_relaxed(2);
    threads = {[this] {
                 claim_and_send();
                 rings = producer.must_ring_or_hear([this] {
                   if (told.load_acquire() != 0) {
                     producer.add_life({2, 1, memory.ack});
                   }
                 });
               },
               [this] {
                 told.store_release(1);
                 Delivery begun;
                 if (next(begun) == NextResult::kNothing) {
                   consumer.arm(1);
                   fence_armed();
                   sleeps = !consumer.has_work();
                 }
               }};
  }
  void check() override { require(!sleeps || rings, "the consumer sleeps on a message"); }
  layout::Cell<std::uint64_t> told{};  // a kLife in the producer's socket
  bool rings = false;
  bool sleeps = false;
};

// ... and back.
struct ProducerSleeps : World {
  ProducerSleeps() {
    claim_and_send();
    next(begun);
    threads = {[this] {
                 if (producer.reap(kNow) == 0) {
                   producer.arm(1);
                   fence_armed();
                   sleeps = !producer.has_work();
                 }
               },
               [this] {
                 ack(begun);
                 rings = consumer.must_ring();
               }};
  }
  void check() override { require(!sleeps || rings, "the producer sleeps on an ack"); }
  Delivery begun;
  bool rings = false;
  bool sleeps = false;
};

// A consumer that has seen the counter of cancels move sees the wish when it comes to its message.
struct CancelSeen : World {
  CancelSeen() : World(2, false) {
    claim_and_send();
    Delivery begun;
    next(begun);
    ack(begun);
    producer.reap(kNow);
    claim_and_send();
    const std::optional<std::uint32_t> slot = producer.claim();
    require(slot.has_value(), "no slot");
    send(*slot);
    threads = {[this, slot] { producer.cancel(*slot, 3); },
               [this] {
                 // relaxed because next() looks again, with the acquire that counts
                 const bool moved = memory.submission.words().cancels.load_relaxed() == 1;
                 Delivery one;
                 Delivery other;
                 require(next(one) == NextResult::kBegun, "a message that is not there");
                 const NextResult result = next(other);
                 require(!moved || result == NextResult::kSkipped, "a cancel that nobody saw");
               }};
  }
};

// The daemon starts the next life at the cursor: below it everything committed is seen, though its
// producer and the consumer that read it are two other processes.
struct CursorBringsMessages : World {
  CursorBringsMessages() : World(2) {
    threads = {[this] { send_in_the_second_slot(); },
               [this] {
                 Delivery begun;
                 next(begun);
               },
               [this] {
                 if (tracker.hand_over_start(1) == 2) {
                   const auto view = tracker.look(1);
                   require(view && view->descriptor.number == 1 && view->committed,
                           "a message below the next life's start is not seen");
                 }
               }};
  }
};

// A published place says its slot.
struct PlaceCommits : World {
  PlaceCommits() : World(2) {
    threads = {[this] { send_in_the_second_slot(); },
               [this] {
                 // relaxed because look() reads it again, with the acquire that counts
                 const bool published = memory.submission.place(1).number.load_relaxed() == 1;
                 const auto view = tracker.look(1);
                 require(!published || !view || view->committed,
                         "a published message counts as not committed");
               }};
  }
};

// A scan that sees the producer's hint sees the message: else it would skip the link from then on.
struct HintBringsMessage : World {
  HintBringsMessage() {
    tracker.scan(kNow);
    threads = {[this] { claim_and_send(); }, [this] { tracker.scan(kNow); }};
  }
  void check() override {
    tracker.scan(kNow);
    require(tracker.pending_seen() == 1, "a scan that took the link for idle");
  }
};

// The epoch brings every answer of the life that ended before it moved.
struct EpochBringsAnswers : World {
  EpochBringsAnswers() {
    claim_and_send();
    next(begun);
    fresh = fresh_life(2);
    producer.add_life({2, 2, fresh});
    threads = {[this] {
                 producer.reap(kNow);
                 if (producer.retired_epoch() == 1) {
                   require(outcomes.take_oldest().has_value(), "an answer was left behind");
                 }
               },
               [this] { ack(begun); },
               [this] {
                 await_end(1);
                 tracker.move_epoch(2, 2);
               }};
  }
  Delivery begun;
  layout::AckView fresh;
};

// The supersede table goes over to the next life, whatever the kernel says of the old one's end. It
// is full, so a new key takes the place of the one with the lowest sequence.
struct TableCarried : World {
  static constexpr std::uint16_t kKind = static_cast<std::uint16_t>(Kind::kUpdateGpuGraphData);
  TableCarried() {
    for (std::uint32_t index = 0; index < layout::kSupersedeEntries; ++index) {
      layout::SupersedeEntry& entry = memory.ack.supersede(index);
      entry.kind.store_relaxed(kKind);  // relaxed because nobody reads yet
      entry.key.store_relaxed(index == 0 ? 77 : 1000);
      entry.sequence.store_relaxed(index == 0 ? 1 : 1000);
      entry.number.store_relaxed(1);
    }
    while (producer.next_sequence() < 2) {  // Sequence 1 is the one that has been answered.
      claim_and_send();
      next(begun);
      ack(begun);
      producer.reap(kNow);
    }
    SendOptions options;
    options.key = 78;
    claim_and_send(false, options, Kind::kUpdateGpuGraphData);
    next(begun, 1ULL << kKind);
    threads = {[this] { ack(begun); },
               [this] {
                 const layout::AckView fresh = fresh_life(3);
                 tracker.settle_ended_life({2, true, false}, 3, fresh);
                 const layout::SupersedeEntry& entry = fresh.supersede(0);
                 // relaxed because this thread wrote them
                 const std::uint64_t key = entry.key.load_relaxed();
                 const std::uint64_t sequence = entry.sequence.load_relaxed();
                 require(sequence == 1000 ? key == 1000 : sequence == key - 76,
                         "a sequence under another key");
               }};
  }
  Delivery begun;
};

}  // namespace

std::vector<Litmus> link_litmus() {
  return {
      litmus_of<ThereAndBack<false>>("there_and_back", "E1 E2 E3 E6 E12"),
      litmus_of<ThereAndBack<true>>("there_and_back_in_the_arena", "E1 E2 E3 E6 E12"),
      litmus_of<ConsumerSleeps>("consumer_sleeps", "E16 F2"),
      litmus_of<ConsumerOfANewLifeSleeps>("consumer_of_a_new_life_sleeps", "E16 F2"),
      litmus_of<ProducerSleeps>("producer_sleeps", "E3 E16 F2"),
      litmus_of<CancelSeen>("cancel_seen", "E17"),
      litmus_of<CursorBringsMessages>("cursor_brings_messages", "E12"),
      litmus_of<PlaceCommits>("place_commits", "E1"),
      litmus_of<HintBringsMessage>("hint_brings_message", "E21"),
      litmus_of<EpochBringsAnswers>("epoch_brings_answers", "E14"),
      litmus_of<TableCarried>("table_carried", "E19"),
  };
}

}  // namespace ackbus::weak
