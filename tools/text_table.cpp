// Alignment of cells and the small formats that go into them.
#include "tools/text_table.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "shm_layout/assert.hpp"

namespace ackbus::tools {
namespace {

constexpr std::size_t kColumnGap = 2;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";     // U+2026

// One character of UTF-8 text: its code point and length in bytes. A broken sequence is one byte
// and not valid.
struct Character {
  std::uint32_t code_point = 0;
  std::size_t length = 1;
  bool valid = false;
};

std::size_t sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  if (lead >= 0xF0 && lead < 0xF5) return 4;
  return 0;
}

Character next_character(std::string_view text) {
  const auto byte_at = [text](std::size_t index) {
    return static_cast<unsigned char>(text[index]);
  };
  const std::size_t length = sequence_length(byte_at(0));
  if (length == 0 || length > text.size()) return {};
  if (length == 1) return {byte_at(0), 1, true};
  std::uint32_t code_point = byte_at(0) & (0x7FU >> length);
  for (std::size_t index = 1; index < length; ++index) {
    if ((byte_at(index) & 0xC0U) != 0x80U) return {};
    code_point = (code_point << 6U) | (byte_at(index) & 0x3FU);
  }
  // Overlong forms, surrogates and what lies beyond Unicode are broken too: Cairo refuses the whole
  // text for one.
  const bool overlong =
      (length == 3 && code_point < 0x800) || (length == 4 && code_point < 0x10000);
  const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  if (overlong || surrogate || code_point > 0x10FFFF) return {};
  return {code_point, length, true};
}

bool is_unprintable(std::uint32_t code_point) {
  const bool control = code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
  const bool line_end = code_point == 0x2028 || code_point == 0x2029;
  const bool direction = code_point == 0x200E || code_point == 0x200F || code_point == 0x61C ||
                         (code_point >= 0x202A && code_point <= 0x202E) ||
                         (code_point >= 0x2066 && code_point <= 0x2069);
  return control || line_end || direction;
}

std::string formatted(const char* format, double value, int digits) {
  char buffer[400];  // A double printed with %f has at most 309 digits before its point.
  const int length = std::snprintf(buffer, sizeof(buffer), format, digits, value);
  ACKBUS_ASSERT(length > 0 && static_cast<std::size_t>(length) < sizeof(buffer));
  return buffer;
}

}  // namespace

TextTable::TextTable(std::vector<TableColumn> columns) : columns_(std::move(columns)) {
  ACKBUS_ASSERT(!columns_.empty());
}

void TextTable::add_row(std::vector<std::string> cells) {
  ACKBUS_ASSERT(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

void TextTable::add_rule() { rows_.emplace_back(); }

std::vector<std::size_t> TextTable::widths() const {
  std::vector<std::size_t> widths;
  for (const TableColumn& column : columns_) widths.push_back(display_width(column.title));
  for (const auto& row : rows_) {
    for (std::size_t index = 0; index < row.size(); ++index) {
      widths[index] = std::max(widths[index], display_width(row[index]));
    }
  }
  return widths;
}

std::string TextTable::line_of(const std::vector<std::string>& cells,
                               const std::vector<std::size_t>& widths) const {
  std::string line;
  for (std::size_t index = 0; index < cells.size(); ++index) {
    const std::string padding(widths[index] - display_width(cells[index]), ' ');
    if (index > 0) line.append(kColumnGap, ' ');
    line +=
        columns_[index].align == Align::kRight ? padding + cells[index] : cells[index] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

std::string TextTable::text() const {
  const std::vector<std::size_t> column_widths = widths();
  std::size_t total = kColumnGap * (columns_.size() - 1);
  for (const std::size_t width : column_widths) total += width;
  const std::string rule = std::string(total, '-') + '\n';

  std::vector<std::string> titles;
  for (const TableColumn& column : columns_) titles.push_back(column.title);
  std::string text = line_of(titles, column_widths) + rule;
  for (const auto& row : rows_) text += row.empty() ? rule : line_of(row, column_widths);
  return text;
}

std::string printable_text(std::string_view text, std::size_t width_max) {
  std::string printable;
  std::size_t last_start =
      0;  // Where the last kept character begins: the ellipsis may take its place.
  std::size_t width = 0;
  while (!text.empty()) {
    if (width == width_max) {
      printable.resize(last_start);
      if (width_max > 0) printable += kEllipsis;
      break;
    }
    const Character character = next_character(text);
    last_start = printable.size();
    if (!character.valid) {
      printable += kReplacement;
    } else if (is_unprintable(character.code_point)) {
      printable += '?';
    } else {
      printable += text.substr(0, character.length);
    }
    text.remove_prefix(character.length);
    ++width;
  }
  return printable;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
  }));
}

std::string format_count(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t place = text.size(); place > 3;) {
    place -= 3;
    text.insert(place, 1, ',');
  }
  return text;
}

std::string format_decimal(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  return formatted("%.*f", value, digits);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0) return "-";
  // The borders lie where rounding would print the next unit's first value.
  if (seconds < 9.995) return formatted("%.*f s", seconds, 2);
  if (seconds < 59.95) return formatted("%.*f s", seconds, 1);
  constexpr double kSecondsMax =
      1e15;  // Keeps the conversion below defined, whatever was divided by nearly nothing.
  const auto whole = static_cast<std::uint64_t>(std::llround(std::min(seconds, kSecondsMax)));
  const bool hours = whole >= 3600;
  const std::uint64_t minor = hours ? whole / 60 % 60 : whole % 60;
  const std::string major = std::to_string(hours ? whole / 3600 : whole / 60);
  return major + (hours ? "h " : "m ") + (minor < 10 ? "0" : "") + std::to_string(minor) +
         (hours ? "m" : "s");
}

}  // namespace ackbus::tools
