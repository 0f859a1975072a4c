#include "daemon/service_notify.hpp"

#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdlib>

namespace ackbus::daemon {
namespace {

/// The protocol separates assignments by line breaks, so a status must hold none.
std::string status_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return "STATUS=" + text;
}

}  // namespace

ServiceNotify::ServiceNotify() : available_(std::getenv("NOTIFY_SOCKET") != nullptr) {
  std::uint64_t limit_us = 0;
  if (sd_watchdog_enabled(0, &limit_us) > 0) {
    watchdog_interval_ns_ = limit_us * 1000 / 2;
  }
}

void ServiceNotify::ready(const std::string& status) { send("READY=1\n" + status_line(status)); }

void ServiceNotify::reloading(std::uint64_t monotonic_ns) {
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_ns / 1000));
}

void ServiceNotify::stopping(const std::string& status) {
  send("STOPPING=1\n" + status_line(status));
}

void ServiceNotify::status(const std::string& status) { send(status_line(status)); }

void ServiceNotify::watchdog() {
  if (watchdog_interval_ns_ > 0) {
    send("WATCHDOG=1");
  }
}

/// A manager that does not hear us is its own to notice; the bus goes on.
void ServiceNotify::send(const std::string& state) {
  if (available_) {
    sd_notify(0, state.c_str());
  }
}

}  // namespace ackbus::daemon
