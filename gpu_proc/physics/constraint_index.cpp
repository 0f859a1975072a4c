#include "gpu_proc/physics/constraint_index.hpp"

#include <algorithm>

namespace ackbus::gpu {
namespace {

bool is_clustering(const payload::ConstraintRecord& record) {
  return record.kind == static_cast<std::int32_t>(payload::ConstraintKind::kClustering);
}

float group_of(const payload::ConstraintRecord& record) {
  return record.params[payload::kGroupParameter];
}

// A node named twice by one record has the record once: the force of a record on a node is one
// force.
bool first_mention(const payload::ConstraintRecord& record, std::int32_t place) {
  for (std::int32_t before = 0; before < place; ++before) {
    if (record.node[before] == record.node[place]) return false;
  }
  return true;
}

template <typename Visit>
void for_each_node(const std::vector<payload::ConstraintRecord>& records, const Visit& visit) {
  for (std::size_t index = 0; index < records.size(); ++index) {
    for (std::int32_t place = 0; place < records[index].count; ++place) {
      if (!first_mention(records[index], place)) continue;
      visit(index, static_cast<std::size_t>(records[index].node[place]));
    }
  }
}

}  // namespace

void ConstraintIndex::build(const payload::ConstraintRecord* records, std::size_t count,
                            std::size_t nodes) {
  records_.assign(records, records + count);
  row_.assign(nodes + 1, 0);
  centroid_.assign(count, {});
  clustering_.clear();
  for_each_node(records_, [this](std::size_t, std::size_t node) { ++row_[node + 1]; });
  for (std::size_t node = 0; node < nodes; ++node) row_[node + 1] += row_[node];
  record_of_.resize(row_[nodes]);
  std::vector<std::uint32_t> next(row_.begin(), row_.end() - 1);
  for_each_node(records_, [&](std::size_t index, std::size_t node) {
    record_of_[next[node]++] = static_cast<std::uint32_t>(index);
  });
  for (std::size_t index = 0; index < count; ++index) {
    if (is_clustering(records_[index])) clustering_.push_back(static_cast<std::uint32_t>(index));
  }
  std::stable_sort(clustering_.begin(), clustering_.end(),
                   [this](std::uint32_t left, std::uint32_t right) {
                     return group_of(records_[left]) < group_of(records_[right]);
                   });
}

void ConstraintIndex::update_centroids(const VectorArrays& positions) {
  std::size_t first = 0;
  while (first < clustering_.size()) {
    const float group = group_of(records_[clustering_[first]]);
    std::size_t end = first + 1;
    // Group 0 joins nothing: such a record is a cluster by itself.
    while (group != 0.0F && end < clustering_.size() &&
           group_of(records_[clustering_[end]]) == group) {
      ++end;
    }
    double x = 0, y = 0, z = 0, members = 0;
    for (std::size_t at = first; at < end; ++at) {
      const payload::ConstraintRecord& record = records_[clustering_[at]];
      for (std::int32_t place = 0; place < record.count; ++place) {
        if (!first_mention(record, place)) continue;
        const Vector3 node = positions.at(static_cast<std::size_t>(record.node[place]));
        x += static_cast<double>(node.x);
        y += static_cast<double>(node.y);
        z += static_cast<double>(node.z);
        members += 1;
      }
    }
    const Vector3 centroid = {static_cast<float>(x / members), static_cast<float>(y / members),
                              static_cast<float>(z / members)};
    for (std::size_t at = first; at < end; ++at) centroid_[clustering_[at]] = centroid;
    first = end;
  }
}

ConstraintRows ConstraintIndex::rows() const {
  if (records_.empty()) return {nullptr, nullptr, nullptr, nullptr};
  return {records_.data(), row_.data(), record_of_.data(), centroid_.data()};
}

}  // namespace ackbus::gpu
