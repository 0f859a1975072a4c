// What the daemon remembers of its door, and what a client outside is told. Used by
// bus_admission.cpp, which accepts clients, and bus_descriptors.cpp, which looks whether there is
// room for them. Threads: the bus thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "daemon/unique_fd.hpp"
#include "shm_layout/control.hpp"

namespace ackbus::daemon {

struct Connection;

// Why a client is not let in.
struct Refusal {
  layout::RefusedCode code;
  std::string text;
};

struct Door {
  struct TurnedAway {
    UniqueFd socket;
    std::uint64_t until_ns;
  };
  std::deque<std::uint64_t> without_hello;  // numbers of connections, by time of arrival
  std::deque<TurnedAway> turned_away;       // refused, and may still be about to say hello
  std::uint64_t listen_again_ns = 0;        // 0: it listens
  bool short_of_descriptors = false;
};

inline constexpr const char* kOutOfDescriptors =
    "out of file descriptors: raise the limit (LimitNOFILE, ulimit -n), or lower [limits] "
    "max_links";

// A client's groups, as the kernel knows them from its connecting.
[[nodiscard]] std::vector<gid_t> groups_of(const Connection& connection);

// Up to what the system allows this process.
void raise_descriptor_limit();

}  // namespace ackbus::daemon
