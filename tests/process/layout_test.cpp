// `ackbus layout` on a real graph while the GPU process, the daemon, or both are killed: the layout
// finishes and its report shows no failure. Each test proves that its victim was alive and the
// layout unfinished at the kill.
#include <algorithm>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

constexpr int kSteps = 3000;

class Layout : public ProcessTest {
 protected:
  Layout()
      : bus_({.supervised = true, .gpu = true}),
        layout_(bus_.folder(), "ackbus",
                bus_.on_this_bus(
                    {"layout",
                     std::string(ACKBUS_SOURCE_DIR) + "/examples/data/debian-12-depends-1k.mtx.gz",
                     "--steps", std::to_string(kSteps), "--far-field", "off", "--out",
                     bus_.folder() / "picture.svg", "--report", bus_.folder() / "report.json"})) {}

  [[nodiscard]] std::uint64_t steps_done() const {
    const json kind = bus_.kind("ComputeForces");
    return kind.is_null() ? 0 : kind["success"].get<std::uint64_t>();
  }

  // Half a hundred steps are done, and the layout goes on.
  void wait_until_under_way() {
    ASSERT_TRUE(eventually([&] { return steps_done() >= 50 || !layout_.child.running(); }));
    ASSERT_TRUE(layout_.child.running()) << layout_.errors();
  }

  [[nodiscard]] pid_t gpu_pid() const {
    const json queue = bus_.queue();
    return queue.is_null() || queue["consumer"].is_null() ? 0
                                                          : queue["consumer"]["pid"].get<pid_t>();
  }

  // Stops the GPU process in the middle of a message: stopped it cannot finish what it has begun.
  pid_t stop_gpu_while_a_message_is_begun() {
    pid_t victim = 0;
    const bool caught = eventually([&] {
      victim = gpu_pid();
      if (victim == 0 || ::kill(victim, SIGSTOP) != 0) {
        return false;
      }
      const json queue = bus_.queue();
      if (!queue.is_null() && !queue["consumer"].is_null() && queue["consumer"]["begun"] == 1) {
        return true;
      }
      ::kill(victim, SIGCONT);
      return false;
    });
    EXPECT_TRUE(caught) << "never caught the GPU process with a message begun";
    EXPECT_TRUE(layout_.child.running()) << "the layout was over before the kill";
    EXPECT_LT(steps_done(), std::uint64_t{kSteps});
    return victim;
  }

  // The layout's figures for ComputeForces, after it has ended well.
  json finished() {
    const std::optional<ProcessEnd> end = layout_.child.wait(seconds(100));
    EXPECT_TRUE(end && end->exit_status == 0) << layout_.errors() << bus_.program().errors();
    const std::string text = read_file(bus_.folder() / "report.json");
    const json report = json::parse(text, nullptr, false);
    if (!report.is_object()) {
      ADD_FAILURE() << "no report: " << text;
      return json::object();
    }
    for (const auto& [name, kind] : report["kinds"].items()) {
      EXPECT_EQ(kind["sent"], kind["success"]) << name;
      EXPECT_EQ(kind["failure"], 0) << name;
      EXPECT_EQ(kind["dead_lettered"], 0) << name;
    }
    EXPECT_EQ(report["kinds"]["ComputeForces"]["sent"], kSteps);
    EXPECT_LT(report["stress_end"].get<double>(), report["stress_start"].get<double>());
    EXPECT_FALSE(read_file(bus_.folder() / "picture.svg").empty());
    EXPECT_EQ(bus_.status()["dead_letters"]["count"], 0);
    return report["kinds"]["ComputeForces"];
  }

  Bus bus_;
  Program layout_;
};

TEST_F(Layout, SurvivesTheGpuProcessKilledWhileAMessageIsBegun) {
  wait_until_under_way();
  const pid_t victim = stop_gpu_while_a_message_is_begun();
  ASSERT_EQ(::kill(victim, SIGKILL), 0) << "the GPU process was not alive";
  const json kind = finished();
  EXPECT_GE(kind["retries"].get<int>(), 1) << "what was begun was delivered again";
  EXPECT_NE(gpu_pid(), victim);
  EXPECT_GE(bus_.queue()["epoch"].get<int>(), 2);
}

TEST_F(Layout, SurvivesTheDaemonKilledWithoutARetry) {
  wait_until_under_way();
  const std::uint64_t before = bus_.incarnation();
  ASSERT_EQ(::kill(bus_.daemon_pid(), SIGKILL), 0) << "the daemon was not alive";
  EXPECT_TRUE(layout_.child.running()) << "the layout was over before the kill";
  const json kind = finished();
  EXPECT_EQ(kind["retries"], 0);
  EXPECT_GT(bus_.incarnation(), before);
  EXPECT_EQ(bus_.queue()["epoch"], 1) << "the GPU process worked on";
}

TEST_F(Layout, SurvivesDaemonAndGpuProcessKilledAtOnce) {
  wait_until_under_way();
  const std::uint64_t before = bus_.incarnation();
  const pid_t daemon = bus_.daemon_pid();
  const pid_t gpu = stop_gpu_while_a_message_is_begun();
  ASSERT_EQ(::kill(daemon, SIGKILL), 0) << "the daemon was not alive";
  ASSERT_EQ(::kill(gpu, SIGKILL), 0) << "the GPU process was not alive";
  const json kind = finished();
  EXPECT_GE(kind["retries"].get<int>(), 1);
  EXPECT_GT(bus_.incarnation(), before);
}

TEST_F(Layout, ReportsEveryMessageWhenNobodyDies) {
  const json kind = finished();
  EXPECT_EQ(kind["retries"], 0);
  EXPECT_GT(kind["latency_p50_ms"].get<double>(), 0.0);
  EXPECT_GE(kind["latency_p99_ms"].get<double>(), kind["latency_p50_ms"].get<double>());
}

}  // namespace
}  // namespace ackbus::process_test
