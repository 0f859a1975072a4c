#include "daemon/config.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "daemon/config_toml.hpp"
#include "shm_layout/kinds.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::uint32_t kMaxConnections = max_connections(kMaxLinks);
constexpr std::uint32_t kMaxTickMs = 1000;
constexpr std::uint64_t kArenaUnitBytes = 4096;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;
constexpr std::uint32_t kMaxNumber = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 20;
constexpr std::size_t kMaxAccountBytes = std::size_t{1}
                                         << 20;  // Of one entry of the user database.

const std::string kBusNameRemedy = "give 1 to 31 of a-z 0-9 _ -";
const std::string kNameRemedy = "give 1 to 31 of A-Z a-z 0-9 _ . -";

/// Asks the user database with a buffer that grows until the entry fits.
template <typename Entry, typename Ask>
bool find_account(Entry& entry, const Ask& ask, std::vector<char>& buffer) {
  for (std::size_t bytes = 1024; bytes <= kMaxAccountBytes; bytes *= 2) {
    buffer.resize(bytes);
    Entry* found = nullptr;
    const int reason = ask(&entry, buffer.data(), buffer.size(), &found);
    if (reason != ERANGE) {
      return reason == 0 && found != nullptr;
    }
  }
  return false;
}

std::optional<std::uint32_t> find_user(const std::string& name) {
  passwd entry{};
  std::vector<char> buffer;
  const auto ask = [&](passwd* place, char* data, std::size_t bytes, passwd** found) {
    return getpwnam_r(name.c_str(), place, data, bytes, found);
  };
  return find_account(entry, ask, buffer) ? std::optional(entry.pw_uid) : std::nullopt;
}

std::optional<std::uint32_t> find_group(const std::string& name) {
  group entry{};
  std::vector<char> buffer;
  const auto ask = [&](group* place, char* data, std::size_t bytes, group** found) {
    return getgrnam_r(name.c_str(), place, data, bytes, found);
  };
  return find_account(entry, ask, buffer) ? std::optional(entry.gr_gid) : std::nullopt;
}

bool is_absolute_path(std::string_view path) { return !path.empty() && path.front() == '/'; }

// A quota of memory holds at least one link as producers get it when they ask for none in
// particular.
void check_memory(TomlTable& reader, const char* key, std::uint64_t quota_bytes,
                  const LimitsConfig& limits) {
  const std::uint64_t smallest = link_bytes(layout::kSlotsMin, kArenaUnitBytes);
  const std::uint64_t usual = link_bytes(limits.default_slots, limits.default_arena_bytes);
  const std::string given =
      std::string("limits.") + key + " = " + std::to_string(quota_bytes) + " holds no link: ";
  if (quota_bytes != 0 && quota_bytes < smallest) {
    reader.fail(key, given + "the smallest takes " + std::to_string(smallest) + " bytes",
                "raise it");
  } else if (quota_bytes != 0 && quota_bytes < usual) {
    reader.fail(key,
                given + "one of default_slots and default_arena_bytes takes " +
                    std::to_string(usual) + " bytes",
                "raise it or lower those");
  }
}

