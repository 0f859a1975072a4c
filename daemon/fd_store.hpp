// The service manager keeps our descriptors while we are gone: segments, control sockets, pidfds
// and the ledger.
//
// Purpose: a killed, restarted or upgraded daemon gets everything back and no client notices. Data
// flow: put() before a client is answered, remove() when a link has ended, take_all() once at
// start. The protocol is systemd's FDSTORE, which `ackbus run` serves too. Threads: the bus thread.
// Know that: a manager may return the descriptors of one name in any order, and drops one it
// already has; so tell them apart by what they are, or give each a name. LISTEN_FDNAMES is one
// environment string, so names have at most 8 characters.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/result.hpp"
#include "daemon/unique_fd.hpp"

namespace ackbus::daemon {

/// Descriptors by name. Of a socket unit the name is its FileDescriptorName=.
using NamedFds = std::map<std::string, std::vector<UniqueFd>>;

class FdStore {
 public:
  static constexpr std::size_t kMaxNameLength = 8;

  /// Reads $NOTIFY_SOCKET and $FDSTORE.
  FdStore();

  /// False without a manager: then put(), remove() and barrier() do nothing and succeed.
  [[nodiscard]] bool available() const { return available_; }

  /// How many descriptors the manager keeps at most, as $FDSTORE says (systemd 254 sets it, our
  /// unit and `ackbus run` do); 0: it does not say.
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  /// How many it keeps now: what put() gave it and remove() did not take back.
  [[nodiscard]] std::size_t count() const { return count_; }
  /// A new daemon: what the manager passed to it is what it keeps.
  void adopt(const NamedFds& kept);

  /// 1 to 8 of the characters A-Z a-z 0-9 _ . -
  [[nodiscard]] static bool is_valid_name(std::string_view name);

  /// Sends descriptors to be kept under `name`; the caller's stay open. A hang-up on one does not
  /// make the manager drop it. Once this returns they survive this process, provided the manager
  /// takes them: it says nothing when its own limit (FileDescriptorStoreMax=) is reached, so this
  /// counts. kFull when the capacity is known and would be exceeded (then nothing is sent),
  /// kInvalid for a bad name, else the system's error.
  Result<void> put(const std::string& name, std::span<const int> fds);

  /// Lets the manager close everything it keeps under `name`; none is no error.
  Result<void> remove(const std::string& name);

  /// Waits until the manager has handled all that was sent; kTimeout after `timeout_ns`. Blocks:
  /// for shutdown and tests.
  Result<void> barrier(std::uint64_t timeout_ns);

  /// Everything the manager passed to this process, activated sockets too, close-on-exec. Once, at
  /// start: it removes LISTEN_FDS and its like from the environment. Empty when nothing was passed
  /// to this process.
  static NamedFds take_all();

 private:
  bool available_ = false;
  std::size_t capacity_ = 0;
  std::size_t count_ = 0;
  std::map<std::string, std::size_t, std::less<>> counts_;  // by name
};

}  // namespace ackbus::daemon
