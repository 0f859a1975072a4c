// What runs out: file descriptors, the service manager's store of them, links. Each is a refusal
// that names the limit and a line in the log, costs no time, and passes when there is room again.
// And what a reload takes over, and what it names as waiting for a restart.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr seconds kQuiet{1};

class Limits : public ProcessTest {
 protected:
  static Result<Tool> connect(const Bus& bus) {
    ConnectOptions options;
    options.runtime_dir = bus.runtime_dir();
    return Tool::connect(options);
  }

  static bool log_says(Bus& bus, const std::string& text) {
    return eventually([&] { return bus.program().errors().find(text) != std::string::npos; });
  }

  static std::size_t count_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
      ++count;
    }
    return count;
  }

  static void limit_descriptors(pid_t pid, rlim_t limit) {
    rlimit before{};
    ASSERT_EQ(::prlimit(pid, RLIMIT_NOFILE, nullptr, &before), 0);
    const rlimit after{limit, before.rlim_max};
    ASSERT_EQ(::prlimit(pid, RLIMIT_NOFILE, &after, nullptr), 0);
  }

  // Connections that say nothing, in a process of their own until it is told to go.
  static Helper crowd(const Bus& bus, int clients) {
    Helper helper([&](const Channel& test) {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      bus.socket_path().copy(address.sun_path, sizeof(address.sun_path) - 1);
      for (int i = 0; i < clients; ++i) {
        const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
          return 1;
        }
      }
      test.say("connected");
      [[maybe_unused]] const auto until_told = test.hear(soon(seconds(3600)));
      return 0;
    });
    EXPECT_EQ(helper.channel.hear(), "connected");
    return helper;
  }

  // Clock ticks that a process uses while nothing happens for a while; of how many.
  static void expect_no_load(pid_t pid) {
    const std::uint64_t before = ticks_of(pid);
    const Deadline over = soon(kQuiet);
    ASSERT_TRUE(eventually([&] { return steady_clock::now() >= over; }, kQuiet + kPatience));
    const auto available = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK) * kQuiet.count());
    EXPECT_LT((ticks_of(pid) - before) * 5, available) << "a fifth of a processor";
  }
};

// ---- descriptors of the daemon ----

TEST_F(Limits, OutOfDescriptorsIsARefusalByNameAndPasses) {
  Bus bus;
  Result<Tool> early = connect(bus);
  ASSERT_TRUE(early);
  limit_descriptors(bus.program().child.pid(), 60);
  Helper many = crowd(bus, 80);
  const Result<Tool> late = connect(bus);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kQuota);
  EXPECT_THAT(late.error().text, AllOf(HasSubstr("out of file descriptors"),
                                       HasSubstr("LimitNOFILE"), HasSubstr("max_links")));
  EXPECT_TRUE(early->query(json({{"verb", "status"}}).dump(), soon()))
      << "who is in already is served";
  expect_no_load(bus.program().child.pid());
  EXPECT_EQ(count_of(bus.program().errors(), "category=descriptors"), 1U) << bus.program().errors();
  many.child.end();
  ASSERT_TRUE(eventually([&] { return connect(bus).ok(); }));
  EXPECT_TRUE(log_says(bus, "file descriptors suffice again"));
}

TEST_F(Limits, ALinkIsRefusedBeforeTheLastDescriptorsAreGone) {
  Bus bus;
  limit_descriptors(bus.program().child.pid(), 80);
  std::vector<Producer> producers;
  std::string refusal;
  for (int i = 0; i < 80 && refusal.empty(); ++i) {
    Result<Producer> made = Producer::connect(bus.producer_options());
    if (made) {
      producers.push_back(std::move(made).value());
    } else {
      refusal = made.error().text;
    }
  }
  EXPECT_THAT(refusal, HasSubstr("out of file descriptors"));
  ASSERT_GE(producers.size(), 3U);
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  for (Producer& producer : producers) {
    EXPECT_EQ(outcome_of(producer, send(producer, "served all the same")).code,
              OutcomeCode::kSuccess);
  }
}

TEST_F(Limits, AnAcceptThatFailsPausesTheListenerAndIsLoggedOnce) {
  Bus bus;
  const pid_t daemon = bus.program().child.pid();
  limit_descriptors(daemon, 3);
  const Helper waiting([&](const Channel& test) {
    const Result<Tool> tool = connect(bus);
    test.say(tool ? "welcome" : tool.error().text);
    return 0;
  });
  ASSERT_TRUE(log_says(bus, "out of file descriptors"));
  expect_no_load(daemon);
  EXPECT_EQ(count_of(bus.program().errors(), "category=descriptors"), 1U) << bus.program().errors();
  limit_descriptors(daemon, 1000);
  EXPECT_EQ(waiting.channel.hear(), "welcome") << "the client waited, and nothing was lost";
}

TEST_F(Limits, TheDaemonTakesAllTheDescriptorsThatItMayHave) {
  rlimit mine{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &mine), 0);
  const rlimit low{256, mine.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const Bus bus;
  rlimit its{};
  ASSERT_EQ(::prlimit(bus.daemon_pid(), RLIMIT_NOFILE, nullptr, &its), 0);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &mine), 0);
  EXPECT_EQ(its.rlim_cur, mine.rlim_max);
}

