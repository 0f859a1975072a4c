// The configuration as a commented file, for `--check-config` and as the source of
// daemon/ackbusd.toml.
#include <algorithm>

#include "daemon/config.hpp"
#include "daemon/config_toml.hpp"

namespace ackbus::daemon {
namespace {

/// A TOML basic string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      out += '\\';
      out += letter;
    } else if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) {
      constexpr const char* kDigits = "0123456789abcdef";
      const auto code = static_cast<unsigned char>(letter);
      out += "\\u00";
      out += kDigits[code >> 4U];
      out += kDigits[code & 15U];
    } else {
      out += letter;
    }
  }
  return out + '"';
}

/// Collects lines of "key = value  # comment".
class Writer {
 public:
  void section(const std::string& about) { text_ += "\n# " + about + '\n'; }
  void header(const std::string& line) { text_ += line + '\n'; }
  void comment(const std::string& line) { text_ += "# " + line + '\n'; }
  void raw(const std::string& key, const std::string& value, const std::string& comment = "") {
    std::string line = key + " = " + value;
    if (!comment.empty()) {
      line.resize(std::max<std::size_t>(line.size() + 2, 36), ' ');
      line += "# " + comment;
    }
    text_ += line + '\n';
  }
  void text(const std::string& key, const std::string& value, const std::string& comment = "") {
    raw(key, quoted(value), comment);
  }
  /// A text for which empty means "not set": then the line is only a comment.
  void optional_text(const std::string& key, const std::string& value, const std::string& comment) {
    raw(value.empty() ? "# " + key : key, quoted(value), comment);
  }
  void number(const std::string& key, std::uint64_t value, const std::string& comment = "") {
    raw(key, std::to_string(value), comment);
  }
  void boolean(const std::string& key, bool value, const std::string& comment = "") {
    raw(key, value ? "true" : "false", comment);
  }
  void bytes(const std::string& key, std::uint64_t value, const std::string& comment = "") {
    raw(key, value == 0 ? "0" : quoted(bytes_text(value)), comment);
  }
  void numbers(const std::string& key, const std::vector<std::uint32_t>& values,
               const std::string& comment = "") {
    std::string list;
    for (const std::uint32_t value : values) {
      list += (list.empty() ? "" : ", ") + std::to_string(value);
    }
    raw(key, '[' + list + ']', comment);
  }
  [[nodiscard]] const std::string& result() const { return text_; }

 private:
  std::string text_;
};

void write_top(Writer& out, const Config& config) {
  out.comment(
      "The configuration of ackbusd. Every key is optional; the comments say what each does.");
  out.comment(
      "Sizes are bytes or texts as \"16 MiB\". `ackbusd --check-config` checks a file, SIGHUP "
      "reloads it.");
  out.text("name", config.name, "the bus: 1 to 31 of a-z 0-9 _ -");
  out.optional_text("runtime_dir", config.runtime_dir,
                    "holds NAME.sock; absent: as for the ackbus command");
  out.text("metrics", config.metrics, "HOST:PORT of the Prometheus endpoint, or \"off\"");
  out.number("tick_ms", config.tick_ms, "how exactly deadlines are kept");
  out.boolean("any_queue", config.any_queue, "a consumer may begin a queue that is not listed");
  out.text("log_level", to_text(config.log_level), "debug, info, warning or error");
  out.number("log_records_per_minute", config.log_records_per_minute,
             "for each part of the daemon");
}

void write_limits(Writer& out, const LimitsConfig& limits) {
  out.section("What clients may take.");
  out.header("[limits]");
  out.number("max_links", limits.max_links);
  out.number("max_links_per_uid", limits.max_links_per_uid, "0: as max_links");
  out.number("max_connections_per_uid", limits.max_connections_per_uid,
             "0: max_links_per_uid + 32");
  out.number("hello_timeout_ms", limits.hello_timeout_ms,
             "a client that has not said by then what it is goes");
  out.number("default_slots", limits.default_slots, "for who asks for none; a power of two");
  out.number("max_slots", limits.max_slots);
  out.bytes("default_arena_bytes", limits.default_arena_bytes,
            "for who asks for none; multiple of 4 KiB");
  out.bytes("max_arena_bytes", limits.max_arena_bytes, "0: as max_memory_bytes");
  out.bytes("max_memory_bytes", limits.max_memory_bytes,
            "of all segments; 0: half of the machine's");
  out.bytes("max_memory_per_uid_bytes", limits.max_memory_per_uid_bytes, "0: as max_memory_bytes");
}

