// Every litmus test of the product, explored to its end.
#include "tests/weak/litmus.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace ackbus::weak {
namespace {

class LitmusTest : public testing::TestWithParam<Litmus> {};

TEST_P(LitmusTest, HoldsInEveryExecution) {
  const Exploration result = explore(GetParam());
  EXPECT_FALSE(result.failed) << trace_text(result);
  EXPECT_TRUE(result.complete || result.failed) << "more executions than executions_max";
  std::printf("%s: %llu executions, %llu abandoned\n", GetParam().name.c_str(),
              static_cast<unsigned long long>(result.executions),
              static_cast<unsigned long long>(result.abandoned));
}

INSTANTIATE_TEST_SUITE_P(Product, LitmusTest, testing::ValuesIn(all_litmus()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace ackbus::weak
