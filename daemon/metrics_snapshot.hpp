// What one scrape shows: families of samples at one moment, built by the bus thread and read by the
// exporter's.
//
// A table of definitions, indexed by the caller's enum, says name, help, type and label names once;
// the builder takes values by index and label values in the table's order, so a sample cannot carry
// labels that its family does not have. Threads: a builder belongs to one thread; a finished
// snapshot is constant and may be read by any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ackbus::daemon {

enum class MetricType : std::uint8_t { kReserved = 0, kCounter, kGauge, kHistogram };

constexpr std::size_t kMaxMetricLabels = 4;

/// One row of the table. `name` carries the prefix "ackbus_", base units, and "_total" on counters.
struct MetricDefinition {
  const char* name;
  const char* help;
  MetricType type;
  const char* labels[kMaxMetricLabels];  // Unused ones are null.
};

struct MetricSample {
  std::vector<std::string> label_values;  // In the order of the definition.
  double value = 0;                       // Of a counter or gauge.
  std::vector<std::uint64_t> cumulative;  // Of a histogram: samples up to each upper bound.
  std::vector<double> upper_bounds;
  std::uint64_t count = 0;
  double sum = 0;
};

struct MetricFamily {
  const MetricDefinition* definition = nullptr;
  std::vector<MetricSample> samples;
};

struct MetricsSnapshot {
  std::vector<MetricFamily>
      families;  // In the order of the table; families without a sample are left out.
};

class SnapshotBuilder {
 public:
  /// The table must outlive every snapshot built from it: make it constexpr. Its names are checked.
  explicit SnapshotBuilder(std::span<const MetricDefinition> table);

  /// Adds a sample of a counter or gauge. As many label values as the row has labels.
  void add(std::size_t row, std::initializer_list<std::string_view> label_values, double value);

  /// Adds a histogram from plain (not cumulative) counts: `counts[i]` samples at or below
  /// `upper_bounds[i]` and above the one before, and possibly one more count for those above the
  /// last bound. `sum` is in the unit of the bounds.
  void add_histogram(std::size_t row, std::initializer_list<std::string_view> label_values,
                     std::span<const double> upper_bounds, std::span<const std::uint64_t> counts,
                     double sum);

  /// The snapshot; the builder is empty again.
  [[nodiscard]] std::shared_ptr<const MetricsSnapshot> finish();

 private:
  MetricSample& new_sample(std::size_t row, std::initializer_list<std::string_view> label_values);

  std::span<const MetricDefinition> table_;
  std::vector<std::vector<MetricSample>> samples_;  // By row.
};

}  // namespace ackbus::daemon
