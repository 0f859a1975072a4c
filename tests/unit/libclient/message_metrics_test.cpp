// The counts by kind, the figures made from them, and the summary against its golden file.
#include <ackbus/message_metrics.hpp>
//
#include <gtest/gtest.h>

#include <chrono>
#include <clocale>
#include <fstream>
#include <limits>
#include <locale>
#include <sstream>
#include <string>

namespace ackbus {
namespace {

using namespace std::chrono_literals;

constexpr Kind kInitializeGpu = Kind::kInitializeGpu;
constexpr Kind kUpdateGpuGraphData = Kind::kUpdateGpuGraphData;
constexpr Kind kComputeForces = Kind::kComputeForces;

std::string golden_summary() {
  std::ifstream file(std::string(ACKBUS_SOURCE_DIR) +
                     "/tests/unit/libclient/message_metrics_summary.golden.txt");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

MessageMetrics metrics_of_the_golden_file() {
  MessageMetrics metrics;
  metrics.record_sent(kInitializeGpu);
  metrics.record_success(kInitializeGpu, 1250ms);
  for (int i = 0; i < 1000; ++i) {
    metrics.record_sent(kComputeForces);
    if (i < 940) {
      metrics.record_success(kComputeForces, 16'670us);
    } else if (i < 955) {
      metrics.record_failure(kComputeForces);
    }
    if (i % 10 == 0) {
      metrics.record_retry(kComputeForces);
    }
  }
  metrics.record_sent(kUpdateGpuGraphData);
  metrics.add(Kind{17}, {3'000'000, 2'850'000, 150'000, 12, 57'000'000'000});
  metrics.add(Kind{18}, {});
  metrics.name_kind(Kind{17}, "IngestSensorFrames");
  return metrics;
}

TEST(MessageMetrics, StartAtZeroWithoutDividingByIt) {
  const MessageMetrics metrics;
  EXPECT_EQ(metrics.totals(), KindTotals{});
  EXPECT_EQ(metrics.success_rate(), 0.0);
  EXPECT_EQ(metrics.failure_rate(), 0.0);
  EXPECT_EQ(metrics.avg_latency_ms(), 0.0);
  EXPECT_TRUE(metrics.all_kinds().empty());
}

TEST(MessageMetrics, CountSentSuccessFailureAndRetryByKind) {
  MessageMetrics metrics;
  metrics.record_sent(kComputeForces);
  metrics.record_sent(kComputeForces);
  metrics.record_success(kComputeForces, 3ms);
  metrics.record_failure(kComputeForces);
  metrics.record_retry(kComputeForces);
  metrics.record_retry(kComputeForces);
  metrics.record_sent(kInitializeGpu);
  EXPECT_EQ(metrics.of_kind(kComputeForces), (KindTotals{2, 1, 1, 2, 3'000'000}));
  EXPECT_EQ(metrics.of_kind(kInitializeGpu), (KindTotals{1, 0, 0, 0, 0}));
  EXPECT_EQ(metrics.of_kind(kUpdateGpuGraphData), KindTotals{});
}

TEST(MessageMetrics, TotalOverAllKinds) {
  MessageMetrics metrics;
  metrics.record_sent(kComputeForces);
  metrics.record_success(kComputeForces, 1ms);
  metrics.record_sent(kInitializeGpu);
  metrics.record_failure(kInitializeGpu);
  metrics.record_retry(kInitializeGpu);
  EXPECT_EQ(metrics.totals(), (KindTotals{2, 1, 1, 1, 1'000'000}));
}

TEST(MessageMetrics, NameAllKindsThatSomethingWasRecordedOf) {
  MessageMetrics metrics;
  metrics.record_sent(kComputeForces);
  metrics.record_sent(kInitializeGpu);
  ASSERT_EQ(metrics.all_kinds().size(), 2U);
  EXPECT_EQ(metrics.all_kinds().begin()->first, kInitializeGpu);
  EXPECT_EQ(metrics.all_kinds().rbegin()->first, kComputeForces);
}

TEST(MessageMetrics, AverageTheLatencyOfSuccessesInMilliseconds) {
  MessageMetrics metrics;
  metrics.record_success(kComputeForces, 1ms);
  metrics.record_success(kComputeForces, 2ms);
  metrics.record_failure(kComputeForces);
  EXPECT_DOUBLE_EQ(metrics.of_kind(kComputeForces).avg_latency_ms(), 1.5);
  metrics.record_success(kInitializeGpu, 6ms);
  EXPECT_DOUBLE_EQ(metrics.avg_latency_ms(), 3.0);
}

TEST(MessageMetrics, TakeANegativeLatencyAsZero) {
  MessageMetrics metrics;
  metrics.record_success(kComputeForces, -5ms);
  EXPECT_EQ(metrics.of_kind(kComputeForces).total_latency_ns, 0U);
}

TEST(MessageMetrics, GiveRatesBetweenZeroAndOneOfWhatWasSent) {
  MessageMetrics metrics;
  metrics.add(kComputeForces, {8, 6, 1, 0, 0});
  EXPECT_DOUBLE_EQ(metrics.success_rate(), 0.75);
  EXPECT_DOUBLE_EQ(metrics.failure_rate(), 0.125);
  EXPECT_DOUBLE_EQ(metrics.of_kind(kComputeForces).success_rate(), 0.75);
}

TEST(MessageMetrics, GiveNoRateAboveOneWhenCountersWereReadWhileTheyMoved) {
  MessageMetrics metrics;
  metrics.add(kComputeForces, {8, 9, 10, 0, 0});
  EXPECT_EQ(metrics.success_rate(), 1.0);
  EXPECT_EQ(metrics.failure_rate(), 1.0);
}

TEST(MessageMetrics, AddSumsThatWereCountedElsewhere) {
  MessageMetrics metrics;
  metrics.record_sent(kComputeForces);
  metrics.add(kComputeForces, {10, 8, 1, 2, 16'000'000});
  metrics.add(kComputeForces, {1, 1, 0, 0, 2'000'000});
  EXPECT_EQ(metrics.of_kind(kComputeForces), (KindTotals{12, 9, 1, 2, 18'000'000}));
}

TEST(MessageMetrics, NameEveryBuiltInKind) {
  const MessageMetrics metrics;
  EXPECT_EQ(metrics.kind_name(Kind::kInitializeGpu), "InitializeGPU");
  EXPECT_EQ(metrics.kind_name(Kind::kUpdateGpuGraphData), "UpdateGPUGraphData");
  EXPECT_EQ(metrics.kind_name(Kind::kUploadConstraintsToGpu), "UploadConstraintsToGPU");
  EXPECT_EQ(metrics.kind_name(Kind::kComputeForces), "ComputeForces");
  EXPECT_EQ(metrics.kind_name(Kind::kUpdateNodePositions), "UpdateNodePositions");
  EXPECT_EQ(metrics.kind_name(Kind::kSetSharedGpuContext), "SetSharedGPUContext");
}

TEST(MessageMetrics, NameKindsBySetNameThenBuiltInNameThenNumber) {
  MessageMetrics metrics;
  EXPECT_EQ(metrics.kind_name(kComputeForces), "ComputeForces");
  EXPECT_EQ(metrics.kind_name(Kind{40}), "kind 40");
  metrics.name_kind(Kind{40}, "Ingest");
  EXPECT_EQ(metrics.kind_name(Kind{40}), "Ingest");
}

TEST(MessageMetrics, SummaryEqualsItsGoldenFile) {
  EXPECT_EQ(metrics_of_the_golden_file().summary(), golden_summary());
}

// Decimal commas and grouped thousands, as an application may have set for itself.
class Commas : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(MessageMetrics, SummaryIsTheSameInEveryLocale) {
  const std::string golden = golden_summary();
  const std::string c_locale_before = std::setlocale(LC_ALL, nullptr);
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Commas));
  (void)std::setlocale(LC_ALL, "de_DE.UTF-8");  // Only where the machine has it.
  EXPECT_EQ(metrics_of_the_golden_file().summary(), golden);
  std::locale::global(before);
  (void)std::setlocale(LC_ALL, c_locale_before.c_str());
}

TEST(MessageMetrics, SummaryOfNothingShowsZeroTotalsAndNoTable) {
  EXPECT_EQ(MessageMetrics().summary(),
            "sent              0\n"
            "acknowledged      0\n"
            "failed            0\n"
            "retried           0\n"
            "success rate  0.0 %\n"
            "failure rate  0.0 %\n");
}

TEST(MessageMetrics, SummaryHoldsTheLargestCounts) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
  MessageMetrics metrics;
  metrics.add(kComputeForces, {kLargest, kLargest, kLargest, kLargest, kLargest});
  EXPECT_NE(metrics.summary().find("18446744073709551615"), std::string::npos);
}

}  // namespace
}  // namespace ackbus
