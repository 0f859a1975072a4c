// Text for people: aligned tables, numbers with separators, and text from files made safe to print.
// Data flow: the commands fill a table and print it; matrix_market and picture pass file contents
// through printable_text. Threads: plain values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ackbus::tools {

enum class Align : std::uint8_t { kLeft = 1, kRight = 2 };

struct TableColumn {
  std::string title;
  Align align = Align::kLeft;
};

// A table of cells under column titles. Columns are as wide as their widest cell and two spaces
// apart; rules are dashes.
class TextTable {
 public:
  explicit TextTable(std::vector<TableColumn> columns);

  // Adds a row; it must have one cell for each column (asserted). Cells are printed as they are:
  // text from outside belongs through printable_text first.
  void add_row(std::vector<std::string> cells);

  // Adds a horizontal rule, for example above a row of totals.
  void add_rule();

  // The whole table, a line end after each line, no spaces at line ends.
  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths() const;
  [[nodiscard]] std::string line_of(const std::vector<std::string>& cells,
                                    const std::vector<std::size_t>& widths) const;

  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> rows_;  // An empty row is a rule.
};

// Text that is safe for terminals and fonts: valid UTF-8 in which control characters and marks that
// turn the reading direction became '?', and broken sequences U+FFFD. Cut to `width_max` characters
// with an ellipsis as the last.
[[nodiscard]] std::string printable_text(std::string_view text, std::size_t width_max = 120);

// The number of characters (code points) in valid UTF-8: the columns it takes in a terminal, wide
// scripts aside.
[[nodiscard]] std::size_t display_width(std::string_view text);

// 1234567 becomes "1,234,567".
[[nodiscard]] std::string format_count(std::uint64_t count);

// A decimal with `digits` places, "-" where it is not a finite number.
[[nodiscard]] std::string format_decimal(double value, int digits);

// Seconds as "0.42 s", "12.3 s", "4m 05s" or "2h 03m"; "-" where negative or not finite.
[[nodiscard]] std::string format_duration(double seconds);

}  // namespace ackbus::tools
