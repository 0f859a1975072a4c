// Morton keys (three times 16 bits interleaved) and a stable radix sort by them. Pure functions and
// private scratch.
#pragma once

#include <cstdint>
#include <vector>

#include "gpu_proc/physics/node_arrays.hpp"

namespace ackbus::gpu {

// Every third bit of the result is one bit of the 16-bit value.
constexpr std::uint64_t spread_bits(std::uint64_t value) {
  value = (value | (value << 16)) & 0x0000FF0000FFULL;
  value = (value | (value << 8)) & 0x00F00F00F00FULL;
  value = (value | (value << 4)) & 0x0C30C30C30C3ULL;
  value = (value | (value << 2)) & 0x249249249249ULL;
  return value;
}

// Keys within a cube around `bounds`.
class MortonFrame {
 public:
  explicit MortonFrame(const Bounds& bounds) : low_(bounds.low) {
    const Vector3 extent = bounds.high - bounds.low;
    float longest = extent.x > extent.y ? extent.x : extent.y;
    longest = extent.z > longest ? extent.z : longest;
    scale_ = longest > 0.0F ? kCells / longest : 0.0F;
  }
  [[nodiscard]] std::uint64_t key(const Vector3& position) const {
    return spread_bits(cell(position.x - low_.x)) | (spread_bits(cell(position.y - low_.y)) << 1) |
           (spread_bits(cell(position.z - low_.z)) << 2);
  }

 private:
  static constexpr float kCells = 65536.0F;
  [[nodiscard]] std::uint64_t cell(float offset) const {
    const float scaled = offset * scale_;
    return scaled < kCells ? static_cast<std::uint64_t>(scaled) : 65535;
  }
  Vector3 low_;
  float scale_;
};

// Sorts `order` by its keys, stably; both arrays are permuted. The other two are scratch.
void radix_sort(std::vector<std::uint64_t>& keys, std::vector<std::uint32_t>& order,
                std::vector<std::uint64_t>& spare_keys, std::vector<std::uint32_t>& spare_order);

}  // namespace ackbus::gpu
