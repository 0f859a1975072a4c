// Every single time of a measurement, and what is said of them. Nothing is binned or averaged away:
// percentiles are nearest-rank over all samples. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ackbus::bench {

struct Percentiles {
  std::uint64_t count = 0;
  std::uint64_t min_ns = 0;
  std::uint64_t p50_ns = 0;
  std::uint64_t p90_ns = 0;
  std::uint64_t p99_ns = 0;
  std::uint64_t p999_ns = 0;
  std::uint64_t max_ns = 0;
};

class Samples {
 public:
  // Reserves room, so that adding never allocates while something is measured.
  explicit Samples(std::size_t count_max) { values_.reserve(count_max); }
  void add(std::uint64_t ns) { values_.push_back(ns); }
  // Sorts what was added. All zero when there is nothing.
  [[nodiscard]] Percentiles percentiles();

 private:
  std::vector<std::uint64_t> values_;
};

// The middle value, the lower one of two; 0 of none. Takes a copy, because it sorts.
[[nodiscard]] double median(std::vector<double> values);

}  // namespace ackbus::bench
