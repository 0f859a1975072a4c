// What is said of the times of a measurement.
#include "bench/samples.hpp"

#include <gtest/gtest.h>

namespace ackbus::bench {
namespace {

TEST(Samples, OfNothingAreAllZero) {
  Samples samples(1);
  const Percentiles none = samples.percentiles();
  EXPECT_EQ(none.count, 0U);
  EXPECT_EQ(none.p50_ns, 0U);
  EXPECT_EQ(none.max_ns, 0U);
}

TEST(Samples, OneIsEveryPercentile) {
  Samples samples(1);
  samples.add(7);
  const Percentiles one = samples.percentiles();
  EXPECT_EQ(one.min_ns, 7U);
  EXPECT_EQ(one.p50_ns, 7U);
  EXPECT_EQ(one.p999_ns, 7U);
  EXPECT_EQ(one.max_ns, 7U);
}

TEST(Samples, PercentilesAreTheNearestRankInAnyOrderOfArrival) {
  Samples samples(1000);
  for (std::uint64_t value = 1000; value > 0; --value) {
    samples.add(value);
  }
  const Percentiles all = samples.percentiles();
  EXPECT_EQ(all.count, 1000U);
  EXPECT_EQ(all.min_ns, 1U);
  EXPECT_EQ(all.p50_ns, 500U);
  EXPECT_EQ(all.p90_ns, 900U);
  EXPECT_EQ(all.p99_ns, 990U);
  EXPECT_EQ(all.p999_ns, 999U);
  EXPECT_EQ(all.max_ns, 1000U);
}

TEST(Median, IsTheMiddleOrTheLowerOfTwo) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({4, 1, 3, 2}), 2);
}

}  // namespace
}  // namespace ackbus::bench
