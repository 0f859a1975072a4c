// The simulation's parameters: their defaults, and the one table that gives each its number in
// payloads, its name, its type and its range. Data flow: InitializeGPU starts from the defaults,
// ComputeForces changes single ones, the state segment keeps them. Plain data, any thread.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "gpu_proc/payload/format.hpp"

namespace ackbus::gpu {

// Units: lengths in box units, times in simulated seconds, masses in node masses.
struct Settings {
  float spring_strength = 12.0F;
  float repulsion_strength = 120.0F;
  float rest_length = 50.0F;
  float cutoff = 50.0F;  // With the far field off only pairs closer than this repel.
  float epsilon = 1.0e-4F;
  float centering = 0.005F;
  float gravity = 0.0F;
  float max_force = 150.0F;
  float max_velocity = 100.0F;
  float damping = 0.85F;
  float boundary_damping = 0.5F;
  float time_step = 0.016F;
  float boundary = 1000.0F;  // The box reaches from -boundary to +boundary on each axis.
  std::uint32_t warmup_steps = 100;
  float settled_threshold = 1.0e-4F;  // Kinetic energy per active node.
  float constraint_maximum = 50.0F;
  std::uint32_t constraint_ramp_steps = 60;
  std::uint32_t seed = 1337;  // For whoever places nodes at random; the physics draws nothing.
  std::uint32_t far_field =
      1;  // 1: all pairs repel, by a tree; 0: pairs closer than cutoff, exactly.
  float opening_angle = 0.5F;  // The tree opens a cell when radius >= opening_angle * distance.
  std::uint32_t checkpoint_steps =
      60;  // ComputeForces stores positions in the state every so many.

  friend bool operator==(const Settings&, const Settings&) = default;
};

enum class ParameterType : std::uint8_t { kReserved = 0, kFloat = 1, kUnsigned = 2 };

struct ParameterInfo {
  std::uint32_t id;
  std::string_view name;
  ParameterType type;
  double minimum;
  double maximum;
  std::size_t offset;  // In Settings.
};

inline constexpr auto kParameters = std::to_array<ParameterInfo>({
    {1, "spring_strength", ParameterType::kFloat, 0, 1e6, offsetof(Settings, spring_strength)},
    {2, "repulsion_strength", ParameterType::kFloat, 0, 1e9,
     offsetof(Settings, repulsion_strength)},
    {3, "rest_length", ParameterType::kFloat, 0, 1e5, offsetof(Settings, rest_length)},
    {4, "cutoff", ParameterType::kFloat, 1e-3, 1e6, offsetof(Settings, cutoff)},
    {5, "epsilon", ParameterType::kFloat, 1e-12, 1e6, offsetof(Settings, epsilon)},
    {6, "centering", ParameterType::kFloat, 0, 1e3, offsetof(Settings, centering)},
    {7, "gravity", ParameterType::kFloat, 0, 1e3, offsetof(Settings, gravity)},
    {8, "max_force", ParameterType::kFloat, 0, 1e9, offsetof(Settings, max_force)},
    {9, "max_velocity", ParameterType::kFloat, 0, 1e9, offsetof(Settings, max_velocity)},
    {10, "damping", ParameterType::kFloat, 0, 1, offsetof(Settings, damping)},
    {11, "boundary_damping", ParameterType::kFloat, 0, 1, offsetof(Settings, boundary_damping)},
    {12, "time_step", ParameterType::kFloat, 1e-6, 10, offsetof(Settings, time_step)},
    {13, "boundary", ParameterType::kFloat, 1e-3, 1e6, offsetof(Settings, boundary)},
    {14, "warmup_steps", ParameterType::kUnsigned, 0, 1e9, offsetof(Settings, warmup_steps)},
    {15, "settled_threshold", ParameterType::kFloat, 0, 1e9, offsetof(Settings, settled_threshold)},
    {16, "constraint_maximum", ParameterType::kFloat, 0, 1e9,
     offsetof(Settings, constraint_maximum)},
    {17, "constraint_ramp_steps", ParameterType::kUnsigned, 0, 1e9,
     offsetof(Settings, constraint_ramp_steps)},
    {18, "seed", ParameterType::kUnsigned, 0, 4294967295.0, offsetof(Settings, seed)},
    {19, "far_field", ParameterType::kUnsigned, 0, 1, offsetof(Settings, far_field)},
    {20, "opening_angle", ParameterType::kFloat, 0, 1, offsetof(Settings, opening_angle)},
    {21, "checkpoint_steps", ParameterType::kUnsigned, 1, 1e9,
     offsetof(Settings, checkpoint_steps)},
});
static_assert(kParameters.size() <= payload::kMaxParameters);

// The table's row of that number or name, or null.
constexpr const ParameterInfo* find_parameter(std::uint32_t id) {
  for (const ParameterInfo& info : kParameters) {
    if (info.id == id) return &info;
  }
  return nullptr;
}
constexpr const ParameterInfo* find_parameter(std::string_view name) {
  for (const ParameterInfo& info : kParameters) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

// The record's value as a number; not-a-number stays what it is.
inline double parameter_value(const ParameterInfo& info, std::uint32_t bits) {
  return info.type == ParameterType::kFloat ? static_cast<double>(std::bit_cast<float>(bits))
                                            : static_cast<double>(bits);
}

inline bool parameter_in_range(const ParameterInfo& info, std::uint32_t bits) {
  const double value = parameter_value(info, bits);
  // A float32 slightly above a decimal bound (1e-3F) is the bound; hence the comparison in float.
  return static_cast<float>(value) >= static_cast<float>(info.minimum) &&
         static_cast<float>(value) <= static_cast<float>(info.maximum);
}

// Stores a record that was checked: a known id and a value in range.
inline void set_parameter(Settings& settings, const payload::ParameterRecord& record) {
  const ParameterInfo* info = find_parameter(record.id);
  std::memcpy(reinterpret_cast<std::byte*>(&settings) + info->offset, &record.bits,
              sizeof(record.bits));
}

// A record from a number, for producers: the type comes from the table. The id must be a known one.
inline payload::ParameterRecord make_parameter(const ParameterInfo& info, double value) {
  const std::uint32_t bits = info.type == ParameterType::kFloat
                                 ? std::bit_cast<std::uint32_t>(static_cast<float>(value))
                                 : static_cast<std::uint32_t>(value);
  return {info.id, bits};
}

// All parameters as records, in table order: how the state segment keeps them.
inline std::array<payload::ParameterRecord, kParameters.size()> all_parameters(
    const Settings& settings) {
  std::array<payload::ParameterRecord, kParameters.size()> records{};
  for (std::size_t row = 0; row < kParameters.size(); ++row) {
    records[row].id = kParameters[row].id;
    std::memcpy(&records[row].bits,
                reinterpret_cast<const std::byte*>(&settings) + kParameters[row].offset,
                sizeof(records[row].bits));
  }
  return records;
}

static_assert(std::is_standard_layout_v<Settings> && std::is_trivially_copyable_v<Settings>);
static_assert(sizeof(Settings) == 4 * kParameters.size(), "every member has its row in the table");

}  // namespace ackbus::gpu
