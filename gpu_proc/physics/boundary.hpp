// The box: on each axis the position is clamped to +-B and the velocity reflected, times the
// boundary damping. Host and device.
#pragma once

#include "shm_layout/cell.hpp"

namespace ackbus::gpu {

ACKBUS_HD inline void bounce(float& position, float& velocity, float boundary, float damping) {
  if (position > boundary) {
    position = boundary;
    velocity = -velocity * damping;
  } else if (position < -boundary) {
    position = -boundary;
    velocity = -velocity * damping;
  }
}

}  // namespace ackbus::gpu
