// One process that `ackbus run` keeps alive: how to start it, what it said of itself, how it ended.
// Data flow: a specification -> fork and exec with the notification environment -> a pidfd that
// tells the end, a socket that tells the state. The child dies with its supervisor (PDEATHSIG).
// Threads: the supervisor's one; start() must be called by the thread that lives as long as the
// children shall.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/fd_store_server.hpp"

namespace ackbus::tools {

struct ChildSpecification {
  std::string name;                    // for messages, for example "ackbusd"
  std::vector<std::string> arguments;  // [0] is the program's path
  std::string notify_path;             // where its notification socket is bound; at most 107 bytes
  std::size_t max_descriptors = 64;    // that it may store here
  std::uint64_t watchdog_us = 0;       // told to it; 0: none
  std::function<void(pid_t)> ask_to_stop;  // empty: SIGTERM
};

// When a process that died is started again: at once the first time, then after 100 ms, doubled
// each time up to 10 s. One that lived for 30 s has proven itself and starts over.
class RestartBackoff {
 public:
  static constexpr std::uint64_t kBaseNs = 100'000'000;
  static constexpr std::uint64_t kMaxNs = 10'000'000'000;
  static constexpr std::uint64_t kProvenNs = 30'000'000'000;

  // How long to wait after a life of `lived_ns`.
  [[nodiscard]] std::uint64_t next_delay_ns(std::uint64_t lived_ns);

 private:
  std::uint32_t deaths_in_a_row_ = 0;
};

// How a process ended.
struct ChildEnd {
  bool by_signal = false;
  int code = 0;  // the exit status or the signal
  // "exit status 3", "signal 9 (Killed)".
  [[nodiscard]] std::string text() const;
  [[nodiscard]] bool clean() const { return !by_signal && code == 0; }
};

class SupervisedChild {
 public:
  // Binds the notification socket. Null with one line in `error` when that fails.
  static std::unique_ptr<SupervisedChild> create(ChildSpecification specification,
                                                 std::string& error);
  ~SupervisedChild();  // Kills and reaps what still runs.
  SupervisedChild(const SupervisedChild&) = delete;
  SupervisedChild& operator=(const SupervisedChild&) = delete;

  // False with one line in `error` when the process cannot be made. An exec that fails is seen as
  // an end with exit status 127.
  [[nodiscard]] bool start(std::uint64_t now_ns, std::string& error);

  // Takes what it said. Returns true when this made it ready.
  bool take_notifications(std::uint64_t now_ns);
  // What of it was refused since this was asked last, as one line; empty when nothing was.
  [[nodiscard]] std::string take_refusals();
  // How it ended, once, when it has; reaps it.
  [[nodiscard]] std::optional<ChildEnd> take_end();

  void ask_to_stop();
  void kill();

  [[nodiscard]] const std::string& name() const { return specification_.name; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool running() const { return pid_ != 0; }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] bool was_ready_once() const { return was_ready_once_; }
  [[nodiscard]] int pid_descriptor() const { return pid_descriptor_; }  // -1 when not running
  [[nodiscard]] int notify_descriptor() const { return store_->fd(); }
  // What it has stored here, for whoever counts.
  [[nodiscard]] std::size_t stored_count() const { return store_->descriptor_count(); }
  [[nodiscard]] std::uint64_t started_ns() const { return started_ns_; }
  [[nodiscard]] std::uint64_t restart_delay_ns(std::uint64_t now_ns) {
    return backoff_.next_delay_ns(now_ns - started_ns_);
  }
  // When it counts as hung unless it says that it is alive; UINT64_MAX when it never said so, for a
  // program without a watchdog is not to be judged by one.
  [[nodiscard]] std::uint64_t hung_at_ns() const;

 private:
  SupervisedChild(ChildSpecification specification, std::unique_ptr<FdStoreServer> store)
      : specification_(std::move(specification)), store_(std::move(store)) {}
  [[noreturn]] void become_program(ChildLaunch& launch, char** arguments, pid_t parent) const;

  ChildSpecification specification_;
  std::unique_ptr<FdStoreServer> store_;
  RestartBackoff backoff_;
  pid_t pid_ = 0;
  int pid_descriptor_ = -1;
  bool ready_ = false;
  bool was_ready_once_ = false;
  std::uint64_t started_ns_ = 0;
  std::uint64_t watchdog_count_ = 0;
  std::uint64_t refused_count_ = 0;
  std::uint64_t alive_ns_ = 0;  // when it last said that it is alive
};

}  // namespace ackbus::tools
