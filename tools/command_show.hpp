// `ackbus show ID`: what is known of one message. Data flow: one query to the daemon, its answer as
// lines of text or as JSON. One thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct ShowOptions {
  std::string id;  // 36 characters
  bool json = false;
};

// kDone; kUsage for a malformed id; kNotFound when nobody knows the message any more.
[[nodiscard]] ExitCode run_show(const CommonOptions& common, const ShowOptions& options);

// The lines that a found message is shown as.
[[nodiscard]] std::string show_text(const std::string& id, const nlohmann::json& answer);

}  // namespace ackbus::tools
