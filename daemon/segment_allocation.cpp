// Making a segment's memory, piece by piece. Threads: the worker's, and the bus thread at start.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "daemon/allocator_worker.hpp"
#include "machine/available_memory.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{64} << 20;
constexpr int kMaxInterruptions = 1000;

Error out_of_memory(const char* name, std::uint64_t needed_bytes, std::uint64_t free_bytes) {
  return {ErrorCode::kNoMemory, "segment " + std::string(name) + ": " +
                                    std::to_string(needed_bytes) + " bytes needed, " +
                                    std::to_string(free_bytes) +
                                    " bytes free: ask for a smaller arena or end something else"};
}

/// Takes the memory piece by piece, each only after looking whether it is there, because the kernel
/// would not refuse it.
Result<void> take_memory(int fd, const char* name, std::uint64_t bytes) {
  if (const std::uint64_t free = machine::available_memory_bytes(); free < bytes) {
    return out_of_memory(name, bytes, free);
  }
  for (std::uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
    const std::uint64_t piece = std::min(kPieceBytes, bytes - offset);
    if (const std::uint64_t free = machine::available_memory_bytes(); free < piece) {
      return out_of_memory(name, bytes, offset + free);
    }
    int reason = EINTR;
    for (int attempt = 0; reason == EINTR && attempt < kMaxInterruptions; ++attempt) {
      reason = posix_fallocate(fd, static_cast<off_t>(offset), static_cast<off_t>(piece));
    }
    if (reason == ENOSPC || reason == ENOMEM) {
      return out_of_memory(name, bytes,
                           offset + std::min(piece, machine::available_memory_bytes()));
    }
    if (reason != 0) {
      return system_error("segment " + std::string(name) + ": memory cannot be taken", reason);
    }
  }
  return {};
}

}  // namespace

Result<UniqueFd> allocate_segment(const char* name, std::uint64_t bytes) {
  if (bytes == 0 || bytes > static_cast<std::uint64_t>(INT64_MAX)) {
    return {ErrorCode::kInvalid, "segment " + std::string(name) + ": " + std::to_string(bytes) +
                                     " bytes is no size: ask for 1 byte to 8 EiB"};
  }
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) {
    return system_error("segment " + std::string(name) + ": no memfd", errno);
  }
  if (fchmod(fd.get(), 0600) != 0) {
    return system_error("segment " + std::string(name) + ": mode cannot be set", errno);
  }
  if (auto taken = take_memory(fd.get(), name, bytes); !taken) {
    return taken.error();
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return system_error("segment " + std::string(name) + ": cannot be sealed", errno);
  }
  return fd;
}

}  // namespace ackbus::daemon
