// `ackbus bench`: how fast this machine's bus is, as a ratio to the machine's own floor measured in
// the same run. Data flow: options -> bench/ starts a private daemon and a consumer and measures ->
// text or JSON. No bus of anybody else's is touched; --runtime-dir and --bus have no effect.
// Threads: one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/measurement.hpp"
#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct BenchRoundTripOptions {
  std::uint64_t messages = 100'000;
  std::uint64_t bytes = 64;
  std::string wait = "spin";  // spin, adaptive or block
  bool json = false;
};

struct BenchThroughputOptions {
  double seconds = 5;  // bus and floor together
  std::uint64_t bytes = 64;
  std::uint32_t window = 1024;
  bool json = false;
};

[[nodiscard]] ExitCode run_bench_roundtrip(const CommonOptions& common,
                                           const BenchRoundTripOptions& options);
// kFailed when a message was lost: sent and success must be equal.
[[nodiscard]] ExitCode run_bench_throughput(const CommonOptions& common,
                                            const BenchThroughputOptions& options);

// The reports, from figures.
[[nodiscard]] nlohmann::ordered_json roundtrip_json(const bench::RoundTripFigures& figures,
                                                    const BenchRoundTripOptions& options);
[[nodiscard]] nlohmann::ordered_json throughput_json(const bench::ThroughputFigures& figures,
                                                     const BenchThroughputOptions& options);

}  // namespace ackbus::tools
