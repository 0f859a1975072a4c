// A chaos run: real processes, killed and stopped at random and at every named point, and judged
// from outside (docs/chaos.md). The same program is the supervisor and, with --role, a client.
//
// Data flow: rounds of load with deaths; after each everybody drains and leaves, the journals are
// judged, the daemon's figures compared and its holdings counted; then the next round on the same
// bus. The last thing is one table. Exit status 0: nothing wrong and everything was hit.
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/chaos/report.hpp"
#include "tests/chaos/roles.hpp"
#include "tests/chaos/schedule.hpp"

namespace ackbus::chaos {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kRoundNs = 20 * kSecondNs;
constexpr std::uint64_t kProgressNs = 15 * kSecondNs;
constexpr std::uint64_t kShortMaxNs = 240 * kSecondNs;  // a short run that hits everything is over

struct Arguments {
  double minutes = 0;  // 0: until everything was hit once
  std::uint64_t seed = 1;
  std::string programs;
  std::string folder;
  bool keep = false;
  RoleArguments role;
};

bool has_points(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return bytes.find(kPageVariable) != std::string::npos ||
         bytes.find("ackbus_reach_point") != std::string::npos;  // taken from the library
}

// By role: whether the programs of this run have test points.
std::array<bool, kRoles> roles_with_points(const Arguments& arguments) {
  const std::string library = arguments.programs + "/../lib/libackbus.so.0";
  std::array<bool, kRoles> with{};
  with[static_cast<std::size_t>(Role::kProducer)] = has_points(library);
  with[static_cast<std::size_t>(Role::kConsumer)] = has_points(library);
  with[static_cast<std::size_t>(Role::kDaemon)] = has_points(arguments.programs + "/ackbusd");
  with[static_cast<std::size_t>(Role::kGpu)] = has_points(arguments.programs + "/ackbus-gpu");
  return with;
}

class Run {
 public:
  Run(const Arguments& arguments, StageOptions options)
      : arguments_(arguments),
        stage_(std::move(options)),
        schedule_(stage_, arguments.seed, roles_with_points(arguments)),
        report_(stage_, schedule_) {}

  int run() {
    if (!warm_up()) {
      return report_.print();
    }
    started_ns_ = stage_.now_ns();
    while (!is_over() && report_.is_clean()) {
      load();
      if (!end_round()) {
        break;
      }
    }
    return report_.print();
  }

 private:
  // A round without a death, so that what a bus holds that has served once is known.
  bool warm_up() {
    stage_.start_clients();
    const std::uint64_t until_ns = stage_.now_ns() + 2 * kSecondNs;
    while (stage_.now_ns() < until_ns) {
      stage_.tick();
    }
    if (!report_.end_round()) {
      return false;
    }
    stage_.restart_daemon();
    report_.take_baseline();
    return true;
  }

  [[nodiscard]] bool is_over() const {
    const std::uint64_t past_ns = stage_.now_ns() - started_ns_;
    return arguments_.minutes > 0 ? static_cast<double>(past_ns) >= arguments_.minutes * 60e9
                                  : schedule_.complete() || past_ns > kShortMaxNs;
  }

  void load() {
    stage_.start_clients();
    const std::uint64_t until_ns = stage_.now_ns() + kRoundNs;
    while (stage_.now_ns() < until_ns && stage_.troubles().empty() &&
           (arguments_.minutes > 0 || !schedule_.complete())) {
      stage_.tick();
      schedule_.act(true);
      if (stage_.now_ns() - progress_ns_ > kProgressNs) {
        progress_ns_ = stage_.now_ns();
        report_.print_progress((progress_ns_ - started_ns_) / kSecondNs);
      }
    }
    schedule_.pause();
  }

  bool end_round() {
    if (!report_.end_round()) {
      return false;
    }
    stage_.restart_daemon();
    report_.compare_holdings();
    return true;
  }

  const Arguments& arguments_;
  Stage stage_;
  Schedule schedule_;
  Report report_;
  std::uint64_t started_ns_ = 0;
  std::uint64_t progress_ns_ = 0;
};

int supervise(Arguments& arguments) {
  char self[4096] = {};
  [[maybe_unused]] const ssize_t length = ::readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (arguments.programs.empty()) {
    const char* programs = std::getenv("ACKBUS_BIN");
    arguments.programs =
        programs != nullptr ? programs : std::filesystem::path(self).parent_path().string();
  }
  std::string pattern = (std::filesystem::temp_directory_path() / "ackbus-chaos-XXXXXX").string();
  arguments.folder = ::mkdtemp(pattern.data());
  const std::string log = arguments.folder + "/log";
  const int log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  // The table is this program's alone: what its children say goes into the log.
  const int own_output = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  ::dup2(log_fd, STDERR_FILENO);
  ::dup2(log_fd, STDOUT_FILENO);
  stdout = ::fdopen(own_output, "w");
  ::close(log_fd);
  const auto with = roles_with_points(arguments);
  std::printf("chaos: seed %llu, programs of %s (%s), log %s\n",
              static_cast<unsigned long long>(arguments.seed), arguments.programs.c_str(),
              std::count(with.begin(), with.end(), true) == kRoles - 1 ? "with test points"
              : std::count(with.begin(), with.end(), true) == 0
                  ? "without test points: killed at random only"
                  : "some without test points: those are killed at random only",
              log.c_str());
  std::fflush(stdout);
  const std::string libraries = arguments.programs + "/../lib";
  ::setenv("LD_LIBRARY_PATH", libraries.c_str(), 1);
  StageOptions options;
  options.folder = arguments.folder;
  options.programs = arguments.programs;
  options.self = self;
  options.seed = arguments.seed;
  int status = 1;
  {
    Run run(arguments, std::move(options));
    status = run.run();
  }
  if (status == 0 && !arguments.keep) {
    std::error_code ignored;
    std::filesystem::remove_all(arguments.folder, ignored);
  }
  return status;
}

}  // namespace
}  // namespace ackbus::chaos

int main(int argc, char** argv) {
  using namespace ackbus::chaos;
  Arguments arguments;
  CLI::App app{"Kills and stops the processes of a bus under load, and judges what is left."};
  app.add_option("--minutes", arguments.minutes, "how long; 0: until everything was hit once");
  app.add_option("--seed", arguments.seed, "what is sent and who is killed when follows from it");
  app.add_option("--bin", arguments.programs, "folder of ackbusd and ackbus-gpu; else $ACKBUS_BIN");
  app.add_flag("--keep", arguments.keep, "leave the run's folder where it is");
  app.add_option("--role", arguments.role.role)->group("");
  app.add_option("--folder", arguments.role.folder)->group("");
  app.add_option("--index", arguments.role.index)->group("");
  app.add_option("--incarnation", arguments.role.incarnation)->group("");
  app.add_option("--rate", arguments.role.rate)->group("");
  CLI11_PARSE(app, argc, argv);
  arguments.role.seed = arguments.seed;
  if (arguments.role.role == "producer") {
    return run_producer(arguments.role);
  }
  if (arguments.role.role == "gpu-producer") {
    return run_gpu_producer(arguments.role);
  }
  return arguments.role.role == "consumer" ? run_consumer(arguments.role) : supervise(arguments);
}