void read_limits(TomlErrors& errors, const toml::table& table, LimitsConfig& limits) {
  TomlTable reader(errors, table, "limits.");
  reader.number("max_links", limits.max_links, 1, kMaxLinks);
  reader.number("max_links_per_uid", limits.max_links_per_uid, 0, kMaxLinks);
  reader.number("max_connections_per_uid", limits.max_connections_per_uid, 0, kMaxConnections);
  reader.number("hello_timeout_ms", limits.hello_timeout_ms, 1, layout::kTimeoutMaxMs);
  reader.number("default_slots", limits.default_slots, layout::kSlotsMin, layout::kSlotsMax);
  reader.number("max_slots", limits.max_slots, layout::kSlotsMin, layout::kSlotsMax);
  reader.bytes("default_arena_bytes", limits.default_arena_bytes, kArenaUnitBytes,
               layout::kArenaBytesMax);
  reader.bytes("max_arena_bytes", limits.max_arena_bytes, 0, layout::kArenaBytesMax);
  reader.bytes("max_memory_bytes", limits.max_memory_bytes, 0, kMaxBytes);
  reader.bytes("max_memory_per_uid_bytes", limits.max_memory_per_uid_bytes, 0, kMaxBytes);
  for (const auto& [key, slots] : {std::pair("default_slots", limits.default_slots),
                                   std::pair("max_slots", limits.max_slots)}) {
    if (!layout::is_power_of_two(slots)) {
      reader.fail(
          key, std::string("limits.") + key + " = " + std::to_string(slots) + " is no power of two",
          "give 1024, 2048, 4096, ...");
    }
  }
  if (limits.default_slots > limits.max_slots) {
    reader.fail("default_slots", "limits.default_slots is greater than limits.max_slots",
                "lower it or raise max_slots");
  }
  if (limits.default_arena_bytes % kArenaUnitBytes != 0 ||
      limits.max_arena_bytes % kArenaUnitBytes != 0) {
    reader.fail(limits.default_arena_bytes % kArenaUnitBytes != 0 ? "default_arena_bytes"
                                                                  : "max_arena_bytes",
                "an arena is no multiple of 4 KiB", "round it up");
  }
  if (limits.max_arena_bytes != 0 && limits.default_arena_bytes > limits.max_arena_bytes) {
    reader.fail("default_arena_bytes",
                "limits.default_arena_bytes is greater than limits.max_arena_bytes",
                "lower it or raise max_arena_bytes");
  }
  check_memory(reader, "max_memory_bytes", limits.max_memory_bytes, limits);
  check_memory(reader, "max_memory_per_uid_bytes", limits.max_memory_per_uid_bytes, limits);
  reader.finish();
}

void read_dead_letters(TomlErrors& errors, const toml::table& table, Config& config) {
  TomlTable reader(errors, table, "dead_letters.");
  DeadLetterLimits& limits = config.dead_letter_limits;
  // The store counts in 64 bits; a million letters is already a directory that no one reads.
  auto letters = static_cast<std::uint32_t>(limits.max_letters);
  auto letters_per_uid = static_cast<std::uint32_t>(limits.max_letters_per_uid);
  reader.text("directory", config.dead_letter_directory, is_absolute_path, "give an absolute path");
  reader.number("max_letters", letters, 1, 1'000'000);
  reader.bytes("max_bytes", limits.max_bytes, 4096, kMaxBytes);
  reader.number("max_letters_per_uid", letters_per_uid, 1, 1'000'000);
  reader.bytes("max_bytes_per_uid", limits.max_bytes_per_uid, 4096, kMaxBytes);
  reader.bytes("payload_limit_bytes", limits.payload_limit_bytes, 0, kMaxBytes);
  reader.finish();
  limits.max_letters = letters;
  limits.max_letters_per_uid = letters_per_uid;
}

void read_backoff(TomlErrors& errors, const toml::table& table, layout::BackoffPolicy& backoff) {
  TomlTable reader(errors, table, "backoff.");
  reader.number("base_ms", backoff.base_ms, 1, layout::kTimeoutMaxMs);
  reader.number("max_ms", backoff.max_ms, 1, layout::kTimeoutMaxMs);
  reader.number("jitter_percent", backoff.jitter_percent, 0, 100);
  if (backoff.base_ms > backoff.max_ms) {
    reader.fail("base_ms", "backoff.base_ms is greater than backoff.max_ms",
                "lower it or raise max_ms");
  }
  reader.finish();
}

void read_tools(TomlErrors& errors, const toml::table& table, Config& config) {
  TomlTable reader(errors, table, "tools.");
  reader.identities("users", config.tools.users, "user", find_user);
  reader.identities("groups", config.tools.groups, "group", find_group);
  reader.identities("operator_users", config.operators.users, "user", find_user);
  reader.identities("operator_groups", config.operators.groups, "group", find_group);
  reader.finish();
}

