// What a configuration means: names, addresses, access, and what the environment fills in. The
// reading is in config.cpp.
#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "daemon/config.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz0123456789_-";
constexpr std::string_view kAnyCase =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

bool is_made_of(std::string_view name, std::string_view letters) {
  return !name.empty() && name.size() < layout::kNameBytesMax &&
         name.find_first_not_of(letters) == std::string_view::npos;
}

bool is_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_numeric_host(std::string_view host) {
  const bool is_bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  const std::string inner(is_bracketed ? host.substr(1, host.size() - 2) : host);
  in6_addr address{};
  return inet_pton(is_bracketed ? AF_INET6 : AF_INET, inner.c_str(), &address) == 1;
}

/// A variable that is set and not empty.
std::optional<std::string> set_variable(const Environment& environment, const char* name) {
  auto value = environment.variable(name);
  return value && !value->empty() ? value : std::nullopt;
}

Result<std::string> choose_runtime_dir(const Environment& environment) {
  if (auto chosen = set_variable(environment, "ACKBUS_RUNTIME_DIR")) {
    return *chosen;
  }
  if (auto user = set_variable(environment, "XDG_RUNTIME_DIR")) {
    return *user + "/ackbus";
  }
  const std::string system = "/run/ackbus";
  if (environment.user == 0 || environment.directory_exists(system)) {
    return system;
  }
  return {ErrorCode::kNotFound,
          "no runtime directory: there is neither $ACKBUS_RUNTIME_DIR nor $XDG_RUNTIME_DIR nor "
          "/run/ackbus: give --runtime-dir DIR"};
}

Result<std::string> choose_state_dir(const Environment& environment) {
  if (auto service = set_variable(environment, "STATE_DIRECTORY")) {
    return service->substr(0, service->find(':'));  // systemd lists all; the first is ours.
  }
  if (environment.user == 0) {
    return std::string("/var/lib/ackbus");
  }
  if (auto state = set_variable(environment, "XDG_STATE_HOME")) {
    return *state + "/ackbus";
  }
  if (auto home = set_variable(environment, "HOME")) {
    return *home + "/.local/state/ackbus";
  }
  return {
      ErrorCode::kNotFound,
      "no directory for dead letters: there is neither $STATE_DIRECTORY nor $XDG_STATE_HOME nor "
      "$HOME: set dead_letters.directory"};
}

bool is_empty(const AccessList& list) { return list.users.empty() && list.groups.empty(); }

template <typename Number>
void fill(Number& limit, Number value) {
  limit = limit == 0 ? value : limit;
}

}  // namespace

std::uint64_t link_bytes(std::uint64_t slots, std::uint64_t arena_bytes) {
  return layout::SubmissionGeometry{slots, arena_bytes}.bytes() +
         layout::TrackingGeometry{slots}.bytes() + layout::AckGeometry{slots}.bytes();
}

bool AccessList::allows(uid_t user, std::span<const gid_t> groups_of_user,
                        uid_t daemon_user) const {
  const auto is_listed = [this](gid_t member) {
    return std::find(groups.begin(), groups.end(), member) != groups.end();
  };
  return user == daemon_user || user == 0 ||
         std::find(users.begin(), users.end(), user) != users.end() ||
         std::any_of(groups_of_user.begin(), groups_of_user.end(), is_listed);
}

bool Config::admits(uid_t user, std::span<const gid_t> groups_of_user, uid_t daemon_user) const {
  const auto allows = [&](const AccessList& list) {
    return list.allows(user, groups_of_user, daemon_user);
  };
  return allows(tools) || allows(operators) ||
         std::any_of(queues.begin(), queues.end(), [&](const QueueConfig& queue) {
           return allows(queue.producers) || allows(queue.consumers);
         });
}

bool Config::is_shared() const {
  return !is_empty(tools) || !is_empty(operators) ||
         std::any_of(queues.begin(), queues.end(), [](const QueueConfig& queue) {
           return !is_empty(queue.producers) || !is_empty(queue.consumers);
         });
}

std::vector<std::string> keys_for_restart(const Config& in_force, const Config& fresh) {
  std::vector<std::string> keys;
  const auto compare = [&](const char* key, const auto& before, const auto& after) {
    if (before != after) {
      keys.emplace_back(key);
    }
  };
  compare("name", in_force.name, fresh.name);
  compare("runtime_dir", in_force.runtime_dir, fresh.runtime_dir);
  compare("metrics", in_force.metrics, fresh.metrics);
  compare("tick_ms", in_force.tick_ms, fresh.tick_ms);
  compare("dead_letters.directory", in_force.dead_letter_directory, fresh.dead_letter_directory);
  return keys;
}

void keep_restart_keys(const Config& in_force, Config& fresh) {
  fresh.name = in_force.name;
  fresh.runtime_dir = in_force.runtime_dir;
  fresh.metrics = in_force.metrics;
  fresh.tick_ms = in_force.tick_ms;
  fresh.dead_letter_directory = in_force.dead_letter_directory;
}

const KindConfig* Config::find_kind(std::uint16_t id) const {
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.id == id; });
  return found == kinds.end() ? nullptr : &*found;
}

const KindConfig* Config::find_kind(std::string_view kind_name) const {
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const auto& kind) { return kind.name == kind_name; });
  return found == kinds.end() ? nullptr : &*found;
}

const QueueConfig* Config::find_queue(std::string_view queue_name) const {
  const auto found = std::find_if(queues.begin(), queues.end(),
                                  [&](const auto& queue) { return queue.name == queue_name; });
  return found == queues.end() ? nullptr : &*found;
}

Environment Environment::of_this_process() {
  Environment environment;
  environment.user = geteuid();
  environment.physical_memory_bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                                      static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  environment.variable = [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  environment.directory_exists = [](const std::string& path) {
    struct stat state {};
    return stat(path.c_str(), &state) == 0 && S_ISDIR(state.st_mode);
  };
  return environment;
}

Result<void> complete_config(Config& config, const Environment& environment) {
  if (config.runtime_dir.empty()) {
    Result<std::string> chosen = choose_runtime_dir(environment);
    if (!chosen) {
      return chosen.error();
    }
    config.runtime_dir = chosen.value();
  }
  if (config.dead_letter_directory.empty()) {
    const Result<std::string> chosen = choose_state_dir(environment);
    if (!chosen) {
      return chosen.error();
    }
    config.dead_letter_directory = chosen.value() + '/' + config.name + "/dead";
  }
  LimitsConfig& limits = config.limits;
  fill(limits.max_links_per_uid, limits.max_links);
  fill(limits.max_connections_per_uid, limits.max_links_per_uid + kSpareConnections);
  fill(limits.max_memory_bytes, environment.physical_memory_bytes / 2);
  fill(limits.max_memory_per_uid_bytes, limits.max_memory_bytes);
  // Whole pages, and never beyond what the format can hold.
  fill(limits.max_arena_bytes,
       std::min(limits.max_memory_bytes, layout::kArenaBytesMax) / 4096 * 4096);
  return {};
}

bool is_valid_bus_name(std::string_view name) { return is_made_of(name, kLower); }

bool is_valid_name(std::string_view name) { return is_made_of(name, kAnyCase); }

bool is_valid_metrics_address(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  return address == "off" ||
         (colon != std::string_view::npos && is_numeric_host(address.substr(0, colon)) &&
          is_port(address.substr(colon + 1)));
}

}  // namespace ackbus::daemon
