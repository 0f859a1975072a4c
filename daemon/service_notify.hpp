// What the daemon tells the service manager: systemd, or `ackbus run`, which serves the same
// protocol.
//
// Purpose: the manager knows when the bus serves, when it reloads or ends, and that its loop still
// makes progress. Data flow: the loop calls these; each is one datagram on $NOTIFY_SOCKET; without
// that variable every call does nothing. Threads: the bus thread. Watchdog: the loop calls
// watchdog() only after a whole turn of its duties, at least every watchdog_interval_ns(), so a
// stuck loop is found by the manager.
#pragma once

#include <cstdint>
#include <string>

namespace ackbus::daemon {

class ServiceNotify {
 public:
  /// Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and leaves them as they are.
  ServiceNotify();

  /// True when a service manager listens.
  [[nodiscard]] bool available() const { return available_; }

  /// How often watchdog() is due, in nanoseconds: half the manager's limit. 0 when no watchdog is
  /// wanted.
  [[nodiscard]] std::uint64_t watchdog_interval_ns() const { return watchdog_interval_ns_; }

  /// Recovery is complete and the control socket is served. `status` is one line for people.
  void ready(const std::string& status);
  /// A reload begins; ready() ends it. `monotonic_ns` is the present time on CLOCK_MONOTONIC.
  void reloading(std::uint64_t monotonic_ns);
  void stopping(const std::string& status);
  void status(const std::string& status);
  void watchdog();

 private:
  void send(const std::string& state);

  bool available_ = false;
  std::uint64_t watchdog_interval_ns_ = 0;
};

}  // namespace ackbus::daemon
