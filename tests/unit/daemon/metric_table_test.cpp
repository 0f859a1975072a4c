// The metrics page: its table equals docs/metrics.md, and its samples are the figures.
#include "daemon/metric_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace ackbus::daemon {
namespace {

struct DocumentedMetric {
  std::string type;
  std::string labels;
};

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" `");
  const std::size_t last = text.find_last_not_of(" `");
  return first == std::string::npos ? std::string() : text.substr(first, last - first + 1);
}

// The rows "| `name` | type | labels | unit | meaning |" of the document.
std::map<std::string, DocumentedMetric> read_document() {
  std::ifstream file(std::string(ACKBUS_SOURCE_DIR) + "/docs/metrics.md");
  std::map<std::string, DocumentedMetric> metrics;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    std::string before, name, type, labels;
    std::getline(cells, before, '|');
    std::getline(cells, name, '|');
    std::getline(cells, type, '|');
    std::getline(cells, labels, '|');
    if (line.starts_with("| `ackbus_")) {
      EXPECT_TRUE(
          metrics.emplace(trimmed(name), DocumentedMetric{trimmed(type), trimmed(labels)}).second)
          << name << " is documented twice";
    }
  }
  return metrics;
}

std::string type_text(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
    case MetricType::kReserved:
      break;
  }
  return "reserved";
}

std::string labels_text(const MetricDefinition& definition) {
  std::string text;
  for (const char* label : definition.labels) {
    if (label != nullptr) {
      text += (text.empty() ? "" : ", ") + std::string(label);
    }
  }
  return text;
}

TEST(MetricTable, EqualsTheDocument) {
  std::map<std::string, DocumentedMetric> documented = read_document();
  // The exporter's own, added to every page that it serves.
  ASSERT_EQ(documented.erase("ackbus_scrape_timeouts_total"), 1U);
  for (const MetricDefinition& definition : kMetrics) {
    const auto row = documented.find(definition.name);
    ASSERT_NE(row, documented.end()) << definition.name << " is not in docs/metrics.md";
    EXPECT_EQ(row->second.type, type_text(definition.type)) << definition.name;
    EXPECT_EQ(row->second.labels, labels_text(definition)) << definition.name;
    documented.erase(row);
  }
  for (const auto& [name, metric] : documented) {
    ADD_FAILURE() << name << " is documented, but no metric";
  }
}

TEST(MetricTable, NamesEachMetricOnce) {
  std::set<std::string> names;
  for (const MetricDefinition& definition : kMetrics) {
    EXPECT_TRUE(names.insert(definition.name).second) << definition.name;
  }
}

BusFigures example() {
  BusFigures figures;
  figures.bus = "default";
  KindFigures kind;
  kind.id = 4;
  kind.name = "ComputeForces";
  kind.totals.sent = 10;
  kind.totals.success = 7;
  kind.totals.failed = 1;
  kind.totals.exhausted = 2;
  kind.totals.acked_success = 8;
  kind.totals.latency[0] = 3;
  kind.totals.latency[23] = 5;
  kind.totals.latency_sum_ns = 2'000'000'000;
  kind.own.retries_death = 6;
  kind.own.dead[static_cast<std::size_t>(layout::VerdictReason::kPoison)] = 2;
  figures.kinds.push_back(kind);
  QueueFigures queue;
  queue.name = "gpu0";
  queue.consumer.emplace();
  queue.standbys = 2;
  queue.oldest_age_ns = 1'500'000'000;
  figures.queues.push_back(queue);
  figures.letters.writable = true;
  return figures;
}

// The sample with these label values; null when there is none.
const MetricSample* find(const MetricsSnapshot& page, const std::string& name,
                         const std::vector<std::string>& labels) {
  for (const MetricFamily& family : page.families) {
    if (name != family.definition->name) {
      continue;
    }
    for (const MetricSample& sample : family.samples) {
      if (sample.label_values == labels) {
        return &sample;
      }
    }
  }
  return nullptr;
}

double value(const MetricsSnapshot& page, const std::string& name,
             const std::vector<std::string>& labels) {
  const MetricSample* sample = find(page, name, labels);
  EXPECT_NE(sample, nullptr) << name;
  return sample == nullptr ? -1 : sample->value;
}

TEST(MetricTable, SamplesAreTheFigures) {
  const auto page = build_metrics(example());
  const std::string kind = "ComputeForces";
  EXPECT_EQ(value(*page, "ackbus_messages_sent_total", {"default", kind}), 10);
  EXPECT_EQ(value(*page, "ackbus_messages_failed_total", {"default", kind}), 3);
  EXPECT_EQ(value(*page, "ackbus_messages_outcomes_total", {"default", kind, "success"}), 7);
  EXPECT_EQ(value(*page, "ackbus_messages_acked_total", {"default", kind, "success"}), 8);
  EXPECT_EQ(value(*page, "ackbus_messages_retried_total", {"default", kind, "death"}), 6);
  EXPECT_EQ(value(*page, "ackbus_messages_dead_lettered_total", {"default", kind, "poison"}), 2);
  EXPECT_EQ(value(*page, "ackbus_consumers", {"default", "gpu0", "active"}), 1);
  EXPECT_EQ(value(*page, "ackbus_consumers", {"default", "gpu0", "standby"}), 2);
  EXPECT_EQ(value(*page, "ackbus_oldest_pending_age_seconds", {"default", "gpu0"}), 1.5);
  EXPECT_EQ(value(*page, "ackbus_dead_letter_store_writable", {"default"}), 1);
}

TEST(MetricTable, TheLatencyHistogramKeepsItsLastBucketAndItsUnit) {
  const auto page = build_metrics(example());
  const MetricSample* sample =
      find(*page, "ackbus_ack_latency_seconds", {"default", "ComputeForces"});
  ASSERT_NE(sample, nullptr);
  ASSERT_EQ(sample->upper_bounds.size(), layout::kLatencyBuckets - 1);
  EXPECT_DOUBLE_EQ(sample->upper_bounds.front(), 1e-6);
  EXPECT_DOUBLE_EQ(sample->upper_bounds.back(), 30.0);
  EXPECT_EQ(sample->cumulative.back(), 3U);
  EXPECT_EQ(sample->count, 8U);
  EXPECT_DOUBLE_EQ(sample->sum, 2.0);
}

TEST(MetricTable, EveryMetricHasASampleOnAFullPage) {
  const auto page = build_metrics(example());
  EXPECT_EQ(page->families.size(), kMetrics.size());
}

}  // namespace
}  // namespace ackbus::daemon
