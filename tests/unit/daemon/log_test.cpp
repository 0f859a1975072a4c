// The log: one record a change of state, bounded by the minute, in logfmt and as journal fields.
// Virtual time.
#include "daemon/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;

class LogTest : public ::testing::Test {
 protected:
  Log make(std::uint32_t records_per_minute = 60, LogLevel level = LogLevel::kInfo) {
    return Log({level, records_per_minute,
                [this](const LogRecord& record) { written_.push_back(record); },
                [this] {
                  return Log::Times{now_ns_, now_ns_};
                }});
  }
  std::vector<LogRecord> written_;
  std::uint64_t now_ns_ = 1000 * kSecondNs;
};

TEST_F(LogTest, WritesOneRecordForEachChangeOfState) {
  Log log = make();
  log.state(LogLevel::kWarning, "consumers", "gpu0", "stalled");
  log.state(LogLevel::kWarning, "consumers", "gpu0", "stalled");
  log.state(LogLevel::kInfo, "consumers", "gpu0", "serving");
  log.state(LogLevel::kWarning, "consumers", "gpu0", "stalled");
  log.state(LogLevel::kWarning, "consumers", "gpu1", "stalled");
  EXPECT_EQ(written_.size(), 4U);
}

TEST_F(LogTest, AForgottenKeyTellsItsStateAgain) {
  Log log = make();
  log.state(LogLevel::kInfo, "links", "5", "open");
  log.forget("links", "5");
  log.state(LogLevel::kInfo, "links", "5", "open");
  EXPECT_EQ(written_.size(), 2U);
}

TEST_F(LogTest, LeavesOutWhatExceedsTheMinuteAndSaysHowMuchAtTheNextRecord) {
  Log log = make(3);
  for (int i = 0; i < 10; ++i) {
    log.line(LogLevel::kError, "links", "line " + std::to_string(i));
  }
  ASSERT_EQ(written_.size(), 3U);
  now_ns_ += 60 * kSecondNs - 1;
  log.line(LogLevel::kError, "links", "still the same minute");
  ASSERT_EQ(written_.size(), 3U);
  now_ns_ += 1;
  log.line(LogLevel::kError, "links", "after");
  ASSERT_EQ(written_.size(), 4U);
  EXPECT_EQ(written_.back().suppressed, 8U);
  log.line(LogLevel::kError, "links", "once told");
  EXPECT_EQ(written_.back().suppressed, 0U);
}

TEST_F(LogTest, TellsWhatWasLeftOutWhenTheMinuteIsOverThoughNothingFollows) {
  Log log = make(2);
  EXPECT_EQ(log.tell_suppressed(), UINT64_MAX);
  log.line(LogLevel::kInfo, "links", "a");
  log.line(LogLevel::kInfo, "links", "b");
  EXPECT_EQ(log.tell_suppressed(), UINT64_MAX) << "nothing was left out";
  EXPECT_FALSE(log.line(LogLevel::kError, "links", "c"));
  EXPECT_FALSE(log.line(LogLevel::kInfo, "links", "d"));
  EXPECT_EQ(log.tell_suppressed(), now_ns_ + 60 * kSecondNs);
  EXPECT_EQ(written_.size(), 2U);
  now_ns_ += 60 * kSecondNs;
  EXPECT_EQ(log.tell_suppressed(), UINT64_MAX);
  ASSERT_EQ(written_.size(), 3U);
  EXPECT_EQ(written_.back().category, "links");
  EXPECT_EQ(written_.back().level, LogLevel::kError) << "the gravest of them";
  EXPECT_EQ(written_.back().suppressed, 2U);
  log.line(LogLevel::kInfo, "links", "e");
  EXPECT_EQ(written_.back().suppressed, 0U) << "told already";
  EXPECT_FALSE(log.line(LogLevel::kInfo, "links", "f")) << "the count is a record of its minute";
}

TEST_F(LogTest, WhatIsNotToBeHeardAnyMoreIsNotCountedLater) {
  Log log = make(1);
  log.line(LogLevel::kInfo, "links", "a");
  log.line(LogLevel::kInfo, "links", "b");
  log.set_level(LogLevel::kError);
  now_ns_ += 60 * kSecondNs;
  EXPECT_EQ(log.tell_suppressed(), UINT64_MAX);
  EXPECT_EQ(log.tell_suppressed(), UINT64_MAX);
  EXPECT_EQ(written_.size(), 1U);
}

TEST_F(LogTest, OneCategoryCannotSilenceAnother) {
  Log log = make(1);
  log.line(LogLevel::kInfo, "links", "a");
  log.line(LogLevel::kInfo, "links", "b");
  log.line(LogLevel::kInfo, "dead_letters", "c");
  ASSERT_EQ(written_.size(), 2U);
  EXPECT_EQ(written_.back().message, "c");
}

