// The six built-in message kinds: their numbers on the bus and their names as text. Used by
// producers that build payloads and by the engine that answers them. No state, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ackbus::gpu {

enum class Kind : std::uint16_t {
  kReserved = 0,  // Zero is never valid.
  kInitializeGpu = 1,
  kUpdateGpuGraphData = 2,
  kUploadConstraintsToGpu = 3,
  kComputeForces = 4,
  kUpdateNodePositions = 5,
  kSetSharedGpuContext = 6,
};

inline constexpr std::array<Kind, 6> kAllKinds = {
    Kind::kInitializeGpu, Kind::kUpdateGpuGraphData,  Kind::kUploadConstraintsToGpu,
    Kind::kComputeForces, Kind::kUpdateNodePositions, Kind::kSetSharedGpuContext};

// The name by which configuration, metrics and logs know the kind; "unknown" for a number that is
// none of the six.
constexpr std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kInitializeGpu:
      return "InitializeGPU";
    case Kind::kUpdateGpuGraphData:
      return "UpdateGPUGraphData";
    case Kind::kUploadConstraintsToGpu:
      return "UploadConstraintsToGPU";
    case Kind::kComputeForces:
      return "ComputeForces";
    case Kind::kUpdateNodePositions:
      return "UpdateNodePositions";
    case Kind::kSetSharedGpuContext:
      return "SetSharedGPUContext";
    case Kind::kReserved:
      break;
  }
  return "unknown";
}

// The kind of that name, or nothing. Names are case-sensitive.
constexpr std::optional<Kind> kind_from_name(std::string_view name) {
  for (const Kind kind : kAllKinds) {
    if (kind_name(kind) == name) return kind;
  }
  return std::nullopt;
}

}  // namespace ackbus::gpu
