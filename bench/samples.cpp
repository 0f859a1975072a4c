#include "bench/samples.hpp"

#include <algorithm>

namespace ackbus::bench {
namespace {

// Nearest rank: the smallest value that `per_mille` thousandths of all values do not exceed.
std::uint64_t at(const std::vector<std::uint64_t>& sorted, std::uint64_t per_mille) {
  const std::uint64_t rank = (sorted.size() * per_mille + 999) / 1000;
  return sorted[rank == 0 ? 0 : rank - 1];
}

}  // namespace

Percentiles Samples::percentiles() {
  Percentiles result;
  if (values_.empty()) {
    return result;
  }
  std::sort(values_.begin(), values_.end());
  result.count = values_.size();
  result.min_ns = values_.front();
  result.p50_ns = at(values_, 500);
  result.p90_ns = at(values_, 900);
  result.p99_ns = at(values_, 990);
  result.p999_ns = at(values_, 999);
  result.max_ns = values_.back();
  return result;
}

double median(std::vector<double> values) {
  if (values.empty()) {
    return 0;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace ackbus::bench
