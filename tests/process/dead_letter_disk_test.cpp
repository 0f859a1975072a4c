// A dead-letter store that takes no letter: its bounds are reached, its disk is full, its folder is
// gone. No verdict is given without its letter (docs/architecture.md), so the message stays
// pending, the daemon says so once and counts each try, everything else goes on, and the producer
// gets its outcome as soon as the store takes letters again.
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kSkipped = 77;
constexpr std::size_t kLargeBytes = 200'000;
constexpr rlim_t kSmallFileBytes = 65'536;  // the log of a test fits, a large letter does not

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    count += 1;
  }
  return count;
}

// A bus, and a consumer that gives back what begins with "bad" and acks the rest.
class Disk {
 public:
  // `prepare` may put another folder in the place of the dead letters, before any daemon uses it.
  explicit Disk(const BusOptions& options,
                const std::function<void(const std::string& folder)>& prepare = {})
      : bus(options), consumer(start(prepare)), producer(bus.producer()) {
    expect_traffic();  // All memory of the link is there, whatever becomes of files.
  }

  // A message that the consumer gives back and that has no retry left.
  Ticket send_hopeless(std::size_t bytes = 16) {
    std::string payload(bytes, 'x');
    payload.replace(0, 3, "bad");
    SendOptions options;
    options.timeout = seconds(600);
    options.max_retries = 0;
    return send(producer, payload, options);
  }
  void expect_exhausted(const Ticket& ticket) {
    const Outcome outcome = outcome_of(producer, ticket);
    EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
    EXPECT_EQ(outcome.reason, OutcomeReason::kRetries);
    EXPECT_EQ(bus.ackbus({"dead", "show", ticket.id.to_string()}).status, 0) << "its letter";
  }
  void expect_traffic() {
    EXPECT_EQ(outcome_of(producer, send(producer, "fine")).code, OutcomeCode::kSuccess);
  }
  [[nodiscard]] bool writable() const { return bus.status()["dead_letters"]["writable"]; }
  [[nodiscard]] std::string log() { return bus.program().errors(); }

  // The sum of a metric's samples on the page: over kinds, if it has a kind.
  double metric(const std::string& name) {
    std::istringstream page(metrics_page());
    double sum = 0;
    for (std::string line; std::getline(page, line);) {
      if (line.rfind(name + "{", 0) == 0) {
        sum += std::stod(line.substr(line.find("} ") + 2));
      }
    }
    return sum;
  }
  // Waits: a daemon that is late has its page shown with the figures of before.
  [[nodiscard]] bool wait_metric(const std::string& name, double value) {
    return eventually([&] { return metric(name) == value; });
  }
  [[nodiscard]] bool wait_refused(double tries) {
    return eventually([&] { return metric("ackbus_dead_letters_refused_total") >= tries; });
  }

  Bus bus;
  Helper consumer;
  Producer producer;

 private:
  Helper start(const std::function<void(const std::string& folder)>& prepare) {
    if (prepare) {
      bus.program().child.end();
      prepare(bus.dead_letter_dir());
      bus.start();
    }
    return give_back_the_bad(bus.consumer_options());
  }

  static Helper give_back_the_bad(const ConsumerOptions& options) {
    return Helper::consume(options, [](Consumer& mine, const Channel&) {
      for (;;) {
        Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
        if (!taken || !*taken) {
          return 2;
        }
        const bool bad = text_of((*taken)->payload).substr(0, 3) == "bad";
        if (!(bad ? mine.nack(**taken) : mine.ack(**taken))) {
          return 3;
        }
      }
    });
  }

  std::string metrics_page() {
    EXPECT_TRUE(bus.program().wait_output("metrics on port "));
    const std::string output = bus.program().output();
    return process_test::metrics_page(
        static_cast<std::uint16_t>(std::stoi(output.substr(output.find("port ") + 5))));
  }
};

class DeadLetterDisk : public ProcessTest {
 protected:
  static BusOptions with_metrics(const std::string& config = "") {
    BusOptions options;
    options.config = config;
    options.metrics = "127.0.0.1:0";
    return options;
  }

