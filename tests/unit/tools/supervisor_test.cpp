// The supervisor: how long it waits before a restart, what it says of an end, and with real small
// processes that it restarts what dies, gives up on what never served, and ends in order.
#include "tools/supervisor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace ackbus::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(RestartBackoff, TheFirstRestartIsImmediateThenDelaysDouble) {
  RestartBackoff backoff;
  std::vector<std::uint64_t> delays_ms;
  for (int death = 0; death < 10; ++death) {
    delays_ms.push_back(backoff.next_delay_ns(0) / 1'000'000);
  }
  EXPECT_THAT(delays_ms, ElementsAre(0, 100, 200, 400, 800, 1600, 3200, 6400, 10'000, 10'000));
}

TEST(RestartBackoff, DelaysStayCappedForEver) {
  RestartBackoff backoff;
  for (int death = 0; death < 1000; ++death) {
    EXPECT_LE(backoff.next_delay_ns(1), RestartBackoff::kMaxNs);
  }
}

TEST(RestartBackoff, AProvenLifeStartsOver) {
  RestartBackoff backoff;
  EXPECT_EQ(backoff.next_delay_ns(0), 0U);
  EXPECT_EQ(backoff.next_delay_ns(RestartBackoff::kProvenNs - 1), RestartBackoff::kBaseNs);
  EXPECT_EQ(backoff.next_delay_ns(RestartBackoff::kProvenNs), 0U);
  EXPECT_EQ(backoff.next_delay_ns(0), RestartBackoff::kBaseNs);
}

TEST(ChildEnd, SaysHowAProcessEnded) {
  EXPECT_EQ((ChildEnd{false, 3}.text()), "exit status 3");
  EXPECT_THAT((ChildEnd{true, SIGKILL}.text()), HasSubstr("signal 9"));
  EXPECT_TRUE((ChildEnd{false, 0}.clean()));
  EXPECT_FALSE((ChildEnd{true, 0}.clean()));
}

// Runs shell scripts under a supervisor in a folder of its own.
class SupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "ackbus-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<SupervisedChild> child(const std::string& name, const std::string& script) {
    ChildSpecification specification;
    specification.name = name;
    specification.arguments = {"/bin/sh", "-c", script};
    specification.notify_path = folder_ + "/" + name;
    std::string error;
    std::unique_ptr<SupervisedChild> made =
        SupervisedChild::create(std::move(specification), error);
    EXPECT_NE(made, nullptr) << error;
    return made;
  }

  template <typename... Child>
  ExitCode supervise(Child... made) {
    std::vector<std::unique_ptr<SupervisedChild>> children;
    (children.push_back(std::move(made)), ...);
    SupervisorOptions options;
    options.ready_line = "all serve";
    options.announce = [this](const std::string& line) { announced_.push_back(line); };
    options.log = [this](const std::string& line) { lines_.push_back(line); };
    Supervisor supervisor(std::move(children), std::move(options));
    return supervisor.run();
  }

  [[nodiscard]] std::string file(const std::string& name) const {
    std::ifstream stream(folder_ + "/" + name);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  std::string folder_;
  std::vector<std::string> announced_;
  std::vector<std::string> lines_;
};

TEST_F(SupervisorTest, AProcessThatEndsBeforeItServedEndsTheRunWithItsStatus) {
  EXPECT_EQ(supervise(child("first", "exit 7")), ExitCode::kFailed);
  ASSERT_GE(lines_.size(), 2U);
  EXPECT_THAT(lines_[0], StartsWith("started first, pid "));
  EXPECT_THAT(lines_[1], HasSubstr("first"));
  EXPECT_THAT(lines_[1], HasSubstr("exit status 7"));
  EXPECT_TRUE(announced_.empty());
}

TEST_F(SupervisorTest, AProgramThatIsNotThereEndsTheRun) {
  ChildSpecification specification;
  specification.name = "absent";
  specification.arguments = {folder_ + "/no-such-program"};
  specification.notify_path = folder_ + "/absent";
  std::string error;
  EXPECT_EQ(supervise(SupervisedChild::create(std::move(specification), error)), ExitCode::kFailed);
  EXPECT_THAT(lines_.back(), HasSubstr("exit status 127"));
}

TEST_F(SupervisorTest, WhatIsKilledIsStartedAgainAndNamedWithItsCause) {
  // The third life asks the supervisor to end.
  const std::string script = "echo life >> " + folder_ + "/lives; test $(wc -l < " + folder_ +
                             "/lives) -lt 3 && kill -9 $$; kill -TERM $PPID; exec sleep 600";
  EXPECT_EQ(supervise(child("mortal", script)), ExitCode::kDone);
  EXPECT_EQ(file("lives"), "life\nlife\nlife\n");
  int restarts = 0;
  for (const std::string& line : lines_) {
    if (line.find("restarting") != std::string::npos) {
      EXPECT_THAT(line, HasSubstr("mortal, pid "));
      EXPECT_THAT(line, HasSubstr("signal 9"));
      ++restarts;
    }
  }
  EXPECT_EQ(restarts, 2);
}

TEST_F(SupervisorTest, ALaterProcessWaitsUntilTheEarlierOnesServe) {
  EXPECT_EQ(supervise(child("first", "kill -TERM $PPID; exec sleep 600"),
                      child("second", "touch " + folder_ + "/started; exec sleep 600")),
            ExitCode::kDone);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/started"));
  EXPECT_TRUE(announced_.empty());
}

TEST_F(SupervisorTest, ASignalEndsEveryProcess) {
  EXPECT_EQ(supervise(child("first", "echo $$ > " + folder_ +
                                         "/pid; kill -INT $PPID; exec sleep "
                                         "600")),
            ExitCode::kDone);
  EXPECT_THAT(lines_, ::testing::Contains(HasSubstr("ending on signal 2")));
  const pid_t pid = std::stoi(file("pid"));
  EXPECT_NE(kill(pid, 0), 0) << "process " << pid << " still runs";
}

TEST_F(SupervisorTest, ASecondSignalKillsWhatDoesNotEnd) {
  // Asked to end, it only asks back; that second request is what kills it. It sleeps in a read that
  // nobody answers and has no children of its own that could outlive it.
  const std::string pipe = folder_ + "/pipe";
  const std::string script = "mkfifo " + pipe +
                             "; trap 'kill -TERM $PPID' TERM; kill -TERM $PPID; "
                             "while true; do read line <> " +
                             pipe + "; done";
  EXPECT_EQ(supervise(child("stubborn", script)), ExitCode::kDone);
  EXPECT_THAT(lines_.back(), HasSubstr("stubborn"));
  EXPECT_THAT(lines_.back(), HasSubstr("signal 9"));
}

}  // namespace
}  // namespace ackbus::tools
