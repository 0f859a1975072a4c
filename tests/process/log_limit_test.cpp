// A log that cannot be flooded: a fault that is repeated a thousand times is a few lines and a
// count. And a log that cannot be written, which is no reason for a daemon to end.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <sstream>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::HasSubstr;

struct Said {
  std::uint64_t lines = 0;
  std::uint64_t suppressed = 0;  // as later lines tell
};

class LogLimit : public ProcessTest {
 protected:
  // Connects, says what no client says, and waits until the daemon hung up.
  static void bad_connects(const Bus& bus, int count) {
    for (int i = 0; i < count; ++i) {
      const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      bus.socket_path().copy(address.sun_path, sizeof(address.sun_path) - 1);
      ASSERT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
      ASSERT_EQ(::send(fd, "?", 1, MSG_NOSIGNAL), 1);
      const timeval patience{20, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
      char piece[512];
      ssize_t got = 0;
      while ((got = ::recv(fd, piece, sizeof(piece), 0)) > 0) {
      }
      ASSERT_EQ(got, 0) << "the daemon did not hang up";
      ::close(fd);
    }
    ASSERT_FALSE(bus.status().is_null());  // It says so after it hung up: by now it has.
  }

  // What the log says of clients that were refused.
  static Said said_of_refusals(Bus& bus) {
    constexpr const char* kSuppressed = " suppressed=";
    Said said;
    std::istringstream log(bus.program().errors());
    for (std::string line; std::getline(log, line);) {
      if (line.find("category=admission") == std::string::npos) {
        continue;
      }
      said.lines += line.find("refused a client") == std::string::npos ? 0 : 1;
      if (const std::size_t at = line.find(kSuppressed); at != std::string::npos) {
        said.suppressed += std::stoull(line.substr(at + std::string(kSuppressed).size()));
      }
    }
    return said;
  }

  static void set_limit(Bus& bus, int records_per_minute) {
    write_file(bus.config_path(),
               "log_records_per_minute = " + std::to_string(records_per_minute) + "\n");
    ASSERT_FALSE(bus.ask({{"verb", "reload"}}).is_null());
  }

  // How many times a minute may have begun since then: the limit is one of each minute.
  static std::uint64_t minutes_since(steady_clock::time_point start) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::minutes>(steady_clock::now() - start).count() + 1);
  }
};

// Once the daemon took a new log_records_per_minute at its start alone.
TEST_F(LogLimit, AThousandBadConnectsAreAFewLinesAndACountOfTheOthers) {
  constexpr int kFaults = 1000;
  constexpr std::uint64_t kLimit = 10;
  const auto start = steady_clock::now();
  Bus bus({.config = "log_records_per_minute = 10\n"});
  bad_connects(bus, kFaults);
  const Said flood = said_of_refusals(bus);
  EXPECT_GE(flood.lines, kLimit);
  EXPECT_LE(flood.lines, kLimit * minutes_since(start));
  set_limit(bus, 1000);
  EXPECT_THAT(bus.program().errors(), HasSubstr("configuration reloaded"))
      << "one part of the daemon silences no other";
  bad_connects(bus, 1);
  ASSERT_TRUE(eventually([&] { return said_of_refusals(bus).lines > flood.lines; }));
  const Said all = said_of_refusals(bus);
  EXPECT_EQ(all.lines + all.suppressed, kFaults + 1U)
      << "each is a line, or counted by a later one";
}

// Once the limit held only if a minute's lines met it exactly: a lower one was passed unseen.
TEST_F(LogLimit, ALowerLimitHoldsInTheMinuteThatIsAlreadyAboveIt) {
  const auto start = steady_clock::now();
  Bus bus({.config = "log_records_per_minute = 1000\n"});
  bad_connects(bus, 30);
  const std::uint64_t before = said_of_refusals(bus).lines;
  EXPECT_EQ(before, 30U);
  set_limit(bus, 5);
  bad_connects(bus, 300);
  EXPECT_LE(said_of_refusals(bus).lines, before + 5 * (minutes_since(start) - 1));
}

// Once SIGXFSZ ended the daemon when its log's file could grow no more.
TEST_F(LogLimit, ALogFileThatMayNotGrowDoesNotEndTheDaemon) {
  Bus bus;
  const pid_t daemon = bus.daemon_pid();
  rlimit limit{};
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, nullptr, &limit), 0);
  const rlimit full{1, limit.rlim_max};
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, &full, nullptr), 0);
  const std::string before = bus.program().errors();
  bad_connects(bus, 3);
  EXPECT_EQ(bus.daemon_pid(), daemon) << "it serves";
  EXPECT_EQ(bus.program().errors(), before) << "the file grew";
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, &limit, nullptr), 0);
  bad_connects(bus, 1);
  EXPECT_EQ(said_of_refusals(bus).lines, 1U) << "the log goes on when it may";
}

// Once SIGPIPE ended the daemon when the reader of its log had ended.
TEST_F(LogLimit, ALogThatNobodyReadsAnyMoreDoesNotEndTheDaemon) {
  Bus bus;
  bus.program().child.end();
  const std::string log = bus.folder() / "log";
  ASSERT_EQ(::mkfifo(log.c_str(), 0600), 0);
  const int reader = ::open(log.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  Helper daemon([&](const Channel&) {
    ::dup2(::open(log.c_str(), O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    const std::string path = program_path("ackbusd");
    ::execl(path.c_str(), path.c_str(), "--runtime-dir", bus.runtime_dir().c_str(), "--metrics",
            "off", "--dead-letters", bus.dead_letter_dir().c_str(), nullptr);
    return 127;
  });
  ASSERT_TRUE(eventually([&] { return bus.daemon_pid() == daemon.child.pid(); }));
  ::close(reader);
  bad_connects(bus, 3);
  EXPECT_EQ(bus.daemon_pid(), daemon.child.pid()) << "it serves";
}

}  // namespace
}  // namespace ackbus::process_test
