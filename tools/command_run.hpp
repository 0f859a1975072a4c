// `ackbus run`: a whole bus under one supervisor, for development and containers. Data flow: the
// options -> the command lines of ackbusd and ackbus-gpu -> the supervisor. It serves the
// descriptor store to the daemon, so a daemon that dies comes back with every segment. Threads: the
// supervisor's; and one that asks the daemon to shut the bus down while the supervisor goes on
// listening to it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct RunOptions {
  std::string backend = "auto";  // cpu, cuda or auto
  std::string config;            // a TOML file; empty: the daemon's defaults
  std::string dead_letters;      // the dead letters' folder; empty: the configuration's
  std::string metrics;           // HOST:PORT or off; empty: the configuration's
  std::uint32_t threads = 0;     // of the CPU backend; 0: one for each core
  std::string queue = "gpu0";
  bool gpu = true;  // false: the daemon alone
};

// Runs until it is told to end; kDone after an orderly end.
[[nodiscard]] ExitCode run_run(const CommonOptions& common, const RunOptions& options);

// The programs' command lines, the path first.
[[nodiscard]] std::vector<std::string> daemon_arguments(const std::string& program,
                                                        const CommonOptions& common,
                                                        const RunOptions& options);
[[nodiscard]] std::vector<std::string> gpu_arguments(const std::string& program,
                                                     const CommonOptions& common,
                                                     const RunOptions& options);

}  // namespace ackbus::tools
