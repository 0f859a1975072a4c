#include "tools/command_run.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "tools/supervisor.hpp"
#include "tools/version.hpp"

namespace ackbus::tools {
namespace {

constexpr std::uint64_t kWatchdogUs = 20'000'000;
constexpr std::chrono::milliseconds kShutdownTimeout{3000};

// Each missing folder on the way is made with mode 0700: a bus of this user alone.
Result<void> make_folder(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    mkdir(path.substr(0, slash).c_str(), 0700);  // The last one's error says what went wrong.
  }
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return Error{errno == EACCES ? ErrorCode::kPermission : ErrorCode::kSystem,
                 "runtime directory " + path + " cannot be made: " + std::strerror(errno) +
                     ": name another with --runtime-dir"};
  }
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode)) {
    return Error{ErrorCode::kInvalid,
                 path + " is not a directory: name another with --runtime-dir"};
  }
  if (access(path.c_str(), W_OK | X_OK) != 0) {
    return Error{ErrorCode::kPermission, "runtime directory " + path +
                                             " cannot be written by this user: name another with "
                                             "--runtime-dir"};
  }
  return {};
}

Result<std::string> prepare_runtime_dir(const CommonOptions& common) {
  Result<std::string> found = find_runtime_dir(common.runtime_dir);
  if (!found) {
    return found;
  }
  if (Result<void> made = make_folder(found.value()); !made) {
    return made.error();
  }
  const std::string longest = found.value() + "/" + common.bus + ".notify-gpu";
  if (longest.size() >= sizeof(sockaddr_un::sun_path)) {
    return Error{ErrorCode::kInvalid, "the path " + longest +
                                          " is too long for a socket: name a shorter "
                                          "--runtime-dir"};
  }
  return found;
}

// The lock that says who supervises this bus; released by the kernel when this process ends.
// Without it a second supervisor would take over the first one's notification socket.
Result<int> lock_bus(const CommonOptions& common) {
  const std::string path = common.runtime_dir + "/" + common.bus + ".run";
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    return Error{errno == EACCES ? ErrorCode::kPermission : ErrorCode::kSystem,
                 path + ": " + std::strerror(errno)};
  }
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    close(descriptor);
    return Error{ErrorCode::kInvalid, "another ackbus run serves bus " + common.bus + " in " +
                                          common.runtime_dir +
                                          ": end it, or name another --bus or --runtime-dir"};
  }
  return descriptor;
}

// Every link costs the daemon descriptors; what this user may have, the children get.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// What this process can keep for the daemon: the start of the next one needs each number twice.
std::size_t descriptors_for_daemon() {
  constexpr std::uint64_t kOwn = 64;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t room = limit.rlim_cur > kOwn ? (limit.rlim_cur - kOwn) / 2 : 1;
  return static_cast<std::size_t>(std::min<std::uint64_t>(room, kStoredMax));
}

// Asks the daemon to end the bus for good, so that producers are told Closed; a daemon that does
// not answer gets SIGTERM. It waits for the answer on a thread of its own, because the daemon may
// have to be heard by the supervisor before it can answer.
class BusShutdown {
 public:
  explicit BusShutdown(CommonOptions common) : common_(std::move(common)) {}

  void begin(pid_t pid) {
    // Opened before the child can be reaped, so it means this process and no later one.
    const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    waiter_ = std::jthread([common = common_, descriptor] {
      if (!ask(common) && descriptor >= 0) {
        syscall(SYS_pidfd_send_signal, descriptor, SIGTERM, nullptr, 0);
      }
      if (descriptor >= 0) {
        close(descriptor);
      }
    });
  }

 private:
  static bool ask(const CommonOptions& common) {
    Result<DaemonSession> session = DaemonSession::open(common);
    if (!session) {
      return false;
    }
    const Result<nlohmann::json> answer = session->ask({{"verb", "shutdown"}}, kShutdownTimeout);
    // A daemon that is gone before its answer arrives did what was asked.
    return answer.ok() || answer.error().code == ErrorCode::kDisconnected;
  }

  CommonOptions common_;
  std::jthread waiter_;
};

