#include "daemon/segment_map.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <string>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace ackbus::daemon {
namespace {

struct MemfdHandle {
  int fd;
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    boost::interprocess::mapping_handle_t handle{};
    handle.handle = fd;
    handle.is_xsi = false;
    return handle;
  }
};

std::string own_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

}  // namespace

Result<SegmentMap> SegmentMap::map(int fd, std::uint64_t bytes, bool writable) {
  namespace ipc = boost::interprocess;
  try {
    return SegmentMap(
        ipc::mapped_region(MemfdHandle{fd}, writable ? ipc::read_write : ipc::read_only, 0, bytes));
  } catch (const ipc::interprocess_exception& failure) {
    return Error{ErrorCode::kNoMemory,
                 "cannot map a segment of " + std::to_string(bytes) + " bytes: " + failure.what()};
  }
}

Result<void> seal_for_readers(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals >= 0 && (seals & F_SEAL_FUTURE_WRITE) != 0) {
    return {};
  }
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return system_error("cannot seal a segment against further writers", errno);
  }
  // From here on no page of it can go. One that went before would be allocated again by whoever
  // reads there first, on that reader's account, and a reader at its limit would be killed for it.
  struct stat status {};
  if (::fstat(fd, &status) != 0 || status.st_blocks * 512 < status.st_size) {
    return Error{ErrorCode::kCorrupt, "its writer gave memory of the segment back: " +
                                          std::to_string(status.st_blocks * 512) + " of " +
                                          std::to_string(status.st_size) + " bytes are there"};
  }
  return {};
}

Result<UniqueFd> reopen_read_only(int fd) {
  UniqueFd reopened(::open(own_path(fd).c_str(), O_RDONLY | O_CLOEXEC));
  if (reopened.get() < 0) {
    return system_error("cannot reopen a segment read-only (is /proc mounted?)", errno);
  }
  return reopened;
}

Result<BellPipe> make_bell_pipe() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
    return system_error("cannot make a pipe", errno);
  }
  BellPipe pipe{UniqueFd(ends[0]), UniqueFd()};
  const UniqueFd write_end(ends[1]);
  pipe.ring = UniqueFd(::open(own_path(write_end.get()).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (pipe.ring.get() < 0) {
    return system_error("cannot reopen a pipe (is /proc mounted?)", errno);
  }
  return pipe;
}

}  // namespace ackbus::daemon
