// The status: what the daemon's JSON becomes, what the check says of it, what the views show.
#include "tools/status_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/status_view.hpp"

namespace ackbus::tools {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

json healthy() {
  json latency = json::array();
  for (std::size_t bucket = 0; bucket < layout::kLatencyBuckets; ++bucket) {
    latency.push_back(0);
  }
  latency[5] = 98;  // up to 50 us
  latency[9] = 2;   // up to 1 ms
  return {
      {"bus", "default"},
      {"incarnation", 3},
      {"daemon", {{"pid", 77}, {"uptime_seconds", 12.5}, {"version", "0.1.0"}, {"backlog", 0}}},
      {"kinds",
       {{{"id", 4},
         {"name", "ComputeForces"},
         {"sent", 110},
         {"success", 90},
         {"partial_success", 10},
         {"failed", 3},
         {"exhausted", 2},
         {"superseded", 1},
         {"cancelled", 1},
         {"closed", 1},
         {"posted", 0},
         {"pending", 2},
         {"retries", 5},
         {"dead_lettered", 2},
         {"given_back", 1},
         {"latency_sum_ns", 4'000'000},
         {"latency", latency}}}},
      {"queues",
       {{{"name", "gpu0"},
         {"epoch", 2},
         {"consumer",
          {{"pid", 88}, {"client", "ackbus-gpu"}, {"since_seconds", 60.0}, {"begun", 1}}},
         {"standbys", 1},
         {"links", 1},
         {"pending", 2},
         {"oldest_age_ms", 15},
         {"stalled", nullptr}}}},
      {"links",
       {{{"link", 9},
         {"queue", "gpu0"},
         {"pid", 99},
         {"uid", 1000},
         {"client", "orchestrator"},
         {"slots", 1024},
         {"arena_bytes", 16 << 20},
         {"pending", 2},
         {"free", 1022},
         {"sent", 110},
         {"state", "open"}}}},
      {"memory", {{"submission", 100}, {"ack", 20}, {"tracking", 3}, {"state", 4}, {"frames", 5}}},
      {"dead_letters",
       {{"count", 2}, {"bytes", 2048}, {"limit_bytes", 1 << 30}, {"writable", true}}}};
}

BusStatus parsed(const json& answer) {
  Result<BusStatus> status = parse_status(answer);
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().text);
  return status.ok() ? std::move(status).value() : BusStatus{};
}

TEST(StatusModel, EveryFieldIsTakenOver) {
  const BusStatus status = parsed(healthy());
  EXPECT_EQ(status.bus, "default");
  EXPECT_EQ(status.incarnation, 3U);
  EXPECT_EQ(status.daemon.pid, 77U);
  EXPECT_DOUBLE_EQ(status.daemon.uptime_seconds, 12.5);
  ASSERT_EQ(status.kinds.size(), 1U);
  EXPECT_EQ(status.kinds[0].id, 4);
  EXPECT_EQ(status.kinds[0].succeeded(), 100U);
  EXPECT_EQ(status.kinds[0].dead_lettered, 2U);
  EXPECT_EQ(status.kinds[0].latency[5], 98U);
  ASSERT_EQ(status.queues.size(), 1U);
  ASSERT_TRUE(status.queues[0].consumer.has_value());
  EXPECT_EQ(status.queues[0].consumer->pid, 88U);
  EXPECT_FALSE(status.queues[0].stalled.has_value());
  ASSERT_EQ(status.links.size(), 1U);
  EXPECT_EQ(status.links[0].uid, 1000U);
  EXPECT_EQ(status.links[0].free, 1022U);
  EXPECT_EQ(status.memory.total(), 132U);
  EXPECT_TRUE(status.dead_letters.writable);
}

TEST(StatusModel, AnAnswerWithoutItsListsIsNoStatus) {
  for (const char* name : {"daemon", "kinds", "queues", "links"}) {
    json answer = healthy();
    answer.erase(name);
    const Result<BusStatus> status = parse_status(answer);
    ASSERT_FALSE(status.ok()) << name;
    EXPECT_EQ(status.error().code, ErrorCode::kProtocol);
  }
}

