// The floor's two halves against each other, in two processes that give way to each other, so that
// one core is enough.
#include "bench/floor.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "bench/process.hpp"

namespace ackbus::bench {
namespace {

constexpr FloorSpin kGivesWay{true};

TEST(Floor, MeasuresEveryTripOverALineButTheWarmUp) {
  Result<FloorMapping> mapping = FloorMapping::create();
  ASSERT_TRUE(mapping);
  FloorMemory& memory = mapping->memory();
  const Result<ChildProcess> far =
      ChildProcess::fork_off([&] { return line_far(memory, 5, 30, kGivesWay) ? 0 : 1; });
  ASSERT_TRUE(far);
  Samples samples(30);
  ASSERT_TRUE(line_near(memory, 5, 30, 10, kGivesWay, samples));
  EXPECT_EQ(samples.percentiles().count, 20U);
}

TEST(Floor, MeasuresEveryTripOverAPipeButTheWarmUp) {
  FloorPipes pipes;
  ASSERT_EQ(pipe(pipes.to_peer), 0);
  ASSERT_EQ(pipe(pipes.to_producer), 0);
  const Result<ChildProcess> far =
      ChildProcess::fork_off([&] { return pipe_far(pipes, 30) ? 0 : 1; });
  ASSERT_TRUE(far);
  Samples samples(30);
  ASSERT_TRUE(pipe_near(pipes, 30, 10, samples));
  EXPECT_EQ(samples.percentiles().count, 20U);
}

TEST(Floor, FlowsThroughAWindowSmallerThanTheRingAndAgain) {
  Result<FloorMapping> mapping = FloorMapping::create();
  ASSERT_TRUE(mapping);
  FloorMemory& memory = mapping->memory();
  const Result<ChildProcess> far = ChildProcess::fork_off([&] {
    const std::uint64_t next = flow_far(memory, 1, kGivesWay);
    return next != 0 && flow_far(memory, next, kGivesWay) != 0 ? 0 : 1;
  });
  ASSERT_TRUE(far);
  const FloorFlow one = flow_near(memory, 1, 8, 0.001, kGivesWay);
  ASSERT_NE(one.next, 0U);
  EXPECT_EQ(one.next, 1 + one.messages + 1) << "the last cell ends the run and is no message";
  const FloorFlow two = flow_near(memory, one.next, 8, 0.001, kGivesWay);
  EXPECT_EQ(two.next, one.next + two.messages + 1);
}

}  // namespace
}  // namespace ackbus::bench
