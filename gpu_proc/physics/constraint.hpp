// The force of one constraint record on one of its nodes: linear in the violation, times weight,
// times the ramp. Host and device. The caller sums a node's records in record order and caps the
// sum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu_proc/payload/format.hpp"
#include "gpu_proc/physics/vector3.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::gpu {

// min(1, (step - activation) / ramp), 0 before activation. `step` is the step being computed,
// counted from 1.
ACKBUS_HD inline float constraint_ramp(std::uint64_t step, std::int32_t activation_frame,
                                       std::uint32_t ramp_steps) {
  const std::int64_t age = static_cast<std::int64_t>(step) - activation_frame;
  if (age < 0) return 0.0F;
  if (age >= static_cast<std::int64_t>(ramp_steps)) return 1.0F;
  return static_cast<float>(age) / static_cast<float>(ramp_steps);
}

// `violation` along the line from `other` to `own`: positive pushes apart. No direction, no force.
ACKBUS_HD inline Vector3 along_pair(const Vector3& own, const Vector3& other, float violation) {
  const Vector3 apart = own - other;
  const float distance = length(apart);
  return distance == 0.0F ? Vector3{} : (violation / distance) * apart;
}

ACKBUS_HD inline float outside(float value, float minimum, float maximum) {
  if (value < minimum) return minimum - value;
  return value > maximum ? maximum - value : 0.0F;
}

// Separation and Distance act between the node and each other node of the record.
ACKBUS_HD inline Vector3 pair_violations(const payload::ConstraintRecord& record,
                                         std::uint32_t node, const Positions& positions,
                                         bool only_push) {
  const Vector3 own = positions.at(node);
  Vector3 sum;
  for (std::int32_t place = 0; place < record.count; ++place) {
    const auto other = static_cast<std::uint32_t>(record.node[place]);
    if (other == node) continue;
    const Vector3 there = positions.at(other);
    const float missing = record.params[0] - length(own - there);
    if (!only_push || missing > 0.0F) sum += along_pair(own, there, missing);
  }
  return sum;
}

// `centroid` is that of the record's nodes, or of its group; only Clustering reads it.
ACKBUS_HD inline Vector3 constraint_violation(const payload::ConstraintRecord& record,
                                              std::uint32_t node, const Positions& positions,
                                              const Vector3& centroid) {
  using payload::ConstraintKind;
  const Vector3 own = positions.at(node);
  const float* params = record.params;
  switch (static_cast<ConstraintKind>(record.kind)) {
    case ConstraintKind::kFixedPosition:
      return Vector3{params[0], params[1], params[2]} - own;
    case ConstraintKind::kSeparation:
      return pair_violations(record, node, positions, true);
    case ConstraintKind::kAlignmentX:
      return {params[0] - own.x, 0.0F, 0.0F};
    case ConstraintKind::kAlignmentY:
      return {0.0F, params[0] - own.y, 0.0F};
    case ConstraintKind::kAlignmentZ:
    case ConstraintKind::kLayerDepth:
      return {0.0F, 0.0F, params[0] - own.z};
    case ConstraintKind::kClustering:
      return params[0] * (centroid - own);
    case ConstraintKind::kBoundary:
      return {outside(own.x, params[0], params[1]), outside(own.y, params[2], params[3]),
              outside(own.z, params[4], params[5])};
    case ConstraintKind::kDistance:
      return pair_violations(record, node, positions, false);
    case ConstraintKind::kRadialDistance:
      return along_pair(own, Vector3{}, params[0] - length(own));
  }
  return {};  // Validation lets no other kind in.
}

// A node's records are places row[i] to row[i + 1] - 1 of `record_of`; each record's centroid is in
// `centroid`.
struct ConstraintRows {
  const payload::ConstraintRecord* records;
  const std::uint32_t* row;  // Null when there are no constraints.
  const std::uint32_t* record_of;
  const Vector3* centroid;
};

// The capped sum of a node's constraints.
ACKBUS_HD inline Vector3 constraint_force(std::uint32_t node, const ConstraintRows& rows,
                                          const Positions& positions, std::uint64_t step,
                                          std::uint32_t ramp_steps, float maximum) {
  if (rows.row == nullptr) return {};
  Vector3 sum;
  for (std::uint32_t place = rows.row[node]; place < rows.row[node + 1]; ++place) {
    const std::uint32_t index = rows.record_of[place];
    const payload::ConstraintRecord& record = rows.records[index];
    const float ramp = constraint_ramp(step, record.activation_frame, ramp_steps);
    sum += (record.weight * ramp) *
           constraint_violation(record, node, positions, rows.centroid[index]);
  }
  return capped(sum, maximum);
}

}  // namespace ackbus::gpu
