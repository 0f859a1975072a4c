// `ackbus send`: one message by hand. Data flow: a file or standard input -> the payload, in place
// in the arena where its size is known -> commit -> the outcome, printed and turned into the exit
// code. One thread.
#pragma once

#include <ackbus/outcome.hpp>
#include <ackbus/producer.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct SendCommandOptions {
  std::string kind;  // a name, or a number from 1 to 63
  std::string queue = "gpu0";
  std::string file;                      // empty or "-": standard input
  std::uint64_t timeout_ms = 0;          // 0: the kind's
  std::optional<std::uint32_t> retries;  // none: the kind's
  std::uint64_t max_wait_ms = 0;         // 0: the kind's
  std::uint64_t key = 0;                 // 0: none
  double wait_seconds = 30.0;            // 0: do not wait for the outcome
};

// Standard input is read up to this size; a larger payload belongs into a file.
inline constexpr std::uint64_t kStandardInputBytesMax = 1ULL << 30;

// Longest wait for an outcome: a week.
inline constexpr double kWaitSecondsMax = 7.0 * 24 * 3600;

[[nodiscard]] ExitCode run_send(const CommonOptions& common, const SendCommandOptions& options);

// What is printed of an outcome: one line, then one line for each piece of metadata.
[[nodiscard]] std::string outcome_text(const Ticket& ticket, const Outcome& outcome);

}  // namespace ackbus::tools
