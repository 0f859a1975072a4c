#include "bench/process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ackbus/tool.hpp>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace ackbus::bench {
namespace {

constexpr std::chrono::seconds kDaemonStartMax{10};
constexpr long kStartPollNs = 2'000'000;

std::atomic<bool> g_interrupted{false};

Error system_error(const std::string& what) {
  return {ErrorCode::kSystem, what + ": " + std::strerror(errno)};
}

// In the child: die with the parent, stay out of the terminal's signals, and take those that come
// by name as any program does.
void become_child(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    _exit(1);  // It died before the line above.
  }
  setpgid(0, 0);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    signal(number, SIG_DFL);
  }
}

std::string last_line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::string last;
  while (std::getline(file, line)) {  // Bounded by the file.
    last = line;
  }
  return last.empty() ? "it said nothing" : last;
}

}  // namespace

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {  // Ends: the child was killed.
    }
  }
}

Result<ChildProcess> ChildProcess::fork_off(const std::function<int()>& work) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    return system_error("cannot start a process");
  }
  if (pid == 0) {
    become_child(parent);
    _exit(work());
  }
  return ChildProcess(pid);
}

Result<ChildProcess> ChildProcess::execute(const std::vector<std::string>& arguments,
                                           const std::string& log) {
  return fork_off([&] {
    const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    std::vector<char*> pointers;
    for (const std::string& argument : arguments) {
      pointers.push_back(const_cast<char*>(argument.c_str()));  // execv changes nothing.
    }
    pointers.push_back(nullptr);
    execv(pointers[0], pointers.data());
    return 127;
  });
}

bool ChildProcess::running() const {
  siginfo_t info{};
  // It is left unreaped, so that its number stays its own until the destructor.
  return pid_ > 0 &&
         waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

Result<TemporaryFolder> TemporaryFolder::create() {
  const char* base = std::getenv("TMPDIR");
  std::string path =
      std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/ackbus-bench-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return system_error("cannot make the folder " + path + " (see $TMPDIR)");
  }
  return TemporaryFolder(path);
}

TemporaryFolder::~TemporaryFolder() {
  if (!path_.empty()) {
    std::error_code ignored;  // What cannot be removed stays; there is nobody to tell.
    std::filesystem::remove_all(path_, ignored);
  }
}

Result<PrivateBus> PrivateBus::start(const std::string& daemon) {
  if (daemon.empty()) {
    return Error{ErrorCode::kNotFound,
                 "ackbusd is neither beside this program nor in $PATH: install it"};
  }
  Result<TemporaryFolder> folder = TemporaryFolder::create();
  if (!folder) {
    return folder.error();
  }
  const std::string log = folder->path() + "/ackbusd.log";
  Result<ChildProcess> child =
      ChildProcess::execute({daemon, "--runtime-dir", folder->path(), "--metrics", "off",
                             "--dead-letters", folder->path() + "/dead"},
                            log);
  if (!child) {
    return child.error();
  }
  ConnectOptions options;
  options.runtime_dir = folder->path();
  const auto deadline = std::chrono::steady_clock::now() + kDaemonStartMax;
  for (;;) {
    const Result<Tool> tool = Tool::connect(options);
    if (tool) {
      return PrivateBus(std::move(*folder), std::move(*child));
    }
    if (!child->running()) {
      return Error{ErrorCode::kSystem, daemon + " ended at once: " + last_line_of(log)};
    }
    if (interrupted() || std::chrono::steady_clock::now() > deadline) {
      return Error{ErrorCode::kTimeout, daemon + " did not answer: " + tool.error().text};
    }
    const timespec pause{0, kStartPollNs};
    nanosleep(&pause, nullptr);
  }
}

void watch_for_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_interrupted.store(true); };
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    sigaction(number, &action, nullptr);
  }
}

bool interrupted() { return g_interrupted.load(); }

}  // namespace ackbus::bench
