// Progress in virtual time: what is written, and when.
#include "tools/progress.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kSecond_ns = 1'000'000'000;

// The line that a terminal would show: without the return before it and the clearing after it.
std::string shown_line(const std::string& text) {
  const std::size_t end = text.find("\x1b[K");
  if (text.empty() || text[0] != '\r' || end == std::string::npos) return "";
  return text.substr(1, end - 1);
}

TEST(Progress, DrawsABarWithStepsRateAndEstimateOnATerminal) {
  Progress progress({"layout", 1000, true, 100}, 0);
  const std::string line = shown_line(progress.update(250, 5 * kSecond_ns));
  EXPECT_THAT(line, HasSubstr("layout  [==========>"));
  EXPECT_THAT(line, HasSubstr("25%  250/1,000 steps  50/s  ETA 15.0 s"));
}

TEST(Progress, RedrawsAtMostTenTimesASecond) {
  Progress progress({"layout", 1000, true, 100}, 0);
  EXPECT_NE(progress.update(1, kSecond_ns), "");
  EXPECT_EQ(progress.update(2, kSecond_ns + 99'000'000), "");
  EXPECT_NE(progress.update(3, kSecond_ns + 100'000'000), "");
}

TEST(Progress, WritesAPlainLineEveryFiveSecondsElsewhere) {
  Progress progress({"layout", 1000, false, 80}, 0);
  EXPECT_EQ(progress.update(100, 5 * kSecond_ns - 1), "");
  EXPECT_EQ(progress.update(100, 5 * kSecond_ns),
            "layout  10%  100/1,000 steps  20/s  ETA 45.0 s\n");
  EXPECT_EQ(progress.update(150, 9 * kSecond_ns), "");
}

TEST(Progress, FinishesWithTheAverageAndALineEnd) {
  Progress plain({"layout", 1000, false, 80}, 0);
  EXPECT_EQ(plain.finish(1000, 20 * kSecond_ns),
            "layout  100%  1,000/1,000 steps  50/s  in 20.0 s\n");
  Progress terminal({"layout", 1000, true, 80}, 0);
  EXPECT_THAT(terminal.finish(1000, 20 * kSecond_ns), testing::EndsWith("\x1b[K\n"));
}

TEST(Progress, NeverFillsTheTerminalsLine) {
  for (std::size_t columns = 2; columns < 150; ++columns) {
    Progress progress({"layout", 1'000'000, true, columns}, 0);
    const std::string line = shown_line(progress.update(999'999, 1000 * kSecond_ns));
    EXPECT_LT(display_width(line), columns);
    EXPECT_GT(display_width(line), 0U);
  }
}

TEST(Progress, SaysOneHundredPercentOnlyWhenAllIsDone) {
  Progress progress({"layout", 1000, false, 80}, 0);
  EXPECT_THAT(progress.update(999, 10 * kSecond_ns), HasSubstr(" 99%"));
  EXPECT_THAT(progress.finish(1000, 11 * kSecond_ns), HasSubstr(" 100%"));
}

TEST(Progress, FollowsAChangeOfSpeed) {
  Progress progress({"layout", 100'000, false, 80}, 0);
  std::uint64_t now_ns = 0;
  std::uint64_t done = 0;
  std::string last;
  for (int tick = 0; tick < 30;
       ++tick) {  // A thousand a second for 30 s, then ten a second for 30 s.
    now_ns += kSecond_ns;
    done += 1000;
    (void)progress.update(done, now_ns);
  }
  for (int tick = 0; tick < 30; ++tick) {
    now_ns += kSecond_ns;
    done += 10;
    const std::string text = progress.update(done, now_ns);
    if (!text.empty()) last = text;
  }
  EXPECT_THAT(last, HasSubstr("  10/s"));
}

TEST(Progress, HasNoEstimateBeforeAnythingIsDone) {
  Progress progress({"layout", 10, false, 80}, 0);
  EXPECT_EQ(progress.update(0, 5 * kSecond_ns), "layout  0%  0/10 steps  ETA -\n");
}

TEST(Progress, SurvivesATotalOfZeroAndATimeThatStandsStill) {
  Progress progress({"layout", 0, true, 80}, 7);
  EXPECT_THAT(progress.finish(5, 7), HasSubstr("100%  0/0 steps"));
  EXPECT_THAT(progress.finish(5, 3), Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace ackbus::tools
