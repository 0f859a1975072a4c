// `ackbus bench hostile`: what honest clients lose while somebody attacks the bus. Data flow:
// options
// -> bench/ measures beside an attacker -> text or JSON. Threads: one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/hostile.hpp"
#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct BenchHostileOptions {
  std::string attacker;  // empty: ackbus-hostile-peer beside this program
  std::vector<std::string> attacks;
  std::uint32_t windows = 5;
  double seconds = 0.4;  // of a window
  bool json = false;
};

[[nodiscard]] ExitCode run_bench_hostile(const CommonOptions& common,
                                         const BenchHostileOptions& options);
// The report, from figures.
[[nodiscard]] nlohmann::ordered_json hostile_json(const bench::HostileReport& report,
                                                  const BenchHostileOptions& options);

}  // namespace ackbus::tools
