// Round trip: one tracked message at a time, from before send() until its outcome is in hand.
#include <algorithm>
#include <chrono>

#include "bench/clock.hpp"
#include "bench/measurement.hpp"
#include "bench/stage.hpp"

namespace ackbus::bench {
namespace {

constexpr std::chrono::seconds kTripMax{10};
constexpr std::uint64_t kTripsPerDeadline = 1024;

// Of each round, unmeasured: caches, the branch predictor, a consumer that wakes up.
std::uint64_t warm_up_of(std::uint64_t trips) {
  return std::clamp<std::uint64_t>(trips / 5, 20, 5000);
}

Result<void> bus_round(Stage& stage, const RoundTripOptions& options, std::uint64_t trips,
                       Samples& samples) {
  if (Result<void> begun = stage.peer.begin({PeerWork::kConsume}); !begun) {
    return begun;
  }
  const std::vector<std::byte> payload = make_payload(options.bytes);
  const std::uint64_t warm_up = warm_up_of(trips);
  Producer& producer = stage.producer;
  Deadline deadline;
  std::uint64_t before = clock_ns();
  for (std::uint64_t trip = 0; trip < trips + warm_up; ++trip) {
    if (trip % kTripsPerDeadline == 0) {
      deadline = std::chrono::steady_clock::now() + kTripMax;
      if (interrupted()) {
        return Error{ErrorCode::kTimeout, "interrupted"};
      }
      before = clock_ns();
    }
    const Result<Ticket> ticket = producer.send(kBenchKind, payload, deadline);
    if (!ticket) {
      return ticket.error();
    }
    const Result<Outcome> outcome = producer.wait(*ticket, deadline);
    if (!outcome) {
      return outcome.error();
    }
    const std::uint64_t now = clock_ns();
    if (outcome->code != OutcomeCode::kSuccess) {
      return Error{ErrorCode::kProtocol,
                   std::string("a message ended ") + outcome_name(outcome->code)};
    }
    if (trip >= warm_up) {
      samples.add(now - before);
    }
    before = now;
  }
  return end_consuming(stage, payload);
}

Result<void> floor_round(Stage& stage, const RoundTripOptions& options, std::uint64_t first,
                         std::uint64_t trips, Samples& samples) {
  const std::uint64_t warm_up = warm_up_of(trips);
  const bool pipes = options.wait == WaitMode::kBlock;
  const PeerWork work = pipes ? PeerWork::kPipe : PeerWork::kLine;
  if (Result<void> begun = stage.peer.begin({work, first, trips + warm_up}); !begun) {
    return begun;
  }
  const FloorSpin spin{!stage.cores.pinned()};
  const bool done =
      pipes ? pipe_near(stage.peer.pipes(), trips + warm_up, warm_up, samples)
            : line_near(stage.peer.memory(), first, trips + warm_up, warm_up, spin, samples);
  if (!done) {
    return Error{ErrorCode::kTimeout,
                 interrupted() ? "interrupted" : "the consumer's process does not answer"};
  }
  return stage.peer.end();
}

}  // namespace

Result<RoundTripFigures> measure_roundtrip(const RoundTripOptions& options) {
  if (options.wait == WaitMode::kSpin && !choose_cores().pinned()) {
    return Error{ErrorCode::kInvalid,
                 "two processes that spin need two cores, and this one may use one only: use "
                 "--wait block or --wait adaptive"};
  }
  StageOptions stage_options;
  stage_options.daemon = options.daemon;
  stage_options.wait = options.wait;
  stage_options.slots = 64;
  stage_options.arena_bytes = std::max<std::uint64_t>(1 << 20, 4 * options.bytes);
  Result<Stage> stage = Stage::set(stage_options);
  if (!stage) {
    return stage.error();
  }
  const std::uint64_t trips = std::max<std::uint64_t>(1, options.messages / kRounds);
  Samples bus(kRounds * trips);
  Samples floor(kRounds * trips);
  std::uint64_t first = 1;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    if (Result<void> done = floor_round(*stage, options, first, trips, floor); !done) {
      return done.error();
    }
    first += trips + warm_up_of(trips);
    if (Result<void> done = bus_round(*stage, options, trips, bus); !done) {
      return done.error();
    }
  }
  return RoundTripFigures{bus.percentiles(), floor.percentiles(), clock_cost_ns(), stage->cores,
                          describe_machine()};
}

}  // namespace ackbus::bench