void write_dead_letters(Writer& out, const Config& config) {
  const DeadLetterLimits& limits = config.dead_letter_limits;
  out.section("Messages that used up their retries, kept on disk (docs/dead-letters.md).");
  out.header("[dead_letters]");
  out.optional_text("directory", config.dead_letter_directory,
                    "/var/lib/... or ~/.local/state/ackbus/BUS/dead");
  out.number("max_letters", limits.max_letters);
  out.bytes("max_bytes", limits.max_bytes);
  out.number("max_letters_per_uid", limits.max_letters_per_uid, "of one sender's user");
  out.bytes("max_bytes_per_uid", limits.max_bytes_per_uid);
  out.bytes("payload_limit_bytes", limits.payload_limit_bytes,
            "of longer payloads only length and hash");
}

void write_backoff(Writer& out, const layout::BackoffPolicy& backoff) {
  out.section(
      "Retry n waits min(base_ms * 2^(n-1), max_ms), shortened by up to jitter_percent of it.");
  out.header("[backoff]");
  out.number("base_ms", backoff.base_ms);
  out.number("max_ms", backoff.max_ms);
  out.number("jitter_percent", backoff.jitter_percent);
}

void write_tools(Writer& out, const Config& config) {
  out.section("Who may look (status, show, dead list) besides root, the daemon's user and whoever");
  out.comment("a queue lists; operators may also redrive, purge, reload, remove queues, read");
  out.comment("payloads and segments, and shut the bus down. Users and groups by name or number.");
  out.header("[tools]");
  out.numbers("users", config.tools.users);
  out.numbers("groups", config.tools.groups);
  out.numbers("operator_users", config.operators.users);
  out.numbers("operator_groups", config.operators.groups);
}

void write_queues(Writer& out, const std::vector<QueueConfig>& queues) {
  out.section(
      "Queues, and who may use them besides root and the daemon's user, by name or number.");
  for (const QueueConfig& queue : queues) {
    out.header(&queue == &queues.front() ? "[[queue]]" : "\n[[queue]]");
    out.text("name", queue.name);
    out.numbers("producer_users", queue.producers.users);
    out.numbers("producer_groups", queue.producers.groups);
    out.numbers("consumer_users", queue.consumers.users);
    out.numbers("consumer_groups", queue.consumers.groups);
  }
}

void write_kinds(Writer& out, const std::vector<KindConfig>& kinds) {
  out.section("Kinds of messages. Ids 1 to 6 are built in and always there; others take 7 to 63.");
  out.comment(
      "timeout_ms: from begin (or commit, as `clock` says) to the final ack, before a retry.");
  out.comment(
      "max_wait_ms: from commit to begin. max_age_ms: as long as progress can keep it alive.");
  out.comment("supersede: a redelivery is skipped when a newer message of its key succeeded.");
  out.comment(
      "min_payload_bytes, max_payload_bytes: any other payload is refused to who sends it; 0 is no "
      "bound.");
  for (const KindConfig& kind : kinds) {
    out.header(&kind == &kinds.front() ? "[[kind]]" : "\n[[kind]]");
    out.number("id", kind.id);
    out.text("name", kind.name);
    out.number("timeout_ms", kind.timeout_ms);
    out.number("max_retries", kind.max_retries);
    out.number("max_wait_ms", kind.max_wait_ms);
    out.number("max_age_ms", kind.max_age_ms);
    out.boolean("supersede", kind.supersede);
    out.text("clock", kind.clock == ClockStart::kCommit ? "commit" : "begin");
    out.bytes("min_payload_bytes", kind.min_payload_bytes);
    out.bytes("max_payload_bytes", kind.max_payload_bytes);
  }
}

}  // namespace

std::string dump_config(const Config& config) {
  Writer out;
  write_top(out, config);
  write_limits(out, config.limits);
  write_dead_letters(out, config);
  write_backoff(out, config.backoff);
  write_tools(out, config);
  write_queues(out, config.queues);
  write_kinds(out, config.kinds);
  return out.result();
}

}  // namespace ackbus::daemon
