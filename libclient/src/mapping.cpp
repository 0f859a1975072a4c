#include "libclient/src/mapping.hpp"

#include <sys/stat.h>

#include <boost/interprocess/exceptions.hpp>
#include <string>

namespace ackbus {
namespace {

// Hands mapped_region a descriptor that came over the control socket.
struct MemfdHandle {
  int fd;
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    boost::interprocess::mapping_handle_t handle{};
    handle.handle = fd;
    handle.is_xsi = false;
    return handle;
  }
};

}  // namespace

Result<Mapping> Mapping::map(int fd, std::uint64_t bytes, bool writable) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || status.st_size < 0 ||
      static_cast<std::uint64_t>(status.st_size) < bytes) {
    return Error{ErrorCode::kProtocol, "the daemon sent a segment smaller than it announced"};
  }
  namespace ipc = boost::interprocess;
  try {
    return Mapping(
        ipc::mapped_region(MemfdHandle{fd}, writable ? ipc::read_write : ipc::read_only, 0, bytes));
  } catch (const ipc::interprocess_exception& failure) {
    return Error{ErrorCode::kMemory,
                 "cannot map a segment of " + std::to_string(bytes) + " bytes: " + failure.what()};
  }
}

}  // namespace ackbus
