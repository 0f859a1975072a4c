// What the commands print, and the command lines they build, without a daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shm_layout/limits.hpp"
#include "tools/command_dead.hpp"
#include "tools/command_doctor.hpp"
#include "tools/command_run.hpp"
#include "tools/command_send.hpp"
#include "tools/command_show.hpp"
#include "tools/version.hpp"

namespace ackbus::tools {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kId = "123e4567-e89b-42d3-a456-426614174000";

TEST(CommandShow, APendingMessageShowsItsNextRetry) {
  const json answer = {{"found", true},       {"link", 7},
                       {"queue", "gpu0"},     {"slot", 3},
                       {"sequence", 41},      {"kind", "ComputeForces"},
                       {"state", "waiting"},  {"attempt", 2},
                       {"retries", 1},        {"next_retry_ms", 150},
                       {"age_ms", 5100},      {"outcome", nullptr},
                       {"dead_letter", false}};
  const std::string text = show_text(kId, answer);
  EXPECT_THAT(text, HasSubstr(kId));
  EXPECT_THAT(text, HasSubstr("ComputeForces"));
  EXPECT_THAT(text, HasSubstr("in 150 ms"));
  EXPECT_THAT(text, HasSubstr("not known yet"));
  EXPECT_THAT(text, Not(HasSubstr("dead letter")));
}

TEST(CommandShow, AnExhaustedMessagePointsToItsLetter) {
  const json answer = {{"found", true},
                       {"kind", "ComputeForces"},
                       {"outcome", "exhausted"},
                       {"next_retry_ms", nullptr},
                       {"dead_letter", true}};
  const std::string text = show_text(kId, answer);
  EXPECT_THAT(text, HasSubstr("exhausted"));
  EXPECT_THAT(text, HasSubstr(std::string("ackbus dead show ") + kId));
  EXPECT_THAT(text, Not(HasSubstr("next retry")));
}

TEST(CommandShow, AMalformedIdIsRefusedBeforeAnybodyIsAsked) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_show({"/nonexistent", "default"}, {"not-an-id", false}), ExitCode::kUsage);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("not-an-id"));
}

TEST(CommandShow, WithoutADaemonTheErrorNamesItsSocket) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_show({"/nonexistent-ackbus", "default"}, {kId, false}), ExitCode::kNoDaemon);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/nonexistent-ackbus"));
}

TEST(CommandDead, TheListShowsReasonPayloadAndRemarks) {
  const json answer = {{"letters",
                        {{{"id", kId},
                          {"kind", "ComputeForces"},
                          {"queue", "gpu0"},
                          {"link", 7},
                          {"sequence", 41},
                          {"attempts", 4},
                          {"deaths", 1},
                          {"reason", "retries"},
                          {"bytes", 2048},
                          {"payload_kept", false},
                          {"exhausted_at", "2026-01-02T03:04:05Z"},
                          {"late_success", true},
                          {"origin", nullptr}}}}};
  const std::string text = dead_list_text(answer);
  EXPECT_THAT(text, HasSubstr(kId));
  EXPECT_THAT(text, HasSubstr("retries"));
  EXPECT_THAT(text, HasSubstr("2 KiB"));
  EXPECT_THAT(text, HasSubstr("payload not kept"));
  EXPECT_THAT(text, HasSubstr("late success"));
}

TEST(CommandDead, AListThatIsCutSaysHowManyAreOlder) {
  const json letters = json::array({{{"id", kId}}});
  EXPECT_THAT(dead_list_text({{"letters", letters}, {"more", 1234}}), HasSubstr("and 1,234 older"));
  EXPECT_THAT(dead_list_text({{"letters", letters}, {"more", 0}}), Not(HasSubstr("older")));
}

TEST(CommandDead, NoLettersIsSaid) {
  EXPECT_EQ(dead_list_text({{"letters", json::array()}}), "no dead letters\n");
  EXPECT_EQ(dead_list_text(json::object()), "no dead letters\n");
}

TEST(CommandDead, PurgeNeedsASelection) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_dead_purge({"/nonexistent", "default"}, {}), ExitCode::kUsage);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("--older-than"));
}

TEST(CommandDead, OnlyRedriveAndPurgeTakeAll) {
  DeadOptions all;
  all.id = "all";
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_dead_show({"/nonexistent", "default"}, all), ExitCode::kUsage);
  EXPECT_EQ(run_dead_redrive({"/nonexistent", "default"}, all), ExitCode::kNoDaemon);
  EXPECT_EQ(run_dead_purge({"/nonexistent", "default"}, all), ExitCode::kNoDaemon);
  testing::internal::GetCapturedStderr();
}

TEST(CommandSend, AnOutcomeShowsCodeAttemptTextAndMetadata) {
  Ticket ticket;
  ticket.id = *MessageId::parse(kId);
  Outcome outcome;
  outcome.code = OutcomeCode::kFailed;
  outcome.attempt = 2;
  outcome.latency_ns = 1'500'000;
  outcome.notes =
      std::make_shared<const OutcomeNotes>(OutcomeNotes{"no graph", {{"backend", "cpu"}}, false});
  const std::string text = outcome_text(ticket, outcome);
  EXPECT_THAT(text, HasSubstr(kId));
  EXPECT_THAT(text, HasSubstr(outcome_name(OutcomeCode::kFailed)));
  EXPECT_THAT(text, HasSubstr("attempt 2"));
  EXPECT_THAT(text, HasSubstr("1.50 ms"));
  EXPECT_THAT(text, HasSubstr(": no graph"));
  EXPECT_THAT(text, HasSubstr("  backend = cpu\n"));
}

