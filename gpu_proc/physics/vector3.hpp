// Three f32 components and the few operations that the force functions need. Host and device, no
// state.
#pragma once

#include <cmath>
#include <cstdint>

#include "shm_layout/cell.hpp"

namespace ackbus::gpu {

struct Vector3 {
  float x = 0.0F;
  float y = 0.0F;
  float z = 0.0F;

  ACKBUS_HD Vector3& operator+=(const Vector3& other) {
    x += other.x;
    y += other.y;
    z += other.z;
    return *this;
  }
};

ACKBUS_HD inline Vector3 operator+(Vector3 left, const Vector3& right) { return left += right; }
ACKBUS_HD inline Vector3 operator-(const Vector3& left, const Vector3& right) {
  return {left.x - right.x, left.y - right.y, left.z - right.z};
}
ACKBUS_HD inline Vector3 operator*(float scale, const Vector3& vector) {
  return {scale * vector.x, scale * vector.y, scale * vector.z};
}
ACKBUS_HD inline float length(const Vector3& vector) {
  return std::sqrt(vector.x * vector.x + vector.y * vector.y + vector.z * vector.z);
}

// The vector shortened to `limit` when it is longer. Not-a-number stays, so that divergence is
// seen.
ACKBUS_HD inline Vector3 capped(const Vector3& vector, float limit) {
  const float size = length(vector);
  return size > limit ? (limit / size) * vector : vector;
}

// Pointers to three arrays of n floats each: structure of arrays, read or written.
struct Positions {
  const float* x;
  const float* y;
  const float* z;
  ACKBUS_HD Vector3 at(std::size_t node) const { return {x[node], y[node], z[node]}; }
};

}  // namespace ackbus::gpu
