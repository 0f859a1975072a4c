// Pulls towards the origin: centering -k_c * p, and gravity -g * p where it is set. Host and
// device.
#pragma once

#include "gpu_proc/physics/vector3.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::gpu {

ACKBUS_HD inline Vector3 centering_force(const Vector3& position, float centering, float gravity) {
  return (-(centering + gravity)) * position;
}

}  // namespace ackbus::gpu
