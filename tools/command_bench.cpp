#include "tools/command_bench.hpp"

#include <cmath>

#include "tools/text_table.hpp"
#include "tools/version.hpp"

namespace ackbus::tools {
namespace {

using Json = nlohmann::ordered_json;

double ratio_of(double one, double other) { return other > 0 ? one / other : 0; }

// To three places: what follows is noise.
double rounded(double value) { return std::round(value * 1000) / 1000; }

Json machine_json(const bench::Machine& machine, const bench::CorePair& cores) {
  Json used = {{"producer", cores.producer},
               {"consumer", cores.consumer},
               {"relation", cores.relation},
               {"pinned", cores.pinned()}};
  return {{"cpu", machine.cpu},           {"cores_online", machine.cores_online},
          {"cores", std::move(used)},     {"kernel", machine.kernel},
          {"governor", machine.governor}, {"build", build_text()}};
}

std::string machine_text(const bench::Machine& machine, const bench::CorePair& cores) {
  const std::string where = cores.pinned()
                                ? "producer on core " + std::to_string(cores.producer) +
                                      ", consumer on core " + std::to_string(cores.consumer) +
                                      " (" + cores.relation + ")"
                                : std::string("both processes on one core, not pinned");
  return printable_text(machine.cpu) + ", " + printable_text(machine.kernel) + ", " + build_text() +
         "\n" + where + "\n";
}

std::vector<std::string> times_row(const std::string& name, const bench::Percentiles& times) {
  std::vector<std::string> row{name};
  for (const std::uint64_t ns : {times.min_ns, times.p50_ns, times.p90_ns, times.p99_ns,
                                 times.p999_ns, times.max_ns, times.count}) {
    row.push_back(format_count(ns));
  }
  return row;
}

std::string roundtrip_text(const bench::RoundTripFigures& figures,
                           const BenchRoundTripOptions& options) {
  TextTable table({{"round trip"},
                   {"min ns", Align::kRight},
                   {"p50", Align::kRight},
                   {"p90", Align::kRight},
                   {"p99", Align::kRight},
                   {"p99.9", Align::kRight},
                   {"max", Align::kRight},
                   {"count", Align::kRight}});
  const bool pipe = options.wait == "block";
  table.add_row(times_row("tracked message and ack", figures.bus));
  table.add_row(
      times_row(pipe ? "a byte in a pipe each way" : "a cache line each way", figures.floor));
  const double ratio =
      ratio_of(static_cast<double>(figures.bus.p50_ns), static_cast<double>(figures.floor.p50_ns));
  return machine_text(figures.machine, figures.cores) + format_count(options.bytes) +
         "-byte payload, wait " + options.wait + "; one look at the clock (" +
         format_count(figures.clock_ns) + " ns) is in every time\n" + table.text() + "p50 is " +
         format_decimal(ratio, 2) + " times the floor\n";
}

std::string throughput_text(const bench::ThroughputFigures& figures,
                            const BenchThroughputOptions& options) {
  TextTable table({{"throughput"}, {"messages/s", Align::kRight}, {"best round", Align::kRight}});
  const auto rate = [](double value) { return format_count(static_cast<std::uint64_t>(value)); };
  table.add_row({"tracked and acked", rate(figures.messages_per_second),
                 rate(figures.messages_per_second_best)});
  table.add_row({"bare ring of 64-byte cells each way", rate(figures.floor_messages_per_second),
                 rate(figures.floor_messages_per_second_best)});
  return machine_text(figures.machine, figures.cores) + format_count(options.bytes) +
         "-byte payload, window " + format_count(options.window) + "\n" + table.text() + "sent " +
         format_count(figures.sent) + ", success " + format_count(figures.success) + "; " +
         format_decimal(ratio_of(figures.messages_per_second, figures.floor_messages_per_second),
                        3) +
         " of the floor\n";
}

WaitMode wait_mode(const std::string& word) {
  if (word == "block") {
    return WaitMode::kBlock;
  }
  return word == "adaptive" ? WaitMode::kAdaptive : WaitMode::kSpin;
}

}  // namespace

Json roundtrip_json(const bench::RoundTripFigures& figures, const BenchRoundTripOptions& options) {
  const bench::Percentiles& bus = figures.bus;
  const bench::Percentiles& floor = figures.floor;
  return {{"bench", "roundtrip"},
          {"p50_ns", bus.p50_ns},
          {"p90_ns", bus.p90_ns},
          {"p99_ns", bus.p99_ns},
          {"p999_ns", bus.p999_ns},
          {"min_ns", bus.min_ns},
          {"max_ns", bus.max_ns},
          {"count", bus.count},
          {"floor_p50_ns", floor.p50_ns},
          {"floor_p99_ns", floor.p99_ns},
          {"floor_p999_ns", floor.p999_ns},
          {"floor_min_ns", floor.min_ns},
          {"floor_max_ns", floor.max_ns},
          {"floor", options.wait == "block" ? "pipe" : "cache line"},
          {"ratio",
           rounded(ratio_of(static_cast<double>(bus.p50_ns), static_cast<double>(floor.p50_ns)))},
          {"clock_ns", figures.clock_ns},
          {"bytes", options.bytes},
          {"wait", options.wait},
          {"machine", machine_json(figures.machine, figures.cores)}};
}

Json throughput_json(const bench::ThroughputFigures& figures,
                     const BenchThroughputOptions& options) {
  const auto whole = [](double value) { return static_cast<std::uint64_t>(value); };
  return {
      {"bench", "throughput"},
      {"messages_per_second", whole(figures.messages_per_second)},
      {"messages_per_second_best", whole(figures.messages_per_second_best)},
      {"floor_messages_per_second", whole(figures.floor_messages_per_second)},
      {"floor_messages_per_second_best", whole(figures.floor_messages_per_second_best)},
      {"ratio", rounded(ratio_of(figures.messages_per_second, figures.floor_messages_per_second))},
      {"sent", figures.sent},
      {"success", figures.success},
      {"window", options.window},
      {"bytes", options.bytes},
      {"seconds", options.seconds},
      {"machine", machine_json(figures.machine, figures.cores)}};
}

ExitCode run_bench_roundtrip(const CommonOptions& /*common*/,
                             const BenchRoundTripOptions& options) {
  bench::RoundTripOptions wished;
  wished.daemon = find_program("ackbusd");
  wished.messages = options.messages;
  wished.bytes = options.bytes;
  wished.wait = wait_mode(options.wait);
  const Result<bench::RoundTripFigures> figures = bench::measure_roundtrip(wished);
  if (!figures) {
    return report_error(figures.error());
  }
  return print_text(options.json ? roundtrip_json(*figures, options).dump(2) + "\n"
                                 : roundtrip_text(*figures, options));
}

ExitCode run_bench_throughput(const CommonOptions& /*common*/,
                              const BenchThroughputOptions& options) {
  bench::ThroughputOptions wished;
  wished.daemon = find_program("ackbusd");
  wished.seconds = options.seconds;
  wished.bytes = options.bytes;
  wished.window = options.window;
  const Result<bench::ThroughputFigures> figures = bench::measure_throughput(wished);
  if (!figures) {
    return report_error(figures.error());
  }
  const ExitCode printed =
      print_text(options.json ? throughput_json(*figures, options).dump(2) + "\n"
                              : throughput_text(*figures, options));
  if (figures->sent != figures->success) {
    return report_error(ExitCode::kFailed, std::to_string(figures->sent) + " messages were sent, " +
                                               std::to_string(figures->success) + " succeeded");
  }
  return printed;
}

}  // namespace ackbus::tools
