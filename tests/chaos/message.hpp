// The messages of a chaos run: what a producer sends is a function of (seed, producer, incarnation,
// number), and every payload says who it is, what the consumer shall do with it, and proves itself
// by its checksum. Pure functions; any thread.
#pragma once

#include <ackbus/producer.hpp>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

namespace ackbus::chaos {

// The kinds of a chaos run, beside the six of the GPU process (write_config() in stage.cpp).
inline constexpr Kind kWork{10};   // everything, with a long timeout
inline constexpr Kind kState{11};  // supersedes by key
inline constexpr Kind kQuick{12};  // a short timeout, one retry
inline constexpr Kind kAgain{13};  // given back some times, then done: every retry is run
inline constexpr std::uint16_t kOwnKindFirst = 10;
inline constexpr std::uint16_t kOwnKindLast = 13;

inline constexpr std::uint32_t kQuickTimeoutMs = 30;
inline constexpr std::uint32_t kQuickRetries = 1;
inline constexpr std::uint32_t kShortWaitMs = 40;
inline constexpr std::uint32_t kBackoffMs = 5;

// What the consumer does with a message, whatever life it is.
enum class Wish : std::uint32_t {
  kReserved = 0,
  kSucceed,
  kSucceedInPart,   // with a reason and metadata
  kFail,            // with an error
  kGiveBack,        // `times` attempts are given back, then it succeeds
  kAlwaysGiveBack,  // until its retries are used up
  kReportProgress,  // some progress, then it succeeds
  kOutlastTimeout,  // held for one timeout and a bit, then it succeeds: the attempt is raised
  kOutlastRetries,  // held until its retries are used up, then it succeeds: too late or just in
                    // time
};

struct Body {
  std::uint64_t magic = 0;
  std::uint64_t checksum = 0;  // of everything behind it
  std::uint32_t bytes = 0;     // whole
  std::uint32_t producer = 0;
  std::uint32_t incarnation = 0;
  Wish wish = Wish::kReserved;
  std::uint64_t number = 0;
  std::uint32_t times = 0;
  std::uint32_t kind = 0;
};
static_assert(sizeof(Body) == 48);

struct Plan {
  Kind kind = kWork;
  bool tracked = true;
  bool cancel = false;
  bool after = false;
  Wish wish = Wish::kSucceed;
  std::uint32_t times = 0;
  std::uint32_t bytes = sizeof(Body);
  SendOptions options;
};

// The next message of this producer.
[[nodiscard]] Plan next_plan(std::mt19937_64& random);
[[nodiscard]] std::vector<std::byte> make_payload(const Plan& plan, std::uint32_t producer,
                                                  std::uint32_t incarnation, std::uint64_t number);
// Nothing when the bytes are not what make_payload() made.
[[nodiscard]] std::optional<Body> check_payload(std::span<const std::byte> payload);

}  // namespace ackbus::chaos
