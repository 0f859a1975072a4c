// Queries and answers: hostile texts in, JSON out.
#include "daemon/query_text.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "libclient/include/ackbus/error.hpp"
#include "libclient/include/ackbus/outcome.hpp"
#include "machine/build.hpp"
#include "tests/unit/daemon/fake_link.hpp"

namespace ackbus::daemon {
namespace {

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;
using nlohmann::json;

constexpr const char* kId = "123e4567-e89b-42d3-a456-426614174000";

template <AnswerCode code, ackbus::ErrorCode library>
constexpr bool kSame = static_cast<std::uint32_t>(code) == static_cast<std::uint32_t>(library);
static_assert(kSame<AnswerCode::kNoDaemon, ackbus::ErrorCode::kNoDaemon>);
static_assert(kSame<AnswerCode::kPermission, ackbus::ErrorCode::kPermission>);
static_assert(kSame<AnswerCode::kVersion, ackbus::ErrorCode::kVersion>);
static_assert(kSame<AnswerCode::kQuota, ackbus::ErrorCode::kQuota>);
static_assert(kSame<AnswerCode::kMemory, ackbus::ErrorCode::kMemory>);
static_assert(kSame<AnswerCode::kInvalid, ackbus::ErrorCode::kInvalid>);
static_assert(kSame<AnswerCode::kBackPressured, ackbus::ErrorCode::kBackPressured>);
static_assert(kSame<AnswerCode::kTimeout, ackbus::ErrorCode::kTimeout>);
static_assert(kSame<AnswerCode::kClosed, ackbus::ErrorCode::kClosed>);
static_assert(kSame<AnswerCode::kDisconnected, ackbus::ErrorCode::kDisconnected>);
static_assert(kSame<AnswerCode::kForked, ackbus::ErrorCode::kForked>);
static_assert(kSame<AnswerCode::kNotFound, ackbus::ErrorCode::kNotFound>);
static_assert(kSame<AnswerCode::kProtocol, ackbus::ErrorCode::kProtocol>);
static_assert(kSame<AnswerCode::kSystem, ackbus::ErrorCode::kSystem>);
static_assert(static_cast<int>(Ending::kExhausted) ==
              static_cast<int>(ackbus::OutcomeCode::kExhausted));
static_assert(static_cast<int>(Ending::kClosed) == static_cast<int>(ackbus::OutcomeCode::kClosed));

// ---- reading ----

TEST(QueryText, OnlyAnObjectIsAQuery) {
  EXPECT_TRUE(parse_query(R"({"verb":"status"})"));
  const std::string deep(60'000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("7"), std::string("null"),
        std::string("{\"verb\":\"\xff\"}"), std::string("{} {}"), deep}) {
    const Result<json> query = parse_query(text);
    ASSERT_FALSE(query) << text.substr(0, 20);
    EXPECT_EQ(query.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(query.error().text.find('\n'), std::string::npos);
  }
}

TEST(QueryText, MembersOfAnotherTypeAreRefusedByName) {
  const json query =
      json::parse(R"({"text": "a", "count": 7, "negative": -1, "real": 1.5, "none": null})");
  EXPECT_EQ(read_text(query, "text").value(), "a");
  EXPECT_EQ(read_text(query, "none").value(), std::nullopt);
  EXPECT_EQ(read_text(query, "missing").value(), std::nullopt);
  EXPECT_FALSE(read_text(query, "count"));
  EXPECT_FALSE(read_text({{"text", std::string(257, 'a')}}, "text"));
  EXPECT_EQ(read_count(query, "count", 1).value(), 7U);
  EXPECT_EQ(read_count(query, "none", 1).value(), 1U);
  EXPECT_EQ(read_count(query, "missing", 1).value(), 1U);
  for (const char* name : {"text", "negative", "real"}) {
    const Result<std::uint64_t> count = read_count(query, name, 1);
    ASSERT_FALSE(count) << name;
    EXPECT_NE(count.error().text.find(name), std::string::npos);
  }
}

TEST(QueryText, AnIdIsAnIdOrAnError) {
  EXPECT_EQ(to_text(read_id({{"id", kId}}, "id").value()), kId);
  EXPECT_FALSE(read_id({{"id", "all"}}, "id"));
  EXPECT_FALSE(read_id({{"id", 7}}, "id"));
  EXPECT_FALSE(read_id(json::object(), "id"));
}

// ---- texts ----

TEST(QueryText, PartsMakeTheWholeAndAreNeverTooLong) {
  const std::string text(125, 'x');
  const auto parts = split_text(text, 60);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].size(), 60U);
  EXPECT_EQ(parts[2].size(), 5U);
  EXPECT_EQ(split_text(std::string(120, 'x'), 60).size(), 2U);
  ASSERT_EQ(split_text("", 60).size(), 1U) << "an empty answer is an answer";
}

