// What the log and the status say of a store that refuses letters: one line when it begins, one for
// each further cause, one when nothing waits any more, however many letters and tries there are.
#include "daemon/dead_letter_health.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint32_t kUser = 1000;

class LetterHealthTest : public ::testing::Test {
 protected:
  void refuse(std::uint64_t sequence, ErrorCode code = ErrorCode::kNoSpace,
              std::uint32_t uid = kUser) {
    const auto slot = static_cast<std::uint32_t>(sequence);
    health_.refused({1, slot, sequence}, {code, "letter " + std::to_string(sequence)}, uid);
  }
  void keep(std::uint64_t sequence) {
    health_.done({1, static_cast<std::uint32_t>(sequence), sequence});
  }
  [[nodiscard]] std::vector<std::string> said() const {
    std::vector<std::string> texts;
    for (const LogRecord& record : written_) {
      texts.push_back(record.message);
    }
    return texts;
  }

  std::uint64_t now_ns_ = 1000 * kSecondNs;
  std::vector<LogRecord> written_;
  Log log_{{.records_per_minute = 3,
            .sink = [this](const LogRecord& record) { written_.push_back(record); },
            .clock =
                [this] {
                  return Log::Times{now_ns_, now_ns_};
                }}};
  LetterHealth health_{log_};
  const std::string recovered_ = "no dead letter waits for room any more";
};

TEST_F(LetterHealthTest, TellsEachOutageAndItsEndOnceHoweverManyLettersAreTried) {
  for (int tries = 0; tries < 5; ++tries) {
    refuse(1);
    refuse(2);
  }
  EXPECT_EQ(said(), (std::vector<std::string>{"letter 1"}));
  EXPECT_EQ(written_.back().level, LogLevel::kError);
  keep(1);
  EXPECT_EQ(written_.size(), 1U) << "one waits still";
  keep(2);
  keep(2);
  EXPECT_EQ(said(), (std::vector<std::string>{"letter 1", recovered_}));
  refuse(3);
  EXPECT_EQ(said(), (std::vector<std::string>{"letter 1", recovered_, "letter 3"}));
}

TEST_F(LetterHealthTest, TellsEveryCauseOfAnOutageOnce) {
  for (int tries = 0; tries < 5; ++tries) {
    refuse(1, ErrorCode::kNoSpace);
    refuse(2, ErrorCode::kPermission);
  }
  EXPECT_EQ(said(), (std::vector<std::string>{"letter 1", "letter 2"}));
}

TEST_F(LetterHealthTest, IsNotWritableUntilTheLastRefusedLetterIsKept) {
  EXPECT_TRUE(health_.is_writable());
  refuse(1);
  keep(2);
  EXPECT_FALSE(health_.is_writable()) << "what fits says nothing of what does not";
  keep(1);
  EXPECT_TRUE(health_.is_writable());
}

TEST_F(LetterHealthTest, TheUsedUpRoomOfOneUserIsHisAlone) {
  refuse(1, ErrorCode::kQuota, kUser);
  refuse(2, ErrorCode::kQuota, kUser);
  EXPECT_TRUE(health_.is_writable());
  EXPECT_EQ(written_.back().level, LogLevel::kWarning);
  refuse(3, ErrorCode::kQuota, kUser + 1);
  keep(1);
  keep(2);
  EXPECT_EQ(said(),
            (std::vector<std::string>{"letter 1", "letter 3",
                                      "no dead letter of user 1000 waits for room any more"}));
}

TEST_F(LetterHealthTest, ALetterThatIsRefusedForAnotherReasonChangesSides) {
  refuse(1, ErrorCode::kNoSpace);
  refuse(1, ErrorCode::kQuota);
  EXPECT_TRUE(health_.is_writable());
  EXPECT_EQ(said(), (std::vector<std::string>{"letter 1", recovered_, "letter 1"}));
  refuse(1, ErrorCode::kFull);
  EXPECT_FALSE(health_.is_writable());
}

TEST_F(LetterHealthTest, ALetterThatNobodyTriesAgainEndsItsOutage) {
  const auto is_gone = [](const LetterPlace& place) { return place.sequence == 1; };
  EXPECT_EQ(health_.watch(now_ns_, is_gone), UINT64_MAX) << "nothing waits";
  refuse(1);
  refuse(2);
  EXPECT_EQ(health_.watch(now_ns_, is_gone), now_ns_ + kSecondNs);
  EXPECT_FALSE(health_.is_writable());
  keep(2);
  EXPECT_TRUE(health_.is_writable()) << "the other was forgotten";
  EXPECT_EQ(said().back(), recovered_);
  EXPECT_EQ(health_.watch(now_ns_, is_gone), UINT64_MAX);
}

TEST_F(LetterHealthTest, AnEndThatFellToTheLogsLimitIsToldLater) {
  const auto nobody = [](const LetterPlace&) { return false; };
  refuse(1);
  keep(1);
  refuse(1);
  keep(1);  // The fourth record of the minute.
  EXPECT_EQ(written_.size(), 3U);
  EXPECT_TRUE(health_.is_writable());
  EXPECT_NE(health_.watch(now_ns_, nobody), UINT64_MAX);
  now_ns_ += 60 * kSecondNs;
  EXPECT_EQ(health_.watch(now_ns_, nobody), now_ns_ + kSecondNs);
  EXPECT_EQ(said().back(), recovered_);
}

}  // namespace
}  // namespace ackbus::daemon
