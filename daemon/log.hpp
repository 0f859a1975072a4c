// The daemon's log: one line for each change of state, never a flood.
//
// Purpose: an operator reads what changed, with the same words and keys everywhere. Data flow: any
// part of the daemon calls line() or state(); under journald each record becomes native fields
// (sd_journal_sendv), elsewhere one logfmt line on stderr. Each category may write so many records
// a minute; what is left out is counted, and the next record, or one of its own when the minute is
// over, says how many. Threads: any; a mutex orders the records. The clock is given, so tests run
// in virtual time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ackbus::daemon {

enum class LogLevel : std::uint8_t { kReserved = 0, kDebug, kInfo, kWarning, kError };

/// "debug", "info", "warning", "error", and back.
[[nodiscard]] const char* to_text(LogLevel level);
[[nodiscard]] std::optional<LogLevel> parse_log_level(std::string_view text);

/// A key (lower-case letters, digits, underscore) and its value (any text).
struct LogField {
  std::string key;
  std::string value;
};

struct LogRecord {
  std::uint64_t realtime_ns = 0;
  LogLevel level = LogLevel::kInfo;
  std::string category;  // The part of the daemon, as "links", "consumers", "dead_letters".
  std::string message;
  std::vector<LogField> fields;
  std::uint64_t suppressed = 0;  // Records of this category left out before this one.
};

/// `ts=2025-01-31T12:00:00.123Z level=info category=links msg="link opened" link=5`: one line, no
/// line break at its end. Values with blanks, quotes or control characters are quoted and escaped.
[[nodiscard]] std::string to_logfmt(const LogRecord& record);

/// The record as journal fields: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, ACKBUS_CATEGORY, and ACKBUS_
/// with each key.
[[nodiscard]] std::vector<std::string> to_journal_fields(const LogRecord& record);

/// True when `journal_stream` ($JOURNAL_STREAM, may be null) names the file that descriptor `fd`
/// is.
[[nodiscard]] bool is_journal(const char* journal_stream, int fd);

class Log {
 public:
  using Sink = std::function<void(const LogRecord&)>;
  struct Times {
    std::uint64_t monotonic_ns;
    std::uint64_t realtime_ns;
  };
  using Clock = std::function<Times()>;

  struct Options {
    LogLevel level = LogLevel::kInfo;       // Records below it are left out, uncounted.
    std::uint32_t records_per_minute = 60;  // For each category; 1 or more.
    Sink sink;    // Empty: the journal if stderr is it, else logfmt on stderr.
    Clock clock;  // Empty: the system's.
  };

  explicit Log(Options options);

  /// Writes a record, unless the category has used up its minute. Whether it was written.
  bool line(LogLevel level, std::string_view category, std::string_view message,
            std::vector<LogField> fields = {});

  /// Writes a record when `message` differs from the last one written under `category` and `key`
  /// (as "link 5" or "metrics"): saying the same state again writes nothing. At most 4096 keys are
  /// remembered; with more all are forgotten and a state may be told once more.
  void state(LogLevel level, std::string_view category, std::string_view key,
             std::string_view message, std::vector<LogField> fields = {});

  /// Forgets the state of a key whose subject is gone.
  void forget(std::string_view category, std::string_view key);

  /// For a timer: writes, for each category whose minute is over, how much was left out of it, if
  /// no record said so yet. Gives the monotonic time in nanoseconds at which there will be more to
  /// tell, UINT64_MAX for never.
  std::uint64_t tell_suppressed();

  void set_level(LogLevel level);
  void set_records_per_minute(std::uint32_t records);

 private:
  struct Window {
    std::uint64_t start_ns = 0;
    std::uint32_t written = 0;
    std::uint64_t suppressed = 0;
    LogLevel suppressed_level = LogLevel::kReserved;  // The highest of them.
  };

  bool write(LogLevel level, std::string_view category, std::string_view message,
             std::vector<LogField> fields);
  Window* open_window(std::string_view category, std::uint64_t now_ns);

  std::mutex mutex_;  // Protects everything below.
  Options options_;
  std::map<std::string, Window, std::less<>> windows_;
  std::map<std::string, std::string, std::less<>> states_;
};

/// The daemon's one log, with the default options until main() sets it up.
[[nodiscard]] Log& daemon_log();

}  // namespace ackbus::daemon
