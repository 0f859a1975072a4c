// `ackbus dead list|show|redrive|purge`: the letters that messages left when their retries were
// used up. Data flow: one query to the daemon, which owns the store, and its answer as text or
// JSON. One thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

inline constexpr std::uint64_t kDeadListLimitDefault = 100;

struct DeadOptions {
  std::string id;  // a message id; for redrive and purge also "all"; empty: none given
  std::uint64_t limit = kDeadListLimitDefault;      // list and redrive: at most so many
  std::string queue, kind, reason;                  // list: only letters of these; empty: of any
  std::optional<std::uint64_t> older_than_seconds;  // purge
  bool json = false;
};

// Each gives kDone, kUsage for a malformed id or selection, or the error's code.
[[nodiscard]] ExitCode run_dead_list(const CommonOptions& common, const DeadOptions& options);
[[nodiscard]] ExitCode run_dead_show(const CommonOptions& common, const DeadOptions& options);
[[nodiscard]] ExitCode run_dead_redrive(const CommonOptions& common, const DeadOptions& options);
[[nodiscard]] ExitCode run_dead_purge(const CommonOptions& common, const DeadOptions& options);

// The list as a table, with a line that says how many letters are behind its end, or that there is
// no letter.
[[nodiscard]] std::string dead_list_text(const nlohmann::json& answer);

}  // namespace ackbus::tools
