// Every litmus test of the product, explored to its end.
#include "tests/weak/litmus.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace ackbus::weak {
namespace {

class LitmusTest : public testing::TestWithParam<Litmus> {};

TEST_P(LitmusTest, HoldsInEveryExecution) {
  // Longer: so many loads of each execution may foretell a later store, instead of one.
  Litmus litmus = GetParam();
  if (const char* foretold = std::getenv("ACKBUS_WEAK_FORETOLD")) {
    litmus.options.foretold_max = std::max(litmus.options.foretold_max, std::atoi(foretold));
    litmus.options.executions_max = UINT64_MAX;
  }
  const Exploration result = explore(litmus);
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
