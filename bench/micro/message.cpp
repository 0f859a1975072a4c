// The steps of a message, each on its own: claim and commit, begin and ack, reap and take, and the
// look at the peer's `sleeping` that follows each publication. The real two halves of a link over
// memory on the heap, in one thread and without a daemon: what no other core is part of.
//
// Data flow: each step is run kBatch times in a row, and only the step that is asked for counts;
// the others follow, so that the next batch finds all slots free. Read the column Time: processor
// time per message. The column CPU has the other steps in it.
#include <benchmark/benchmark.h>
#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "libclient/src/consumer_link.hpp"
#include "libclient/src/producer_link.hpp"
#include "shm_layout/assert.hpp"
#include "tests/link/memory.hpp"

namespace ackbus::bench {
namespace {

constexpr std::uint32_t kSlots = 1024;
constexpr std::uint64_t kArenaBytes = 4096;
constexpr std::uint32_t kBatch = 512;
// What the clock says does not matter here, and reading it is measured elsewhere.
constexpr std::uint64_t kSentNs = 1'000;
constexpr std::uint64_t kLaterNs = 2'000;

struct LinkMemory {
  test::SegmentMemory submission_memory{layout::SubmissionGeometry{kSlots, kArenaBytes}.bytes()};
  test::SegmentMemory tracking_memory{layout::TrackingGeometry{kSlots}.bytes()};
  test::SegmentMemory ack_memory{layout::AckGeometry{kSlots}.bytes()};
  layout::SubmissionView submission{submission_memory.base(), {kSlots, kArenaBytes}};
  layout::TrackingView tracking{tracking_memory.base(), {kSlots}};
  layout::AckView ack{ack_memory.base(), {kSlots}};
};

class Link {
 public:
  Link() { producer_.add_life({1, 1, memory_.ack}); }

  void claim_and_commit() {
    CommitRequest request;
    request.kind = Kind::kComputeForces;
    request.length = payload_.size();
    request.inlined = payload_;
    request.now_ns = kSentNs;
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      const std::optional<std::uint32_t> slot = producer_.claim();
      ACKBUS_ASSERT(slot);
      producer_.commit(*slot, request);
    }
  }

  void begin_and_ack() {
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      const NextResult result = consumer_.next(kLaterNs, true, 0, begun_);
      ACKBUS_ASSERT(result == NextResult::kBegun);
      const bool acked =
          consumer_.ack(begun_.slot, begun_.sequence, layout::AckCode::kSuccess, {}, {}, kLaterNs);
      ACKBUS_ASSERT(acked);
    }
  }

  void reap_and_take() {
    const std::size_t known = producer_.reap(kLaterNs);
    ACKBUS_ASSERT(known == kBatch);
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      const std::uint32_t index = outcomes_.oldest();
      ACKBUS_ASSERT(index != OutcomeStore::kNone);
      Outcome outcome = std::move(outcomes_.node(index).outcome);
      benchmark::DoNotOptimize(outcome);
      outcomes_.drop(index);
    }
  }

  void look_whom_to_ring() {
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      bool rings = producer_.must_ring();
      benchmark::DoNotOptimize(rings);
    }
  }

 private:
  LinkMemory memory_;
  OutcomeStore outcomes_{kSlots, kSlots* ProducerLink::kNodesPerSlot};
  ProducerLink producer_{memory_.submission, memory_.tracking, outcomes_, 1, false};
  ConsumerLink consumer_{{memory_.submission, memory_.tracking, memory_.ack}};
  std::array<std::byte, layout::kInlineBytesMax> payload_{};
  Delivery begun_;
};

enum class Step : std::uint8_t { kClaimCommit, kBeginAck, kReapTake, kAll };

// Of this thread's processor time, so that what else the machine does is not counted. Asking costs
// a batch less than half a nanosecond a message.
double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <typename Work>
double seconds_of(Work work) {
  const double started = processor_seconds();
  work();
  return processor_seconds() - started;
}

void measure(benchmark::State& state, Step step) {
  Link link;
  while (state.KeepRunningBatch(kBatch)) {
    const double committed = seconds_of([&] { link.claim_and_commit(); });
    const double acked = seconds_of([&] { link.begin_and_ack(); });
    const double taken = seconds_of([&] { link.reap_and_take(); });
    const std::array<double, 4> times = {committed, acked, taken, committed + acked + taken};
    state.SetIterationTime(times[static_cast<std::size_t>(step)]);
  }
}

void look_whom_to_ring(benchmark::State& state) {
  Link link;
  while (state.KeepRunningBatch(kBatch)) {
    link.look_whom_to_ring();
  }
}

BENCHMARK_CAPTURE(measure, claim_and_commit, Step::kClaimCommit)->UseManualTime();
BENCHMARK_CAPTURE(measure, begin_and_ack, Step::kBeginAck)->UseManualTime();
BENCHMARK_CAPTURE(measure, reap_and_take, Step::kReapTake)->UseManualTime();
BENCHMARK_CAPTURE(measure, all_three, Step::kAll)->UseManualTime();
BENCHMARK(look_whom_to_ring);

}  // namespace
}  // namespace ackbus::bench