TEST(StatusModel, FieldsOfOddTypesReadAsNothing) {
  json answer = healthy();
  answer["kinds"][0]["sent"] = "many";
  answer["kinds"][0]["success"] = -5;
  answer["kinds"][0]["latency"] = json::array({1, "two", nullptr});
  answer["queues"][0]["consumer"] = 7;
  answer["links"].push_back(nullptr);
  answer["dead_letters"] = json::array();
  const BusStatus status = parsed(answer);
  EXPECT_EQ(status.kinds[0].sent, 0U);
  EXPECT_EQ(status.kinds[0].success, 0U);
  EXPECT_EQ(status.kinds[0].latency[0], 1U);
  EXPECT_EQ(status.kinds[0].latency[1], 0U);
  EXPECT_FALSE(status.queues[0].consumer.has_value());
  EXPECT_EQ(status.links[1].link, 0U);
  EXPECT_FALSE(status.dead_letters.writable);
}

TEST(StatusModel, AHostileClientNameCannotSteerTheTerminal) {
  json answer = healthy();
  answer["links"][0]["client"] = "evil\033[2J";
  EXPECT_THAT(status_text(parsed(answer)), Not(HasSubstr("\033")));
}

TEST(StatusModel, MetricsCountPartialSuccessAsSuccessAndExhaustedAsFailure) {
  const MessageMetrics metrics = metrics_of(parsed(healthy()));
  const KindTotals totals = metrics.totals();
  EXPECT_EQ(totals.sent, 110U);
  EXPECT_EQ(totals.success, 100U);
  EXPECT_EQ(totals.failure, 5U);
  EXPECT_EQ(totals.retries, 5U);
  EXPECT_DOUBLE_EQ(metrics.avg_latency_ms(), 0.04);
  EXPECT_THAT(metrics.summary(), HasSubstr("ComputeForces"));
}

TEST(StatusModel, MetricsLeaveOutKindsThatCarriedNothing) {
  json answer = healthy();
  answer["kinds"].push_back({{"id", 5}, {"name", "UpdateNodePositions"}});
  EXPECT_EQ(metrics_of(parsed(answer)).all_kinds().size(), 1U);
}

