// The command line of `ackbus`: which command is chosen with which options, and what a wrong line
// gets.
#include "tools/cli.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace ackbus::tools {
namespace {

using ::testing::HasSubstr;

// Stands in for every command and remembers the one that was called.
struct Recorder {
  std::string called;
  CommonOptions common;
  RunOptions run;
  StatusOptions status;
  ShowOptions show;
  SendCommandOptions send;
  LayoutOptions layout;
  DoctorOptions doctor;
  DeadOptions dead;
  QueueOptions queue;
  ReloadOptions reload;

  template <typename Options>
  CommandFunction<Options> record(const char* name, Options Recorder::*place) {
    return [this, name, place](const CommonOptions& given, const Options& options) {
      called = name;
      common = given;
      this->*place = options;
      return ExitCode::kDone;
    };
  }

  CommandFunctions functions() {
    CommandFunctions all;
    all.run = record("run", &Recorder::run);
    all.status = record("status", &Recorder::status);
    all.show = record("show", &Recorder::show);
    all.send = record("send", &Recorder::send);
    all.layout = record("layout", &Recorder::layout);
    all.doctor = record("doctor", &Recorder::doctor);
    all.dead_list = record("dead list", &Recorder::dead);
    all.dead_show = record("dead show", &Recorder::dead);
    all.dead_redrive = record("dead redrive", &Recorder::dead);
    all.dead_purge = record("dead purge", &Recorder::dead);
    all.queue_remove = record("queue remove", &Recorder::queue);
    all.reload = record("reload", &Recorder::reload);
    return all;
  }

  ExitCode parse(const std::vector<std::string>& arguments) {
    return run_command_line(arguments, functions());
  }
};

TEST(CommandLine, EveryCommandTakesRuntimeDirAndBusBehindItsName) {
  const std::vector<std::vector<std::string>> commands{{"run"},
                                                       {"status"},
                                                       {"show", "ID"},
                                                       {"doctor"},
                                                       {"dead", "list"},
                                                       {"send", "--kind", "4"},
                                                       {"dead", "show", "ID"},
                                                       {"dead", "redrive", "ID"},
                                                       {"dead", "purge", "all"},
                                                       {"reload"},
                                                       {"queue", "remove", "old"},
                                                       {"layout", "g.mtx", "--steps", "1"}};
  for (std::vector<std::string> line : commands) {
    const bool grouped = line.front() == "dead" || line.front() == "queue";
    const std::string name = grouped ? line.front() + " " + line[1] : line.front();
    line.insert(line.end(), {"--runtime-dir", "/tmp/bus", "--bus", "other"});
    Recorder recorder;
    EXPECT_EQ(recorder.parse(line), ExitCode::kDone) << name;
    EXPECT_EQ(recorder.called, name);
    EXPECT_EQ(recorder.common.runtime_dir, "/tmp/bus") << name;
    EXPECT_EQ(recorder.common.bus, "other") << name;
  }
}

TEST(CommandLine, RuntimeDirMayStandBeforeTheCommand) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"--runtime-dir", "/tmp/bus", "status"}), ExitCode::kDone);
  EXPECT_EQ(recorder.common.runtime_dir, "/tmp/bus");
  EXPECT_EQ(recorder.common.bus, "default");
}

TEST(CommandLine, RuntimeDirMayStandBetweenTheTwoWordsOfACommand) {
  for (const std::vector<std::string>& line : std::vector<std::vector<std::string>>{
           {"dead", "--runtime-dir", "/tmp/bus", "list"},
           {"queue", "--runtime-dir", "/tmp/bus", "remove", "q"}}) {
    Recorder recorder;
    EXPECT_EQ(recorder.parse(line), ExitCode::kDone) << line.front();
    EXPECT_EQ(recorder.common.runtime_dir, "/tmp/bus") << line.front();
  }
}

TEST(CommandLine, ConnectTimeoutIsInSeconds) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"status"}), ExitCode::kDone);
  EXPECT_EQ(connect_options(recorder.common).connect_timeout, std::chrono::seconds(5));
  EXPECT_EQ(recorder.parse({"status", "--connect-timeout", "0.25"}), ExitCode::kDone);
  EXPECT_EQ(connect_options(recorder.common).connect_timeout, std::chrono::milliseconds(250));
  EXPECT_EQ(recorder.parse({"status", "--connect-timeout", "0"}), ExitCode::kUsage);
}

