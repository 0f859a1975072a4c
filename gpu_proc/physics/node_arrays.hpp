// The structure of arrays that the CPU backend computes on. Plain vectors, owned by the backend.
#pragma once

#include <cstddef>
#include <vector>

#include "gpu_proc/physics/vector3.hpp"

namespace ackbus::gpu {

struct VectorArrays {
  std::vector<float> x, y, z;

  void resize(std::size_t nodes) {
    x.resize(nodes);
    y.resize(nodes);
    z.resize(nodes);
  }
  [[nodiscard]] std::size_t size() const { return x.size(); }
  [[nodiscard]] Positions view() const { return {x.data(), y.data(), z.data()}; }
  [[nodiscard]] Vector3 at(std::size_t node) const { return {x[node], y[node], z[node]}; }
  void set(std::size_t node, const Vector3& value) {
    x[node] = value.x;
    y[node] = value.y;
    z[node] = value.z;
  }
};

struct Bounds {
  Vector3 low;
  Vector3 high;
};

// The smallest box around all nodes; both corners at the origin when there are none.
inline Bounds bounds_of(const VectorArrays& positions) {
  if (positions.size() == 0) return {};
  Bounds bounds{positions.at(0), positions.at(0)};
  const auto widen = [](float value, float& low, float& high) {
    low = value < low ? value : low;
    high = value > high ? value : high;
  };
  for (std::size_t node = 1; node < positions.size(); ++node) {
    widen(positions.x[node], bounds.low.x, bounds.high.x);
    widen(positions.y[node], bounds.low.y, bounds.high.y);
    widen(positions.z[node], bounds.low.z, bounds.high.z);
  }
  return bounds;
}

}  // namespace ackbus::gpu
