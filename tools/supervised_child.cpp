#include "tools/supervised_child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ackbus::tools {
namespace {

constexpr int kExecFailed = 127;
// A datagram socket's queue is short; the bound only stops a child that floods us.
constexpr int kReceiveRoundsMax = 64;

std::vector<std::string> own_environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

}  // namespace

std::uint64_t RestartBackoff::next_delay_ns(std::uint64_t lived_ns) {
  if (lived_ns >= kProvenNs) {
    deaths_in_a_row_ = 0;
  }
  const std::uint32_t death = deaths_in_a_row_;
  deaths_in_a_row_ = std::min<std::uint32_t>(death + 1, 32);
  if (death == 0) {
    return 0;
  }
  return std::min(kBaseNs << (death - 1), kMaxNs);
}

std::string ChildEnd::text() const {
  if (!by_signal) {
    return "exit status " + std::to_string(code);
  }
  return "signal " + std::to_string(code) + " (" + strsignal(code) + ")";
}

std::unique_ptr<SupervisedChild> SupervisedChild::create(ChildSpecification specification,
                                                         std::string& error) {
  FdStoreServerOptions options;
  options.socket_path = specification.notify_path;
  options.max_descriptors = specification.max_descriptors;
  options.watchdog_us = specification.watchdog_us;
  std::unique_ptr<FdStoreServer> store = FdStoreServer::create(options, error);
  if (store == nullptr) {
    return nullptr;
  }
  return std::unique_ptr<SupervisedChild>(
      new SupervisedChild(std::move(specification), std::move(store)));
}

SupervisedChild::~SupervisedChild() {
  if (pid_ != 0) {
    kill();
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    close(pid_descriptor_);
  }
}

// Between fork and exec only async-signal-safe calls are allowed: everything was made before.
void SupervisedChild::become_program(ChildLaunch& launch, char** arguments, pid_t parent) const {
  // The kernel ends this process with its supervisor, however that one ends; if it went before the
  // call above took effect, nobody is left to serve.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    _exit(kExecFailed);
  }
  // A process group of its own: an interrupt typed at the terminal reaches the supervisor alone,
  // which then ends everybody in order.
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  char** environment = launch.prepare_child_environment();
  if (environment != nullptr) {
    execve(arguments[0], arguments, environment);
  }
  _exit(kExecFailed);
}

bool SupervisedChild::start(std::uint64_t now_ns, std::string& error) {
  std::vector<char*> arguments;
  for (std::string& argument : specification_.arguments) {
    arguments.push_back(argument.data());
  }
  arguments.push_back(nullptr);
  ChildLaunch launch = store_->prepare_launch(own_environment());
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    become_program(launch, arguments.data(), parent);
  }
  if (pid < 0) {
    error = name() + " cannot be started: fork: " + std::strerror(errno);
    return false;
  }
  store_->expect_child(pid);
  pid_ = pid;
  ready_ = false;
  started_ns_ = now_ns;
  watchdog_count_ = 0;
  // Not reaped yet, so the number still means this child.
  pid_descriptor_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pid_descriptor_ < 0) {
    error = name() + ": pidfd_open: " + std::strerror(errno) + ": Linux 5.3 or newer is needed";
    ::kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    pid_ = 0;
    return false;
  }
  return true;
}

bool SupervisedChild::take_notifications(std::uint64_t now_ns) {
  for (int round = 0; round < kReceiveRoundsMax && store_->receive() != 0; ++round) {
  }
  if (store_->state().watchdog_count != watchdog_count_) {
    watchdog_count_ = store_->state().watchdog_count;
    alive_ns_ = now_ns;
  }
  if (pid_ == 0 || ready_ || !store_->state().ready) {
    return false;
  }
  ready_ = true;
  was_ready_once_ = true;
  return true;
}

std::string SupervisedChild::take_refusals() {
  const std::uint64_t count = store_->refused_count() - refused_count_;
  refused_count_ += count;
  return count == 0 ? std::string()
                    : name() + ": " + std::to_string(count) +
                          " notification(s) not taken, the last one: " + store_->last_refusal();
}

std::optional<ChildEnd> SupervisedChild::take_end() {
  if (pid_ == 0) {
    return std::nullopt;
  }
  siginfo_t facts{};
  const auto id = static_cast<id_t>(pid_);
  if (waitid(P_PID, id, &facts, WEXITED | WNOHANG | WNOWAIT) != 0 || facts.si_pid == 0) {
    return std::nullopt;
  }
  // What it sent last still counts, and is only heard while its number is its own.
  for (int round = 0; round < kReceiveRoundsMax && store_->receive() != 0; ++round) {
  }
  waitid(P_PID, id, &facts, WEXITED | WNOHANG);
  close(pid_descriptor_);
  pid_descriptor_ = -1;
  pid_ = 0;
  ready_ = false;
  return ChildEnd{facts.si_code != CLD_EXITED, facts.si_status};
}

void SupervisedChild::ask_to_stop() {
  if (pid_ == 0) {
    return;
  }
  if (specification_.ask_to_stop) {
    specification_.ask_to_stop(pid_);
  } else {
    ::kill(pid_, SIGTERM);
  }
}

void SupervisedChild::kill() {
  if (pid_ != 0) {
    ::kill(pid_, SIGKILL);
  }
}

std::uint64_t SupervisedChild::hung_at_ns() const {
  if (pid_ == 0 || specification_.watchdog_us == 0 || watchdog_count_ == 0) {
    return UINT64_MAX;
  }
  return alive_ns_ + specification_.watchdog_us * 1000;
}

}  // namespace ackbus::tools
