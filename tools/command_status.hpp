// `ackbus status`: what the bus does now. Data flow: one query (with --watch one a second) to the
// daemon, its answer to standard output as text, JSON or the protocol summary, or judged by
// --check. One thread.
#pragma once

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct StatusOptions {
  bool json = false;
  bool metrics = false;
  bool watch = false;
  bool check = false;
};

// kDone; with --check kDegraded and a line for each reason; else the error's code. --watch goes on
// through a daemon's restart until it is interrupted.
[[nodiscard]] ExitCode run_status(const CommonOptions& common, const StatusOptions& options);

}  // namespace ackbus::tools
