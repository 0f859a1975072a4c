// What a new daemon does with the descriptors that the service manager kept for it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

#include "daemon/fd_store.hpp"

namespace ackbus::daemon {

// The first of that name, which is then no longer among them; none is an invalid one.
inline UniqueFd take(NamedFds& kept, const std::string& name) {
  const auto found = kept.find(name);
  if (found == kept.end() || found->second.empty()) {
    return UniqueFd();
  }
  UniqueFd fd = std::move(found->second.front());
  kept.erase(found);
  return fd;
}

inline bool large_enough(const UniqueFd& fd, std::uint64_t bytes) {
  struct stat status {};
  return fd.get() >= 0 && ::fstat(fd.get(), &status) == 0 &&
         static_cast<std::uint64_t>(status.st_size) >= bytes;
}

}  // namespace ackbus::daemon
