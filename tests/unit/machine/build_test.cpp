// What the programs say of their build.
#include "machine/build.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shm_layout/check.hpp"

namespace ackbus::machine {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(Build, AFingerprintIsSixteenHexadecimalDigits) {
  EXPECT_EQ(fingerprint_text(0), "0000000000000000");
  EXPECT_EQ(fingerprint_text(0xb35928bb237e7715ULL), "b35928bb237e7715");
}

TEST(Build, TheVersionOfEveryProgramHasTheSameLayoutLine) {
  const std::string line = "\nlayout    version " + std::to_string(layout::kLayoutVersion) +
                           ", fingerprint " + fingerprint_text(layout::layout_fingerprint());
  EXPECT_THAT(version_text("ackbusd"), HasSubstr(line));
  EXPECT_THAT(version_text("ackbus"), HasSubstr(line));
  EXPECT_THAT(version_text("ackbusd"), MatchesRegex("ackbusd [0-9.]+\nbuild     .+, .+\n.*"));
}

}  // namespace
}  // namespace ackbus::machine
