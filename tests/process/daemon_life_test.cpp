// The daemon as a service: readiness, reload, metrics, what it costs when nothing happens.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DaemonLife : public ProcessTest {
 protected:
  static bool log_says(Bus& bus, const std::string& text) {
    return eventually([&] { return bus.program().errors().find(text) != std::string::npos; });
  }
};

TEST_F(DaemonLife, SaysReadyToTheServiceManagerOnceItServes) {
  const Folder folder;
  const int manager = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (folder / "notify").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(manager, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const timeval patience{30, 0};
  ::setsockopt(manager, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  Program daemon(
      folder, "ackbusd",
      {"--runtime-dir", folder / "run", "--metrics", "off", "--dead-letters", folder / "dead"},
      {"NOTIFY_SOCKET=" + folder / "notify"});
  const auto wait_for = [&](const std::string& word) {
    for (int messages = 0; messages < 100; ++messages) {
      char text[4096];
      const ssize_t got = ::recv(manager, text, sizeof(text), 0);
      if (got <= 0) {
        return false;
      }
      if (std::string(text, static_cast<std::size_t>(got)).find(word) != std::string::npos) {
        return true;
      }
    }
    return false;
  };
  ASSERT_TRUE(wait_for("READY=1")) << daemon.errors();
  ConnectOptions options;
  options.runtime_dir = folder / "run";
  EXPECT_TRUE(Tool::connect(options)) << "it serves when it says so";
  daemon.child.signal(SIGHUP);
  EXPECT_TRUE(wait_for("RELOADING=1"));
  EXPECT_TRUE(wait_for("READY=1"));
  daemon.child.signal(SIGTERM);
  const std::optional<ProcessEnd> end = daemon.child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_status, 0);
  ::close(manager);
}

TEST_F(DaemonLife, SighupTakesAGoodConfigurationAndKeepsTheOldOneOnAnError) {
  Bus bus;
  Producer before = bus.producer();
  write_file(bus.config_path(), "[[kind]]\nid = 9\nname = \"Fresh\"\ntimeout_ms = 123\n");
  bus.program().child.signal(SIGHUP);
  ASSERT_TRUE(log_says(bus, "configuration reloaded"));
  EXPECT_EQ(before.kind("Fresh"), static_cast<Kind>(9)) << "a connected client sees the new kind";
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  EXPECT_EQ(outcome_of(before, send(before, "x", {}, static_cast<Kind>(9))).code,
            OutcomeCode::kSuccess);
  write_file(bus.config_path(), "[[kind]]\nid = 10\nname = \"Worse\"\ntimeout = 5\n");
  bus.program().child.signal(SIGHUP);
  ASSERT_TRUE(log_says(bus, "the old one stays in force"));
  EXPECT_THAT(bus.program().errors(), HasSubstr("ackbusd.toml:4:1: unknown key"));
  EXPECT_FALSE(before.kind("Worse"));
  EXPECT_EQ(before.kind("Fresh"), static_cast<Kind>(9));
  EXPECT_EQ(outcome_of(before, send(before, "y", {}, static_cast<Kind>(9))).code,
            OutcomeCode::kSuccess);
}

TEST_F(DaemonLife, AReloadedLimitHoldsForTheNextLink) {
  Bus bus;
  Producer first = bus.producer();
  write_file(bus.config_path(), "[limits]\nmax_links = 1\n");
  bus.program().child.signal(SIGHUP);
  ASSERT_TRUE(log_says(bus, "configuration reloaded"));
  const Result<Producer> second = Producer::connect(bus.producer_options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kQuota);
}

TEST_F(DaemonLife, TheMetricsPageCountsAndAFreePortIsPrinted) {
  Bus bus({.metrics = "127.0.0.1:0"});
  ASSERT_TRUE(bus.program().wait_output("metrics on port "));
  const std::string output = bus.program().output();
  const int port = std::stoi(output.substr(output.find("port ") + 5));
  ASSERT_GT(port, 0);
  EXPECT_NE(port, 9975);
  Helper consumer = Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel&) {
    const std::string text(600, 't');  // Longer than an ack can carry: cut, flagged, counted.
    for (;;) {
      Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
      if (!taken || !*taken || !mine.ack(**taken, {AckStatus::kPartialSuccess, text, {}})) {
        return 2;
      }
    }
  });
  Producer producer = bus.producer();
  for (int i = 0; i < 7; ++i) {
    EXPECT_TRUE(outcome_of(producer, send(producer, "x")).text_cut());
  }
  const std::string page = metrics_page(static_cast<std::uint16_t>(port));
  const std::string labels = "{bus=\"default\",kind=\"ComputeForces\"}";
  EXPECT_THAT(page,
              AllOf(HasSubstr("200 OK"), HasSubstr("ackbus_messages_sent_total" + labels + " 7\n"),
                    HasSubstr("ackbus_ack_texts_cut_total" + labels + " 7\n")));
}

TEST_F(DaemonLife, AnIdleDaemonUsesNoMeasurableTime) {
  Bus bus;
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  Producer producer = bus.producer();
  EXPECT_EQ(outcome_of(producer, send(producer, "x")).code, OutcomeCode::kSuccess);
  const pid_t pid = bus.daemon_pid();
  constexpr seconds kIdle{3};
  const std::uint64_t before = ticks_of(pid);
  const std::uint64_t consumer_before = ticks_of(consumer.child.pid());
  // Nothing is waited for here but the clock: idleness is what is measured.
  const Deadline over = soon(kIdle);
  ASSERT_TRUE(eventually([&] { return steady_clock::now() >= over; }, kIdle + kPatience));
  const std::uint64_t used = ticks_of(pid) - before;
  const std::uint64_t consumer_used = ticks_of(consumer.child.pid()) - consumer_before;
  const auto available = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK) * kIdle.count());
  std::printf("idle for %lld s: daemon %llu, consumer %llu of %llu clock ticks\n",
              static_cast<long long>(kIdle.count()), static_cast<unsigned long long>(used),
              static_cast<unsigned long long>(consumer_used),
              static_cast<unsigned long long>(available));
  EXPECT_LT(used * 20, available) << "five per cent";
  EXPECT_LT(consumer_used * 20, available);
}

}  // namespace
}  // namespace ackbus::process_test
