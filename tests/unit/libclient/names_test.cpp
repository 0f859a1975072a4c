// The words for codes in logs, tools and errors: each code has one of its own, and a number that no
// code has is called unknown.
#include <gtest/gtest.h>

#include <ackbus/error.hpp>
#include <ackbus/outcome.hpp>
#include <set>
#include <string>

namespace ackbus {
namespace {

// Names of the codes from `first` to `last`, each of which must be a word of its own.
template <typename Code>
std::set<std::string> names(const char* (*name_of)(Code), int first, int last) {
  std::set<std::string> all;
  for (int code = first; code <= last; ++code) {
    EXPECT_TRUE(all.insert(name_of(static_cast<Code>(code))).second) << code;
  }
  return all;
}

TEST(Names, EveryErrorHasItsOwn) {
  const auto all = names(error_name, 1, static_cast<int>(ErrorCode::kSystem));
  EXPECT_EQ(all.count("unknown"), 0U);
  EXPECT_EQ(all.count("back-pressured"), 1U);
  EXPECT_STREQ(error_name(ErrorCode::kReserved), "unknown");
  EXPECT_STREQ(error_name(static_cast<ErrorCode>(200)), "unknown");
}

TEST(Names, EveryOutcomeHasItsOwn) {
  const auto all = names(outcome_name, 1, static_cast<int>(OutcomeCode::kClosed));
  EXPECT_EQ(all.count("pending"), 0U);
  EXPECT_EQ(all.count("Cancelled (may have run)"), 1U);
  EXPECT_STREQ(outcome_name(OutcomeCode::kReserved), "pending");
}

TEST(Names, EveryReasonHasItsOwn) {
  const auto all = names(reason_name, 0, static_cast<int>(OutcomeReason::kViolation));
  EXPECT_EQ(all.count(""), 1U) << "an outcome without a reason";
  EXPECT_STREQ(reason_name(static_cast<OutcomeReason>(200)), "unknown");
}

TEST(Names, AnOutcomeWithoutNotesHasEmptyOnes) {
  const Outcome outcome;
  EXPECT_EQ(outcome.text(), "");
  EXPECT_TRUE(outcome.metadata().empty());
}

}  // namespace
}  // namespace ackbus
