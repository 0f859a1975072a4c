// Tables as a whole text, numbers at the borders of their formats, and hostile text.
#include "tools/text_table.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace ackbus::tools {
namespace {

TEST(TextTable, AlignsColumnsToTheirWidestCell) {
  TextTable table({{"kind", Align::kLeft}, {"sent", Align::kRight}, {"note", Align::kLeft}});
  table.add_row({"ComputeForces", "1,200", ""});
  table.add_rule();
  table.add_row({"total", "7", "x"});
  EXPECT_EQ(table.text(),
            "kind            sent  note\n"
            "--------------------------\n"
            "ComputeForces  1,200\n"
            "--------------------------\n"
            "total              7  x\n");
}

TEST(TextTable, CountsCharactersAndNotBytes) {
  TextTable table({{"a", Align::kLeft}, {"b", Align::kLeft}});
  table.add_row({"\xC3\xA9\xC3\xA9", "1"});
  table.add_row({"ee", "2"});
  EXPECT_EQ(table.text(), "a   b\n-----\n\xC3\xA9\xC3\xA9  1\nee  2\n");
}

TEST(PrintableText, ReplacesWhatCouldSteerATerminal) {
  EXPECT_EQ(printable_text("a\x1b[31mb\nc\x7f"), "a?[31mb?c?");
  const std::string right_to_left_override{'\xE2', '\x80', '\xAE'};
  EXPECT_EQ(printable_text(right_to_left_override + "abc"), "?abc");
  EXPECT_EQ(printable_text("\xC2\x9B"
                           "2J"),
            "?2J");  // A control sequence in one character.
  EXPECT_EQ(printable_text("caf\xC3\xA9"), "caf\xC3\xA9");
}

TEST(PrintableText, ReplacesBrokenUtf8ByteByByte) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(printable_text("a\xFFz"), "a" + mark + "z");
  EXPECT_EQ(printable_text("\xC3"), mark);                        // Cut short.
  EXPECT_EQ(printable_text("\xC0\x80"), mark + mark);             // Overlong.
  EXPECT_EQ(printable_text("\xED\xA0\x80"), mark + mark + mark);  // A surrogate.
}

TEST(PrintableText, CutsWithAnEllipsisAsTheLastCharacter) {
  EXPECT_EQ(printable_text("abcdef", 6), "abcdef");
  EXPECT_EQ(printable_text("abcdefg", 6), "abcde\xE2\x80\xA6");
  EXPECT_EQ(printable_text("abc", 0), "");
}

TEST(Formats, PutSeparatorsBetweenThousands) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(std::numeric_limits<std::uint64_t>::max()), "18,446,744,073,709,551,615");
}

TEST(Formats, SayADashForWhatIsNoNumber) {
  EXPECT_EQ(format_decimal(1.005, 2), "1.00");
  EXPECT_EQ(format_decimal(std::numeric_limits<double>::quiet_NaN(), 2), "-");
  EXPECT_EQ(format_duration(-1.0), "-");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "-");
}

TEST(Formats, ChooseTheUnitOfADuration) {
  EXPECT_EQ(format_duration(0.42), "0.42 s");
  EXPECT_EQ(format_duration(9.999), "10.0 s");
  EXPECT_EQ(format_duration(59.96), "1m 00s");
  EXPECT_EQ(format_duration(245.2), "4m 05s");
  EXPECT_EQ(format_duration(3599.6), "1h 00m");
  EXPECT_EQ(format_duration(7380.0), "2h 03m");
}

}  // namespace
}  // namespace ackbus::tools
