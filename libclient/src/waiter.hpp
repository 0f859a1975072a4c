// How a client sleeps: one epoll set over the pipes that peers ring, the control socket and a
// private eventfd. Holds no protocol: who is armed and what is looked at lies with producer_core
// and consumer_core (docs/architecture.md#sleeping-and-waking).
#pragma once

#include <ackbus/error.hpp>
#include <cstdint>
#include <vector>

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

  // Empties a pipe's read end; false when nobody can ring it any more.
  static bool drain(int fd);
  // Rings: one byte; a full pipe counts as rung.
  static void ring(int fd);

 private:
  UniqueFd epoll_;
  UniqueFd event_;
  UniqueFd timer_;
  bool raised_ = false;
};

// The pipes by which one peer rings. Mostly one; while a new daemon replaces it, the old one too,
// until the peer has gone over to the new one and nobody can ring the old one any more: so no ring
// is lost wherever a daemon dies in between.
class Bells {
 public:
  // The read end of a pipe; from now on it wakes `waiter`.
  void add(Waiter& waiter, UniqueFd rung);
  // Takes the rings, and drops the pipes that nobody can ring any more.
  void drain(Waiter& waiter);
  // Before the peer's life or link is forgotten.
  void remove_all(Waiter& waiter);

 private:
  std::vector<UniqueFd> rung_;
};

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace ackbus
