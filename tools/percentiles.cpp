// Bucket arithmetic: a value's bucket is its highest eight bits and how far they are shifted.
#include "tools/percentiles.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

#include "shm_layout/assert.hpp"

namespace ackbus::tools {
namespace {

constexpr int kSubBucketBits = 7;
constexpr std::uint64_t kSubBuckets = std::uint64_t{1} << kSubBucketBits;
constexpr int kShiftMax = 64 - kSubBucketBits - 1;
constexpr std::size_t kBucketCount = kSubBuckets * (kShiftMax + 2);

// How many low bits of a value its bucket does not tell apart.
constexpr int shift_of(std::uint64_t value) {
  return std::max(0, static_cast<int>(std::bit_width(value)) - kSubBucketBits - 1);
}

constexpr std::size_t bucket_of(std::uint64_t value) {
  const int shift = shift_of(value);
  return static_cast<std::size_t>(static_cast<std::uint64_t>(shift) * kSubBuckets +
                                  (value >> shift));
}

// The largest value of a bucket.
constexpr std::uint64_t bucket_end(std::size_t bucket) {
  if (bucket < 2 * kSubBuckets) return bucket;
  const auto shift = static_cast<int>(bucket / kSubBuckets) - 1;
  const std::uint64_t lead = bucket % kSubBuckets + kSubBuckets;
  return (lead << shift) + ((std::uint64_t{1} << shift) - 1);
}

static_assert(bucket_of(0) == 0 && bucket_of(255) == 255 && bucket_of(256) == 256);
static_assert(bucket_of(257) == 256 && bucket_end(256) == 257 && bucket_of(258) == 257);
static_assert(bucket_of(UINT64_MAX) == kBucketCount - 1);
static_assert(bucket_end(kBucketCount - 1) == UINT64_MAX);

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(kBucketCount, 0) {}

void LatencyHistogram::record(std::uint64_t latency_ns) {
  ++counts_[bucket_of(latency_ns)];
  ++count_;
  min_ns_ = std::min(min_ns_, latency_ns);
  max_ns_ = std::max(max_ns_, latency_ns);
  sum_ns_ += static_cast<double>(latency_ns);
}

void LatencyHistogram::merge(const LatencyHistogram& other) {
  for (std::size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    counts_[bucket] += other.counts_[bucket];
  }
  count_ += other.count_;
  min_ns_ = std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
  sum_ns_ += other.sum_ns_;
}

std::uint64_t LatencyHistogram::min_ns() const { return count_ == 0 ? 0 : min_ns_; }

double LatencyHistogram::mean_ns() const {
  return count_ == 0 ? 0.0 : sum_ns_ / static_cast<double>(count_);
}

std::uint64_t LatencyHistogram::percentile_ns(double percent) const {
  ACKBUS_ASSERT(percent >= 0.0 && percent <= 100.0);
  if (count_ == 0) return 0;
  const double exact_rank = std::ceil(percent / 100.0 * static_cast<double>(count_));
  const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(exact_rank), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    seen += counts_[bucket];
    if (seen >= rank) return std::min(bucket_end(bucket), max_ns_);
  }
  return max_ns_;
}

}  // namespace ackbus::tools