  // While the store refuses `waiting`: told once, counted, shown, and nothing else is held up.
  static void expect_refused(Disk& disk, const Ticket& waiting, const std::string& reason) {
    ASSERT_TRUE(disk.wait_refused(3)) << "it is tried again and again";
    EXPECT_FALSE(disk.producer.poll(waiting)) << "no verdict without a letter";
    EXPECT_TRUE(disk.wait_metric("ackbus_dead_letter_store_writable", 0));
    EXPECT_EQ(count_of(disk.log(), "category=dead_letters"), 1U) << disk.log();
    EXPECT_THAT(disk.log(), AllOf(HasSubstr("level=error"), HasSubstr(reason),
                                  HasSubstr(disk.bus.dead_letter_dir())));
    const Ran check = disk.bus.ackbus({"status", "--check"});
    EXPECT_EQ(check.status, 10);
    EXPECT_THAT(check.errors, HasSubstr("dead-letter store"));
    const json shown = disk.bus.ask({{"verb", "show"}, {"id", waiting.id.to_string()}});
    EXPECT_EQ(shown["state"], "exhausting");
    EXPECT_EQ(shown["dead_letter"], false);
    disk.expect_traffic();
  }

  static void expect_recovered(Disk& disk, const Ticket& waiting, pid_t daemon) {
    disk.expect_exhausted(waiting);
    EXPECT_TRUE(disk.writable());
    EXPECT_TRUE(disk.wait_metric("ackbus_dead_letter_store_writable", 1));
    EXPECT_TRUE(disk.wait_metric("ackbus_messages_dead_lettered_total", 1));
    EXPECT_EQ(disk.bus.ackbus({"status", "--check"}).status, 0);
    EXPECT_EQ(disk.bus.daemon_pid(), daemon) << "the daemon stayed up";
    const Ticket next = disk.send_hopeless();
    disk.expect_exhausted(next);
  }

  // Names in the folder of the dead letters that are no letters.
  static std::vector<std::string> left_behind(const Bus& bus) {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(bus.dead_letter_dir())) {
      if (file.path().extension() != ".letter") {
        names.push_back(file.path().filename());
      }
    }
    return names;
  }
};

// ---- the bounds of the configuration ----

TEST_F(DeadLetterDisk, AFullStoreHoldsBackTheVerdictUntilALetterIsPurged) {
  Disk disk(with_metrics("[dead_letters]\nmax_letters = 1\n"));
  const pid_t daemon = disk.bus.daemon_pid();
  const Ticket kept = disk.send_hopeless();
  disk.expect_exhausted(kept);
  const Ticket waiting = disk.send_hopeless();
  expect_refused(disk, waiting, "is full: 1 of 1 letters");
  EXPECT_EQ(disk.bus.ackbus({"dead", "show", kept.id.to_string()}).status, 0)
      << "no older letter makes room";
  ASSERT_EQ(disk.bus.ackbus({"dead", "purge", kept.id.to_string()}).status, 0);
  disk.expect_exhausted(waiting);
  EXPECT_TRUE(disk.writable());
  EXPECT_EQ(disk.bus.status()["dead_letters"]["count"], 1);
  EXPECT_EQ(disk.bus.daemon_pid(), daemon);
}

// One user's bound is no trouble of the store: once the whole store was shown as unwritable.
TEST_F(DeadLetterDisk, AUsersOwnBoundHoldsBackHisVerdictsAloneUntilItIsRaised) {
  Disk disk(with_metrics("[dead_letters]\nmax_bytes_per_uid = \"4 KiB\"\n"));
  const pid_t daemon = disk.bus.daemon_pid();
  const std::string user = "user " + std::to_string(::geteuid());
  const Ticket waiting = disk.send_hopeless(3500);
  ASSERT_TRUE(disk.wait_refused(2)) << "it is tried again and again, and counted";
  EXPECT_FALSE(disk.producer.poll(waiting)) << "no verdict without a letter";
  EXPECT_TRUE(disk.writable());
  EXPECT_TRUE(disk.wait_metric("ackbus_dead_letter_store_writable", 1));
  EXPECT_EQ(disk.bus.ackbus({"status", "--check"}).status, 0);
  EXPECT_EQ(count_of(disk.log(), "category=dead_letters"), 1U) << disk.log();
  EXPECT_THAT(disk.log(), AllOf(HasSubstr("level=warning"), HasSubstr("is full for " + user)));
  disk.expect_traffic();
  write_file(disk.bus.config_path(), "[dead_letters]\nmax_bytes_per_uid = \"1 MiB\"\n");
  ASSERT_FALSE(disk.bus.ask({{"verb", "reload"}}).is_null());
  expect_recovered(disk, waiting, daemon);
  EXPECT_EQ(count_of(disk.log(), "category=dead_letters"), 2U) << disk.log();
  EXPECT_THAT(disk.log(), HasSubstr("no dead letter of " + user + " waits for room any more"));
}