TEST_F(LogTest, AStateThatFellToTheLimitIsToldWhenItIsSaidNext) {
  Log log = make(1);
  log.state(LogLevel::kInfo, "links", "1", "open");
  log.state(LogLevel::kInfo, "links", "1", "closed");
  EXPECT_EQ(written_.size(), 1U);
  now_ns_ += 60 * kSecondNs;
  log.state(LogLevel::kInfo, "links", "1", "closed");
  ASSERT_EQ(written_.size(), 2U);
  EXPECT_EQ(written_.back().message, "closed");
}

TEST_F(LogTest, LevelsBelowTheSetOneAreLeftOutUncounted) {
  Log log = make(60, LogLevel::kWarning);
  log.line(LogLevel::kInfo, "links", "unheard");
  log.set_level(LogLevel::kDebug);
  log.line(LogLevel::kDebug, "links", "heard");
  ASSERT_EQ(written_.size(), 1U);
  EXPECT_EQ(written_.back().suppressed, 0U);
}

TEST_F(LogTest, RemembersABoundedNumberOfStates) {
  Log log = make(1'000'000);
  for (int i = 0; i < 5000; ++i) {
    log.state(LogLevel::kInfo, "links", std::to_string(i), "open");
  }
  log.state(LogLevel::kInfo, "links", "0", "open");
  EXPECT_EQ(written_.size(), 5001U) << "the first keys were forgotten";
  log.state(LogLevel::kInfo, "links", "4999", "open");
  EXPECT_EQ(written_.size(), 5001U) << "the last keys were not";
}

TEST(LogFormat, IsOneLogfmtLineWhateverTheValuesHold) {
  LogRecord record;
  record.realtime_ns = 1'738'324'800ULL * kSecondNs + 7'000'000;
  record.level = LogLevel::kWarning;
  record.category = "links";
  record.message = "link closed";
  record.fields = {{"link", "5"}, {"reason", "bad \"size\"\nMAINPID=1\x01"}, {"empty", ""}};
  record.suppressed = 3;
  EXPECT_EQ(to_logfmt(record),
            "ts=2025-01-31T12:00:00.007Z level=warning category=links msg=\"link closed\" link=5 "
            "reason=\"bad \\\"size\\\"\\nMAINPID=1\\x01\" empty=\"\" suppressed=3");
}

TEST(LogFormat, QuotesWhatWouldEndOrSplitAValue) {
  const std::pair<const char*, const char*> values[] = {
      {"plain-5.x/y", "plain-5.x/y"}, {"two words", "\"two words\""}, {"a=b", "\"a=b\""},
      {"a\"b", "\"a\\\"b\""},         {"a\\b", "\"a\\\\b\""},         {"tab\t", "\"tab\\x09\""},
      {"line\n", "\"line\\n\""},      {"del\x7f", "\"del\\x7f\""},    {"", "\"\""},
  };
  for (const auto& [value, written] : values) {
    LogRecord record;
    record.category = "links";
    record.message = "m";
    record.fields = {{"key", value}};
    EXPECT_THAT(to_logfmt(record), ::testing::EndsWith(std::string(" key=") + written));
  }
}

TEST(LogFormat, JournalFieldsCarryPriorityAndEveryKey) {
  LogRecord record;
  record.level = LogLevel::kError;
  record.category = "dead_letters";
  record.message = "store full";
  record.fields = {{"max_bytes", "10"}};
  record.suppressed = 2;
  EXPECT_EQ(to_journal_fields(record),
            (std::vector<std::string>{"MESSAGE=store full max_bytes=10 suppressed=2", "PRIORITY=3",
                                      "SYSLOG_IDENTIFIER=ackbusd", "ACKBUS_CATEGORY=dead_letters",
                                      "ACKBUS_MAX_BYTES=10", "ACKBUS_SUPPRESSED=2"}));
}

TEST(LogFormat, LevelsHaveNames) {
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    EXPECT_EQ(parse_log_level(to_text(level)), level);
  }
  EXPECT_FALSE(parse_log_level("unknown").has_value());
}

TEST(Journal, IsRecognisedByDeviceAndInodeOnly) {
  struct stat state {};
  ASSERT_EQ(fstat(STDIN_FILENO, &state), 0);
  const std::string same = std::to_string(state.st_dev) + ":" + std::to_string(state.st_ino);
  EXPECT_TRUE(is_journal(same.c_str(), STDIN_FILENO));
  EXPECT_FALSE(is_journal((same + "0").c_str(), STDIN_FILENO));
  EXPECT_FALSE(is_journal(nullptr, STDIN_FILENO));
  EXPECT_FALSE(is_journal(same.c_str(), -1));
}

TEST(Log, WritesLogfmtLinesToStandardErrorByDefault) {
  unsetenv("JOURNAL_STREAM");
  ::testing::internal::CaptureStderr();
  Log log({});
  log.line(LogLevel::kInfo, "bus", "serving {not a format}", {{"name", "default"}});
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find(" level=info category=bus msg=\"serving {not a format}\" name=default\n"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace ackbus::daemon
