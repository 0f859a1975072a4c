// How a client sleeps: one epoll set over the pipes that peers ring, the control socket and a
// private eventfd. Holds no protocol: who is armed and what is looked at lies with producer_core
// and consumer_core (docs/architecture.md#sleeping-and-waking).
#pragma once

#include <ackbus/error.hpp>
#include <cstdint>

#include "libclient/src/unique_fd.hpp"

namespace ackbus {

class Waiter {
 public:
  [[nodiscard]] static Result<Waiter> create();

  Waiter() = default;
  bool add(int fd);
  void remove(int fd);
  // Sleeps until something is readable or the deadline passes (CLOCK_MONOTONIC).
  void wait(std::uint64_t deadline_ns) const;
  // The private eventfd: readable from raise() until lower().
  void raise();
  void lower();
  // Makes the set readable at `at_ns` (CLOCK_MONOTONIC), until silence(): an event loop comes back
  // to look for the daemon.
  void alarm(std::uint64_t at_ns);
  void silence();
  [[nodiscard]] int fd() const { return epoll_.get(); }

  // Empties a pipe's read end.
  static void drain(int fd);
  // Rings: one byte; a full pipe counts as rung.
  static void ring(int fd);

 private:
  UniqueFd epoll_;
  UniqueFd event_;
  UniqueFd timer_;
  bool raised_ = false;
};

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace ackbus
