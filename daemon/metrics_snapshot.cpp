#include "daemon/metrics_snapshot.hpp"

#include <utility>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

std::size_t label_count(const MetricDefinition& definition) {
  std::size_t count = 0;
  while (count < kMaxMetricLabels && definition.labels[count] != nullptr) {
    ++count;
  }
  return count;
}

}  // namespace

SnapshotBuilder::SnapshotBuilder(std::span<const MetricDefinition> table)
    : table_(table), samples_(table.size()) {
  for (const MetricDefinition& definition : table) {
    const std::string_view name = definition.name;
    ACKBUS_ASSERT(name.starts_with("ackbus_"));
    ACKBUS_ASSERT(definition.type != MetricType::kReserved);
    ACKBUS_ASSERT(name.ends_with("_total") == (definition.type == MetricType::kCounter));
  }
}

void SnapshotBuilder::add(std::size_t row, std::initializer_list<std::string_view> label_values,
                          double value) {
  MetricSample& sample = new_sample(row, label_values);
  ACKBUS_ASSERT(table_[row].type != MetricType::kHistogram);
  sample.value = value;
}

void SnapshotBuilder::add_histogram(std::size_t row,
                                    std::initializer_list<std::string_view> label_values,
                                    std::span<const double> upper_bounds,
                                    std::span<const std::uint64_t> counts, double sum) {
  MetricSample& sample = new_sample(row, label_values);
  ACKBUS_ASSERT(table_[row].type == MetricType::kHistogram);
  ACKBUS_ASSERT(counts.size() == upper_bounds.size() || counts.size() == upper_bounds.size() + 1);
  sample.upper_bounds.assign(upper_bounds.begin(), upper_bounds.end());
  sample.sum = sum;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    sample.count += counts[i];
    if (i < upper_bounds.size()) {
      sample.cumulative.push_back(sample.count);
    }
  }
}

std::shared_ptr<const MetricsSnapshot> SnapshotBuilder::finish() {
  auto snapshot = std::make_shared<MetricsSnapshot>();
  for (std::size_t row = 0; row < table_.size(); ++row) {
    if (!samples_[row].empty()) {
      snapshot->families.push_back({&table_[row], std::exchange(samples_[row], {})});
    }
  }
  return snapshot;
}

MetricSample& SnapshotBuilder::new_sample(std::size_t row,
                                          std::initializer_list<std::string_view> label_values) {
  ACKBUS_ASSERT(row < table_.size());
  ACKBUS_ASSERT(label_values.size() == label_count(table_[row]));
  MetricSample& sample = samples_[row].emplace_back();
  sample.label_values.assign(label_values.begin(), label_values.end());
  return sample;
}

}  // namespace ackbus::daemon
