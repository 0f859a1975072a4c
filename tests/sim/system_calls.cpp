// The system calls of the simulated machine. The linker sends every call of the product here
// (--wrap, see CMakeLists.txt). A call from outside a simulated process, and one on a descriptor of
// the real machine (the dead letters' directory), goes on to the real one. Calls are points where
// others may run; none blocks the simulator.
#include <dirent.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <openssl/rand.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string>

#include "shm_layout/assert.hpp"
#include "tests/sim/kernel.hpp"

using ackbus::sim::Endpoint;
using ackbus::sim::EpollFile;
using ackbus::sim::EventFile;
using ackbus::sim::Fault;
using ackbus::sim::FilePointer;
using ackbus::sim::Kernel;
using ackbus::sim::Listener;
using ackbus::sim::Mapping;
using ackbus::sim::Memory;
using ackbus::sim::MemoryFile;
using ackbus::sim::Message;
using ackbus::sim::Pipe;
using ackbus::sim::PipeFile;
using ackbus::sim::Process;
using ackbus::sim::ProcessFile;
using ackbus::sim::SilentFile;
using ackbus::sim::SimulatorScope;
using ackbus::sim::TimerFile;
using ackbus::sim::UnboundSocket;

namespace {

Kernel& kernel() { return *Kernel::current(); }

bool is_simulated(int descriptor) {
  return Kernel::in_process() && descriptor >= ackbus::sim::kFirstDescriptor;
}

// A call that gives bytes, 0 or -errno, as a C library gives it.
template <typename Number>
Number answer(Number result) {
  if (result < 0) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return result;
}

int refuse(int number) {
  errno = number;
  return -1;
}

template <typename Type>
std::shared_ptr<Type> file_as(int descriptor) {
  return std::dynamic_pointer_cast<Type>(kernel().file(descriptor));
}

template <typename Type, typename... Arguments>
int open_new(Arguments&&... arguments) {
  const SimulatorScope simulator;
  if (kernel().fault(Fault::kDescriptors)) {
    return refuse(EMFILE);
  }
  return kernel().open_descriptor(std::make_shared<Type>(std::forward<Arguments>(arguments)...));
}

std::uint64_t to_ns(const timespec* time) {
  return static_cast<std::uint64_t>(time->tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(time->tv_nsec);
}

std::uint64_t deadline_after(const timespec* timeout) {
  return timeout == nullptr ? ackbus::sim::kNever : kernel().now_ns + to_ns(timeout);
}

int keep_real(int descriptor) {
  if (descriptor >= 0 && Kernel::in_process()) {
    const SimulatorScope simulator;
    kernel().process().real_descriptors.insert(descriptor);
  }
  return descriptor;
}

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

std::string path_of(const sockaddr* address) {
  return reinterpret_cast<const sockaddr_un*>(address)->sun_path;
}

int poll_one(pollfd* items, nfds_t count, std::uint64_t deadline_ns) {
  ACKBUS_ASSERT(count == 1);
  const auto wanted = static_cast<std::uint32_t>(items->events) | EPOLLHUP;
  if (kernel().file(items->fd) == nullptr) {
    items->revents = POLLNVAL;
    return 1;
  }
  if (deadline_ns > kernel().now_ns) {
    kernel().wait(
        [file = kernel().file(items->fd), wanted] { return (file->readiness() & wanted) != 0; },
        deadline_ns);
  }
  items->revents = static_cast<short>(kernel().file(items->fd)->readiness() & wanted);
  return items->revents == 0 ? 0 : 1;
}

// Descriptors that travel with a message; -1 when one of them is none.
bool take_files(const msghdr* header, Message& message) {
  if (header->msg_control == nullptr || header->msg_controllen == 0) {
    return true;
  }
  auto* copy = const_cast<msghdr*>(header);
  for (cmsghdr* item = CMSG_FIRSTHDR(copy); item != nullptr; item = CMSG_NXTHDR(copy, item)) {
    const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
      message.files.push_back(kernel().file(descriptor));
      if (message.files.back() == nullptr) {
        return false;
      }
    }
  }
  return true;
}

// Puts them into the receiver's table; without room the rest is lost and the message says so.
void give_files(msghdr* header, const Message& message) {
  const std::size_t room = header->msg_controllen < CMSG_LEN(0)
                               ? 0
                               : (header->msg_controllen - CMSG_LEN(0)) / sizeof(int);
  std::size_t given = std::min(room, message.files.size());
  if (!message.files.empty() && kernel().fault(Fault::kDescriptors)) {
    given = std::min<std::size_t>(given, kernel().pick(message.files.size()));
  }
  header->msg_flags = given < message.files.size() ? MSG_CTRUNC : 0;
  if (given == 0) {
    header->msg_controllen = 0;
    return;
  }
  auto* item = static_cast<cmsghdr*>(header->msg_control);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(given * sizeof(int));
  for (std::size_t i = 0; i < given; ++i) {
    const int descriptor = kernel().open_descriptor(message.files[i]);
    std::memcpy(CMSG_DATA(item) + i * sizeof(int), &descriptor, sizeof(int));
  }
  header->msg_controllen = CMSG_SPACE(given * sizeof(int));
}

long receive(int descriptor, msghdr* header, int flags) {
  const SimulatorScope simulator;
  const auto socket = file_as<Endpoint>(descriptor);
  if (socket == nullptr) {
    return -ENOTSOCK;
  }
  if (socket->incoming.empty()) {
    if (socket->reset) {
      socket->reset = false;
      return -ECONNRESET;
    }
    return socket->peer_gone() ? 0 : -EAGAIN;
  }
  const Message& first = socket->incoming.front();
  std::size_t copied = 0;
  for (std::size_t part = 0; part < header->msg_iovlen; ++part) {
    const std::size_t bytes = std::min(header->msg_iov[part].iov_len, first.bytes.size() - copied);
    std::memcpy(header->msg_iov[part].iov_base, first.bytes.data() + copied, bytes);
    copied += bytes;
  }
  const auto whole = static_cast<long>((flags & MSG_TRUNC) != 0 ? first.bytes.size() : copied);
  give_files(header, first);
  if ((flags & MSG_PEEK) == 0) {
    socket->incoming.pop_front();
  }
  return whole;
}

long send_message(int descriptor, const msghdr* header) {
  const SimulatorScope simulator;
  const auto socket = file_as<Endpoint>(descriptor);
  if (socket == nullptr) {
    return -ENOTSOCK;
  }
  Message message;
  if (!take_files(header, message)) {
    return -EBADF;
  }
  if (!message.files.empty() && kernel().fault(Fault::kDescriptors)) {
    return -ETOOMANYREFS;
  }
  for (std::size_t part = 0; part < header->msg_iovlen; ++part) {
    const auto* bytes = static_cast<const std::byte*>(header->msg_iov[part].iov_base);
    message.bytes.insert(message.bytes.end(), bytes, bytes + header->msg_iov[part].iov_len);
  }
  const auto bytes = static_cast<long>(message.bytes.size());
  const int failed = socket->send(std::move(message));
  return failed < 0 ? failed : bytes;
}

long signal_process(int descriptor) {
  const auto process = file_as<ProcessFile>(descriptor);
  if (process == nullptr) {
    return -EBADF;
  }
  Process* target = kernel().find(process->pid);
  if (target == nullptr || !*target->alive) {
    return -ESRCH;
  }
  if (!target->may_be_killed_by_others) {
    return -EPERM;
  }
  kernel().kill(*target);
  return 0;
}

}  // namespace