TEST(CommandLine, AQueueNameThatNoQueueCanHaveIsAUsageError) {
  for (const std::string& name : {std::string(), std::string("two words"), std::string(32, 'q')}) {
    for (const std::vector<std::string>& line :
         std::vector<std::vector<std::string>>{{"send", "--kind", "4", "--queue", name},
                                               {"layout", "g.mtx", "--steps", "1", "--queue", name},
                                               {"queue", "remove", name}}) {
      Recorder recorder;
      testing::internal::CaptureStderr();
      EXPECT_EQ(recorder.parse(line), ExitCode::kUsage) << name;
      EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("1 to 31 of A-Z"));
      EXPECT_EQ(recorder.called, "");
    }
  }
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"queue", "remove", std::string(31, 'q')}), ExitCode::kDone);
  EXPECT_EQ(recorder.queue.name, std::string(31, 'q'));
}

TEST(CommandLine, RunStartsAGpuProcessOnGpu0UnlessTold) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"run"}), ExitCode::kDone);
  EXPECT_TRUE(recorder.run.gpu);
  EXPECT_EQ(recorder.run.queue, "gpu0");
  EXPECT_EQ(recorder.run.backend, "auto");
  EXPECT_EQ(recorder.parse({"run", "--no-gpu", "--metrics", "off"}), ExitCode::kDone);
  EXPECT_FALSE(recorder.run.gpu);
  EXPECT_EQ(recorder.run.metrics, "off");
}

TEST(CommandLine, RunRefusesAnUnknownBackend) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"run", "--backend", "abacus"}), ExitCode::kUsage);
  EXPECT_EQ(recorder.called, "");
}

TEST(CommandLine, RunRefusesAConfigurationFileThatIsNotThere) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"run", "--config", "/nowhere/ackbus.toml"}), ExitCode::kUsage);
}

TEST(CommandLine, StatusModesThatContradictAreRefused) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"status", "--json", "--metrics"}), ExitCode::kUsage);
  EXPECT_EQ(recorder.parse({"status", "--check", "--watch"}), ExitCode::kUsage);
  EXPECT_EQ(recorder.parse({"status", "--watch", "--json"}), ExitCode::kDone);
  EXPECT_TRUE(recorder.status.watch);
  EXPECT_TRUE(recorder.status.json);
}

TEST(CommandLine, SendTakesEveryLimitOfAMessage) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"send", "--kind", "ComputeForces", "--queue", "gpu1", "--file", "p.bin",
                            "--timeout", "250", "--retries", "0", "--max-wait", "9000", "--key",
                            "7", "--wait", "2.5"}),
            ExitCode::kDone);
  EXPECT_EQ(recorder.send.kind, "ComputeForces");
  EXPECT_EQ(recorder.send.queue, "gpu1");
  EXPECT_EQ(recorder.send.file, "p.bin");
  EXPECT_EQ(recorder.send.timeout_ms, 250U);
  EXPECT_EQ(recorder.send.retries, std::optional<std::uint32_t>(0));
  EXPECT_EQ(recorder.send.max_wait_ms, 9000U);
  EXPECT_EQ(recorder.send.key, 7U);
  EXPECT_DOUBLE_EQ(recorder.send.wait_seconds, 2.5);
}

TEST(CommandLine, SendLeavesRetriesToTheKindWhenNoneAreNamed) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"send", "--kind", "4"}), ExitCode::kDone);
  EXPECT_FALSE(recorder.send.retries.has_value());
}

TEST(CommandLine, SendRefusesValuesOutOfRange) {
  for (const std::vector<std::string>& line :
       std::vector<std::vector<std::string>>{{"send"},
                                             {"send", "--kind", "4", "--retries", "1001"},
                                             {"send", "--kind", "4", "--retries", "-1"},
                                             {"send", "--kind", "4", "--timeout", "86400001"},
                                             {"send", "--kind", "4", "--wait", "-3"}}) {
    Recorder recorder;
    EXPECT_EQ(recorder.parse(line), ExitCode::kUsage) << line.back();
    EXPECT_EQ(recorder.called, "");
  }
}

