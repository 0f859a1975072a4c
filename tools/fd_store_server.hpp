// The service manager's end of the notification and descriptor-store protocol, for `ackbus run`:
// supervision without systemd.
//
// Purpose: a daemon started by `ackbus run` says that it is ready and alive and hands over its
// descriptors exactly as under systemd, and gets them back when it is started again. Data flow: the
// child sends datagrams to $NOTIFY_SOCKET; the supervisor's loop sees fd() readable and calls
// receive(); before each start it calls prepare_launch(), and the forked child calls
// ChildLaunch::prepare_child_environment() before exec. Threads: one; the supervisor's. What a peer
// sends is hostile input: the kernel says who sent it (SCM_CREDENTIALS), everybody but the child is
// refused, and the number of descriptors kept is bounded.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ackbus::tools {

// More names of 8 characters would not fit one environment string.
inline constexpr std::size_t kStoredMax = 12'000;

struct FdStoreServerOptions {
  std::string socket_path;  // Where to bind; a stale socket there is replaced. At most 107 bytes.
  std::size_t max_descriptors = 8192;  // Kept at most, 1 to kStoredMax; told to the child.
  std::uint64_t watchdog_us = 0;       // Told to the child as $WATCHDOG_USEC; 0 = none.
};

/// What the present child said of itself.
struct NotifyState {
  bool ready = false;
  bool reloading = false;
  bool stopping = false;
  std::string status;
  std::uint64_t watchdog_count = 0;  // How often it said that it is alive.
};

/// Everything the next child needs, made before fork() because a forked child may not allocate.
class ChildLaunch {
 public:
  ChildLaunch(ChildLaunch&&) = default;
  ChildLaunch& operator=(ChildLaunch&&) = default;
  ChildLaunch(const ChildLaunch&) = delete;
  ChildLaunch& operator=(const ChildLaunch&) = delete;

  /// In the child, between fork and exec: places the descriptors at 3, 4, ... without
  /// close-on-exec, writes LISTEN_PID, and returns the environment for execve. Null with errno when
  /// a descriptor cannot be duplicated. It overwrites whatever else is open at those numbers.
  /// Async-signal-safe.
  [[nodiscard]] char** prepare_child_environment() noexcept;

 private:
  friend class FdStoreServer;
  ChildLaunch() = default;

  std::vector<int> descriptors_;
  std::vector<std::string> environment_;
  std::vector<char*> pointers_;
  char* pid_text_ = nullptr;  // Where LISTEN_PID's number goes; null when nothing is passed.
};

class FdStoreServer {
 public:
  /// Binds the socket, mode 0600. Null with one line in `error` when that fails.
  static std::unique_ptr<FdStoreServer> create(const FdStoreServerOptions& options,
                                               std::string& error);
  ~FdStoreServer();
  FdStoreServer(const FdStoreServer&) = delete;
  FdStoreServer& operator=(const FdStoreServer&) = delete;

  /// Readable when datagrams wait. For poll or epoll.
  [[nodiscard]] int fd() const { return socket_; }

  /// From now on only this process (of our own user) is heard; its state starts empty. Call it
  /// right after fork().
  void expect_child(pid_t pid);

  /// Handles the datagrams that wait, at most 256, and returns how many. When the child has ended,
  /// call it until it returns 0 before the process is reaped, so that nothing sent last is lost.
  std::size_t receive();

  [[nodiscard]] const NotifyState& state() const { return state_; }
  [[nodiscard]] std::size_t descriptor_count() const { return stored_.size(); }
  [[nodiscard]] std::size_t descriptor_count(std::string_view name) const;
  /// Datagrams refused, and why the last one was.
  [[nodiscard]] std::uint64_t refused_count() const { return refused_; }
  [[nodiscard]] const std::string& last_refusal() const { return last_refusal_; }

  /// Closes everything kept, for an end for good.
  void clear();

  /// For the next start: `environment` ("KEY=value") without what earlier managers left, and what
  /// this one adds. Valid until the store changes.
  [[nodiscard]] ChildLaunch prepare_launch(const std::vector<std::string>& environment) const;

 private:
  struct StoredDescriptor {
    std::string name;
    int fd;
  };
  struct Datagram;

  FdStoreServer(const FdStoreServerOptions& options, int socket)
      : options_(options), socket_(socket) {}
  void handle(const Datagram& datagram, std::vector<int>& descriptors);
  void handle_store(const std::string& name, std::vector<int>& descriptors);
  void remove(const std::string& name);
  [[nodiscard]] bool keeps(const std::string& name, int fd) const;
  void refuse(std::string reason);

  const FdStoreServerOptions options_;
  const int socket_;
  pid_t child_ = 0;
  NotifyState state_;
  std::vector<StoredDescriptor> stored_;
  std::uint64_t refused_ = 0;
  std::string last_refusal_;
};

}  // namespace ackbus::tools
