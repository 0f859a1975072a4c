// The door: who may connect, how many, and for how long without saying what they are.
//
// Data flow: the listener is readable -> accept_connections(), which turns away at once whoever is
// not listed anywhere or has too much already -> a hello within its deadline (bus_control.cpp), or
// watch_the_door() ends the wait. Nobody can shut the others out: a user has a share of the
// connections, and the last ones are kept for those who run the bus. Threads: the bus thread.
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "daemon/bus.hpp"

namespace ackbus::daemon {

using layout::RefusedCode;

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr std::size_t kConnectionsKept = 16;  // for root and the daemon's own user
constexpr std::size_t kTurnedAwayMax = 16;
constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kTurnedAwayNs = 1'000 * kMillisecondNs;
constexpr std::uint64_t kListenPauseNs = 100 * kMillisecondNs;

int open_pidfd(std::uint32_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
}

bool runs_the_bus(const Connection& connection) {
  return connection.uid == 0 || connection.uid == ::geteuid();
}

std::string user_text(const Connection& connection) {
  return "user " + std::to_string(connection.uid);
}

}  // namespace

std::vector<gid_t> groups_of(const Connection& connection) {
  std::vector<gid_t> groups(64);
  for (int tries = 0; tries < 2; ++tries) {
    socklen_t bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int got =
        ::getsockopt(connection.socket.get(), SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes);
    const bool longer = got != 0 && errno == ERANGE;
    groups.resize(got == 0 || longer ? bytes / sizeof(gid_t) : 0);
    if (!longer) {
      break;
    }
  }
  groups.push_back(connection.gid);
  return groups;
}

// ---- coming in ----

void Bus::accept_connections() {
  for (int accepted = 0; accepted < kAcceptsPerTurn; ++accepted) {
    UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.valid()) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        pause_listening(errno);
      }
      return;
    }
    ucred peer{};
    socklen_t length = sizeof(peer);
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
      continue;
    }
    auto connection = std::make_unique<Connection>();
    connection->socket = std::move(socket);
    connection->uid = peer.uid;
    connection->gid = peer.gid;
    connection->pid = static_cast<std::uint32_t>(peer.pid);
    connection->since_ns = monotonic_ns();
    if (const std::optional<Refusal> refusal = reason_against(*connection)) {
      turn_away(*connection, *refusal);
      continue;
    }
    connection->number = ledger.header().next_connection++;
    connection->pidfd = UniqueFd(open_pidfd(connection->pid));
    watch(connection->socket.get(), event_tag(EventKind::kSocket, connection->number));
    door.without_hello.push_back(connection->number);
    connections.emplace(connection->number, std::move(connection));
  }
}

std::optional<Refusal> Bus::reason_against(const Connection& connection) {
  const LimitsConfig& limits = config().limits;
  if (!config().admits(connection.uid, groups_of(connection), ::geteuid())) {
    return Refusal{RefusedCode::kPermission,
                   user_text(connection) + " may not use bus '" + config().name +
                       "': list the user or a group of it under [[queue]] or [tools] in the "
                       "configuration"};
  }
  const auto of_user =
      std::count_if(connections.begin(), connections.end(),
                    [&](const auto& entry) { return entry.second->uid == connection.uid; });
  if (of_user >= limits.max_connections_per_uid) {
    return Refusal{RefusedCode::kQuota,
                   user_text(connection) + " has [limits] max_connections_per_uid = " +
                       std::to_string(limits.max_connections_per_uid) +
                       " connections already: end some of its clients, or raise it"};
  }
  const std::size_t kept = runs_the_bus(connection) ? 0 : kConnectionsKept;
  if (connections.size() + kept >= max_connections(limits.max_links)) {
    return Refusal{RefusedCode::kQuota, "the bus has " + std::to_string(connections.size()) +
                                            " connections already: raise [limits] max_links = " +
                                            std::to_string(limits.max_links)};
  }
  if (short_of_descriptors()) {
    return Refusal{RefusedCode::kQuota, std::string("the daemon is ") + kOutOfDescriptors};
  }
  return std::nullopt;
}

// The socket stays open for a moment: a client whose hello found it closed would report that
// instead of the reason.
void Bus::turn_away(Connection& connection, const Refusal& refusal) {
  if (door.turned_away.size() >= kTurnedAwayMax) {
    let_go_of_turned_away();
  }
  door.turned_away.push_back(
      {UniqueFd(::dup(connection.socket.get())), connection.since_ns + kTurnedAwayNs});
  refuse(connection, refusal.code, refusal.text);
}

void Bus::let_go_of_turned_away() {
  closer.close(std::move(door.turned_away.front().socket));
  door.turned_away.pop_front();
}

// The listener stays readable while nobody can be accepted: looked at again after a pause.
void Bus::pause_listening(int reason) {
  const bool descriptors = reason == EMFILE || reason == ENFILE;
  door.short_of_descriptors = door.short_of_descriptors || descriptors;
  log.state(LogLevel::kError, "descriptors", "limit",
            descriptors ? std::string(kOutOfDescriptors)
                        : std::string("no client can be accepted: ") + ::strerror(reason));
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, listener.get(), nullptr);
  door.listen_again_ns = monotonic_ns() + kListenPauseNs;
}

std::uint64_t Bus::watch_the_door(std::uint64_t now_ns) {
  std::uint64_t wake_ns = UINT64_MAX;
  const std::uint64_t patience_ns = config().limits.hello_timeout_ms * kMillisecondNs;
  while (!door.without_hello.empty()) {
    Connection* connection = find_connection(door.without_hello.front());
    const bool waits = connection != nullptr && !connection->hung_up &&
                       connection->role == layout::ClientRole::kReserved;
    if (waits && connection->since_ns + patience_ns > now_ns) {
      wake_ns = connection->since_ns + patience_ns;
      break;
    }
    if (waits) {
      refuse(*connection, RefusedCode::kProtocol,
             "no hello came within [limits] hello_timeout_ms = " +
                 std::to_string(config().limits.hello_timeout_ms));
    }
    door.without_hello.pop_front();
  }
  while (!door.turned_away.empty() && door.turned_away.front().until_ns <= now_ns) {
    let_go_of_turned_away();
  }
  if (!door.turned_away.empty()) {
    wake_ns = std::min(wake_ns, door.turned_away.front().until_ns);
  }
  if (door.listen_again_ns != 0 && door.listen_again_ns <= now_ns) {
    door.listen_again_ns = 0;
    watch(listener.get(), event_tag(EventKind::kListener));
  }
  return door.listen_again_ns == 0 ? wake_ns : std::min(wake_ns, door.listen_again_ns);
}

// ---- what those inside may do ----

bool Bus::may_operate(const Connection& connection) const {
  return config().operators.allows(connection.uid, groups_of(connection), ::geteuid());
}

bool Bus::may_read_segments(const Connection& reader, const std::string& queue) const {
  const QueueConfig* configured = config().find_queue(queue);
  const std::vector<gid_t> groups = groups_of(reader);
  const auto allows = [&](const AccessList& list) {
    return list.allows(reader.uid, groups, ::geteuid());
  };
  return allows(config().operators) || (configured != nullptr && (allows(configured->producers) ||
                                                                  allows(configured->consumers)));
}

}  // namespace ackbus::daemon
