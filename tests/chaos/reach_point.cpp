// What a named point does in a build with test points (shm_layout/test_points.hpp): counts that it
// was reached, and when it is armed for this process's role ends or stops the process where it
// stands. Threads: any.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "tests/chaos/points_page.hpp"

namespace ackbus::chaos {
namespace {

struct Attached {
  PointsPage* page = nullptr;
  std::uint32_t role = 0;
};

Attached attach() {
  const char* path = std::getenv(kPageVariable);
  const char* name = std::getenv(kRoleVariable);
  Attached attached;
  if (path == nullptr || name == nullptr) {
    return attached;
  }
  for (std::uint32_t role = 1; role < kRoles; ++role) {
    attached.role = std::strcmp(name, kRoleNames[role]) == 0 ? role : attached.role;
  }
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || attached.role == 0) {
    return Attached{};
  }
  void* base = ::mmap(nullptr, sizeof(PointsPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  attached.page = base == MAP_FAILED ? nullptr : static_cast<PointsPage*>(base);
  return attached;
}

std::uint64_t clock_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(now.tv_nsec);
}

void fire(const Attached& attached, std::uint32_t point, std::uint32_t word, Action action) {
  Firing& firing = attached.page->firings[attached.page->firing_count.fetch_add(1) % kFirings];
  firing.point = point;
  firing.pid = static_cast<std::uint32_t>(::getpid());
  firing.role = attached.role;
  firing.action = static_cast<std::uint32_t>(action);
  firing.word = word;
  firing.time_ns = clock_ns();
  ::kill(::getpid(), action == Action::kStop ? SIGSTOP : SIGKILL);
  while (action == Action::kKill) {
    ::pause();  // Another thread of this process than the one that the kernel ends first.
  }
}

}  // namespace
}  // namespace ackbus::chaos

extern "C" void ackbus_reach_point(std::uint32_t point, std::uint32_t word) noexcept {
  using namespace ackbus::chaos;
  static const Attached attached = attach();
  if (attached.page == nullptr) {
    return;
  }
  attached.page->reached[point].fetch_add(1, std::memory_order_relaxed);
  for (Arm& arm : attached.page->arms[attached.role]) {
    const std::uint32_t wanted = arm.word.load();
    if (arm.point.load() != point + 1 || (wanted != 0 && wanted != word) ||
        arm.countdown.fetch_sub(1) != 1) {
      continue;
    }
    const auto action = static_cast<Action>(arm.action.load());
    if (arm.point.exchange(0) == point + 1) {
      fire(attached, point, word, action);
    }
  }
}
