// The six kinds of message that every bus knows: their numbers on the wire, their names, and what
// the daemon grants them unless the producer or the configuration says otherwise. Read-only data
// known at compile time, for any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shm_layout/policy.hpp"

namespace ackbus::layout {

// A kind's number as it stands in a descriptor. 0 is never valid, so zeroed memory names no kind.
// Configured kinds take numbers above the built-in ones.
enum class BuiltInKind : std::uint16_t {
  kReserved = 0,
  kInitializeGPU = 1,
  kUpdateGPUGraphData = 2,
  kUploadConstraintsToGPU = 3,
  kComputeForces = 4,
  kUpdateNodePositions = 5,
  kSetSharedGPUContext = 6,
};

inline constexpr std::size_t kBuiltInKindCount = 6;
// What was never begun ends Exhausted{undelivered} so long after its commit.
inline constexpr std::uint32_t kDefaultMaxWaitMs = 60'000;
// Retrying cannot keep a message alive beyond this age.
inline constexpr std::uint32_t kDefaultMaxAgeMs = 600'000;

// What the daemon grants a kind's messages.
struct KindPolicy {
  std::uint16_t id = 0;
  std::string_view name;
  std::uint32_t timeout_ms = 0;   // from begin to the final ack
  std::uint32_t max_retries = 0;  // redeliveries after the first delivery
  bool supersede = false;         // a newer message of the same key replaces an older redelivery
  std::uint32_t max_wait_ms = kDefaultMaxWaitMs;
  std::uint32_t max_age_ms = kDefaultMaxAgeMs;
};

// In the order of their numbers: place i holds kind i + 1.
inline constexpr KindPolicy kBuiltInKinds[kBuiltInKindCount] = {
    {1, "InitializeGPU", 10'000, 5, false},        {2, "UpdateGPUGraphData", 2'000, 5, true},
    {3, "UploadConstraintsToGPU", 3'000, 3, true}, {4, "ComputeForces", 5'000, 3, false},
    {5, "UpdateNodePositions", 1'000, 2, false},   {6, "SetSharedGPUContext", 10'000, 5, false},
};

// The built-in kind with this number, or null: a number from a peer is looked up, never trusted.
[[nodiscard]] constexpr const KindPolicy* find_built_in_kind(std::uint16_t id) {
  return id >= 1 && id <= kBuiltInKindCount ? &kBuiltInKinds[id - 1] : nullptr;
}

// The built-in kind with this name, written exactly so, or null.
[[nodiscard]] constexpr const KindPolicy* find_built_in_kind(std::string_view name) {
  for (const KindPolicy& kind : kBuiltInKinds) {
    if (kind.name == name) {
      return &kind;
    }
  }
  return nullptr;
}

// The table is in order and grants nothing that a producer could not ask for.
constexpr bool built_in_kinds_are_sound() {
  for (std::size_t i = 0; i < kBuiltInKindCount; ++i) {
    const KindPolicy& kind = kBuiltInKinds[i];
    if (kind.id != i + 1 || clamp_timeout_ms(kind.timeout_ms) != kind.timeout_ms ||
        clamp_retries(kind.max_retries) != kind.max_retries || kind.max_age_ms < kind.timeout_ms) {
      return false;
    }
  }
  return true;
}
static_assert(built_in_kinds_are_sound());
static_assert(kBuiltInKinds[kBuiltInKindCount - 1].id ==
              static_cast<std::uint16_t>(BuiltInKind::kSetSharedGPUContext));

}  // namespace ackbus::layout