// ---- the disk ----

TEST_F(DeadLetterDisk, AWriteThatFailsHalfWayLeavesNothingAndIsTriedAgain) {
  Disk disk(with_metrics());
  const pid_t daemon = disk.bus.daemon_pid();
  rlimit before{};
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, nullptr, &before), 0);
  const rlimit small{kSmallFileBytes, before.rlim_max};
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, &small, nullptr), 0);
  const Ticket waiting = disk.send_hopeless(kLargeBytes);
  expect_refused(disk, waiting, std::strerror(EFBIG));
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, &before, nullptr), 0);
  expect_recovered(disk, waiting, daemon);
  EXPECT_THAT(left_behind(disk.bus), ::testing::IsEmpty());
}

TEST_F(DeadLetterDisk, WhatFitsIsKeptWhileALargerLetterWaits) {
  Disk disk(with_metrics());
  rlimit before{};
  ASSERT_EQ(::prlimit(disk.bus.daemon_pid(), RLIMIT_FSIZE, nullptr, &before), 0);
  const rlimit small{kSmallFileBytes, before.rlim_max};
  ASSERT_EQ(::prlimit(disk.bus.daemon_pid(), RLIMIT_FSIZE, &small, nullptr), 0);
  const Ticket large = disk.send_hopeless(kLargeBytes);
  ASSERT_TRUE(disk.wait_refused(1));
  disk.expect_exhausted(disk.send_hopeless());
  EXPECT_FALSE(disk.producer.poll(large));
  EXPECT_FALSE(disk.writable()) << "what fits says nothing of what does not";
  ASSERT_EQ(::prlimit(disk.bus.daemon_pid(), RLIMIT_FSIZE, &before, nullptr), 0);
  disk.expect_exhausted(large);
}

// A mount namespace of its own for this process and its children; false when it may have none.
bool enter_own_mounts() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
      return false;
    }
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", user + " " + user + " 1");
    write_file("/proc/self/gid_map", group + " " + group + " 1");
  }
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

bool mount_small_disk(const std::string& folder, const char* size, unsigned long flags) {
  const std::string options = std::string("mode=0700,size=") + size;
  return ::mount("tmpfs", folder.c_str(), "tmpfs", flags, options.c_str()) == 0;
}

TEST_F(DeadLetterDisk, AFullDiskHoldsBackTheVerdictUntilThereIsSpace) {
  Helper with_small_disk([](const Channel& test) {
    start_watchdog(140);
    const Folder probe;
    if (!enter_own_mounts() || !mount_small_disk(probe.path(), "64k", 0)) {
      return kSkipped;
    }
    ::umount2(probe.path().c_str(), MNT_DETACH);
    {
      Disk disk(with_metrics(), [](const std::string& folder) {
        EXPECT_TRUE(mount_small_disk(folder, "64k", 0)) << std::strerror(errno);
      });
      const pid_t daemon = disk.bus.daemon_pid();
      const Ticket waiting = disk.send_hopeless(kLargeBytes);
      expect_refused(disk, waiting, std::strerror(ENOSPC));
      EXPECT_TRUE(mount_small_disk(disk.bus.dead_letter_dir(), "8m", MS_REMOUNT));
      expect_recovered(disk, waiting, daemon);
      EXPECT_THAT(left_behind(disk.bus), ::testing::IsEmpty());
      ::umount2(disk.bus.dead_letter_dir().c_str(), MNT_DETACH);
    }
    std::fflush(nullptr);
    test.say("done");
    return HasFailure() ? 1 : 0;
  });
  const std::optional<ProcessEnd> end = with_small_disk.child.wait(seconds(145));
  ASSERT_TRUE(end);
  if (end->exit_status == kSkipped) {
    GTEST_SKIP() << "this user may not mount a disk; the test of RLIMIT_FSIZE fills one too";
  }
  EXPECT_EQ(end->exit_status, 0) << "what failed is printed above";
}

