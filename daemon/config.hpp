// The daemon's configuration: what the TOML file says, checked, with every default filled in.
//
// Purpose: one plain value that the rest of the daemon reads. Data flow: load_config() ->
// complete_config() -> the bus; at SIGHUP the same again, and the old value stays in force when the
// new file has an error. Threads: plain values and pure functions; any thread. daemon/ackbusd.toml
// shows every key with its default.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/dead_letters.hpp"
#include "daemon/log.hpp"
#include "daemon/result.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/policy.hpp"

namespace ackbus::daemon {

/// When the timeout of a kind's messages starts.
enum class ClockStart : std::uint8_t { kReserved = 0, kBegin, kCommit };

struct KindConfig {
  std::uint16_t id = 0;  // 1 to 6 are the built-in kinds, 7 to 63 any others.
  std::string name;
  std::uint32_t timeout_ms = 0;
  std::uint32_t max_retries = 0;
  std::uint32_t max_wait_ms = 0;
  std::uint32_t max_age_ms = 0;
  bool supersede = false;
  ClockStart clock = ClockStart::kBegin;
  std::uint64_t min_payload_bytes = 0;  // Smaller or larger payloads are refused; 0 = no bound.
  std::uint64_t max_payload_bytes = 0;
};

/// Who may attach in one role. Empty: only the daemon's own user and root.
struct AccessList {
  std::vector<uid_t> users;
  std::vector<gid_t> groups;

  /// True for the daemon's own user, for root, for a listed user, and for a member of a listed
  /// group.
  [[nodiscard]] bool allows(uid_t user, std::span<const gid_t> groups_of_user,
                            uid_t daemon_user) const;
};

struct QueueConfig {
  std::string name;
  AccessList producers;
  AccessList consumers;
};

/// What [limits] max_links may say; the daemon's books have room for so many from the start.
inline constexpr std::uint32_t kMaxLinks = 4096;
/// Consumers and tools of one user beside its links.
inline constexpr std::uint32_t kSpareConnections = 32;

/// Clients of all users that are connected at once, at most: two users' worth.
[[nodiscard]] constexpr std::uint32_t max_connections(std::uint32_t max_links) {
  return 2 * (max_links + kSpareConnections);
}

/// What a link takes of [limits] max_memory_bytes: its submission, tracking and one ack segment.
[[nodiscard]] std::uint64_t link_bytes(std::uint64_t slots, std::uint64_t arena_bytes);

struct LimitsConfig {
  std::uint32_t max_links = 1024;
  std::uint32_t max_links_per_uid = 0;  // 0: as max_links. complete_config() fills in these zeros.
  std::uint32_t max_connections_per_uid = 0;  // 0: max_links_per_uid and kSpareConnections more.
  std::uint32_t hello_timeout_ms = 5000;      // For a client to say what it is.
  std::uint32_t default_slots = layout::kSlotsDefault;  // For producers that leave it to the bus.
  std::uint32_t max_slots = layout::kSlotsMax;
  std::uint64_t default_arena_bytes = layout::kArenaBytesDefault;
  std::uint64_t max_arena_bytes = 0;           // 0: as max_memory_bytes.
  std::uint64_t max_memory_bytes = 0;          // 0: half of the machine's.
  std::uint64_t max_memory_per_uid_bytes = 0;  // 0: as max_memory_bytes.
};

struct Config {
  std::string name = "default";
  std::string runtime_dir;                 // Empty until complete_config().
  std::string metrics = "127.0.0.1:9975";  // Or "off".
  std::uint32_t tick_ms = 1;
  bool any_queue = true;  // A consumer may begin a queue that is not listed.
  LogLevel log_level = LogLevel::kInfo;
  std::uint32_t log_records_per_minute = 60;
  LimitsConfig limits;
  std::string dead_letter_directory;  // Empty until complete_config().
  DeadLetterLimits dead_letter_limits;
  layout::BackoffPolicy backoff;
  AccessList tools;                 // Who may look, besides whoever a queue or `operators` lists.
  AccessList operators;             // Who may change things as the daemon's own user may.
  std::vector<QueueConfig> queues;  // At least one.
  std::vector<KindConfig> kinds;    // By rising id; the built-in ones are always there.

  [[nodiscard]] const KindConfig* find_kind(std::uint16_t id) const;
  [[nodiscard]] const KindConfig* find_kind(std::string_view kind_name) const;
  [[nodiscard]] const QueueConfig* find_queue(std::string_view queue_name) const;

  /// Whether a user may connect at all, and then look (status, show, dead list): the daemon's own
  /// user, root, and whoever is listed anywhere.
  [[nodiscard]] bool admits(uid_t user, std::span<const gid_t> groups_of_user,
                            uid_t daemon_user) const;
  /// Whether somebody besides root and the daemon's own user may connect.
  [[nodiscard]] bool is_shared() const;
};

/// The keys whose values differ and that a running daemon cannot take over, as a log names them
/// ("metrics"). Both configurations are complete.
[[nodiscard]] std::vector<std::string> keys_for_restart(const Config& in_force,
                                                        const Config& fresh);
/// Gives `fresh` the values in force of those keys.
void keep_restart_keys(const Config& in_force, Config& fresh);

/// What an empty file gives: the built-in kinds and the queue "gpu0".
[[nodiscard]] Config default_config();

/// Reads a configuration file. Errors are one line, "FILE:LINE:COLUMN: thing: remedy": unknown key,
/// wrong type, value out of range, duplicate or impossible kind or queue, unknown user or group,
/// broken TOML.
Result<Config> load_config(const std::string& path);

/// The same from a text; `file` is its name in errors.
Result<Config> parse_config(std::string_view text, const std::string& file);

/// The configuration as a commented file that load_config() reads back to the same.
[[nodiscard]] std::string dump_config(const Config& config);

/// What complete_config() needs to know of the process and the machine.
struct Environment {
  uid_t user = 0;
  std::uint64_t physical_memory_bytes = 0;
  std::function<std::optional<std::string>(const char* name)> variable;
  std::function<bool(const std::string& path)> directory_exists;

  [[nodiscard]] static Environment of_this_process();
};

/// Fills in what the file leaves open. runtime_dir: $ACKBUS_RUNTIME_DIR, else
/// $XDG_RUNTIME_DIR/ackbus, else /run/ackbus for root or where it exists. dead_letter_directory:
/// $STATE_DIRECTORY/BUS/dead (systemd), else /var/lib/ackbus/BUS/dead for root, else
/// $XDG_STATE_HOME/ackbus/BUS/dead or ~/.local/state/ackbus/BUS/dead. The zeros of the limits. What
/// is set stays.
Result<void> complete_config(Config& config, const Environment& environment);

/// 1 to 31 of a-z 0-9 _ -
[[nodiscard]] bool is_valid_bus_name(std::string_view name);
/// 1 to 31 of A-Z a-z 0-9 _ . -
[[nodiscard]] bool is_valid_name(std::string_view name);
/// "off", or HOST:PORT with a numeric host ([HOST]:PORT for IPv6) and a port of 0 to 65535.
[[nodiscard]] bool is_valid_metrics_address(std::string_view address);

}  // namespace ackbus::daemon
