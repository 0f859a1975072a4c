// Percentiles of latencies in constant memory: a histogram whose buckets are narrow where values
// are small. Data flow: one record() for each outcome, then percentiles for the report. Threads:
// one histogram belongs to one thread; histograms of several threads are added up with merge().
#pragma once

#include <cstdint>
#include <vector>

namespace ackbus::tools {

// Every power of two is divided into 128 equal buckets, the method of HdrHistogram: values below
// 256 are exact, larger ones are known to better than 0.8 %. Any 64-bit value fits; 58 KiB,
// allocated once.
class LatencyHistogram {
 public:
  LatencyHistogram();

  void record(std::uint64_t latency_ns);
  void merge(const LatencyHistogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t min_ns()
      const;  // 0 when nothing was recorded, and so for the others.
  [[nodiscard]] std::uint64_t max_ns() const { return max_ns_; }
  [[nodiscard]] double mean_ns() const;

  // The nearest-rank percentile: the smallest recorded value that at least `percent` of all values
  // do not exceed, rounded up to the end of its bucket but never beyond the largest value recorded.
  // `percent` is 0 to 100 (asserted).
  [[nodiscard]] std::uint64_t percentile_ns(double percent) const;

 private:
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t min_ns_ = UINT64_MAX;
  std::uint64_t max_ns_ = 0;
  double sum_ns_ = 0.0;
};

}  // namespace ackbus::tools
