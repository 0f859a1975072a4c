// `ackbus bench` starts what it needs, says what it found as JSON, and leaves nothing behind. How
// fast the machine is decides nothing here.
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::HasSubstr;

class Bench : public ProcessTest {
 protected:
  Ran bench(std::vector<std::string> arguments) {
    Program program = start(std::move(arguments));
    const auto end = program.child.wait(seconds(120));
    return {end ? end->exit_status : -1, program.output(), program.errors()};
  }

  Program start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "bench");
    return {folder_, "ackbus", std::move(arguments), {"TMPDIR=" + temporary_.path()}};
  }

  [[nodiscard]] bool nothing_is_left() const {
    return std::filesystem::is_empty(temporary_.path());
  }

  // Processes whose command line names this test's folder: the private daemon.
  [[nodiscard]] int processes() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string line = read_file(entry.path() / "cmdline");
      count += line.find(temporary_.path()) != std::string::npos ? 1 : 0;
    }
    return count;
  }

  // Its children, as soon as both are there: the daemon and the consumer.
  [[nodiscard]] static bool has_both_children(const Program& program) {
    const std::string pid = std::to_string(program.child.pid());
    const std::string children = read_file("/proc/" + pid + "/task/" + pid + "/children");
    return std::count(children.begin(), children.end(), ' ') == 2;
  }

  Folder folder_;
  Folder temporary_;
};

TEST_F(Bench, RoundTripSaysItsFiguresAndTheFloors) {
  for (const std::string wait : {"adaptive", "block"}) {
    const Ran ran = bench({"roundtrip", "--messages", "200", "--wait", wait, "--json"});
    ASSERT_EQ(ran.status, 0) << ran.errors;
    const json report = json::parse(ran.output);
    EXPECT_EQ(report["count"], 200);
    EXPECT_EQ(report["wait"], wait);
    EXPECT_EQ(report["bytes"], 64);
    EXPECT_LE(report["min_ns"], report["p50_ns"]);
    EXPECT_LE(report["p50_ns"], report["p90_ns"]);
    EXPECT_LE(report["p90_ns"], report["p99_ns"]);
    EXPECT_LE(report["p99_ns"], report["p999_ns"]);
    EXPECT_LE(report["p999_ns"], report["max_ns"]);
    EXPECT_GT(report["floor_p50_ns"], 0);
    EXPECT_LE(report["floor_p50_ns"], report["floor_p99_ns"]);
    EXPECT_GT(report["ratio"], 0);
    EXPECT_TRUE(report["machine"].contains("cores"));
    EXPECT_TRUE(nothing_is_left());
  }
}

TEST_F(Bench, ThroughputLosesNothing) {
  const Ran ran =
      bench({"throughput", "--seconds", "0.3", "--window", "100", "--bytes", "1k", "--json"});
  ASSERT_EQ(ran.status, 0) << ran.errors;
  const json report = json::parse(ran.output);
  EXPECT_GT(report["sent"], 0);
  EXPECT_EQ(report["sent"], report["success"]);
  EXPECT_EQ(report["window"], 100);
  EXPECT_EQ(report["bytes"], 1024);
  EXPECT_GT(report["messages_per_second"], 0);
  EXPECT_GT(report["floor_messages_per_second"], 0);
  EXPECT_TRUE(nothing_is_left());
}

TEST_F(Bench, AnInterruptLeavesNothingBehind) {
  Program program = start({"throughput", "--seconds", "600"});
  ASSERT_TRUE(eventually([&] { return has_both_children(program); }));
  program.child.signal(SIGINT);
  const auto end = program.child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->signal_number, 0) << "it ends by itself";
  EXPECT_NE(end->exit_status, 0);
  EXPECT_EQ(program.output(), "");
  EXPECT_TRUE(nothing_is_left());
  EXPECT_TRUE(eventually([&] { return processes() == 0; }));
}

TEST_F(Bench, ItsChildrenEndWithItEvenWhenItIsKilled) {
  Program program = start({"throughput", "--seconds", "600"});
  ASSERT_TRUE(eventually([&] { return has_both_children(program); }));
  ASSERT_GT(processes(), 0);
  program.child.signal(SIGKILL);
  ASSERT_TRUE(program.child.wait());
  EXPECT_TRUE(eventually([&] { return processes() == 0; }));
}

TEST_F(Bench, RefusesWhatMakesNoSense) {
  EXPECT_EQ(bench({"throughput", "--window", "0"}).status, 2);
  EXPECT_EQ(bench({"roundtrip", "--wait", "never"}).status, 2);
  EXPECT_EQ(bench({}).status, 2);
  EXPECT_TRUE(nothing_is_left());
}

}  // namespace
}  // namespace ackbus::process_test