Result<ChildSpecification> specify(const std::string& name, const std::string& notify_path) {
  ChildSpecification specification;
  specification.name = name;
  specification.notify_path = notify_path;
  specification.watchdog_us = kWatchdogUs;
  const std::string program = find_program(name);
  if (program.empty()) {
    return Error{ErrorCode::kNotFound,
                 name + " is neither beside this program nor in $PATH: install it"};
  }
  specification.arguments = {program};
  return specification;
}

Result<std::unique_ptr<SupervisedChild>> make_child(ChildSpecification specification) {
  std::string error;
  std::unique_ptr<SupervisedChild> child = SupervisedChild::create(std::move(specification), error);
  if (child == nullptr) {
    return Error{ErrorCode::kSystem, error};
  }
  return child;
}

using Children = std::vector<std::unique_ptr<SupervisedChild>>;

Result<Children> make_children(const CommonOptions& common, const RunOptions& options,
                               const std::shared_ptr<BusShutdown>& shutdown) {
  const std::string prefix = common.runtime_dir + "/" + common.bus;
  Children children;
  Result<ChildSpecification> daemon = specify("ackbusd", prefix + ".notify");
  if (!daemon) {
    return daemon.error();
  }
  daemon->max_descriptors = descriptors_for_daemon();
  daemon->arguments = daemon_arguments(daemon->arguments.front(), common, options);
  daemon->ask_to_stop = [shutdown](pid_t pid) { shutdown->begin(pid); };
  Result<std::unique_ptr<SupervisedChild>> child = make_child(std::move(daemon).value());
  if (!child) {
    return child.error();
  }
  children.push_back(std::move(child).value());
  if (!options.gpu) {
    return children;
  }
  Result<ChildSpecification> gpu = specify("ackbus-gpu", prefix + ".notify-gpu");
  if (!gpu) {
    return gpu.error();
  }
  gpu->arguments = gpu_arguments(gpu->arguments.front(), common, options);
  child = make_child(std::move(gpu).value());
  if (!child) {
    return child.error();
  }
  children.push_back(std::move(child).value());
  return children;
}

SupervisorOptions supervisor_options(const CommonOptions& common, const RunOptions& options) {
  SupervisorOptions supervisor;
  supervisor.ready_line = "ackbus: ready: bus " + common.bus + " in " + common.runtime_dir +
                          (options.gpu ? ", queue " + options.queue : std::string(", no consumer"));
  supervisor.announce = [](const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  };
  supervisor.log = [](const std::string& line) {
    std::fprintf(stderr, "ackbus: %s\n", line.c_str());
  };
  return supervisor;
}

}  // namespace

std::vector<std::string> daemon_arguments(const std::string& program, const CommonOptions& common,
                                          const RunOptions& options) {
  std::vector<std::string> arguments{program, "--runtime-dir", common.runtime_dir, "--bus",
                                     common.bus};
  if (!options.metrics.empty()) {
    arguments.insert(arguments.end(), {"--metrics", options.metrics});
  }
  if (!options.dead_letters.empty()) {
    arguments.insert(arguments.end(), {"--dead-letters", options.dead_letters});
  }
  if (!options.config.empty()) {
    arguments.insert(arguments.end(), {"--config", options.config});
  }
  return arguments;
}

std::vector<std::string> gpu_arguments(const std::string& program, const CommonOptions& common,
                                       const RunOptions& options) {
  std::vector<std::string> arguments{program,       "--runtime-dir", common.runtime_dir,
                                     "--bus",       common.bus,      "--queue",
                                     options.queue, "--backend",     options.backend};
  if (options.threads != 0) {
    arguments.insert(arguments.end(), {"--threads", std::to_string(options.threads)});
  }
  return arguments;
}

ExitCode run_run(const CommonOptions& common, const RunOptions& options) {
  const Result<std::string> runtime_dir = prepare_runtime_dir(common);
  if (!runtime_dir) {
    return report_error(runtime_dir.error());
  }
  CommonOptions found = common;
  found.runtime_dir = runtime_dir.value();
  const Result<int> lock = lock_bus(found);
  if (!lock) {
    return report_error(lock.error());
  }
  raise_descriptor_limit();
  const auto shutdown = std::make_shared<BusShutdown>(found);
  Result<Children> children = make_children(found, options, shutdown);
  if (!children) {
    return report_error(children.error());
  }
  Supervisor supervisor(std::move(children).value(), supervisor_options(found, options));
  return supervisor.run();
}

}  // namespace ackbus::tools