extern "C" {

#define REAL(result, name, ...) result __real_##name(__VA_ARGS__)

// ---- reading, writing, closing ----

REAL(ssize_t, read, int, void*, size_t);
ssize_t __wrap_read(int descriptor, void* bytes, size_t count) {
  if (!is_simulated(descriptor)) {
    return __real_read(descriptor, bytes, count);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const FilePointer file = kernel().file(descriptor);
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
  if (is_ring && kernel().fault(Fault::kRing)) {
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
  (mapping.readers > 0 ? mapping.readers : mapping.writers) -= 1;
  if (mapping.readers + mapping.writers == 0) {
    mappings.erase(found);
  }
  return 0;
}

// ---- waiting ----

REAL(int, epoll_create1, int);
int __wrap_epoll_create1(int flags) {
  return Kernel::in_process() ? open_new<EpollFile>() : __real_epoll_create1(flags);
}

REAL(int, epoll_ctl, int, int, int, epoll_event*);
int __wrap_epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event) {
  if (!is_simulated(epoll)) {
    return __real_epoll_ctl(epoll, operation, descriptor, event);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const FilePointer file = kernel().file(descriptor);
  if (file == nullptr) {
    return refuse(EBADF);
  }
  const int failed = file_as<EpollFile>(epoll)->control(operation, descriptor, file,
                                                        event == nullptr ? 0 : event->events,
                                                        event == nullptr ? 0 : event->data.u64);
  return failed == 0 ? 0 : refuse(failed);
}

REAL(int, epoll_pwait2, int, epoll_event*, int, const timespec*, const sigset_t*);
int __wrap_epoll_pwait2(int epoll, epoll_event* events, int max, const timespec* timeout,
                        const sigset_t* mask) {
  if (!is_simulated(epoll)) {
    return __real_epoll_pwait2(epoll, events, max, timeout, mask);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const std::uint64_t deadline_ns = deadline_after(timeout);
  if (kernel().file(epoll)->readiness() == 0 && deadline_ns > kernel().now_ns) {
    // The set is the waiting thread's to hold: this frame is gone without a trace if it dies here.
    kernel().wait([set = kernel().file(epoll)] { return set->readiness() != 0; }, deadline_ns);
  }
  const auto set = file_as<EpollFile>(epoll);
  int count = 0;
  for (const EpollFile::Event& event :
       set->ready(static_cast<std::size_t>(max), kernel().pick(64))) {
    events[count].events = event.events;
    events[count].data.u64 = event.data;
    count += 1;
  }
  return count;
}

REAL(int, poll, pollfd*, nfds_t, int);
int __wrap_poll(pollfd* items, nfds_t count, int timeout_ms) {
  if (count == 0 || !is_simulated(items->fd)) {
    return __real_poll(items, count, timeout_ms);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  return poll_one(
      items, count,
      timeout_ms < 0 ? ackbus::sim::kNever
                     : kernel().now_ns + static_cast<std::uint64_t>(timeout_ms) * ackbus::sim::kMs);
}

REAL(int, ppoll, pollfd*, nfds_t, const timespec*, const sigset_t*);
int __wrap_ppoll(pollfd* items, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (count == 0 || !is_simulated(items->fd)) {
    return __real_ppoll(items, count, timeout, mask);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  return poll_one(items, count, deadline_after(timeout));
}

REAL(int, eventfd, unsigned int, int);
int __wrap_eventfd(unsigned int count, int flags) {
  return Kernel::in_process() ? open_new<EventFile>() : __real_eventfd(count, flags);
}

REAL(int, timerfd_create, int, int);
int __wrap_timerfd_create(int clock, int flags) {
  return Kernel::in_process() ? open_new<TimerFile>(kernel().now_ns)
                              : __real_timerfd_create(clock, flags);
}

REAL(int, timerfd_settime, int, int, const itimerspec*, itimerspec*);
int __wrap_timerfd_settime(int descriptor, int flags, const itimerspec* when, itimerspec* before) {
  if (!is_simulated(descriptor)) {
    return __real_timerfd_settime(descriptor, flags, when, before);
  }
  const SimulatorScope simulator;
  const auto timer = file_as<TimerFile>(descriptor);
  const std::uint64_t at_ns = to_ns(&when->it_value);
  timer->at_ns = at_ns == 0 || flags == TFD_TIMER_ABSTIME ? at_ns : kernel().now_ns + at_ns;
  if (timer->at_ns != 0) {
    kernel().alarms.insert(timer->at_ns);
  }
  return 0;
}

REAL(int, signalfd, int, const sigset_t*, int);
int __wrap_signalfd(int descriptor, const sigset_t* mask, int flags) {
  return Kernel::in_process() ? open_new<SilentFile>() : __real_signalfd(descriptor, mask, flags);
}

REAL(int, pthread_sigmask, int, const sigset_t*, sigset_t*);
int __wrap_pthread_sigmask(int how, const sigset_t* set, sigset_t* before) {
  return Kernel::in_process() ? 0 : __real_pthread_sigmask(how, set, before);
}

REAL(int, clock_gettime, clockid_t, timespec*);
int __wrap_clock_gettime(clockid_t clock, timespec* time) {
  if (!Kernel::in_process()) {
    return __real_clock_gettime(clock, time);
  }
  kernel().now_ns += 100;  // Whoever only asks for the time gets on too.
  time->tv_sec = static_cast<time_t>(kernel().now_ns / 1'000'000'000ULL);
  time->tv_nsec = static_cast<long>(kernel().now_ns % 1'000'000'000ULL);
  return 0;
}

// ---- pipes and sockets ----

REAL(int, pipe2, int*, int);
int __wrap_pipe2(int* ends, int flags) {
  if (!Kernel::in_process()) {
    return __real_pipe2(ends, flags);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  if (kernel().fault(Fault::kDescriptors)) {
    return refuse(EMFILE);
  }
  const auto pipe = std::make_shared<Pipe>();
  ends[0] = kernel().open_descriptor(std::make_shared<PipeFile>(pipe, true, false));
  ends[1] = kernel().open_descriptor(std::make_shared<PipeFile>(pipe, false, true));
  return 0;
}

REAL(int, socket, int, int, int);
int __wrap_socket(int domain, int type, int protocol) {
  return Kernel::in_process() ? open_new<UnboundSocket>() : __real_socket(domain, type, protocol);
}

REAL(int, bind, int, const sockaddr*, socklen_t);
int __wrap_bind(int descriptor, const sockaddr* address, socklen_t bytes) {
  if (!is_simulated(descriptor)) {
    return __real_bind(descriptor, address, bytes);
  }
  const SimulatorScope simulator;
  const auto listener = std::make_shared<Listener>();
  listener->path = path_of(address);
  kernel().process().descriptors[descriptor] = listener;
  kernel().listeners[listener->path] = listener;
  return 0;
}

REAL(int, listen, int, int);
int __wrap_listen(int descriptor, int backlog) {
  return is_simulated(descriptor) ? 0 : __real_listen(descriptor, backlog);
}

REAL(int, connect, int, const sockaddr*, socklen_t);
int __wrap_connect(int descriptor, const sockaddr* address, socklen_t bytes) {
  if (!is_simulated(descriptor)) {
    return __real_connect(descriptor, address, bytes);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const auto found = kernel().listeners.find(path_of(address));
  const auto listener = found == kernel().listeners.end() ? nullptr : found->second.lock();
  if (listener == nullptr) {
    return refuse(found == kernel().listeners.end() ? ENOENT : ECONNREFUSED);
  }
  const auto mine = std::make_shared<Endpoint>();
  const auto other = std::make_shared<Endpoint>();
  mine->peer = other;
  other->peer = mine;
  other->peer_pid = kernel().process().pid;
  listener->waiting.push_back(other);
  kernel().process().descriptors[descriptor] = mine;
  return 0;
}

REAL(int, accept4, int, sockaddr*, socklen_t*, int);
int __wrap_accept4(int descriptor, sockaddr* address, socklen_t* bytes, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_accept4(descriptor, address, bytes, flags);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const auto listener = file_as<Listener>(descriptor);
  if (listener->waiting.empty()) {
    return refuse(EAGAIN);
  }
  if (kernel().fault(Fault::kDescriptors)) {
    return refuse(EMFILE);
  }
  const auto socket = listener->waiting.front();
  listener->waiting.pop_front();
  return kernel().open_descriptor(socket);
}

REAL(ssize_t, send, int, const void*, size_t, int);
ssize_t __wrap_send(int descriptor, const void* bytes, size_t count, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_send(descriptor, bytes, count, flags);
  }
  kernel().call_point();
  iovec part{const_cast<void*>(bytes), count};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  return answer(send_message(descriptor, &header));
}

REAL(ssize_t, sendmsg, int, const msghdr*, int);
ssize_t __wrap_sendmsg(int descriptor, const msghdr* header, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_sendmsg(descriptor, header, flags);
  }
  kernel().call_point();
  return answer(send_message(descriptor, header));
}

REAL(ssize_t, recv, int, void*, size_t, int);
ssize_t __wrap_recv(int descriptor, void* bytes, size_t count, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_recv(descriptor, bytes, count, flags);
  }
  kernel().call_point();
  iovec part{bytes, count};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  return answer(receive(descriptor, &header, flags));
}

REAL(ssize_t, recvmsg, int, msghdr*, int);
ssize_t __wrap_recvmsg(int descriptor, msghdr* header, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_recvmsg(descriptor, header, flags);
  }
  kernel().call_point();
  const long received = receive(descriptor, header, flags);
  if (received <= 0) {
    header->msg_controllen = 0;
  }
  return answer(received);
}

REAL(int, shutdown, int, int);
int __wrap_shutdown(int descriptor, int how) {
  if (!is_simulated(descriptor)) {
    return __real_shutdown(descriptor, how);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  ACKBUS_ASSERT(how == SHUT_WR);
  file_as<Endpoint>(descriptor)->shut = true;
  return 0;
}

REAL(int, getsockopt, int, int, int, void*, socklen_t*);
int __wrap_getsockopt(int descriptor, int level, int option, void* value, socklen_t* bytes) {
  if (!is_simulated(descriptor)) {
    return __real_getsockopt(descriptor, level, option, value, bytes);
  }
  const auto socket = file_as<Endpoint>(descriptor);
  if (option == SO_PEERCRED && socket != nullptr) {
    const ucred peer{static_cast<pid_t>(socket->peer_pid), ::geteuid(), ::getegid()};
    std::memcpy(value, &peer, sizeof(peer));
    *bytes = sizeof(peer);
    return 0;
  }
  *bytes = 0;  // SO_PEERGROUPS: of no group.
  return 0;
}

// ---- files by name, limits, randomness ----

REAL(int, chmod, const char*, mode_t);
int __wrap_chmod(const char* path, mode_t mode) {
  return Kernel::in_process() ? 0 : __real_chmod(path, mode);
}

REAL(int, getrlimit, __rlimit_resource_t, rlimit*);
int __wrap_getrlimit(__rlimit_resource_t resource, rlimit* limit) {
  if (Kernel::in_process() && resource == RLIMIT_NOFILE) {
    limit->rlim_cur = limit->rlim_max = 1U << 30;
    return 0;
  }
  return __real_getrlimit(resource, limit);
}

REAL(int, RAND_bytes, unsigned char*, int);
int __wrap_RAND_bytes(unsigned char* bytes, int count) {
  if (!Kernel::in_process()) {
    return __real_RAND_bytes(bytes, count);
  }
  for (int i = 0; i < count; ++i) {
    bytes[i] = static_cast<unsigned char>(kernel().pick(256));
  }
  return 1;
}

REAL(long, syscall, long, ...);
long __wrap_syscall(long number, ...) {
  va_list more;
  va_start(more, number);
  long arguments[6];
  for (long& argument : arguments) {
    argument = va_arg(more, long);
  }
  va_end(more);
  if (!Kernel::in_process()) {
    return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                          arguments[4], arguments[5]);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  switch (number) {
    case SYS_membarrier:
      return 0;  // Every access here is in one order.
    case SYS_pidfd_open: {
      // A process names itself by getpid(), which is the simulator's: it means the caller.
      const auto wanted = static_cast<std::uint32_t>(arguments[0]);
      Process* process =
          static_cast<pid_t>(wanted) == ::getpid() ? &kernel().process() : kernel().find(wanted);
      if (process == nullptr) {
        return refuse(ESRCH);
      }
      return open_new<ProcessFile>(process->pid, process->alive);
    }
    case SYS_pidfd_send_signal:
      return answer(signal_process(static_cast<int>(arguments[0])));
    default:
      return refuse(ENOSYS);
  }
}

}  // extern "C"
