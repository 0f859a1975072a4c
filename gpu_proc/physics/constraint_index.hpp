// Constraints indexed by node, so that a step costs each node only its own records, and the
// centroids that Clustering pulls to. Built at upload, centroids renewed each step by one thread in
// record order. Owned by the backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu_proc/payload/format.hpp"
#include "gpu_proc/physics/constraint.hpp"
#include "gpu_proc/physics/node_arrays.hpp"

namespace ackbus::gpu {

class ConstraintIndex {
 public:
  // Replaces the set; the records are checked ones.
  void build(const payload::ConstraintRecord* records, std::size_t count, std::size_t nodes);
  // Before each step.
  void update_centroids(const VectorArrays& positions);
  [[nodiscard]] ConstraintRows rows() const;

 private:
  std::vector<payload::ConstraintRecord> records_;
  std::vector<std::uint32_t> row_;
  std::vector<std::uint32_t> record_of_;
  std::vector<Vector3> centroid_;          // By record.
  std::vector<std::uint32_t> clustering_;  // Records of kind Clustering, by group, then by number.
};

}  // namespace ackbus::gpu
