// The processes and the folder that a measurement makes for itself, gone when it ends however it
// ends: children die with this process (PR_SET_PDEATHSIG), stand in process groups of their own so
// that Ctrl-C reaches this process alone, and are killed and reaped by destructors. Threads: one;
// children must be made by the thread that lives as long as they shall.
#pragma once

#include <sys/types.h>

#include <ackbus/error.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ackbus::bench {

class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  ChildProcess& operator=(ChildProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~ChildProcess();

  // Forks; the child runs `work` and ends with what it returns.
  [[nodiscard]] static Result<ChildProcess> fork_off(const std::function<int()>& work);
  // Forks and executes `arguments`, its output going to the file `log`.
  [[nodiscard]] static Result<ChildProcess> execute(const std::vector<std::string>& arguments,
                                                    const std::string& log);

  // False once it has ended.
  [[nodiscard]] bool running() const;

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_ = 0;
};

// A new folder under $TMPDIR or /tmp, removed with everything in it.
class TemporaryFolder {
 public:
  [[nodiscard]] static Result<TemporaryFolder> create();
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~TemporaryFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A daemon of this measurement's own: a fresh bus in a fresh folder, no metrics endpoint.
class PrivateBus {
 public:
  // `daemon` is the program's path. Returns once the daemon answers. Errors: kNotFound, kSystem,
  // kTimeout, each with the daemon's own last words.
  [[nodiscard]] static Result<PrivateBus> start(const std::string& daemon);
  [[nodiscard]] const std::string& runtime_dir() const { return folder_.path(); }

 private:
  PrivateBus(TemporaryFolder folder, ChildProcess daemon)
      : folder_(std::move(folder)), daemon_(std::move(daemon)) {}
  TemporaryFolder folder_;
  ChildProcess daemon_;  // Declared last, so it ends before its folder goes.
};

// Turns SIGINT, SIGTERM and SIGHUP into interrupted(), so that a measurement unwinds and cleans up.
void watch_for_interrupts();
[[nodiscard]] bool interrupted();

}  // namespace ackbus::bench
