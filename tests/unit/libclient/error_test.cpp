// A Result gives its value or its error, and ends the process when the wrong one is read.
#include <gtest/gtest.h>

#include <ackbus/error.hpp>
#include <memory>

namespace ackbus {
namespace {

TEST(ResultTest, GivesTheValueOrTheError) {
  Result<std::unique_ptr<int>> value{std::make_unique<int>(7)};
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(**value, 7);
  EXPECT_EQ(*std::move(value).value(), 7);
  const Result<int> error{Error{ErrorCode::kQuota, "too much"}};
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(error.error().text, "too much");
  EXPECT_TRUE(Result<void>().ok());
}

TEST(ResultDeathTest, TheValueOfAnErrorEndsTheProcessWithTheErrorsText) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Result<int> error{Error{ErrorCode::kQuota, "too much"}};
  EXPECT_DEATH({ [[maybe_unused]] const int value = error.value(); },
               "value of an error was read: quota: too much");
  const Result<std::string> constant{Error{ErrorCode::kTimeout, "late"}};
  EXPECT_DEATH({ [[maybe_unused]] const auto size = constant->size(); }, "timeout: late");
}

TEST(ResultDeathTest, TheErrorOfASuccessEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Result<int> value{7};
  EXPECT_DEATH({ [[maybe_unused]] const auto code = value.error().code; }, "error of a success");
  const Result<void> nothing;
  EXPECT_DEATH({ [[maybe_unused]] const auto code = nothing.error().code; }, "error of a success");
}

}  // namespace
}  // namespace ackbus
