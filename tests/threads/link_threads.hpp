// One link whose producer, consumer and tracker are threads of this process over the real Cells.
// For ThreadSanitizer: it sees the acquire and release of every Cell and would call any access to
// the payload arena that they do not order a race. It sees no fences; that takes nothing away here,
// because the fields of a seqlock are Cells, whose relaxed accesses are no races to it, and because
// no payload byte is ordered by a fence alone (tests/weak covers the fences).
//
// A run is a sequence of rounds. In a round the three threads work at once until the consumer's
// stops, with messages in its hands: that is its death. Between rounds, all threads joined, the
// tracker may be restarted and hands over to the next life. Time is virtual: the tracker's thread
// moves it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "daemon/tracker.hpp"
#include "libclient/src/consumer_link.hpp"
#include "libclient/src/outcome_store.hpp"
#include "libclient/src/producer_link.hpp"
#include "tests/link/memory.hpp"

namespace ackbus::test {

// Letters are written at once; deadlines are met by scanning. The tracker's thread only.
class ThreadedHost final : public daemon::TrackerHost {
 public:
  void arm(std::uint32_t, std::uint64_t) override {}
  void barrier() override {}  // The clients fence themselves here.
  void ring_producer() override {}
  void ring_consumer() override {}
  void write_letter(daemon::LetterDraft draft) override { drafts.push_back(std::move(draft)); }
  bool remove_letter(std::uint32_t, const layout::DescriptorCopy&) override { return false; }
  bool mark_late_success(std::uint32_t, const layout::DescriptorCopy&) override { return false; }
  void count_retry(std::uint16_t, daemon::RetryCause) override { retries += 1; }
  void count_dead(std::uint16_t, layout::VerdictReason) override { dead += 1; }

  std::vector<daemon::LetterDraft> drafts;
  std::uint64_t retries = 0;
  std::uint64_t dead = 0;
};

struct ThreadsPlan {
  std::uint64_t seed = 1;
  std::uint32_t slots = 16;
  std::uint64_t messages = 4000;
  int lives = 6;
};

// What a run came to.
struct ThreadsReport {
  std::string failure;  // empty when all was well
  std::uint64_t outcomes = 0;
  std::uint64_t successes = 0;
  std::uint64_t begun = 0;
  std::uint64_t payload_bytes = 0;  // compared
  std::uint64_t retries = 0;
  std::uint64_t dead = 0;
};

class LinkThreads {
 public:
  explicit LinkThreads(const ThreadsPlan& plan);
  ThreadsReport run();

 private:
  static constexpr std::uint64_t kBytesPerSlot = 256;
  static constexpr std::uint64_t kMs = 1'000'000;

  struct Life {
    Life(std::uint64_t slots, std::uint64_t life_epoch)
        : epoch(life_epoch),
          memory(layout::AckGeometry{slots}.bytes()),
          ack(memory.base(), layout::AckGeometry{slots}) {}
    std::uint64_t epoch;
    std::uint64_t start = 0;
    SegmentMemory memory;
    layout::AckView ack;
  };

  void hand_over();
  void restart_tracker();
  void round(bool last);
  void produce(bool last);
  void consume(bool last);
  void track();
  bool send_one();
  void take_outcomes();
  void answer(const Delivery& begun);
  void fail(const std::string& what);
  std::uint64_t pick(std::mt19937_64& random, std::uint64_t count) { return random() % count; }

  ThreadsPlan plan_;
  SegmentMemory submission_memory_;
  SegmentMemory tracking_memory_;
  layout::SubmissionView submission_;
  layout::TrackingView tracking_;
  ThreadedHost host_;
  daemon::TrackerRules rules_;
  OutcomeStore outcomes_;
  ProducerLink producer_;
  std::unique_ptr<daemon::LinkTracker> tracker_;
  std::unique_ptr<ConsumerLink> consumer_;
  std::vector<std::unique_ptr<Life>> lives_;
  // The producer's thread.
  std::mt19937_64 producer_random_;
  std::map<std::uint64_t, int> outcomes_of_;  // by sequence
  // The consumer's thread.
  std::mt19937_64 consumer_random_;
  std::vector<Delivery> running_;
  ThreadsReport report_;
  std::uint64_t successes_ = 0;
  // Shared by all threads.
  std::atomic<std::uint64_t> now_ns_{1'000 * kMs};
  std::atomic<bool> producer_done_{false};
  std::atomic<bool> consumer_done_{false};
  std::atomic<bool> failed_{false};
};

}  // namespace ackbus::test
