// The report as JSON and as a table.
#include "tools/layout_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace ackbus::tools {
namespace {

using testing::HasSubstr;

LayoutReport sample_report() {
  LayoutReport report;
  report.graph = "debian";
  report.nodes = 17000;
  report.edges = 69932;
  report.steps = 600;
  report.seconds = 12.5;
  report.backend = "cpu";
  report.stress_start = 0.5;
  report.stress_end = 0.125;
  report.kinetic_energy_start = 1000.0;
  report.kinetic_energy_end = 2.5;
  report.kind("InitializeGPU") = {1, 1, 0, 0, 0, 3.0, 3.0, 3.0};
  report.kind("ComputeForces") = {600, 599, 1, 2, 1, 20.5, 20.0, 31.25};
  return report;
}

TEST(LayoutReport, HasEveryMemberInItsJson) {
  const auto json = nlohmann::json::parse(layout_report_json(sample_report()));
  EXPECT_EQ(json.at("nodes"), 17000);
  EXPECT_EQ(json.at("edges"), 69932);
  EXPECT_EQ(json.at("steps"), 600);
  EXPECT_EQ(json.at("seconds"), 12.5);
  EXPECT_EQ(json.at("backend"), "cpu");
  EXPECT_EQ(json.at("far_field"), true);
  EXPECT_EQ(json.at("stress_start"), 0.5);
  EXPECT_EQ(json.at("stress_end"), 0.125);
  EXPECT_EQ(json.at("kinetic_energy_start"), 1000.0);
  EXPECT_EQ(json.at("kinetic_energy_end"), 2.5);
  ASSERT_TRUE(json.at("kinds").is_object());
  const auto& kind = json.at("kinds").at("ComputeForces");
  EXPECT_EQ(kind.at("sent"), 600);
  EXPECT_EQ(kind.at("success"), 599);
  EXPECT_EQ(kind.at("failure"), 1);
  EXPECT_EQ(kind.at("retries"), 2);
  EXPECT_EQ(kind.at("dead_lettered"), 1);
  EXPECT_EQ(kind.at("latency_p50_ms"), 20.0);
  EXPECT_EQ(kind.at("latency_p99_ms"), 31.25);
}

TEST(LayoutReport, WritesNullForWhatIsAbsentOrNotFinite) {
  LayoutReport report;
  report.stress_end = std::numeric_limits<double>::quiet_NaN();
  const auto json = nlohmann::json::parse(layout_report_json(report));
  EXPECT_TRUE(json.at("stress_start").is_null());
  EXPECT_TRUE(json.at("stress_end").is_null());
  EXPECT_TRUE(json.at("kinds").is_object());
  EXPECT_TRUE(json.at("kinds").empty());
}

TEST(LayoutReport, SurvivesTextThatIsNotUtf8) {
  LayoutReport report;
  report.graph = "\xFF";
  EXPECT_TRUE(nlohmann::json::accept(layout_report_json(report)));
}

TEST(LayoutReport, TakesItsLatenciesFromAHistogram) {
  LatencyHistogram latency;
  for (std::uint64_t value = 1; value <= 100; ++value) latency.record(value);
  KindReport kind;
  kind.set_latency(latency);
  EXPECT_DOUBLE_EQ(kind.latency_p50_ms, 50e-6);
  EXPECT_DOUBLE_EQ(kind.latency_p99_ms, 99e-6);
  EXPECT_DOUBLE_EQ(kind.latency_mean_ms, 50.5e-6);
}

TEST(LayoutReport, PrintsKindsAndTotals) {
  EXPECT_EQ(layout_summary(sample_report()),
            "debian: 17,000 nodes, 69,932 edges\n"
            "600 steps in 12.5 s (48.0 a second) on cpu, far field on\n"
            "stress 0.5000 -> 0.1250, kinetic energy 1000.00 -> 2.50\n"
            "\n"
            "kind           sent  success  failure  retries  dead  mean ms  p50 ms  p99 ms  "
            "success rate\n"
            "--------------------------------------------------------------------------------------"
            "-----\n"
            "InitializeGPU     1        1        0        0     0    3.000   3.000   3.000      "
            "100.00 %\n"
            "ComputeForces   600      599        1        2     1   20.500  20.000  31.250       "
            "99.83 %\n"
            "--------------------------------------------------------------------------------------"
            "-----\n"
            "total           601      600        1        2     1                                "
            "99.83 %\n"
            "\n"
            "sent 601, acknowledged 600, failed 1, retried 2; success rate 99.83 %, failure rate "
            "0.16 %\n");
}

TEST(LayoutReport, HasRatesOfZeroWhenNothingWasSent) {
  EXPECT_THAT(layout_summary(LayoutReport{}),
              HasSubstr("success rate 0.00 %, failure rate 0.00 %"));
}

TEST(LayoutReport, IsWrittenToAFileAsAWhole) {
  const std::string path = testing::TempDir() + "ackbus_report_test.json";
  ASSERT_FALSE(write_layout_report(path, sample_report()).has_value());
  std::ifstream file(path);
  EXPECT_EQ(nlohmann::json::parse(file).at("graph"), "debian");
  EXPECT_EQ(std::remove(path.c_str()), 0);
  const FileStatus failure = write_layout_report("/nonexistent/report.json", sample_report());
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->code, FileErrorCode::kUnwritable);
  EXPECT_THAT(failure->text, HasSubstr("/nonexistent/report.json: cannot be written"));
}

}  // namespace
}  // namespace ackbus::tools