TEST_F(DeadLetterDisk, AFolderThatIsGoneHoldsBackTheVerdictUntilTheNextDaemonMakesIt) {
  Bus bus({.supervised = true});
  Helper consumer = Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel&) {
    for (;;) {
      Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
      if (!taken || !*taken || !mine.nack(**taken)) {
        return 2;
      }
    }
  });
  Producer producer = bus.producer();
  ASSERT_EQ(::rmdir(bus.dead_letter_dir().c_str()), 0);
  SendOptions options;
  options.timeout = seconds(600);
  options.max_retries = 0;
  const Ticket waiting = send(producer, "hopeless", options);
  ASSERT_TRUE(eventually([&] { return bus.status()["dead_letters"]["writable"] == false; }));
  EXPECT_FALSE(producer.poll(waiting)) << "no verdict without a letter";
  EXPECT_THAT(bus.program().errors(), HasSubstr(std::strerror(ENOENT)));
  bus.kill_daemon_and_wait();
  const Outcome outcome = outcome_of(producer, waiting);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kRetries);
  EXPECT_EQ(bus.ackbus({"dead", "show", waiting.id.to_string()}).status, 0);
  EXPECT_EQ(bus.status()["dead_letters"]["writable"], true);
}

// ---- what the log and the letters say ----

// Once nobody was told that the store worked again, nor of a second outage like the first.
TEST_F(DeadLetterDisk, TheLogSaysThatTheStoreRecoveredAndTellsTheNextOutage) {
  Disk disk(with_metrics("[dead_letters]\nmax_letters = 1\n"));
  const Ticket first = disk.send_hopeless();
  disk.expect_exhausted(first);
  const Ticket second = disk.send_hopeless();
  ASSERT_TRUE(disk.wait_refused(1));
  ASSERT_EQ(disk.bus.ackbus({"dead", "purge", first.id.to_string()}).status, 0);
  disk.expect_exhausted(second);
  EXPECT_TRUE(
      eventually([&] { return count_of(disk.log(), "category=dead_letters") == 2; }, seconds(3)))
      << "one line that it failed, one that it works again";
  const double before = disk.metric("ackbus_dead_letters_refused_total");
  disk.send_hopeless();
  ASSERT_TRUE(disk.wait_refused(before + 1));
  EXPECT_TRUE(eventually([&] { return count_of(disk.log(), "is full") == 2; }, seconds(3)))
      << "the second outage is told too";
}

// Once each try of either message was a line, because its text held the message's id or size.
TEST_F(DeadLetterDisk, SeveralMessagesThatWaitForOneDiskAreNotALineForEachTry) {
  Disk disk(with_metrics());
  const pid_t daemon = disk.bus.daemon_pid();
  rlimit before{};
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, nullptr, &before), 0);
  const rlimit small{kSmallFileBytes, before.rlim_max};
  ASSERT_EQ(::prlimit(daemon, RLIMIT_FSIZE, &small, nullptr), 0);
  for (int i = 0; i < 3; ++i) {
    disk.send_hopeless(kLargeBytes);
  }
  ASSERT_TRUE(disk.wait_refused(9));
  EXPECT_LE(count_of(disk.log(), "category=dead_letters"), 3U) << disk.log();
}

// Once the folder that was opened at the start was used until the daemon's end.
TEST_F(DeadLetterDisk, AFolderThatIsMadeAgainTakesLetters) {
  Disk disk(with_metrics());
  ASSERT_EQ(::rmdir(disk.bus.dead_letter_dir().c_str()), 0);
  const Ticket waiting = disk.send_hopeless();
  ASSERT_TRUE(disk.wait_refused(1));
  ASSERT_TRUE(std::filesystem::create_directory(disk.bus.dead_letter_dir()));
  std::filesystem::permissions(disk.bus.dead_letter_dir(), std::filesystem::perms::owner_all);
  disk.expect_exhausted(waiting);
}

// Once the attempts that its clock had used up counted as begun.
TEST_F(DeadLetterDisk, AMessageThatNobodyBeganHasNoAttemptsWithTheClockAtCommitEither) {
  Bus bus({.config = "[[kind]]\nid = 10\nname = \"FromCommit\"\ntimeout_ms = 50\nmax_retries = 1\n"
                     "clock = \"commit\"\n"});
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "x", {}, Kind{10});
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kExhausted);
  const Ran show = bus.ackbus({"dead", "show", ticket.id.to_string(), "--json"});
  EXPECT_EQ(json::parse(show.output)["attempts"], 0);
}

}  // namespace
}  // namespace ackbus::process_test
