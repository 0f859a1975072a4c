// One node's step from its force: cap F, scale by the warm-up, v = clamp((v + F * dt / m) *
// damping, v_max), p += v * dt, bounce off the box; a result that would be diverged is marked. Host
// and device.
#pragma once

#include <cmath>
#include <cstdint>

#include "gpu_proc/payload/settings.hpp"
#include "gpu_proc/physics/boundary.hpp"
#include "gpu_proc/physics/vector3.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::gpu {

struct NodeMotion {
  Vector3 position;
  Vector3 velocity;
  bool diverged = false;
};

// F's factor in the first steps: step / warmup, then 1. Steps count from 1.
ACKBUS_HD inline float warmup_factor(std::uint64_t step, std::uint32_t warmup_steps) {
  if (step >= warmup_steps) return 1.0F;
  return static_cast<float>(step) / static_cast<float>(warmup_steps);
}

// Comparisons are written so that not-a-number counts as diverged.
ACKBUS_HD inline bool in_bounds(const NodeMotion& motion) {
  return length(motion.position) <= payload::kMaxPosition &&
         length(motion.velocity) <= payload::kMaxVelocity;
}

ACKBUS_HD inline NodeMotion integrate(const NodeMotion& before, const Vector3& force, float mass,
                                      float warmup, const Settings& settings) {
  const Vector3 applied = warmup * capped(force, settings.max_force);
  const Vector3 gained = before.velocity + (settings.time_step / mass) * applied;
  NodeMotion after;
  after.velocity = capped(settings.damping * gained, settings.max_velocity);
  after.position = before.position + settings.time_step * after.velocity;
  after.diverged = !in_bounds(after);
  bounce(after.position.x, after.velocity.x, settings.boundary, settings.boundary_damping);
  bounce(after.position.y, after.velocity.y, settings.boundary, settings.boundary_damping);
  bounce(after.position.z, after.velocity.z, settings.boundary, settings.boundary_damping);
  return after;
}

}  // namespace ackbus::gpu
