// System calls on files and memory: reading, writing, closing, the disk, memfds and mappings.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tests/sim/calls.hpp"

namespace ackbus::sim {
namespace {

bool disk_fails() { return Kernel::in_process() && kernel().fault(Fault::kDisk); }

// Opens the description behind /proc/self/fd/N anew.
int reopen(int descriptor, int flags) {
  if (const auto memory = file_as<MemoryFile>(descriptor)) {
    return open_new<MemoryFile>(memory->memory, (flags & O_ACCMODE) != O_RDONLY);
  }
  if (const auto pipe = file_as<PipeFile>(descriptor)) {
    const int mode = flags & O_ACCMODE;
    return open_new<PipeFile>(pipe->pipe, mode != O_WRONLY, mode != O_RDONLY);
  }
  return refuse(ENXIO);
}

}  // namespace
}  // namespace ackbus::sim

using namespace ackbus::sim;  // NOLINT(google-build-using-namespace): C names, which no namespace
                              // holds

extern "C" {

// ---- reading, writing, closing ----

REAL(ssize_t, read, int, void*, size_t);
ssize_t __wrap_read(int descriptor, void* bytes, size_t count) {
  if (!is_simulated(descriptor)) {
    return __real_read(descriptor, bytes, count);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const FilePointer file = kernel().file(descriptor);
  if (kernel().lost("read", file.get())) {
    return static_cast<ssize_t>(count);
  }
  return answer(file == nullptr ? -long{EBADF} : file->read(bytes, count));
}

REAL(ssize_t, write, int, const void*, size_t);
ssize_t __wrap_write(int descriptor, const void* bytes, size_t count) {
  if (!is_simulated(descriptor)) {
    if (disk_fails()) {
      return refuse(ENOSPC);
    }
    return __real_write(descriptor, bytes, count);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const FilePointer file = kernel().file(descriptor);
  const bool is_ring = std::dynamic_pointer_cast<PipeFile>(file) != nullptr;
  if ((is_ring && kernel().fault(Fault::kRing)) || kernel().lost("write", file.get())) {
    return static_cast<ssize_t>(count);
  }
  return answer(file == nullptr ? -long{EBADF} : file->write(bytes, count));
}

REAL(int, close, int);
int __wrap_close(int descriptor) {
  if (!is_simulated(descriptor)) {
    if (Kernel::in_process()) {
      kernel().process().real_descriptors.erase(descriptor);
    }
    return __real_close(descriptor);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const FilePointer file = kernel().file(descriptor);  // Its end may call for more than the table.
  if (kernel().lost("close", file.get())) {
    return 0;
  }
  return kernel().process().descriptors.erase(descriptor) == 1 ? 0 : refuse(EBADF);
}

REAL(int, closedir, DIR*);
int __wrap_closedir(DIR* directory) {
  if (Kernel::in_process()) {
    const SimulatorScope simulator;
    kernel().process().real_descriptors.erase(::dirfd(directory));
  }
  return __real_closedir(directory);
}

REAL(int, open, const char*, int, ...);
int __wrap_open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? static_cast<mode_t>(va_arg(more, int)) : 0;
  va_end(more);
  constexpr std::string_view kOwn = "/proc/self/fd/";
  if (Kernel::in_process() && std::string_view(path).starts_with(kOwn)) {
    const int descriptor = std::atoi(path + kOwn.size());
    if (is_simulated(descriptor)) {
      kernel().call_point();
      return reopen(descriptor, flags);
    }
  }
  return keep_real(__real_open(path, flags, mode));
}

REAL(int, openat, int, const char*, int, ...);
int __wrap_openat(int directory, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? static_cast<mode_t>(va_arg(more, int)) : 0;
  va_end(more);
  if (Kernel::in_process()) {
    kernel().call_point();
    if ((flags & O_CREAT) != 0 && disk_fails()) {
      return refuse(ENOSPC);
    }
  }
  return keep_real(__real_openat(directory, path, flags, mode));
}

REAL(int, fsync, int);
int __wrap_fsync(int descriptor) {
  if (!Kernel::in_process()) {
    return __real_fsync(descriptor);
  }
  kernel().call_point();  // The simulated machine loses processes, not power: nothing to flush.
  return disk_fails() ? refuse(EIO) : 0;
}

REAL(int, renameat, int, const char*, int, const char*);
int __wrap_renameat(int from, const char* name, int to, const char* new_name) {
  if (Kernel::in_process()) {
    kernel().call_point();
    if (disk_fails()) {
      return refuse(EIO);
    }
    if (kernel().lost("renameat")) {
      return 0;
    }
  }
  return __real_renameat(from, name, to, new_name);
}

REAL(int, unlinkat, int, const char*, int);
int __wrap_unlinkat(int directory, const char* name, int flags) {
  if (Kernel::in_process()) {
    kernel().call_point();
    if (disk_fails()) {
      return refuse(EIO);
    }
    if (kernel().lost("unlinkat")) {
      return 0;
    }
  }
  return __real_unlinkat(directory, name, flags);
}

REAL(int, fcntl, int, int, ...);
int __wrap_fcntl(int descriptor, int command, ...) {
  va_list more;
  va_start(more, command);
  const long argument = va_arg(more, long);
  va_end(more);
  if (!is_simulated(descriptor)) {
    const int result = __real_fcntl(descriptor, command, argument);
    return command == F_DUPFD_CLOEXEC ? keep_real(result) : result;
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const FilePointer file = kernel().file(descriptor);
  const auto memory = std::dynamic_pointer_cast<MemoryFile>(file);
  switch (command) {
    case F_DUPFD_CLOEXEC:
      return kernel().fault(Fault::kDescriptors) ? refuse(EMFILE) : kernel().open_descriptor(file);
    case F_SETFL:
      return 0;
    case F_GET_SEALS:
      return memory == nullptr ? refuse(EINVAL) : memory->memory->seals;
    case F_ADD_SEALS:
      if (memory == nullptr || (memory->memory->seals & F_SEAL_SEAL) != 0) {
        return refuse(memory == nullptr ? EINVAL : EPERM);
      }
      memory->memory->seals |= static_cast<int>(argument);
      return 0;
    default:
      return refuse(EINVAL);
  }
}

REAL(int, dup, int);
int __wrap_dup(int descriptor) {
  if (!is_simulated(descriptor)) {
    return keep_real(__real_dup(descriptor));
  }
  kernel().call_point();
  return kernel().open_descriptor(kernel().file(descriptor));
}

// ---- memory ----

REAL(int, memfd_create, const char*, unsigned int);
int __wrap_memfd_create(const char* name, unsigned int flags) {
  if (!Kernel::in_process()) {
    return __real_memfd_create(name, flags);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  return open_new<MemoryFile>(std::make_shared<Memory>(), true);
}

REAL(int, posix_fallocate, int, off_t, off_t);
int __wrap_posix_fallocate(int descriptor, off_t offset, off_t bytes) {
  if (!is_simulated(descriptor)) {
    return __real_posix_fallocate(descriptor, offset, bytes);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  if (kernel().fault(Fault::kMemory)) {
    return ENOMEM;
  }
  file_as<MemoryFile>(descriptor)->memory->grow(static_cast<std::uint64_t>(offset + bytes));
  return 0;
}

REAL(int, fchmod, int, mode_t);
int __wrap_fchmod(int descriptor, mode_t mode) {
  return is_simulated(descriptor) ? 0 : __real_fchmod(descriptor, mode);
}

REAL(int, fstat, int, struct stat*);
int __wrap_fstat(int descriptor, struct stat* status) {
  if (!is_simulated(descriptor)) {
    return __real_fstat(descriptor, status);
  }
  const auto memory = file_as<MemoryFile>(descriptor);
  std::memset(status, 0, sizeof(*status));
  status->st_size = memory == nullptr ? 0 : static_cast<off_t>(memory->memory->bytes());
  status->st_blocks = (status->st_size + 4095) / 4096 * 8;
  return 0;
}

REAL(void*, mmap, void*, size_t, int, int, int, off_t);
void* __wrap_mmap(void* address, size_t bytes, int protection, int flags, int descriptor,
                  off_t offset) {
  if (!is_simulated(descriptor)) {
    return __real_mmap(address, bytes, protection, flags, descriptor, offset);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const auto file = file_as<MemoryFile>(descriptor);
  const bool writes = (protection & PROT_WRITE) != 0;
  ACKBUS_ASSERT(file != nullptr && offset == 0);
  const bool sealed = (file->memory->seals & 0x0010 /* F_SEAL_FUTURE_WRITE */) != 0;
  if (bytes > (file->memory->bytes() + 4095) / 4096 * 4096) {
    errno = EINVAL;
    return MAP_FAILED;
  }
  if (writes && (sealed || !file->writable)) {
    errno = sealed ? EPERM : EACCES;
    return MAP_FAILED;
  }
  if (kernel().fault(Fault::kMemory)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  Mapping& mapping = kernel().process().mappings[file->memory->base()];
  mapping.memory = file->memory;
  mapping.bytes = file->memory->bytes();
  (writes ? mapping.writers : mapping.readers) += 1;
  return file->memory->base();
}

REAL(int, munmap, void*, size_t);
int __wrap_munmap(void* address, size_t bytes) {
  if (!Kernel::in_process()) {
    return __real_munmap(address, bytes);
  }
  const SimulatorScope simulator;
  auto& mappings = kernel().process().mappings;
  const auto found = mappings.find(static_cast<const std::byte*>(address));
  if (found == mappings.end()) {
    return __real_munmap(address, bytes);
  }
  // All mappings of one memory have one address here. A process that has both kinds drops the
  // writable one last: the daemon's, of a segment that it fills in before anybody maps it.
  Mapping& mapping = found->second;
  if (kernel().lost("munmap")) {
    return 0;
  }
  (mapping.readers > 0 ? mapping.readers : mapping.writers) -= 1;
  if (mapping.readers + mapping.writers == 0) {
    mappings.erase(found);
  }
  return 0;
}

}  // extern "C"
