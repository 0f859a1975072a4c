// The report of a layout: what was laid out, how fast, how well, and what became of every message.
// Data flow: the layout command fills a LayoutReport, writes it as JSON, and prints it as a table.
// Threads: plain values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/file_result.hpp"
#include "tools/percentiles.hpp"

namespace ackbus::tools {

// Messages of one kind. sent = success + failure + what is still pending or ended otherwise
// (cancelled, superseded, closed).
struct KindReport {
  std::uint64_t sent = 0;
  std::uint64_t success = 0;  // Success and PartialSuccess.
  std::uint64_t failure = 0;  // Failed and exhausted.
  std::uint64_t retries = 0;  // Deliveries after the first.
  std::uint64_t dead_lettered = 0;
  double latency_mean_ms = 0.0;  // From the first send to the outcome; 0 when nothing succeeded.
  double latency_p50_ms = 0.0;
  double latency_p99_ms = 0.0;

  // Takes mean, p50 and p99 from a histogram.
  void set_latency(const LatencyHistogram& latency);
};

struct LayoutReport {
  std::string graph;  // The graph's name, safe to print.
  std::uint64_t nodes = 0;
  std::uint64_t edges = 0;
  std::uint64_t steps = 0;
  double seconds = 0.0;  // From the first ComputeForces commit to the last outcome.
  std::string backend;   // "cpu" or "cuda".
  bool far_field = true;
  std::optional<double>
      stress_start;  // Sampled and scale-normalised, 0 to 1; absent where it has no meaning.
  std::optional<double> stress_end;
  std::optional<double> kinetic_energy_start;
  std::optional<double> kinetic_energy_end;
  std::vector<std::pair<std::string, KindReport>>
      kinds;  // By name, in the order of their first sending.

  // The entry of a kind, added at the end when it is new. The reference holds until the next call.
  KindReport& kind(const std::string& name);

  // All kinds together; its latencies are 0, since percentiles do not add up.
  [[nodiscard]] KindReport total() const;
};

// The report as a JSON object, indented, with a line end. Members: graph, nodes, edges, steps,
// seconds, backend, far_field, stress_start, stress_end, kinetic_energy_start, kinetic_energy_end
// (null where absent or not finite), and kinds: an object by kind name with sent, success, failure,
// retries, dead_lettered, latency_mean_ms, latency_p50_ms, latency_p99_ms.
[[nodiscard]] std::string layout_report_json(const LayoutReport& report);

// Writes the JSON to `path`, which is replaced as a whole or left alone.
[[nodiscard]] FileStatus write_layout_report(const std::string& path, const LayoutReport& report);

// What the command prints at its end: the layout in a few lines, then messages by kind with a row
// of totals, and the overall success and failure rate (0 when nothing was sent).
[[nodiscard]] std::string layout_summary(const LayoutReport& report);

}  // namespace ackbus::tools
