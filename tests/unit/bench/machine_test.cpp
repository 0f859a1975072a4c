// Which two cores a measurement takes.
#include "bench/machine.hpp"

#include <gtest/gtest.h>

namespace ackbus::bench {
namespace {

TEST(CorePair, OfOneCoreIsNotPinned) {
  EXPECT_FALSE(choose_pair({}).pinned());
  const CorePair pair = choose_pair({{3, 0, 0}});
  EXPECT_FALSE(pair.pinned());
  EXPECT_EQ(pair.relation, "one core");
}

TEST(CorePair, PrefersAnotherCoreToAThreadOfTheSame) {
  const CorePair pair = choose_pair({{0, 0, 0}, {1, 0, 0}, {2, 1, 0}});
  EXPECT_EQ(pair.producer, 0);
  EXPECT_EQ(pair.consumer, 2);
  EXPECT_EQ(pair.relation, "different cores of one package");
}

TEST(CorePair, PrefersTheSamePackageToAnother) {
  const CorePair pair = choose_pair({{0, 0, 0}, {1, 0, 1}, {2, 1, 0}});
  EXPECT_EQ(pair.consumer, 2);
}

TEST(CorePair, TakesWhatThereIs) {
  EXPECT_EQ(choose_pair({{0, 0, 0}, {8, 0, 1}}).relation, "different packages");
  EXPECT_EQ(choose_pair({{0, 0, 0}, {1, 0, 0}}).relation, "threads of one core");
}

TEST(CorePair, OfUnknownTopologyCountsAsDifferentCores) {
  EXPECT_EQ(choose_pair({{0, -1, -1}, {1, -1, -1}}).consumer, 1);
}

TEST(Machine, SaysWhatItIs) {
  const Machine machine = describe_machine();
  EXPECT_FALSE(machine.cpu.empty());
  EXPECT_NE(machine.kernel.find("Linux"), std::string::npos);
  EXPECT_GE(machine.cores_online, 1);
}

}  // namespace
}  // namespace ackbus::bench
