// The report's two forms: JSON for programs and a table for people.
#include "tools/layout_report.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/replaced_file.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

using Json = nlohmann::ordered_json;  // Keeps the members in the order in which people expect them.

constexpr double kMillisecond_ns = 1e6;

Json number_or_null(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

Json json_of(const KindReport& kind) {
  return Json{{"sent", kind.sent},
              {"success", kind.success},
              {"failure", kind.failure},
              {"retries", kind.retries},
              {"dead_lettered", kind.dead_lettered},
              {"latency_mean_ms", number_or_null(kind.latency_mean_ms)},
              {"latency_p50_ms", number_or_null(kind.latency_p50_ms)},
              {"latency_p99_ms", number_or_null(kind.latency_p99_ms)}};
}

double rate_of(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string percent_text(std::uint64_t part, std::uint64_t whole) {
  const double percent = 100.0 * rate_of(part, whole);
  // Only what is complete may read 100: 99,999 of 100,000 is 99.99 %.
  return format_decimal(std::floor(percent * 100.0) / 100.0, 2) + " %";
}

std::string change_text(const std::optional<double>& start, const std::optional<double>& end,
                        int digits) {
  const auto text = [digits](const std::optional<double>& value) {
    return value ? format_decimal(*value, digits) : std::string("-");
  };
  return text(start) + " -> " + text(end);
}

std::vector<std::string> cells_of(const std::string& name, const KindReport& kind,
                                  bool with_latency) {
  const auto latency = [with_latency](double value_ms) {
    return with_latency ? format_decimal(value_ms, 3) : std::string();
  };
  return {name,
          format_count(kind.sent),
          format_count(kind.success),
          format_count(kind.failure),
          format_count(kind.retries),
          format_count(kind.dead_lettered),
          latency(kind.latency_mean_ms),
          latency(kind.latency_p50_ms),
          latency(kind.latency_p99_ms),
          percent_text(kind.success, kind.sent)};
}

std::string table_of(const LayoutReport& report) {
  TextTable table({{"kind", Align::kLeft},
                   {"sent", Align::kRight},
                   {"success", Align::kRight},
                   {"failure", Align::kRight},
                   {"retries", Align::kRight},
                   {"dead", Align::kRight},
                   {"mean ms", Align::kRight},
                   {"p50 ms", Align::kRight},
                   {"p99 ms", Align::kRight},
                   {"success rate", Align::kRight}});
  for (const auto& [name, kind] : report.kinds) table.add_row(cells_of(name, kind, true));
  table.add_rule();
  table.add_row(cells_of("total", report.total(), false));
  return table.text();
}

}  // namespace

void KindReport::set_latency(const LatencyHistogram& latency) {
  latency_mean_ms = latency.mean_ns() / kMillisecond_ns;
  latency_p50_ms = static_cast<double>(latency.percentile_ns(50.0)) / kMillisecond_ns;
  latency_p99_ms = static_cast<double>(latency.percentile_ns(99.0)) / kMillisecond_ns;
}

KindReport& LayoutReport::kind(const std::string& name) {
  for (auto& [known, kind] : kinds) {
    if (known == name) return kind;
  }
  return kinds.emplace_back(name, KindReport{}).second;
}

KindReport LayoutReport::total() const {
  KindReport sum;
  for (const auto& entry : kinds) {
    sum.sent += entry.second.sent;
    sum.success += entry.second.success;
    sum.failure += entry.second.failure;
    sum.retries += entry.second.retries;
    sum.dead_lettered += entry.second.dead_lettered;
  }
  return sum;
}

std::string layout_report_json(const LayoutReport& report) {
  Json kinds = Json::object();
  for (const auto& [name, kind] : report.kinds) kinds[name] = json_of(kind);
  const Json json{{"graph", report.graph},
                  {"nodes", report.nodes},
                  {"edges", report.edges},
                  {"steps", report.steps},
                  {"seconds", number_or_null(report.seconds)},
                  {"backend", report.backend},
                  {"far_field", report.far_field},
                  {"stress_start", number_or_null(report.stress_start)},
                  {"stress_end", number_or_null(report.stress_end)},
                  {"kinetic_energy_start", number_or_null(report.kinetic_energy_start)},
                  {"kinetic_energy_end", number_or_null(report.kinetic_energy_end)},
                  {"kinds", kinds}};
  // Text that is not UTF-8 is replaced, since the alternative is an exception.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

FileStatus write_layout_report(const std::string& path, const LayoutReport& report) {
  return write_text_file(path, layout_report_json(report));
}

std::string layout_summary(const LayoutReport& report) {
  const KindReport total = report.total();
  const double steps_per_second =
      report.seconds > 0.0 ? static_cast<double>(report.steps) / report.seconds : 0.0;
  std::string text = report.graph + ": " + format_count(report.nodes) + " nodes, " +
                     format_count(report.edges) + " edges\n";
  text += format_count(report.steps) + " steps in " + format_duration(report.seconds) + " (" +
          format_decimal(steps_per_second, 1) + " a second) on " + report.backend + ", far field " +
          (report.far_field ? "on" : "off") + "\n";
  text += "stress " + change_text(report.stress_start, report.stress_end, 4) + ", kinetic energy " +
          change_text(report.kinetic_energy_start, report.kinetic_energy_end, 2) + "\n\n";
  text += table_of(report) + "\n";
  text += "sent " + format_count(total.sent) + ", acknowledged " + format_count(total.success) +
          ", failed " + format_count(total.failure) + ", retried " + format_count(total.retries) +
          "; success rate " + percent_text(total.success, total.sent) + ", failure rate " +
          percent_text(total.failure, total.sent) + "\n";
  return text;
}

}  // namespace ackbus::tools
