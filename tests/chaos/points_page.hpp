// The page that the supervisor shares with every process of a build with test points: which point
// is armed for which role, and what has happened. Written by: the supervisor (arms), and whoever
// reaches a point (the rest). Processes find it by $ACKBUS_TEST_POINTS_PAGE and their role by
// $ACKBUS_TEST_ROLE; without both a point does nothing. Threads: any; every word is atomic.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "shm_layout/test_points.hpp"

namespace ackbus::chaos {

inline constexpr const char* kPageVariable = "ACKBUS_TEST_POINTS_PAGE";
inline constexpr const char* kRoleVariable = "ACKBUS_TEST_ROLE";

enum class Role : std::uint32_t {
  kReserved = 0,
  kProducer = 1,
  kConsumer = 2,
  kDaemon = 3,
  kGpu = 4,
};
inline constexpr std::size_t kRoles = 5;
inline constexpr std::array<const char*, kRoles> kRoleNames{"", "producer", "consumer", "daemon",
                                                            "gpu"};

enum class Action : std::uint32_t { kReserved = 0, kKill = 1, kStop = 2 };

// An armed point of a role. Whoever counts it down to 0 fires it.
struct Arm {
  std::atomic<std::uint32_t> point;      // its number + 1; 0: not armed
  std::atomic<std::uint32_t> countdown;  // reached so often before it fires
  std::atomic<std::uint32_t> action;
  std::atomic<std::uint32_t> word;  // only with this word of the point; 0: with any
};
inline constexpr std::size_t kArmsPerRole = 2;

struct Firing {
  std::atomic<std::uint32_t> point;
  std::atomic<std::uint32_t> pid;
  std::atomic<std::uint32_t> role;
  std::atomic<std::uint32_t> action;
  std::atomic<std::uint32_t> word;
  std::atomic<std::uint64_t> time_ns;  // CLOCK_MONOTONIC; stored last
};
inline constexpr std::size_t kFirings = 1024;  // a ring; the supervisor is never so far behind

struct PointsPage {
  Arm arms[kRoles][kArmsPerRole];
  std::atomic<std::uint64_t> reached[layout::kPointCount];
  std::atomic<std::uint64_t> firing_count;
  Firing firings[kFirings];
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace ackbus::chaos
