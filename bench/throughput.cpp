// Throughput: a window of tracked messages kept full, outcomes reaped in batches.
#include <algorithm>
#include <bit>
#include <chrono>

#include "bench/clock.hpp"
#include "bench/measurement.hpp"
#include "bench/stage.hpp"
#include "shm_layout/limits.hpp"

namespace ackbus::bench {
namespace {

constexpr std::uint64_t kSendsPerTurn = 64;
constexpr std::uint64_t kTurnsPerClock = 16;
constexpr std::chrono::seconds kStillMax{10};

// The near half of a run: what is outstanding, and the outcomes as they come in.
class Flow {
 public:
  Flow(Producer& producer, const ThroughputOptions& options)
      : producer_(producer), window_(options.window), payload_(make_payload(options.bytes)) {
    completions_.reserve(window_);
  }

  // Keeps the window full for so long, then takes the rest; gives messages a second.
  Result<double> run(double seconds) {
    const auto until = static_cast<std::uint64_t>(seconds * 1e9);
    const std::uint64_t started = clock_ns();
    deadline_ = std::chrono::steady_clock::now() + kStillMax +
                std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
    sent_ = 0;
    for (std::uint64_t turn = 1; turn % kTurnsPerClock != 0 || clock_ns() - started < until;
         ++turn) {
      if (Result<void> turned = send_some(); !turned) {
        return turned.error();
      }
      completions_.clear();
      producer_.reap(completions_);
      if (Result<void> taken = take(); !taken) {
        return taken.error();
      }
    }
    while (outstanding_ > 0) {  // Bounded by the deadline.
      completions_.clear();
      const Result<std::size_t> waited = producer_.wait_any(completions_, deadline_);
      if (!waited) {
        return waited.error();
      }
      if (Result<void> taken = take(); !taken) {
        return taken.error();
      }
    }
    return static_cast<double>(sent_) / (static_cast<double>(clock_ns() - started) / 1e9);
  }

 private:
  Result<void> send_some() {
    for (std::uint64_t i = 0; i < kSendsPerTurn && outstanding_ < window_; ++i) {
      if (const Result<Ticket> ticket = producer_.send(kBenchKind, payload_, deadline_); !ticket) {
        return ticket.error();
      }
      outstanding_ += 1;
      sent_ += 1;
    }
    return {};
  }

  Result<void> take() {
    for (const Completion& completion : completions_) {
      if (completion.outcome.code != OutcomeCode::kSuccess) {
        return Error{ErrorCode::kProtocol,
                     std::string("a message ended ") + outcome_name(completion.outcome.code)};
      }
    }
    outstanding_ -= completions_.size();
    if (interrupted()) {
      return Error{ErrorCode::kTimeout, "interrupted"};
    }
    return {};
  }

  Producer& producer_;
  std::uint64_t window_;
  std::vector<std::byte> payload_;
  std::vector<Completion> completions_;
  std::uint64_t outstanding_ = 0;
  std::uint64_t sent_ = 0;
  Deadline deadline_;
};

Result<double> bus_round(Stage& stage, Flow& flow, const ThroughputOptions& options,
                         double seconds) {
  if (Result<void> begun = stage.peer.begin({PeerWork::kConsume}); !begun) {
    return begun.error();
  }
  Result<double> rate = flow.run(seconds);
  if (!rate) {
    return rate;
  }
  if (Result<void> ended = end_consuming(stage, make_payload(options.bytes)); !ended) {
    return ended.error();
  }
  return rate;
}

Result<double> floor_round(Stage& stage, std::uint64_t& first, std::uint32_t window,
                           double seconds) {
  if (Result<void> begun = stage.peer.begin({PeerWork::kFlow, first}); !begun) {
    return begun.error();
  }
  const FloorFlow flow =
      flow_near(stage.peer.memory(), first, window, seconds, {!stage.cores.pinned()});
  if (flow.next == 0) {
    return Error{ErrorCode::kTimeout,
                 interrupted() ? "interrupted" : "the consumer's process does not answer"};
  }
  first = flow.next;
  if (Result<void> ended = stage.peer.end(); !ended) {
    return ended.error();
  }
  return static_cast<double>(flow.messages) / flow.seconds;
}

StageOptions stage_options(const ThroughputOptions& options) {
  StageOptions stage;
  stage.daemon = options.daemon;
  // On one core a spinner would use up its time slice while the other has the work.
  stage.wait = choose_cores().pinned() ? WaitMode::kSpin : WaitMode::kBlock;
  stage.slots = std::max<std::uint32_t>(layout::kSlotsMin, std::bit_ceil(options.window));
  const std::uint64_t each = (options.bytes + 127) / 64 * 64;
  stage.arena_bytes = std::max<std::uint64_t>(1 << 20, (options.window + 1) * each);
  return stage;
}

}  // namespace

Result<ThroughputFigures> measure_throughput(const ThroughputOptions& options) {
  Result<Stage> stage = Stage::set(stage_options(options));
  if (!stage) {
    return stage.error();
  }
  const double each = options.seconds / (2.0 * kRounds);
  Flow flow(stage->producer, options);
  std::vector<double> bus;
  std::vector<double> floor;
  std::uint64_t first = 1;
  for (std::uint32_t round = 0; round <= kRounds; ++round) {
    Result<double> floor_rate = floor_round(*stage, first, options.window, each);
    if (!floor_rate) {
      return floor_rate.error();
    }
    Result<double> bus_rate = bus_round(*stage, flow, options, each);
    if (!bus_rate) {
      return bus_rate.error();
    }
    if (round != 0) {  // The first of each is the warm-up.
      floor.push_back(*floor_rate);
      bus.push_back(*bus_rate);
    }
  }
  const ProducerStatistics statistics = stage->producer.statistics();
  ThroughputFigures figures;
  figures.messages_per_second = median(bus);
  figures.messages_per_second_best = *std::max_element(bus.begin(), bus.end());
  figures.floor_messages_per_second = median(floor);
  figures.floor_messages_per_second_best = *std::max_element(floor.begin(), floor.end());
  figures.sent = statistics.sent;
  figures.success = statistics.success;
  figures.cores = stage->cores;
  figures.machine = describe_machine();
  return figures;
}

}  // namespace ackbus::bench
