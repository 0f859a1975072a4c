// The histogram's accuracy and its ends.
#include "tools/percentiles.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <random>
#include <vector>

namespace ackbus::tools {
namespace {

TEST(LatencyHistogram, HasZeroForEverythingWhileEmpty) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.percentile_ns(99.0), 0U);
  EXPECT_EQ(histogram.min_ns(), 0U);
  EXPECT_EQ(histogram.mean_ns(), 0.0);
}

TEST(LatencyHistogram, IsExactForSmallValues) {
  LatencyHistogram histogram;
  for (std::uint64_t value = 1; value <= 100; ++value) histogram.record(value);
  EXPECT_EQ(histogram.percentile_ns(0.0), 1U);
  EXPECT_EQ(histogram.percentile_ns(50.0), 50U);
  EXPECT_EQ(histogram.percentile_ns(99.0), 99U);
  EXPECT_EQ(histogram.percentile_ns(100.0), 100U);
  EXPECT_DOUBLE_EQ(histogram.mean_ns(), 50.5);
}

TEST(LatencyHistogram, StaysWithinOnePercentOfTheExactPercentile) {
  constexpr std::uint64_t kSeed = 4711;
  std::cout << "seed " << kSeed << '\n';
  std::mt19937_64 engine(kSeed);
  LatencyHistogram histogram;
  std::vector<std::uint64_t> values;
  for (int sample = 0; sample < 20'000; ++sample) {
    const std::uint64_t value = engine() >> (engine() % 60);  // Spread over all magnitudes.
    values.push_back(value);
    histogram.record(value);
  }
  std::sort(values.begin(), values.end());
  for (const std::size_t rank : {1UL, 200UL, 10'000UL, 19'800UL, 19'980UL, 20'000UL}) {
    const auto exact = static_cast<double>(values[rank - 1]);
    const auto found =
        static_cast<double>(histogram.percentile_ns(static_cast<double>(rank) / 200.0));
    EXPECT_GE(found, exact) << "rank " << rank;
    EXPECT_LE(found, exact * 1.008) << "rank " << rank;
  }
}

TEST(LatencyHistogram, TakesTheLargestValueThereIs) {
  LatencyHistogram histogram;
  histogram.record(UINT64_MAX);
  histogram.record(0);
  EXPECT_EQ(histogram.percentile_ns(100.0), UINT64_MAX);
  EXPECT_EQ(histogram.percentile_ns(50.0), 0U);
}

TEST(LatencyHistogram, NeverReportsMoreThanItsLargestValue) {
  LatencyHistogram histogram;
  histogram.record(1'000'000'001);
  EXPECT_EQ(histogram.percentile_ns(50.0), 1'000'000'001U);
}

TEST(LatencyHistogram, MergesToWhatOneHistogramWouldHold) {
  LatencyHistogram first;
  LatencyHistogram second;
  LatencyHistogram both;
  for (std::uint64_t value = 0; value < 1000; ++value) {
    (value % 3 == 0 ? first : second).record(value * value);
    both.record(value * value);
  }
  first.merge(second);
  EXPECT_EQ(first.count(), both.count());
  EXPECT_EQ(first.min_ns(), both.min_ns());
  EXPECT_EQ(first.max_ns(), both.max_ns());
  EXPECT_DOUBLE_EQ(first.mean_ns(), both.mean_ns());
  for (const double percent : {1.0, 50.0, 99.0, 99.9}) {
    EXPECT_EQ(first.percentile_ns(percent), both.percentile_ns(percent));
  }
}

}  // namespace
}  // namespace ackbus::tools
