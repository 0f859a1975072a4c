// `ackbus queue remove` and `ackbus reload`: what changes a bus that runs. Data flow: one query to
// the daemon, and what it did as one line of text or as JSON. One thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct QueueOptions {
  std::string name;
  bool json = false;
};

struct ReloadOptions {
  bool json = false;
};

// Ends the queue: its messages end Closed, its consumers are sent away. kDone; kNotFound when there
// is no such queue; kUsage when it is in the configuration, which would bring it back.
[[nodiscard]] ExitCode run_queue_remove(const CommonOptions& common, const QueueOptions& options);

// Makes the daemon read its configuration again. kDone, also when some keys wait for a restart,
// which are named; kUsage when it has a mistake, which is named, and the old one stays in force.
[[nodiscard]] ExitCode run_reload(const CommonOptions& common, const ReloadOptions& options);

// What is wrong with a queue's name, as the daemon would say; empty for a good one.
[[nodiscard]] std::string queue_name_problem(const std::string& name);

// The answers as lines.
[[nodiscard]] std::string removed_text(const std::string& name, const nlohmann::json& answer);
[[nodiscard]] std::string reloaded_text(const nlohmann::json& answer);

}  // namespace ackbus::tools
