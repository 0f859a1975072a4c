// What every command shares: where the bus is, how to ask its daemon, how to print an error.
// Data flow: a command's options -> a connected tool -> a JSON request out, a JSON answer in.
// Answers are input like any other: fields are looked up by name and type, and a missing or odd one
// reads as its default. Threads: one session belongs to one thread.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/options.hpp>
#include <ackbus/tool.hpp>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tools/exit_codes.hpp"
#include "tools/file_result.hpp"

namespace ackbus::tools {

// The options that every command takes.
struct CommonOptions {
  std::string runtime_dir;  // empty: found as find_runtime_dir() says
  std::string bus = "default";
  double connect_timeout_seconds = 5.0;
};

[[nodiscard]] ConnectOptions connect_options(const CommonOptions& common);

// Prints `ackbus: TEXT` as one line on standard error and gives the exit code that goes with it.
[[nodiscard]] ExitCode report_error(const Error& error);
[[nodiscard]] ExitCode report_error(const FileError& error);
[[nodiscard]] ExitCode report_error(ExitCode code, const std::string& text);

// Writes text to standard output at once; kSystem when it cannot be written.
[[nodiscard]] ExitCode print_text(const std::string& text);

// A connection to the daemon as a tool.
class DaemonSession {
 public:
  [[nodiscard]] static Result<DaemonSession> open(const CommonOptions& common);

  // Sends a JSON object {"verb": ...} and gives the answer's object. Errors: the daemon's refusal,
  // kTimeout, kDisconnected, and kProtocol for an answer that is no JSON object.
  [[nodiscard]] Result<nlohmann::json> ask(const nlohmann::json& request,
                                           std::chrono::milliseconds timeout);

  [[nodiscard]] Tool& tool() { return tool_; }

 private:
  explicit DaemonSession(Tool tool) : tool_(std::move(tool)) {}
  Tool tool_;
};

// How long the daemon may take over a query before the command gives up.
inline constexpr std::chrono::milliseconds kQueryTimeout{5000};

// Opens a session, asks once.
[[nodiscard]] Result<nlohmann::json> ask_daemon(const CommonOptions& common,
                                                const nlohmann::json& request);

// A field of an object; null when there is none.
[[nodiscard]] const nlohmann::json& field(const nlohmann::json& object, const char* name);
// A number as a count; 0 when it is no number or negative.
[[nodiscard]] std::uint64_t count_of(const nlohmann::json& value);
// A field's value, or the default when it is missing, of another type, or negative where none may
// be.
[[nodiscard]] std::uint64_t field_count(const nlohmann::json& object, const char* name);
[[nodiscard]] double field_real(const nlohmann::json& object, const char* name);
[[nodiscard]] bool field_flag(const nlohmann::json& object, const char* name, bool otherwise);
// A text safe to print, `otherwise` when there is none.
[[nodiscard]] std::string field_text(const nlohmann::json& object, const char* name,
                                     const char* otherwise = "-");

// A JSON document as indented text with a line end; broken UTF-8 is replaced.
[[nodiscard]] std::string json_text(const nlohmann::json& document);

// "17.3 MiB", "512 B".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);

}  // namespace ackbus::tools
