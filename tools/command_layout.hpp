// `ackbus layout`: lays a graph out on the bus, as a producer like any other. Data flow: a Matrix
// Market file -> InitializeGPU, UpdateGPUGraphData, SetSharedGPUContext -> a window of
// ComputeForces -> the last frame from the frames segment -> a picture, a JSON report, a summary.
// Nothing is written unless every message succeeded. Threads: one.
#pragma once

#include <cstdint>
#include <string>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct LayoutOptions {
  std::string graph;        // FILE.mtx or FILE.mtx.gz
  std::uint64_t steps = 0;  // at least 1
  std::string picture;      // FILE.png or FILE.svg; empty: none
  std::string report;       // a JSON file; empty: none
  std::uint32_t steps_per_message = 1;
  std::uint32_t window = 16;  // messages in flight
  bool far_field = true;
  std::uint64_t seed = 1337;
  std::uint64_t nudge = 0;  // an UpdateNodePositions after each so many messages; 0: none
  std::string queue = "gpu0";
};

// kDone when every message succeeded and every file was written; else the first failure's code, and
// no file was touched.
[[nodiscard]] ExitCode run_layout(const CommonOptions& common, const LayoutOptions& options);

}  // namespace ackbus::tools