TEST(CommandLine, LayoutHasItsDocumentedDefaults) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse(
                {"layout", "g.mtx.gz", "--steps", "300", "--out", "p.png", "--report", "r.json"}),
            ExitCode::kDone);
  EXPECT_EQ(recorder.layout.graph, "g.mtx.gz");
  EXPECT_EQ(recorder.layout.steps, 300U);
  EXPECT_EQ(recorder.layout.picture, "p.png");
  EXPECT_EQ(recorder.layout.report, "r.json");
  EXPECT_EQ(recorder.layout.steps_per_message, 1U);
  EXPECT_TRUE(recorder.layout.far_field);
  EXPECT_EQ(recorder.layout.nudge, 0U);
}

TEST(CommandLine, LayoutTurnsTheFarFieldOffOnlyByItsWord) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"layout", "g.mtx", "--steps", "1", "--far-field", "off"}),
            ExitCode::kDone);
  EXPECT_FALSE(recorder.layout.far_field);
  EXPECT_EQ(recorder.parse({"layout", "g.mtx", "--steps", "1", "--far-field", "maybe"}),
            ExitCode::kUsage);
}

TEST(CommandLine, LayoutRefusesNoStepsAndAnEmptyWindow) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"layout", "g.mtx"}), ExitCode::kUsage);
  EXPECT_EQ(recorder.parse({"layout", "g.mtx", "--steps", "0"}), ExitCode::kUsage);
  EXPECT_EQ(recorder.parse({"layout", "g.mtx", "--steps", "5", "--window", "0"}), ExitCode::kUsage);
  EXPECT_EQ(recorder.parse({"layout", "g.mtx", "--steps", "5", "--steps-per-message", "0"}),
            ExitCode::kUsage);
}

TEST(CommandLine, DoctorTakesSizesWithUnitsAndPowersOfTwo) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"doctor", "--slots", "4096", "--arena", "6g", "--links", "3"}),
            ExitCode::kDone);
  EXPECT_EQ(recorder.doctor.slots, 4096U);
  EXPECT_EQ(recorder.doctor.arena_bytes, 6ULL << 30);
  EXPECT_EQ(recorder.doctor.links, 3U);
  EXPECT_EQ(recorder.parse({"doctor", "--slots", "1000"}), ExitCode::kUsage);
}

TEST(CommandLine, DeadPurgeTakesAnAge) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({"dead", "purge", "--older-than", "3600"}), ExitCode::kDone);
  EXPECT_EQ(recorder.called, "dead purge");
  EXPECT_EQ(recorder.dead.older_than_seconds, std::optional<std::uint64_t>(3600));
  EXPECT_EQ(recorder.dead.id, "");
}

TEST(CommandLine, AWrongLineIsNamedInOneLineOnStandardError) {
  Recorder recorder;
  testing::internal::CaptureStderr();
  EXPECT_EQ(recorder.parse({"statsu"}), ExitCode::kUsage);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("statsu"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST(CommandLine, NoCommandIsAUsageError) {
  Recorder recorder;
  EXPECT_EQ(recorder.parse({}), ExitCode::kUsage);
  EXPECT_EQ(recorder.parse({"dead"}), ExitCode::kUsage);
  EXPECT_EQ(recorder.parse({"queue"}), ExitCode::kUsage);
}

TEST(CommandLine, VersionNamesBuildLayoutAndBackends) {
  Recorder recorder;
  testing::internal::CaptureStdout();
  EXPECT_EQ(recorder.parse({"--version"}), ExitCode::kDone);
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_THAT(text, HasSubstr("ackbus "));
  EXPECT_THAT(text, HasSubstr("build "));
  EXPECT_THAT(text, HasSubstr("fingerprint "));
  EXPECT_THAT(text, HasSubstr("backends  cpu"));
  EXPECT_EQ(recorder.called, "");
}

TEST(CommandLine, ACommandsExitCodeIsTheLines) {
  CommandFunctions functions;
  functions.status = [](const CommonOptions&, const StatusOptions&) { return ExitCode::kDegraded; };
  EXPECT_EQ(run_command_line({"status", "--check"}, functions), ExitCode::kDegraded);
}

}  // namespace
}  // namespace ackbus::tools
