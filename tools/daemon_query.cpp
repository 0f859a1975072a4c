#include "tools/daemon_query.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr std::size_t kErrorWidthMax = 2000;
constexpr std::size_t kFieldWidthMax = 200;

}  // namespace

ConnectOptions connect_options(const CommonOptions& common) {
  ConnectOptions options;
  options.bus = common.bus;
  options.runtime_dir = common.runtime_dir;
  options.client = "ackbus";
  options.connect_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>(common.connect_timeout_seconds));
  return options;
}

ExitCode report_error(ExitCode code, const std::string& text) {
  std::fprintf(stderr, "ackbus: %s\n", printable_text(text, kErrorWidthMax).c_str());
  return code;
}

ExitCode report_error(const Error& error) {
  return report_error(exit_code_of(error.code), error.text);
}

ExitCode report_error(const FileError& error) {
  return report_error(exit_code_of(error.code), error.text);
}

ExitCode print_text(const std::string& text) {
  const std::size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written != text.size() || std::fflush(stdout) != 0) {
    return report_error(ExitCode::kSystem, "standard output cannot be written");
  }
  return ExitCode::kDone;
}

Result<DaemonSession> DaemonSession::open(const CommonOptions& common) {
  Result<Tool> tool = Tool::connect(connect_options(common));
  if (!tool) {
    return tool.error();
  }
  return DaemonSession(std::move(tool).value());
}

Result<nlohmann::json> DaemonSession::ask(const nlohmann::json& request,
                                          std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const std::string text = request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const Result<std::string> answer = tool_.query(text, deadline);
  if (!answer) {
    return answer.error();
  }
  nlohmann::json parsed = nlohmann::json::parse(answer.value(), nullptr, false);
  if (!parsed.is_object()) {
    return Error{ErrorCode::kProtocol,
                 "the daemon's answer is not a JSON object: use an ackbus of the daemon's version"};
  }
  return parsed;
}

Result<nlohmann::json> ask_daemon(const CommonOptions& common, const nlohmann::json& request) {
  Result<DaemonSession> session = DaemonSession::open(common);
  if (!session) {
    return session.error();
  }
  return session->ask(request, kQueryTimeout);
}

const nlohmann::json& field(const nlohmann::json& object, const char* name) {
  static const nlohmann::json kNull;
  if (!object.is_object()) {
    return kNull;
  }
  const auto found = object.find(name);
  return found == object.end() ? kNull : *found;
}

std::uint64_t count_of(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>();
  }
  if (value.is_number_integer()) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(value.get<std::int64_t>(), 0));
  }
  if (value.is_number_float()) {
    const double real = value.get<double>();
    return real >= 0.0 && real < 1.8e19 ? static_cast<std::uint64_t>(real) : 0;
  }
  return 0;
}

std::uint64_t field_count(const nlohmann::json& object, const char* name) {
  return count_of(field(object, name));
}

double field_real(const nlohmann::json& object, const char* name) {
  const nlohmann::json& value = field(object, name);
  return value.is_number() ? value.get<double>() : 0.0;
}

bool field_flag(const nlohmann::json& object, const char* name, bool otherwise) {
  const nlohmann::json& value = field(object, name);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

std::string field_text(const nlohmann::json& object, const char* name, const char* otherwise) {
  const nlohmann::json& value = field(object, name);
  if (value.is_string()) {
    return printable_text(value.get_ref<const std::string&>(), kFieldWidthMax);
  }
  if (value.is_number() || value.is_boolean()) {
    return value.dump();
  }
  return otherwise;
}

std::string json_text(const nlohmann::json& document) {
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  const int digits = unit == 0 || value == std::floor(value) ? 0 : 1;
  return format_decimal(value, digits) + " " + kUnits[unit];
}

}  // namespace ackbus::tools