TEST(StatusModel, LatencyIsTheBoundOfTheBucketThatHoldsTheRank) {
  const KindStatus kind = parsed(healthy()).kinds[0];
  EXPECT_EQ(latency_bound_ns(kind, 50.0), 50'000U);
  EXPECT_EQ(latency_bound_ns(kind, 98.0), 50'000U);
  EXPECT_EQ(latency_bound_ns(kind, 99.0), 1'000'000U);
  EXPECT_EQ(latency_bound_ns(kind, 100.0), 1'000'000U);
  EXPECT_EQ(latency_bound_ns(KindStatus{}, 50.0), 0U);
  KindStatus slow;
  slow.latency.back() = 1;
  EXPECT_EQ(latency_bound_ns(slow, 50.0), UINT64_MAX);
}

using Problems = std::vector<std::string>;

Problems problems_of(const json& answer, std::uint64_t answered_in_ms = 3) {
  return find_problems(parsed(answer), answered_in_ms);
}

TEST(StatusCheck, AHealthyBusHasNoProblem) { EXPECT_EQ(problems_of(healthy()), Problems{}); }

TEST(StatusCheck, AQueueWithoutAConsumerIsNamed) {
  json answer = healthy();
  answer["queues"][0]["consumer"] = nullptr;
  EXPECT_THAT(problems_of(answer), ElementsAre(HasSubstr("queue gpu0 has no consumer")));
}

TEST(StatusCheck, AnUnlistedQueueIsAProblemOnlyWhileSomebodyHasALinkToIt) {
  json answer = healthy();
  answer["queues"].push_back({{"name", "once"}, {"listed", false}, {"links", 0}});
  EXPECT_EQ(problems_of(answer), Problems{});
  answer["queues"][1]["links"] = 1;
  EXPECT_THAT(problems_of(answer), ElementsAre(HasSubstr("queue once has no consumer")));
}

TEST(StatusCheck, ABusWithoutAnyQueueHasNoConsumerEither) {
  json answer = healthy();
  answer["queues"] = json::array();
  EXPECT_THAT(problems_of(answer), ElementsAre(HasSubstr("no queue")));
}

TEST(StatusCheck, AStallNamesQueueProcessMessageAndAge) {
  json answer = healthy();
  answer["queues"][0]["stalled"] = {{"pid", 88}, {"age_ms", 6500}, {"message", "m-1"}};
  EXPECT_THAT(problems_of(answer), ElementsAre(AllOf(HasSubstr("gpu0"), HasSubstr("pid 88"),
                                                     HasSubstr("m-1"), HasSubstr("6500 ms"))));
}

TEST(StatusCheck, AnUnwritableDeadLetterStoreIsAProblem) {
  json answer = healthy();
  answer["dead_letters"]["writable"] = false;
  EXPECT_THAT(problems_of(answer), ElementsAre(HasSubstr("dead-letter store")));
}

TEST(StatusCheck, ALateDaemonIsAProblemOnlyBeyondTheLimit) {
  EXPECT_EQ(problems_of(healthy(), kDaemonLateMs), Problems{});
  EXPECT_THAT(problems_of(healthy(), kDaemonLateMs + 1), ElementsAre(HasSubstr("pid 77")));
}

TEST(StatusCheck, EveryProblemIsNamed) {
  json answer = healthy();
  answer["queues"][0]["consumer"] = nullptr;
  answer["dead_letters"]["writable"] = false;
  EXPECT_THAT(problems_of(answer, kDaemonLateMs + 1),
              ElementsAre(HasSubstr("gpu0"), HasSubstr("dead-letter store"), HasSubstr("pid 77")));
}

TEST(StatusView, ShowsWhoHoldsWhat) {
  const std::string text = status_text(parsed(healthy()));
  EXPECT_THAT(text, HasSubstr("ackbus-gpu pid 88"));
  EXPECT_THAT(text, HasSubstr("orchestrator"));
  EXPECT_THAT(text, HasSubstr("1,022"));
  EXPECT_THAT(text, HasSubstr("16 MiB"));
  EXPECT_THAT(text, HasSubstr("ComputeForces"));
  EXPECT_THAT(text, HasSubstr("dead letters 2"));
}

TEST(StatusView, RatesComeFromTheLookBefore) {
  const BusStatus before = parsed(healthy());
  json later = healthy();
  later["kinds"][0]["success"] = 90 + 500;
  const std::string text = status_text(parsed(later), {&before, 2.0});
  EXPECT_THAT(text, HasSubstr("250"));
}

TEST(StatusView, CountersThatBeganAnewGiveNoRate) {
  json many = healthy();
  many["kinds"][0]["success"] = 1'000'000;
  const BusStatus before = parsed(many);
  const std::string text = status_text(parsed(healthy()), {&before, 1.0});
  EXPECT_THAT(text, Not(HasSubstr("18,446")));
}

TEST(StatusView, AnEmptyBusSaysSo) {
  json answer = healthy();
  answer["queues"] = json::array();
  answer["links"] = json::array();
  answer["kinds"] = json::array();
  const std::string text = status_text(parsed(answer));
  EXPECT_THAT(text, HasSubstr("no queues yet"));
  EXPECT_THAT(text, HasSubstr("no links"));
  EXPECT_THAT(text, HasSubstr("nothing was sent yet"));
}

TEST(StatusView, LatenciesReadWell) {
  EXPECT_EQ(format_latency(0), "-");
  EXPECT_EQ(format_latency(850), "850 ns");
  EXPECT_EQ(format_latency(12'300), "12.3 us");
  EXPECT_EQ(format_latency(4'560'000), "4.56 ms");
  EXPECT_EQ(format_latency(1'200'000'000), "1.20 s");
  EXPECT_EQ(format_latency(UINT64_MAX), "> 30 s");
}

}  // namespace
}  // namespace ackbus::tools
