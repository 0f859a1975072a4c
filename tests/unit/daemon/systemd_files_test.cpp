// The files of systemd/: the alerts name what the daemon exports, the configuration is one that the
// daemon takes and that lets in whom the units run as, and the units are as documented.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/config.hpp"
#include "daemon/metric_table.hpp"

namespace ackbus::daemon {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

std::string read(const std::string& name) {
  std::ifstream file(std::string(ACKBUS_SOURCE_DIR) + "/systemd/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::vector<std::vector<std::string>> all_matches(const std::string& text, const std::regex& what) {
  std::vector<std::vector<std::string>> found;
  for (std::sregex_iterator match(text.begin(), text.end(), what), end; match != end; ++match) {
    found.emplace_back(match->begin(), match->end());
  }
  return found;
}

// ---- alerts ----

// The rule's expression by its name.
std::map<std::string, std::string> read_alerts() {
  std::map<std::string, std::string> alerts;
  std::string name;
  for (const std::string& line : lines_of(read("alerts.yml"))) {
    std::smatch part;
    if (std::regex_match(line, part, std::regex(R"( +- alert: (\w+))"))) {
      name = part[1];
    } else if (std::regex_match(line, part, std::regex(R"( +expr: (.+))"))) {
      alerts[name] = part[1];
    }
  }
  return alerts;
}

// The daemon's metric of this name; the parts of a histogram are its. Null when there is none.
const MetricDefinition* find_metric(const std::string& name) {
  for (const MetricDefinition& metric : kMetrics) {
    const std::string known = metric.name;
    const bool part = metric.type == MetricType::kHistogram &&
                      (name == known + "_sum" || name == known + "_count");
    if (name == known || part) {
      return &metric;
    }
  }
  return nullptr;
}

bool has_label(const MetricDefinition& metric, const std::string& label) {
  return std::any_of(std::begin(metric.labels), std::end(metric.labels),
                     [&](const char* known) { return known != nullptr && label == known; });
}

std::shared_ptr<const MetricsSnapshot> page_with_a_queue() {
  BusFigures figures;
  figures.kinds.emplace_back().name = "ComputeForces";
  figures.queues.emplace_back().name = "gpu0";
  return build_metrics(figures);
}

// The values that the daemon gives a label of a metric.
std::set<std::string> values_of(const MetricDefinition& metric, const std::string& label) {
  std::set<std::string> values;
  const auto page = page_with_a_queue();
  for (const MetricFamily& family : page->families) {
    for (const MetricSample& sample : family.samples) {
      for (std::size_t i = 0; i < sample.label_values.size(); ++i) {
        if (family.definition == &metric && label == metric.labels[i]) {
          values.insert(sample.label_values[i]);
        }
      }
    }
  }
  return values;
}

TEST(Alerts, CoverTheConditionsOfTheProtocol) {
  const auto alerts = read_alerts();
  ASSERT_TRUE(alerts.contains("AckbusSuccessRateLow"));
  EXPECT_THAT(alerts.at("AckbusSuccessRateLow"), HasSubstr("< 0.95"));
  ASSERT_TRUE(alerts.contains("AckbusRetryRateHigh"));
  EXPECT_THAT(alerts.at("AckbusRetryRateHigh"), HasSubstr("> 0.10"));
  ASSERT_TRUE(alerts.contains("AckbusLatencyHigh"));
  EXPECT_THAT(alerts.at("AckbusLatencyHigh"), HasSubstr("> 1"));
}

TEST(Alerts, NameOnlyMetricsThatTheDaemonExports) {
  std::size_t names = 0;
  for (const auto& [alert, expression] : read_alerts()) {
    for (const auto& match : all_matches(expression, std::regex(R"(ackbus_\w+)"))) {
      const std::string& name = match[0];
      EXPECT_TRUE(find_metric(name) != nullptr || name == "ackbus_scrape_timeouts_total")
          << alert << ": " << name;
      names += 1;
    }
  }
  EXPECT_GE(names, 10U);
}

TEST(Alerts, MatchOnlyLabelsAndValuesThatTheMetricHas) {
  std::size_t values = 0;
  for (const auto& [alert, expression] : read_alerts()) {
    const std::regex matcher(R"re((ackbus_\w+)\{(\w+)[=!]~?"([^"]+)"\})re");
    for (const auto& match : all_matches(expression, matcher)) {
      const MetricDefinition* metric = find_metric(match[1]);
      ASSERT_NE(metric, nullptr) << alert;
      EXPECT_TRUE(has_label(*metric, match[2])) << alert << ": " << match[2];
      for (const auto& value : all_matches(match[3], std::regex(R"(\w+)"))) {
        EXPECT_THAT(values_of(*metric, match[2]), Contains(value[0])) << alert;
        values += 1;
      }
    }
  }
  EXPECT_GE(values, 5U);
}

TEST(Alerts, GroupOnlyByLabelsThatEveryMetricOfTheExpressionHas) {
  for (const auto& [alert, expression] : read_alerts()) {
    for (const auto& group : all_matches(expression, std::regex(R"((?:by|on) \(([\w, ]+)\))"))) {
      for (const auto& label : all_matches(group[1], std::regex(R"(\w+)"))) {
        for (const auto& name : all_matches(expression, std::regex(R"(ackbus_\w+)"))) {
          const MetricDefinition* metric = find_metric(name[0]);
          ASSERT_NE(metric, nullptr) << alert;
          EXPECT_TRUE(has_label(*metric, label[0])) << alert << ": " << name[0] << label[0];
        }
      }
    }
  }
}

// ---- the configuration ----

constexpr uid_t kGpuUser = 60101;
constexpr gid_t kGroup = 60102;
constexpr uid_t kDaemonUser = 60103;

// The shipped file with numbers for the names, which this machine need not know.
Result<Config> shipped_config() {
  std::string text = read("ackbus.toml");
  const auto put = [&](const std::string& name, const std::string& number) {
    const std::size_t at = text.find(name);
    EXPECT_NE(at, std::string::npos) << name;
    text.replace(at, name.size(), number);
  };
  put("producer_groups = [\"ackbus\"]", "producer_groups = [" + std::to_string(kGroup) + "]");
  put("\"ackbus-gpu\"", std::to_string(kGpuUser));
  return parse_config(text, "ackbus.toml");
}

TEST(ShippedConfiguration, LetsInWhomTheUnitsRunAs) {
  const Result<Config> config = shipped_config();
  ASSERT_TRUE(config.ok()) << config.error().text;
  const QueueConfig* queue = config.value().find_queue("gpu0");
  ASSERT_NE(queue, nullptr);
  const std::vector<gid_t> in_group{kGroup};
  const std::vector<gid_t> elsewhere{kGroup + 1};
  EXPECT_TRUE(queue->consumers.allows(kGpuUser, in_group, kDaemonUser));
  EXPECT_FALSE(queue->consumers.allows(kGpuUser + 7, in_group, kDaemonUser))
      << "a producer must not take the queue's messages";
  EXPECT_TRUE(queue->producers.allows(kGpuUser + 7, in_group, kDaemonUser));
  EXPECT_FALSE(queue->producers.allows(kGpuUser + 7, elsewhere, kDaemonUser));
}

TEST(ShippedConfiguration, IsTheOneThatTheUnitNamesAndItsUsersAreMade) {
  EXPECT_THAT(lines_of(read("ackbusd.service")),
              Contains(HasSubstr("--config /etc/ackbus/ackbus.toml")));
  const std::string users = read("ackbus.sysusers");
  for (const std::string user : {"u ackbus ", "u ackbus-gpu "}) {
    EXPECT_THAT(users, HasSubstr(user));
  }
}

// ---- units ----

TEST(Units, TheServiceManagerWatchesTheGpuProcess) {
  const std::vector<std::string> lines = lines_of(read("ackbus-gpu@.service"));
  for (const char* line :
       {"Type=notify", "NotifyAccess=main", "WatchdogSec=20s", "RestartPreventExitStatus=2 69"}) {
    EXPECT_THAT(lines, Contains(line));
  }
}

TEST(Units, EveryHardeningLineHasACommentOfItsOwn) {
  for (const char* unit : {"ackbusd.service", "ackbus-gpu@.service"}) {
    const std::vector<std::string> lines = lines_of(read(unit));
    auto line = std::find_if(lines.begin(), lines.end(), [](const std::string& text) {
      return text.find("# --- Sandbox") == 0;
    });
    ASSERT_NE(line, lines.end()) << unit;
    std::size_t settings = 0;
    for (; line != lines.end() && *line != "[Install]"; ++line) {
      if (line->find('=') != std::string::npos && line->front() != '#') {
        EXPECT_TRUE(std::prev(line)->starts_with('#')) << unit << ": " << *line;
        settings += 1;
      }
    }
    EXPECT_GE(settings, 25U) << unit;
  }
}

}  // namespace
}  // namespace ackbus::daemon