TEST(QueryText, BytesThatAreNoUtf8DoNotBreakAnAnswer) {
  EXPECT_NO_THROW(EXPECT_FALSE(to_line({{"client", "\xff\xfe"}}).empty()));
}

TEST(QueryText, TimesAreIso8601InUtc) {
  EXPECT_EQ(to_utc(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_utc(1'738'324'800'123'999'999), "2025-01-31T12:00:00.123Z");
  EXPECT_FALSE(to_utc(UINT64_MAX).empty());
}

TEST(QueryText, Base64FollowsTheVectorsOfRfc4648) {
  const auto encoded = [](const std::string& text) {
    return to_base64(std::as_bytes(std::span(text.data(), text.size())));
  };
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foob"), "Zm9vYg==");
  EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(QueryText, EveryErrorOfTheDaemonHasACodeForTools) {
  EXPECT_EQ(answer_code_of(ErrorCode::kNotFound), AnswerCode::kNotFound);
  EXPECT_EQ(answer_code_of(ErrorCode::kBusy), AnswerCode::kBackPressured);
  EXPECT_EQ(answer_code_of(ErrorCode::kCorrupt), AnswerCode::kSystem);
  for (int code = 0; code <= static_cast<int>(ErrorCode::kSystem); ++code) {
    EXPECT_NE(answer_code_of(static_cast<ErrorCode>(code)), AnswerCode::kDone);
  }
}

// ---- status ----

BusFigures example() {
  BusFigures figures;
  figures.bus = "default";
  figures.daemon.uptime_ns = 2'500'000'000;
  KindFigures kind;
  kind.id = 4;
  kind.name = "ComputeForces";
  kind.totals.sent = 10;
  kind.totals.success = 6;
  kind.totals.partial_success = 1;
  kind.own.retries_timeout = 3;
  figures.kinds.push_back(kind);
  QueueFigures idle;
  idle.name = "gpu0";
  figures.queues.push_back(idle);
  QueueFigures stalled = idle;
  stalled.consumer.emplace();
  stalled.consumer->pid = 88;
  stalled.begun = 1;
  stalled.stall.emplace();
  stalled.stall->pid = 88;
  stalled.stall->age_ns = 12'000'000;
  figures.queues.push_back(stalled);
  LinkFigures link;
  link.number = 9;
  link.client = "\xff";
  figures.links.push_back(link);
  return figures;
}

TEST(QueryText, TheStatusHasEveryMemberThatToolsRead) {
  const json status = json::parse(to_line(status_json(example())));
  EXPECT_EQ(status["bus"], "default");
  EXPECT_EQ(status["daemon"]["uptime_seconds"], 2.5);
  EXPECT_EQ(status["daemon"]["version"], machine::version_number());
  const json& kind = status["kinds"][0];
  EXPECT_EQ(kind["pending"], 3);
  EXPECT_EQ(kind["success"], 6) << "without partial successes";
  EXPECT_EQ(kind["retries"], 3);
  EXPECT_EQ(kind["latency"].size(), layout::kLatencyBuckets);
  EXPECT_EQ(status["queues"][0]["consumer"], nullptr);
  EXPECT_EQ(status["queues"][0]["stalled"], nullptr);
  EXPECT_EQ(status["queues"][1]["consumer"]["begun"], 1);
  EXPECT_EQ(status["queues"][1]["stalled"]["age_ms"], 12);
  EXPECT_EQ(status["links"][0]["state"], "open");
  EXPECT_TRUE(status["memory"]["ack"].is_number_unsigned());
  EXPECT_EQ(status["dead_letters"]["writable"], false);
}

TEST(QueryText, AnEmptyBusHasEmptyListsNotNull) {
  const json status = status_json(BusFigures{});
  EXPECT_TRUE(status["kinds"].is_array());
  EXPECT_TRUE(status["queues"].is_array());
  EXPECT_TRUE(status["links"].is_array());
}

// ---- show ----

std::string state_after(FakeLink& link) {
  const LinkMemory memory = link.memory();
  return state_of(*memory.tracker->look(0));
}

TEST(QueryText, TheStateIsWhatHappenedLast) {
  FakeLink link;
  link.commit(0, 4, 10);
  EXPECT_EQ(state_after(link), "committed");
  link.begin(0, 20);
  EXPECT_EQ(state_after(link), "begun");
  link.decide(0, PendingState::kWaiting);
  EXPECT_EQ(state_after(link), "waiting");
  link.decide(0, PendingState::kExhausting, VerdictReason::kRetries);
  EXPECT_EQ(state_after(link), "exhausting");
  link.decide(0, PendingState::kVerdict, VerdictReason::kRetries);
  EXPECT_EQ(state_after(link), "verdict");
  link.take(0, Ending::kExhausted);
  EXPECT_EQ(state_after(link), "settled");
}

TEST(QueryText, AnAnsweredMessageThatNobodyTookIsAnswered) {
  FakeLink link;
  link.commit(0, 4, 10);
  FakeLink::answer(link.life, 0, AckCode::kSuccess);
  EXPECT_EQ(state_after(link), "answered");
}

TEST(QueryText, ADescriptorWithoutItsPlaceIsOnlyClaimed) {
  FakeLink link;
  link.commit(0, 4, 10);
  link.submission.place(1).number.store_relaxed(0);
  EXPECT_EQ(state_after(link), "claimed");
}

TEST(QueryText, ShowTellsTheNextRetryOnlyWhileItWaits) {
  FoundMessage found;
  found.view.descriptor.number = 5;
  found.view.descriptor.sent_ns = 1'000'000;
  found.view.committed = true;
  found.view.entry.sequence = 5;
  found.view.entry.attempt = 2;
  found.view.entry.retries = 1;
  found.view.entry.state = PendingState::kWaiting;
  found.view.entry.due_ns = 60'000'000;
  json answer = found_json(found, 10'000'000);
  EXPECT_EQ(answer["next_retry_ms"], 50);
  EXPECT_EQ(answer["age_ms"], 9);
  EXPECT_EQ(answer["attempt"], 2);
  EXPECT_EQ(answer["outcome"], nullptr);
  EXPECT_EQ(found_json(found, 70'000'000)["next_retry_ms"], 0) << "it is overdue";
  found.view.entry.state = PendingState::kQueued;
  found.ending = Ending::kSuccess;
  answer = found_json(found, 10'000'000);
  EXPECT_EQ(answer["next_retry_ms"], nullptr);
  EXPECT_EQ(answer["outcome"], "Success");
}

// ---- dead letters ----

Letter letter() {
  Letter made;
  made.id = *parse_letter_id(kId);
  made.kind_name = "ComputeForces";
  made.queue = "gpu0";
  made.reason = DeathReason::kRetries;
  made.attempts = 4;
  made.exhausted.realtime_ns = 1'738'324'800'000'000'000;
  made.sent.realtime_ns = made.exhausted.realtime_ns - 5'000'000'000;
  made.payload_bytes = 64;
  made.payload_stored = true;
  made.attempt_times = {{10, made.sent.realtime_ns}};
  made.history = {{made.id, made.sent.realtime_ns, 3, 4}};
  return made;
}

TEST(QueryText, ALetterInAListHasItsNinePlusFields) {
  const json entry = letter_json(letter());
  EXPECT_EQ(entry["id"], kId);
  EXPECT_EQ(entry["reason"], "retries");
  EXPECT_EQ(entry["exhausted_at"], "2025-01-31T12:00:00.000Z");
  EXPECT_EQ(entry["bytes"], 64);
  EXPECT_EQ(entry["payload_kept"], true);
  EXPECT_EQ(entry["origin"], nullptr);
}

TEST(QueryText, ALetterInFullHasItsAttemptsAndItsHistory) {
  const json entry = full_letter_json(letter());
  ASSERT_EQ(entry["attempt_times"].size(), 1U);
  EXPECT_EQ(entry["attempt_times"][0]["monotonic_ns"], 10);
  EXPECT_EQ(entry["history"][0]["reason"], "poison");
  EXPECT_EQ(entry["first_begun_at"], nullptr);
  EXPECT_EQ(entry["payload_sha256"].get<std::string>().size(), 64U);
}

TEST(QueryText, ShowAnswersFromTheLetterWhenTheSlotIsGone) {
  const Letter made = letter();
  const json answer = found_letter_json(made, made.exhausted.realtime_ns);
  EXPECT_EQ(answer["found"], true);
  EXPECT_EQ(answer["age_ms"], 5000);
  EXPECT_EQ(answer["outcome"], "Exhausted");
  EXPECT_EQ(answer["dead_letter"], true);
  EXPECT_EQ(answer["slot"], nullptr);
}

}  // namespace
}  // namespace ackbus::daemon
