#include "libclient/src/waiter.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "libclient/src/clock.hpp"

namespace ackbus {

Result<Waiter> Waiter::create() {
  Waiter waiter;
  waiter.epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  waiter.event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  waiter.timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!waiter.epoll_ || !waiter.event_ || !waiter.timer_ || !waiter.add(waiter.event_.get()) ||
      !waiter.add(waiter.timer_.get())) {
    return Error{ErrorCode::kSystem, std::string("cannot make an epoll set: ") +
                                         std::strerror(errno) + "; raise the limit of open files"};
  }
  return waiter;
}

bool Waiter::add(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Waiter::remove(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void Waiter::wait(std::uint64_t deadline_ns) const {
  const std::uint64_t now = now_ns();
  const std::uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
  const timespec timeout{static_cast<time_t>(left / 1'000'000'000ULL),
                         static_cast<long>(left % 1'000'000'000ULL)};
  epoll_event event{};
  ::epoll_pwait2(epoll_.get(), &event, 1, &timeout, nullptr);
}

void Waiter::raise() {
  if (!raised_) {
    const std::uint64_t one = 1;
    raised_ = ::write(event_.get(), &one, sizeof(one)) == sizeof(one);
  }
}

void Waiter::lower() {
  if (raised_) {
    std::uint64_t count = 0;
    raised_ = ::read(event_.get(), &count, sizeof(count)) < 0 && errno == EINTR;
  }
}

void Waiter::alarm(std::uint64_t at_ns) {
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(at_ns / 1'000'000'000ULL);
  when.it_value.tv_nsec = static_cast<long>(at_ns % 1'000'000'000ULL);
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Waiter::silence() {
  const itimerspec never{};
  ::timerfd_settime(timer_.get(), 0, &never, nullptr);
}

bool Waiter::drain(int fd) {
  char bytes[64];
  for (int tries = 0; tries < 64; ++tries) {
    const ssize_t taken = ::read(fd, bytes, sizeof(bytes));
    if (taken < static_cast<ssize_t>(sizeof(bytes))) {
      return taken != 0;
    }
  }
  return true;
}

void Waiter::ring(int fd) {
  const char byte = 1;
  // EAGAIN means that the pipe is full of rings: the peer wakes anyway.
  [[maybe_unused]] const ssize_t written = ::write(fd, &byte, 1);
}

// ---- bells ----

void Bells::add(Waiter& waiter, UniqueFd rung) {
  waiter.add(rung.get());
  rung_.push_back(std::move(rung));
}

void Bells::drain(Waiter& waiter) {
  std::erase_if(rung_, [&](const UniqueFd& rung) {
    const bool dead = !Waiter::drain(rung.get());  // It would be readable for ever.
    if (dead) {
      waiter.remove(rung.get());
    }
    return dead;
  });
}

void Bells::remove_all(Waiter& waiter) {
  for (const UniqueFd& rung : rung_) {
    waiter.remove(rung.get());
  }
  rung_.clear();
}

}  // namespace ackbus
