#include "tools/command_bench_hostile.hpp"

#include <cmath>

#include "tools/text_table.hpp"
#include "tools/version.hpp"

namespace ackbus::tools {
namespace {

using Json = nlohmann::ordered_json;

double ratio_of(double one, double other) {
  return other > 0 ? std::round(one / other * 1000) / 1000 : 0;
}

Json side_json(const bench::HostileSide& side) {
  return {{"messages_per_second", std::round(side.messages_per_second)},
          {"p50_ns", side.p50_ns},
          {"p99_ns", side.p99_ns}};
}

std::string micros(double ns) { return format_decimal(ns / 1000, 1); }

std::string hostile_text(const bench::HostileReport& report, const BenchHostileOptions& options) {
  TextTable table({{"attack"},
                   {"msg/s alone", Align::kRight},
                   {"attacked", Align::kRight},
                   {"ratio", Align::kRight},
                   {"p50 us", Align::kRight},
                   {"attacked", Align::kRight},
                   {"p99 us", Align::kRight},
                   {"attacked", Align::kRight},
                   {"ratio", Align::kRight}});
  for (const bench::HostileFigures& one : report.attacks) {
    const auto rate = [](double value) { return format_count(static_cast<std::uint64_t>(value)); };
    table.add_row(
        {one.attack, rate(one.alone.messages_per_second), rate(one.attacked.messages_per_second),
         format_decimal(ratio_of(one.attacked.messages_per_second, one.alone.messages_per_second),
                        3),
         micros(one.alone.p50_ns), micros(one.attacked.p50_ns), micros(one.alone.p99_ns),
         micros(one.attacked.p99_ns),
         format_decimal(ratio_of(one.attacked.p99_ns, one.alone.p99_ns), 3)});
  }
  const std::string where = report.victims_core < 0
                                ? "all processes on one core: the attacker's own time counts too"
                                : "victims on core " + std::to_string(report.victims_core) +
                                      ", daemon and attacker on core " +
                                      std::to_string(report.others_core);
  return printable_text(report.machine.cpu) + ", " + printable_text(report.machine.kernel) + ", " +
         build_text() + "\n" + where + "; medians of " + std::to_string(options.windows) +
         " windows of each sort, in turns\n" + table.text();
}

}  // namespace

Json hostile_json(const bench::HostileReport& report, const BenchHostileOptions& options) {
  Json attacks = Json::array();
  for (const bench::HostileFigures& one : report.attacks) {
    attacks.push_back({{"attack", one.attack},
                       {"alone", side_json(one.alone)},
                       {"attacked", side_json(one.attacked)},
                       {"throughput_ratio",
                        ratio_of(one.attacked.messages_per_second, one.alone.messages_per_second)},
                       {"p99_ratio", ratio_of(one.attacked.p99_ns, one.alone.p99_ns)}});
  }
  return {{"bench", "hostile"},
          {"attacks", std::move(attacks)},
          {"windows", options.windows},
          {"seconds", options.seconds},
          {"machine",
           {{"cpu", report.machine.cpu},
            {"kernel", report.machine.kernel},
            {"cores_online", report.machine.cores_online},
            {"victims_core", report.victims_core},
            {"others_core", report.others_core},
            {"build", build_text()}}}};
}

ExitCode run_bench_hostile(const CommonOptions& /*common*/, const BenchHostileOptions& options) {
  bench::HostileOptions wished;
  wished.daemon = find_program("ackbusd");
  wished.attacker =
      options.attacker.empty() ? find_program("ackbus-hostile-peer") : options.attacker;
  wished.attacks = options.attacks;
  wished.windows = options.windows;
  wished.window_seconds = options.seconds;
  const Result<bench::HostileReport> report = bench::measure_hostile(wished);
  if (!report) {
    return report_error(report.error());
  }
  return print_text(options.json ? hostile_json(*report, options).dump(2) + "\n"
                                 : hostile_text(*report, options));
}

}  // namespace ackbus::tools
