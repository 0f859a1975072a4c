#include "daemon/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kMinuteNs = 60'000'000'000;
constexpr std::size_t kMaxStates = 4096;
constexpr std::size_t kMaxCategories = 64;

struct LevelText {
  LogLevel level;
  const char* text;
  int priority;  // As syslog counts.
};
constexpr std::array<LevelText, 4> kLevels = {{{LogLevel::kDebug, "debug", 7},
                                               {LogLevel::kInfo, "info", 6},
                                               {LogLevel::kWarning, "warning", 4},
                                               {LogLevel::kError, "error", 3}}};

std::uint64_t now_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

Log::Times system_times() { return {now_ns(CLOCK_MONOTONIC), now_ns(CLOCK_REALTIME)}; }

std::string timestamp(std::uint64_t realtime_ns) {
  const auto seconds = static_cast<time_t>(realtime_ns / 1'000'000'000);
  const auto milliseconds = static_cast<unsigned>(realtime_ns / 1'000'000 % 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> date{};
  const std::size_t length = strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03uZ", milliseconds);
  return std::string(date.data(), length) + fraction.data();
}

bool is_control(char letter) { return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f; }

void append_escaped(std::string& text, char letter) {
  if (letter == '"' || letter == '\\') {
    text += '\\';
    text += letter;
  } else if (letter == '\n') {
    text += "\\n";
  } else if (is_control(letter)) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto code = static_cast<unsigned char>(letter);
    text += "\\x";
    text += kDigits[code >> 4U];
    text += kDigits[code & 15U];
  } else {
    text += letter;
  }
}

std::string quoted_if_needed(const std::string& value) {
  const bool is_plain = !value.empty() && std::none_of(value.begin(), value.end(), [](char letter) {
    return letter == ' ' || letter == '"' || letter == '=' || letter == '\\' || is_control(letter);
  });
  if (is_plain) {
    return value;
  }
  std::string text = "\"";
  for (const char letter : value) {
    append_escaped(text, letter);
  }
  return text + '"';
}

/// The journal takes A-Z, 0-9 and underscore in names.
std::string journal_name(const std::string& key) {
  std::string name = "ACKBUS_";
  for (const char letter : key) {
    const auto upper = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    const bool is_valid = (upper >= 'A' && upper <= 'Z') || (upper >= '0' && upper <= '9');
    name += is_valid ? upper : '_';
  }
  return name;
}

void send_to_journal(const LogRecord& record) {
  std::vector<std::string> fields = to_journal_fields(record);
  std::vector<iovec> parts;
  parts.reserve(fields.size());
  for (std::string& field : fields) {
    parts.push_back({field.data(), field.size()});
  }
  sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

Log::Sink default_sink() {
  if (is_journal(std::getenv("JOURNAL_STREAM"), STDERR_FILENO)) {
    return send_to_journal;
  }
  auto logger = std::make_shared<spdlog::logger>("ackbusd",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  logger->flush_on(spdlog::level::trace);
  return [logger](const LogRecord& record) { logger->info("{}", to_logfmt(record)); };
}

std::string state_key(std::string_view category, std::string_view key) {
  return std::string(category) + '\n' + std::string(key);
}

}  // namespace

const char* to_text(LogLevel level) {
  for (const LevelText& entry : kLevels) {
    if (entry.level == level) {
      return entry.text;
    }
  }
  return "unknown";
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
  for (const LevelText& entry : kLevels) {
    if (entry.text == text) {
      return entry.level;
    }
  }
  return std::nullopt;
}

std::string to_logfmt(const LogRecord& record) {
  std::string line = "ts=" + timestamp(record.realtime_ns) + " level=" + to_text(record.level) +
                     " category=" + quoted_if_needed(record.category) +
                     " msg=" + quoted_if_needed(record.message);
  for (const LogField& field : record.fields) {
    line += ' ' + field.key + '=' + quoted_if_needed(field.value);
  }
  if (record.suppressed > 0) {
    line += " suppressed=" + std::to_string(record.suppressed);
  }
  return line;
}

std::vector<std::string> to_journal_fields(const LogRecord& record) {
  int priority = 6;
  for (const LevelText& entry : kLevels) {
    priority = entry.level == record.level ? entry.priority : priority;
  }
  std::vector<std::string> fields = {
      "MESSAGE=" + record.message, "PRIORITY=" + std::to_string(priority),
      "SYSLOG_IDENTIFIER=ackbusd", "ACKBUS_CATEGORY=" + record.category};
  for (const LogField& field : record.fields) {
    fields.push_back(journal_name(field.key) + '=' + field.value);
    // The fields are for queries; a person who reads only the message sees them too.
    fields.front() += ' ' + field.key + '=' + quoted_if_needed(field.value);
  }
  if (record.suppressed > 0) {
    fields.push_back("ACKBUS_SUPPRESSED=" + std::to_string(record.suppressed));
    fields.front() += " suppressed=" + std::to_string(record.suppressed);
  }
  return fields;
}

bool is_journal(const char* journal_stream, int fd) {
  struct stat state {};
  if (journal_stream == nullptr || fstat(fd, &state) != 0) {
    return false;
  }
  return journal_stream == std::to_string(state.st_dev) + ':' + std::to_string(state.st_ino);
}

Log::Log(Options options) : options_(std::move(options)) {
  options_.records_per_minute = std::max(options_.records_per_minute, 1U);
  if (!options_.sink) {
    options_.sink = default_sink();
  }
  if (!options_.clock) {
    options_.clock = system_times;
  }
}

bool Log::line(LogLevel level, std::string_view category, std::string_view message,
               std::vector<LogField> fields) {
  const std::lock_guard lock(mutex_);
  return write(level, category, message, std::move(fields));
}

void Log::state(LogLevel level, std::string_view category, std::string_view key,
                std::string_view message, std::vector<LogField> fields) {
  const std::lock_guard lock(mutex_);
  const std::string name = state_key(category, key);
  const auto known = states_.find(name);
  if (known != states_.end() && known->second == message) {
    return;
  }
  // Only what was written counts as told: a state that fell to the limit is told when it is next
  // said.
  if (write(level, category, message, std::move(fields))) {
    if (known == states_.end() && states_.size() == kMaxStates) {
      states_.clear();
    }
    states_[name] = message;
  }
}

void Log::forget(std::string_view category, std::string_view key) {
  const std::lock_guard lock(mutex_);
  states_.erase(state_key(category, key));
}

std::uint64_t Log::tell_suppressed() {
  const std::lock_guard lock(mutex_);
  const std::uint64_t now_ns = options_.clock().monotonic_ns;
  std::uint64_t next_ns = UINT64_MAX;
  for (auto& [category, window] : windows_) {
    if (window.suppressed == 0) {
      continue;
    }
    if (now_ns - window.start_ns < kMinuteNs) {
      next_ns = std::min(next_ns, window.start_ns + kMinuteNs);
    } else if (!write(window.suppressed_level, category,
                      "left out: log_records_per_minute is used up", {})) {
      window.suppressed = 0;  // The level was raised meanwhile: it is not to be heard.
    }
  }
  return next_ns;
}

void Log::set_level(LogLevel level) {
  const std::lock_guard lock(mutex_);
  options_.level = level;
}

void Log::set_records_per_minute(std::uint32_t records) {
  const std::lock_guard lock(mutex_);
  options_.records_per_minute = std::max(records, 1U);
}

bool Log::write(LogLevel level, std::string_view category, std::string_view message,
                std::vector<LogField> fields) {
  if (level < options_.level) {
    return false;
  }
  const Times now = options_.clock();
  Window* window = open_window(category, now.monotonic_ns);
  if (window->written >= options_.records_per_minute) {  // Above it: it was lowered meanwhile.
    ++window->suppressed;
    window->suppressed_level = std::max(window->suppressed_level, level);
    return false;
  }
  ++window->written;
  LogRecord record{now.realtime_ns,       level,
                   std::string(category), std::string(message),
                   std::move(fields),     std::exchange(window->suppressed, 0)};
  window->suppressed_level = LogLevel::kReserved;
  options_.sink(record);
  return true;
}

/// The category's present minute. Categories are words of the program, so their number is bounded;
/// should one slip in from outside, the oldest names do not grow without end either.
Log::Window* Log::open_window(std::string_view category, std::uint64_t now_ns) {
  auto found = windows_.find(category);
  if (found == windows_.end()) {
    if (windows_.size() == kMaxCategories) {
      windows_.clear();
    }
    found = windows_.emplace(category, Window{.start_ns = now_ns}).first;
  }
  Window& window = found->second;
  if (now_ns - window.start_ns >= kMinuteNs) {
    window.start_ns = now_ns;
    window.written = 0;
  }
  return &window;
}

Log& daemon_log() {
  static Log log({});
  return log;
}

}  // namespace ackbus::daemon