TEST_F(Limits, ALimitBelowWhatTheLinksMayNeedIsNamedAtTheStart) {
  Bus low({.descriptors = 1000});
  EXPECT_THAT(low.program().errors(),
              AllOf(HasSubstr("the limit of open files is below what [limits] max_links = 1024"),
                    HasSubstr("LimitNOFILE"), HasSubstr("limit=1000")));
  Bus enough({.config = "[limits]\nmax_links = 10\n", .descriptors = 1000});
  EXPECT_THAT(enough.program().errors(), Not(HasSubstr("the limit of open files")));
}

// ---- the service manager's store ----

TEST_F(Limits, LinksThatTheStoreCouldNotKeepAreRefusedAndTheOthersSurviveTheDaemon) {
  Bus bus({.supervised = true, .descriptors = 264});  // `ackbus run` keeps 100 of them.
  EXPECT_THAT(bus.program().errors(),
              AllOf(HasSubstr("the service manager keeps fewer descriptors than [limits] "
                              "max_links = 1024 may need"),
                    HasSubstr("limit=100")));
  std::vector<Producer> producers;
  std::string refusal;
  for (int i = 0; i < 40 && refusal.empty(); ++i) {
    Result<Producer> made = Producer::connect(bus.producer_options());
    if (made) {
      producers.push_back(std::move(made).value());
    } else {
      EXPECT_EQ(made.error().code, ErrorCode::kQuota);
      refusal = made.error().text;
    }
  }
  EXPECT_THAT(refusal, AllOf(HasSubstr("keeps at most 100 descriptors"),
                             HasSubstr("FileDescriptorStoreMax")));
  ASSERT_EQ(producers.size(), 10U) << "3 of the daemon, 2 of the queue, 9 for each link";
  std::vector<Ticket> tickets;
  for (Producer& producer : producers) {
    tickets.push_back(send(producer, "survives"));
  }
  bus.kill_daemon_and_wait();
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  for (std::size_t i = 0; i < producers.size(); ++i) {
    EXPECT_EQ(outcome_of(producers[i], tickets[i]).code, OutcomeCode::kSuccess) << i;
  }
}

TEST_F(Limits, AStoreThatDoesNotTakeALinkIsARefusalAndALogLine) {
  const Folder folder;
  const std::string path = folder / "notify";
  Helper manager([&](const Channel& test) {
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      return 1;
    }
    test.say("listens");
    for (char text[4096];;) {  // Without room for them, the kernel drops what comes along.
      if (::recv(fd, text, sizeof(text), 0) < 0) {
        return 2;
      }
    }
  });
  ASSERT_EQ(manager.channel.hear(), "listens");
  const Program daemon(
      folder, "ackbusd",
      {"--runtime-dir", folder / "run", "--metrics", "off", "--dead-letters", folder / "dead"},
      {"NOTIFY_SOCKET=" + path});
  ProducerOptions options;
  options.runtime_dir = folder / "run";
  options.slots = 64;
  options.arena_bytes = 1 << 20;
  ASSERT_TRUE(eventually([&] { return Producer::connect(options).ok(); }));
  EXPECT_THAT(daemon.errors(), HasSubstr("does not say in $FDSTORE"));
  manager.child.end();
  const Result<Producer> refused = Producer::connect(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kQuota);
  EXPECT_THAT(refused.error().text, HasSubstr("the service manager does not keep"));
  EXPECT_TRUE(
      eventually([&] { return daemon.errors().find("cannot be kept") != std::string::npos; }));
}

// ---- reload ----

TEST_F(Limits, ARaisedMaximumOfLinksHoldsWithoutARestart) {
  Bus bus({.config = "[limits]\nmax_links = 1\n"});
  const Producer first = bus.producer();
  ASSERT_FALSE(Producer::connect(bus.producer_options()));
  write_file(bus.config_path(), "[limits]\nmax_links = 3\n");
  bus.program().child.signal(SIGHUP);
  ASSERT_TRUE(log_says(bus, "configuration reloaded"));
  const Producer second = bus.producer();
  const Producer third = bus.producer();
  const Result<Producer> fourth = Producer::connect(bus.producer_options());
  ASSERT_FALSE(fourth);
  EXPECT_THAT(fourth.error().text, HasSubstr("[limits] max_links = 3"));
}

TEST_F(Limits, AReloadNamesWhatWaitsForARestartAndKeepsItsOldValue) {
  Bus bus;
  write_file(bus.config_path(),
             "name = \"other\"\ntick_ms = 7\nmetrics = \"127.0.0.1:1\"\n[limits]\nmax_links = 0x2\n"
             "[dead_letters]\ndirectory = \"/nonexistent\"\nmax_letters = 1\n");
  const json answer = bus.ask({{"verb", "reload"}});
  ASSERT_TRUE(answer.contains("waiting_for_restart")) << answer;
  EXPECT_EQ(answer["waiting_for_restart"], json({"name", "tick_ms"}))
      << "the command line has said where metrics and letters are";
  EXPECT_TRUE(log_says(bus, "waits for a restart"));
  EXPECT_THAT(bus.program().errors(), HasSubstr("keys=\"name, tick_ms\""));
  EXPECT_EQ(bus.status()["bus"], "default");
  const Producer first = bus.producer();
  const Producer second = bus.producer();
  EXPECT_FALSE(Producer::connect(bus.producer_options())) << "the rest is in force";
  write_file(bus.config_path(), "");
  EXPECT_EQ(bus.ask({{"verb", "reload"}})["waiting_for_restart"], json::array());
}

}  // namespace
}  // namespace ackbus::process_test
