// System calls that wait, tell the time, and speak of processes.
#include <linux/membarrier.h>
#include <openssl/rand.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>

#include "tests/sim/calls.hpp"

namespace ackbus::sim {
namespace {

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
}  // namespace ackbus::sim

using namespace ackbus::sim;  // NOLINT(google-build-using-namespace): C names, which no namespace
                              // holds

extern "C" {

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
      timeout_ms < 0 ? kNever : kernel().now_ns + static_cast<std::uint64_t>(timeout_ms) * kMs);
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