TEST(CommandSend, AVerdictShowsItsReasonAndNoAttempt) {
  Outcome outcome;
  outcome.code = OutcomeCode::kExhausted;
  outcome.reason = OutcomeReason::kUndelivered;
  const std::string text = outcome_text({}, outcome);
  EXPECT_THAT(text, HasSubstr(reason_name(OutcomeReason::kUndelivered)));
  EXPECT_THAT(text, Not(HasSubstr("attempt")));
}

TEST(CommandSend, AMissingFileIsBadInputBeforeAnybodyIsAsked) {
  SendCommandOptions options;
  options.kind = "4";
  options.file = "/nonexistent-payload";
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_send({"/nonexistent", "default"}, options), ExitCode::kBadInput);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/nonexistent-payload"));
}

TEST(CommandSend, AFolderIsNoPayload) {
  SendCommandOptions options;
  options.kind = "4";
  options.file = "/tmp";
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_send({"/nonexistent", "default"}, options), ExitCode::kBadInput);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("folder"));
}

TEST(CommandRun, TheDaemonGetsWhatWasAskedForAndNothingElse) {
  const CommonOptions common{"/run/x", "b"};
  RunOptions options;
  EXPECT_THAT(daemon_arguments("/bin/ackbusd", common, options),
              ElementsAre("/bin/ackbusd", "--runtime-dir", "/run/x", "--bus", "b"));
  options.metrics = "off";
  options.config = "c.toml";
  options.dead_letters = "/var/x";
  EXPECT_THAT(daemon_arguments("/bin/ackbusd", common, options),
              ElementsAre("/bin/ackbusd", "--runtime-dir", "/run/x", "--bus", "b", "--metrics",
                          "off", "--dead-letters", "/var/x", "--config", "c.toml"));
}

TEST(CommandRun, TheGpuProcessGetsQueueBackendAndThreads) {
  const CommonOptions common{"/run/x", "b"};
  RunOptions options;
  EXPECT_THAT(gpu_arguments("/bin/ackbus-gpu", common, options),
              ElementsAre("/bin/ackbus-gpu", "--runtime-dir", "/run/x", "--bus", "b", "--queue",
                          "gpu0", "--backend", "auto"));
  options.threads = 3;
  EXPECT_EQ(gpu_arguments("/bin/ackbus-gpu", common, options).back(), "3");
}

TEST(CommandDoctor, ALinksCostIsItsSegments) {
  const LinkCost cost = link_cost(1024, 16 << 20);
  EXPECT_GT(cost.submission_bytes, 16U << 20);
  EXPECT_GE(cost.ack_bytes, 1024 * layout::kAckTextBytesMax);
  EXPECT_EQ(cost.total(), cost.submission_bytes + cost.ack_bytes + cost.tracking_bytes);
  // A larger arena costs itself and nothing else.
  const LinkCost larger = link_cost(1024, 6ULL << 30);
  EXPECT_EQ(larger.total() - cost.total(), (6ULL << 30) - (16 << 20));
}

TEST(CommandDoctor, TheCostOfAllLinksIsShown) {
  DoctorOptions options;
  options.links = 10;
  const std::string text = cost_text(options);
  EXPECT_THAT(text, HasSubstr("1,024 slots"));
  EXPECT_THAT(text, HasSubstr("10 such link(s) take " +
                              format_bytes(10 * link_cost(1024, 16 << 20).total())));
}

TEST(CommandDoctor, MemoryThatDoesNotSufficeIsBadAndSaysHowMuch) {
  const DoctorOptions options;
  EXPECT_EQ(examine_memory(options, 1 << 20).health, Health::kBad);
  EXPECT_THAT(examine_memory(options, 1 << 20).detail, HasSubstr("1 MiB"));
  EXPECT_EQ(examine_memory(options, 1ULL << 40).health, Health::kGood);
  EXPECT_EQ(examine_memory(options, UINT64_MAX).health, Health::kRemark) << "unknown";
}

TEST(CommandDoctor, EveryBadFindingHasARemedy) {
  const DoctorOptions options;
  for (const Finding& finding :
       {examine_kernel(), examine_seals(), examine_descriptor_limit(1'000'000),
        examine_memory(options, 1), examine_runtime_dir({"/nonexistent", "default"}),
        examine_devices(), examine_programs()}) {
    EXPECT_FALSE(finding.subject.empty());
    EXPECT_FALSE(finding.detail.empty()) << finding.subject;
    if (finding.health == Health::kBad) {
      EXPECT_FALSE(finding.remedy.empty()) << finding.subject;
    }
  }
}

TEST(CommandDoctor, AnAbsentDaemonIsARemarkAndNoFault) {
  const std::vector<Finding> findings = examine_daemon({"/nonexistent", "default"});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].health, Health::kRemark);
}

TEST(Version, AProgramBesideThisOneIsFoundBeforeThePath) {
  EXPECT_EQ(find_program("no-such-program-anywhere"), "");
  EXPECT_NE(find_program("sh"), "");
  EXPECT_FALSE(own_folder().empty());
}

TEST(FormatBytes, UsesBinaryUnits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(6ULL << 30), "6 GiB");
}

}  // namespace
}  // namespace ackbus::tools