void read_queue(TomlErrors& errors, const toml::table& table, Config& config) {
  TomlTable reader(errors, table, "queue.");
  QueueConfig queue;
  reader.text("name", queue.name, is_valid_name, kNameRemedy);
  reader.identities("producer_users", queue.producers.users, "user", find_user);
  reader.identities("producer_groups", queue.producers.groups, "group", find_group);
  reader.identities("consumer_users", queue.consumers.users, "user", find_user);
  reader.identities("consumer_groups", queue.consumers.groups, "group", find_group);
  reader.finish();
  if (queue.name.empty()) {
    reader.fail("name", "a queue has no name", "add name = \"gpu0\"");
  } else if (config.find_queue(queue.name) != nullptr) {
    reader.fail("name", "queue \"" + queue.name + "\" is given twice", "join the two");
  } else if (config.queues.size() == layout::kQueuesMax) {
    reader.fail("name", "too many queues",
                "give " + std::to_string(layout::kQueuesMax) + " at most");
  }
  config.queues.push_back(std::move(queue));
}

/// The kind that a [[kind]] table speaks of: a built-in one by its name, or a new one. Null after
/// an error.
KindConfig* find_or_add_kind(TomlTable& reader, Config& config) {
  std::string name;
  std::uint32_t id = 0;
  reader.text("name", name, is_valid_name, kNameRemedy);
  reader.number("id", id, 1, layout::kKindsMax - 1);
  const layout::KindPolicy* built_in = layout::find_built_in_kind(std::string_view(name));
  const KindConfig* same_id = config.find_kind(static_cast<std::uint16_t>(id));
  const std::string range = std::to_string(layout::kBuiltInKindCount + 1) + " to " +
                            std::to_string(layout::kKindsMax - 1);
  if (name.empty()) {
    reader.fail("name", "a kind has no name", "add name = \"...\"");
  } else if (built_in != nullptr && id != 0 && id != built_in->id) {
    reader.fail("id", "kind " + name + " is built in with id " + std::to_string(built_in->id),
                "leave the id out or choose another name");
  } else if (built_in != nullptr) {
    return const_cast<KindConfig*>(config.find_kind(built_in->id));
  } else if (id == 0) {
    reader.fail("id", "kind " + name + " has no id", "add id = " + range);
  } else if (same_id != nullptr) {
    reader.fail("id", "kind id " + std::to_string(id) + " is already that of " + same_id->name,
                "choose a free one of " + range);
  } else if (config.find_kind(name) != nullptr) {
    reader.fail("name", "kind " + name + " is given twice", "join the two or choose another name");
  } else {
    KindConfig kind;
    kind.id = static_cast<std::uint16_t>(id);
    kind.name = name;
    kind.timeout_ms = 5000;
    kind.max_retries = 3;
    kind.max_wait_ms = layout::kDefaultMaxWaitMs;
    kind.max_age_ms = layout::kDefaultMaxAgeMs;
    return &config.kinds.emplace_back(std::move(kind));
  }
  return nullptr;
}

void read_kind(TomlErrors& errors, const toml::table& table, Config& config,
               std::set<std::string>& names_seen) {
  TomlTable reader(errors, table, "kind.");
  KindConfig* kind = find_or_add_kind(reader, config);
  if (kind == nullptr) {
    return;
  }
  if (!names_seen.insert(kind->name).second) {
    reader.fail("name", "kind " + kind->name + " is given twice", "join the two");
    return;
  }
  std::string clock = kind->clock == ClockStart::kCommit ? "commit" : "begin";
  reader.number("timeout_ms", kind->timeout_ms, layout::kTimeoutMinMs, layout::kTimeoutMaxMs);
  reader.number("max_retries", kind->max_retries, 0, layout::kRetriesMax);
  reader.number("max_wait_ms", kind->max_wait_ms, 1, layout::kTimeoutMaxMs);
  reader.number("max_age_ms", kind->max_age_ms, 1, kMaxNumber);
  reader.boolean("supersede", kind->supersede);
  reader.text(
      "clock", clock, [](auto text) { return text == "begin" || text == "commit"; },
      "give \"begin\" or \"commit\"");
  reader.bytes("min_payload_bytes", kind->min_payload_bytes, 0, kMaxBytes);
  reader.bytes("max_payload_bytes", kind->max_payload_bytes, 0, kMaxBytes);
  kind->clock = clock == "commit" ? ClockStart::kCommit : ClockStart::kBegin;
  if (kind->max_age_ms < kind->timeout_ms) {
    reader.fail("max_age_ms", "kind " + kind->name + ": max_age_ms is less than timeout_ms",
                "raise max_age_ms");
  }
  if (kind->max_payload_bytes != 0 && kind->max_payload_bytes < kind->min_payload_bytes) {
    reader.fail("max_payload_bytes",
                "kind " + kind->name + ": max_payload_bytes is less than min_payload_bytes",
                "raise max_payload_bytes");
  }
  reader.finish();
}

