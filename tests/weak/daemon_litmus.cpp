// Litmus tests of what the daemon decides against what producer and consumer do meanwhile, and of
// the rows that it writes for every client.
#include "shm_layout/bus_records.hpp"
#include "tests/weak/world.hpp"

namespace ackbus::weak {
namespace {

constexpr std::uint64_t kLate = kNow + 61'000 * kMs;  // past every timeout and max_wait

SendOptions no_retries() {
  SendOptions options;
  options.max_retries = 0;
  return options;
}

// An entry of the first message that says nothing yet, so that what the tracker stores next is not
// the first that was ever stored there.
void store_empty_entry(World& world) {
  layout::PendingCopyValue entry;
  entry.version = 1;
  entry.sequence = 1;
  entry.attempt = 1;
  layout::pending_publish(world.memory.tracking.entry(0).copies[1], entry);
  world.tracker.recover();
}

// max_wait ends what nobody began: not also run. `kMembarrier`: the consumer registered for it and
// fences nothing itself; else the membarrier does nothing and the consumer fences.
template <bool kMembarrier>
struct UndeliveredOrBegun : World {
  UndeliveredOrBegun() : World(1, !kMembarrier) {
    host.membarrier_works = kMembarrier;
    host.registered = 1U << 0;
    claim_and_send();
    store_empty_entry(*this);
    threads = {[this] {
                 Delivery begun;
                 result = next(begun);
               },
               [this] { tracker.scan(kLate); }};
  }
  void check() override {
    require(result != NextResult::kBegun || host.letters.empty(),
            "it ends as undelivered, and it runs");
    tracker.scan_soon();
    tracker.scan(kLate);
    require(result == NextResult::kBegun || !host.letters.empty(), "skipped, and without an end");
  }
  NextResult result = NextResult::kNothing;
};

// A verdict on what the consumer answers at the same time: the producer's slot is not free while a
// letter of its message is being written.
template <bool kMembarrier>
struct VerdictOrSuccess : World {
  VerdictOrSuccess() : World(1, !kMembarrier) {
    host.membarrier_works = kMembarrier;
    host.registered = 1U << 0;
    claim_and_send(false, no_retries());
    next(begun);
    store_empty_entry(*this);
    threads = {[this] {
                 producer.reap(kLate);
                 freed = producer.in_use() == 0;
               },
               [this] { ack(begun); }, [this] { tracker.scan(kLate); }};
  }
  void check() override {
    require(!freed || host.letters.empty(), "a letter of a success whose slot is in use again");
  }
  Delivery begun;
  bool freed = false;
};

// A retry of what was begun and timed out: it counts as queued only with its place in the ring.
struct QueuedHasPlace : World {
  QueuedHasPlace() {
    claim_and_send();
    threads = {[this] {
                 Delivery begun;
                 next(begun);
               },
               [this] {
                 tracker.scan(kNow + 6'000 * kMs);
                 tracker.scan_soon();
                 tracker.scan(kNow + 7'000 * kMs);
               }};
  }
  void check() override {
    const layout::PendingCopyValue entry = layout::pending_read(memory.tracking.entry(0));
    require(entry.state != layout::PendingState::kQueued ||
                memory.tracking.redelivery(1).number.load_relaxed() == 1,
            "a retry that says queued and has no place");
  }
};

// The redelivery ring has one place here: the daemon rewrites it when the cursor has passed it. The
// consumer's copy is of the place it read.
struct RingHasRoom : World {
  RingHasRoom() {
    claim_and_send();
    Delivery begun;
    next(begun);
    consumer.give_back(0, 1, 1, kNow);
    layout::redelivery_publish(memory.tracking.redelivery(1), 1, {1, 0, 2, 0});
    layout::PendingCopyValue entry;
    entry.version = 1;
    entry.sequence = 1;
    entry.state = layout::PendingState::kWaiting;
    entry.attempt = 3;
    entry.due_ns = kNow;
    layout::pending_publish(memory.tracking.entry(0).copies[1], entry);
    tracker.recover();
    threads = {[this] {
                 Delivery again;
                 if (next(again) == NextResult::kBegun) {
                   require(again.attempt == 2, "an attempt that the place did not say");
                 }
               },
               [this] { tracker.scan(kNow + kMs); }};
  }
};

// The daemon ends the link while the producer, lapped on the verdict ring, looks at all entries.
struct LappedOnVerdicts : World {
  LappedOnVerdicts() {
    claim_and_send();
    const std::uint64_t places = memory.tracking.verdict_ring_places();
    for (std::uint64_t number = 1; number <= places + 1; ++number) {
      layout::verdict_publish(memory.tracking.verdict(number), number,
                              {99, 0, layout::VerdictReason::kRetries});
    }
    store_empty_entry(*this);
    threads = {[this] { producer.reap(kNow); },
               [this] { tracker.close(layout::VerdictReason::kClosedQueue); }};
  }
  void check() override {
    producer.reap(kNow);
    require(outcomes.take_oldest().has_value(), "a verdict that was passed over");
    require(producer.closed() == OutcomeReason::kQueueRemoved, "the link's end was passed over");
  }
};

// ---- the bus segment ----

struct KindRowRecord {
  layout::KindRow& row = shared<layout::KindRow>();
  KindRowRecord() { write(1); }
  void write(std::uint64_t version) {
    const std::uint64_t before = layout::row_begin(row.number);
    row.name.words[0].store_relaxed(version);  // relaxed because the row's number publishes them
    row.flags.store_relaxed(static_cast<std::uint32_t>(version));
    row.max_payload_bytes.store_relaxed(version);
    layout::row_end(row.number, before);
  }
  std::uint64_t read() const {
    layout::KindRowCopy copy;
    if (!layout::kind_row_read(row, copy)) {
      return 0;
    }
    require(copy.name[0] == copy.flags && copy.flags == copy.max_payload_bytes,
            "a row of mixed versions");
    return copy.flags;
  }
};

struct KindRowRewritten : Scenario {
  KindRowRewritten() {
    threads = {[this] { record.write(2); }, [this] { record.read(); }};
  }
  KindRowRecord record;
};

struct KindsAnnounced : Scenario {
  KindsAnnounced() {
    threads = {[this] {
                 record.write(2);
                 layout::announce_kinds(words);
               },
               [this] {
                 if (layout::kinds_announced(words) == 1) {
                   require(record.read() == 2, "a row as it was before the reload");
                 }
               }};
  }
  KindRowRecord record;
  layout::BusWords& words = shared<layout::BusWords>();
};

}  // namespace

std::vector<Litmus> daemon_litmus() {
  return {
      litmus_of<UndeliveredOrBegun<false>>("undelivered_or_begun_fenced", "E4 E8 E15 F1"),
      litmus_of<UndeliveredOrBegun<true>>("undelivered_or_begun_membarrier", "E4 E8 E15 F1"),
      litmus_of<VerdictOrSuccess<false>>("verdict_or_success_fenced", "E15 E18 F1"),
      litmus_of<VerdictOrSuccess<true>>("verdict_or_success_membarrier", "E15 E18 F1"),
      litmus_of<QueuedHasPlace>("queued_has_place", "E4 E12"),
      litmus_of<RingHasRoom>("ring_has_room", "E9 E13"),
      litmus_of<LappedOnVerdicts>("lapped_on_verdicts", "E10 E15"),
      litmus_of<KindRowRewritten>("kind_row", "E20"),
      litmus_of<KindsAnnounced>("kinds_announced", "E20"),
  };
}

}  // namespace ackbus::weak
