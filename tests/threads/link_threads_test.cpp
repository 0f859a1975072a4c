// Thousands of messages over a link whose roles are threads, with several lives of the consumer and
// several daemons. Worth most under the tsan preset; elsewhere it is one more way to run the roles.
#include "tests/threads/link_threads.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace ackbus::test {
namespace {

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(LinkThreads, EveryMessageHasOneOutcomeAndItsOwnPayload) {
  const std::uint64_t first = number_from("ACKBUS_TEST_SEED", 1);
  const std::uint64_t runs = number_from("ACKBUS_THREAD_RUNS", 4);
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    ThreadsPlan plan;
    plan.seed = seed;
    plan.slots = seed % 2 == 0 ? 4 : 32;
    const ThreadsReport report = LinkThreads(plan).run();
    EXPECT_EQ(report.failure, "") << "ACKBUS_TEST_SEED=" << seed;
    EXPECT_GT(report.successes, 0U);
    std::printf(
        "ACKBUS_TEST_SEED=%llu: %llu outcomes, %llu of them successes, %llu begun, %llu payload "
        "bytes compared, %llu retries, %llu dead\n",
        static_cast<unsigned long long>(seed), static_cast<unsigned long long>(report.outcomes),
        static_cast<unsigned long long>(report.successes),
        static_cast<unsigned long long>(report.begun),
        static_cast<unsigned long long>(report.payload_bytes),
        static_cast<unsigned long long>(report.retries),
        static_cast<unsigned long long>(report.dead));
  }
}

}  // namespace
}  // namespace ackbus::test