void read_top(TomlErrors& errors, const toml::table& table, Config& config) {
  TomlTable reader(errors, table, "");
  std::string level = to_text(config.log_level);
  reader.text("name", config.name, is_valid_bus_name, kBusNameRemedy);
  reader.text("runtime_dir", config.runtime_dir, is_absolute_path, "give an absolute path");
  reader.text("metrics", config.metrics, is_valid_metrics_address,
              "give HOST:PORT with a numeric host, as \"127.0.0.1:9975\", or \"off\"");
  reader.number("tick_ms", config.tick_ms, 1, kMaxTickMs);
  reader.boolean("any_queue", config.any_queue);
  reader.text(
      "log_level", level, [](auto text) { return parse_log_level(text).has_value(); },
      "give \"debug\", \"info\", \"warning\" or \"error\"");
  reader.number("log_records_per_minute", config.log_records_per_minute, 1, 1'000'000);
  config.log_level = parse_log_level(level).value_or(LogLevel::kInfo);
  if (const toml::table* limits = reader.table("limits")) {
    read_limits(errors, *limits, config.limits);
  }
  if (const toml::table* dead_letters = reader.table("dead_letters")) {
    read_dead_letters(errors, *dead_letters, config);
  }
  if (const toml::table* backoff = reader.table("backoff")) {
    read_backoff(errors, *backoff, config.backoff);
  }
  if (const toml::table* tools = reader.table("tools")) {
    read_tools(errors, *tools, config);
  }
  const auto queues = reader.tables("queue");
  if (!queues.empty()) {
    config.queues.clear();
  }
  for (const toml::table* queue : queues) {
    read_queue(errors, *queue, config);
  }
  std::set<std::string> names_seen;
  for (const toml::table* kind : reader.tables("kind")) {
    read_kind(errors, *kind, config, names_seen);
  }
  reader.finish();
}

}  // namespace

Config default_config() {
  Config config;
  config.queues.push_back({"gpu0", {}, {}});
  for (const layout::KindPolicy& built_in : layout::kBuiltInKinds) {
    KindConfig kind;
    kind.id = built_in.id;
    kind.name = built_in.name;
    kind.timeout_ms = built_in.timeout_ms;
    kind.max_retries = built_in.max_retries;
    kind.max_wait_ms = built_in.max_wait_ms;
    kind.max_age_ms = built_in.max_age_ms;
    kind.supersede = built_in.supersede;
    config.kinds.push_back(std::move(kind));
  }
  return config;
}

Result<Config> load_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  struct stat state {};
  if (!file || stat(path.c_str(), &state) != 0 || !S_ISREG(state.st_mode)) {
    const std::string reason = file ? "is no file" : std::strerror(errno);
    return {ErrorCode::kNotFound, path + ": configuration cannot be read: " + reason +
                                      ": correct the path given to --config"};
  }
  if (static_cast<std::uint64_t>(state.st_size) > kMaxFileBytes) {
    return {ErrorCode::kInvalid, path + ": configuration is larger than 1 MiB: it is not one"};
  }
  std::stringstream text;
  text << file.rdbuf();
  return parse_config(text.str(), path);
}

Result<Config> parse_config(std::string_view text, const std::string& file) {
  TomlErrors errors(file);
  Config config = default_config();
  try {
    const toml::table table = toml::parse(text, file);
    read_top(errors, table, config);
  } catch (const toml::parse_error& error) {
    errors.add(error.source(), std::string(error.description()), "write it as TOML 1.0");
  }
  if (errors.first()) {
    return *errors.first();
  }
  std::sort(config.kinds.begin(), config.kinds.end(),
            [](const KindConfig& a, const KindConfig& b) { return a.id < b.id; });
  return config;
}

}  // namespace ackbus::daemon
