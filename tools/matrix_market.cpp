// The Matrix Market format: banner, comments, a size line, then one entry a line.
#include "tools/matrix_market.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include "tools/gzip_lines.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr std::uint64_t kIgnoredLinesMax = 1'000'000;
constexpr std::size_t kReservedEntriesMax =
    1'000'000;  // A header's claim is believed this far at first.
constexpr std::size_t kQuotedWidth = 40;
constexpr std::string_view kPlainSuffix = ".mtx";
constexpr std::string_view kGzipSuffix = ".mtx.gz";

enum class Field : std::uint8_t { kPattern = 1, kReal, kInteger };

struct Size {
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::uint64_t entries = 0;
};

std::string in_quotes(std::string_view text) {
  return "'" + printable_text(text, kQuotedWidth) + "'";
}

// Removes and returns the first word; empty when there is none. Words are parted by spaces and
// tabs.
std::string_view take_word(std::string_view& line) {
  const std::size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
  const std::size_t end = std::min(line.find_first_of(" \t", begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

bool is_blank(std::string_view line) { return take_word(line).empty(); }

std::string lower_case(std::string_view word) {
  std::string lower(word);
  for (char& letter : lower) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return lower;
}

template <typename Number>
std::errc parse_number(std::string_view word, Number& number) {
  if (word.size() > 1 && word.front() == '+' && word[1] != '-') word.remove_prefix(1);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error == std::errc() && end != word.data() + word.size()) return std::errc::invalid_argument;
  return error;
}

// Reads one Matrix Market file from front to back.
class MatrixReader {
 public:
  explicit MatrixReader(const std::string& path) : lines_(path), path_(printable_text(path)) {}

  FileResult<Graph> read() {
    for (const auto step :
         {&MatrixReader::read_banner, &MatrixReader::read_size, &MatrixReader::read_entries}) {
      if (FileStatus failure = (this->*step)()) return *std::move(failure);
    }
    Graph graph = build_graph(static_cast<std::uint32_t>(size_.rows), std::move(edges_));
    if (graph.edges.empty()) {
      return FileError{FileErrorCode::kEmpty,
                       path_ +
                           ": the graph has no edges besides self loops; give a graph that "
                           "connects at least two nodes"};
    }
    return graph;
  }

 private:
  // The next line that is neither blank nor a comment; nothing at the end of the file.
  FileStatus next_content(std::optional<std::string_view>& content) {
    content.reset();
    std::string_view line;
    for (;;) {  // Ends with the file or at the limit of ignored lines.
      switch (lines_.next(line)) {
        case GzipLines::Next::kEnd:
          return std::nullopt;
        case GzipLines::Next::kFailed:
          return lines_.error();
        case GzipLines::Next::kLine:
          break;
      }
      if (!is_blank(line) && line.front() != '%') {
        content = line;
        return std::nullopt;
      }
      if (++ignored_lines_ > kIgnoredLinesMax) {
        return fail(FileErrorCode::kTooLarge,
                    "more than a million comments and blank lines; remove them");
      }
    }
  }

  FileStatus read_banner() {
    std::string_view line;
    const GzipLines::Next next = lines_.next(line);
    if (next == GzipLines::Next::kFailed) return lines_.error();
    if (next == GzipLines::Next::kEnd) {
      return FileError{FileErrorCode::kEmpty,
                       path_ + ": the file is empty; give a Matrix Market coordinate file"};
    }
    if (lower_case(take_word(line)) != "%%matrixmarket") {
      return fail(FileErrorCode::kMalformed,
                  "not a Matrix Market file; its first line must begin with "
                  "'%%MatrixMarket matrix coordinate'");
    }
    const std::string object = lower_case(take_word(line));
    const std::string format = lower_case(take_word(line));
    if (object != "matrix" || format != "coordinate") {
      return fail(FileErrorCode::kMalformed, "holds " + in_quotes(object + " " + format) +
                                                 "; only 'matrix coordinate' describes a graph");
    }
    const std::string field = lower_case(take_word(line));
    const std::string symmetry = lower_case(take_word(line));
    if (!take_word(line).empty()) {
      return fail(FileErrorCode::kMalformed, "words after the symmetry; remove them");
    }
    return set_type(field, symmetry);
  }

  FileStatus set_type(std::string_view field, std::string_view symmetry) {
    if (field == "pattern") field_ = Field::kPattern;
    if (field == "real") field_ = Field::kReal;
    if (field == "integer") field_ = Field::kInteger;
    if (field != "pattern" && field != "real" && field != "integer") {
      return fail(FileErrorCode::kMalformed, "values of type " + in_quotes(field) +
                                                 "; convert them to pattern, real or integer");
    }
    if (symmetry != "general" && symmetry != "symmetric") {
      return fail(FileErrorCode::kMalformed,
                  "symmetry " + in_quotes(symmetry) + "; convert it to general or symmetric");
    }
    return std::nullopt;
  }

  FileStatus read_size() {
    std::optional<std::string_view> content;
    if (FileStatus failure = next_content(content)) return failure;
    if (!content) {
      return fail(FileErrorCode::kTruncated,
                  "the file ends before the line with rows, columns and entries; copy or download "
                  "the file again");
    }
    for (std::uint64_t* number : {&size_.rows, &size_.columns, &size_.entries}) {
      const std::string_view word = take_word(*content);
      const std::errc error = parse_number(word, *number);
      if (error == std::errc::result_out_of_range) *number = kTooMany;
      if (error == std::errc::invalid_argument) {
        return fail(FileErrorCode::kMalformed,
                    "expected 'rows columns entries' as whole numbers and found " +
                        in_quotes(word) + "; correct the size line");
      }
    }
    if (!is_blank(*content)) {
      return fail(FileErrorCode::kMalformed,
                  "more than three numbers; the size line of a coordinate file is 'rows columns "
                  "entries'");
    }
    return check_size();
  }

  FileStatus check_size() {
    if (size_.rows != size_.columns) {
      return fail(FileErrorCode::kMalformed,
                  std::to_string(size_.rows) + " rows and " + std::to_string(size_.columns) +
                      " columns; a graph needs a square matrix, one row and column for each node");
    }
    if (size_.rows == 0 || size_.entries == 0) {
      return fail(FileErrorCode::kEmpty, std::string("the graph has no ") +
                                             (size_.rows == 0 ? "nodes" : "edges") +
                                             "; give a graph that connects at least two nodes");
    }
    if (size_.rows > kNodeCountMax) {
      return fail(FileErrorCode::kTooLarge, count_text(size_.rows) + " nodes; the limit is " +
                                                format_count(kNodeCountMax) +
                                                ", so give a smaller graph");
    }
    if (size_.entries > kEdgeCountMax) {
      return fail(FileErrorCode::kTooLarge, count_text(size_.entries) + " entries; the limit is " +
                                                format_count(kEdgeCountMax) +
                                                ", so give a smaller graph");
    }
    return std::nullopt;
  }

  FileStatus read_entries() {
    edges_.reserve(std::min<std::size_t>(size_.entries, kReservedEntriesMax));
    std::optional<std::string_view> content;
    for (std::uint64_t entry = 0; entry < size_.entries; ++entry) {
      if (FileStatus failure = next_content(content)) return failure;
      if (!content) {
        return fail(FileErrorCode::kTruncated, "the file ends after " + format_count(entry) +
                                                   " of " + format_count(size_.entries) +
                                                   " entries; copy or download the file again");
      }
      if (FileStatus failure = read_entry(*content)) return failure;
    }
    if (FileStatus failure = next_content(content)) return failure;
    if (content) {
      return fail(FileErrorCode::kMalformed, "more than the " + format_count(size_.entries) +
                                                 " entries of the size line; correct the count");
    }
    return std::nullopt;
  }

  FileStatus read_entry(std::string_view line) {
    Edge edge;
    if (FileStatus failure = read_index(line, "row", edge.source)) return failure;
    if (FileStatus failure = read_index(line, "column", edge.target)) return failure;
    if (field_ != Field::kPattern) {
      if (FileStatus failure = read_weight(line, edge.weight)) return failure;
    }
    if (!is_blank(line)) {
      return fail(FileErrorCode::kMalformed,
                  in_quotes(take_word(line)) + " after the entry; remove it or correct the banner");
    }
    edges_.push_back(edge);
    return std::nullopt;
  }

  FileStatus read_index(std::string_view& line, std::string_view what, NodeIndex& node) {
    const std::string_view word = take_word(line);
    std::uint64_t index = 0;
    const std::errc error = parse_number(word, index);
    if (error == std::errc::invalid_argument) {
      return fail(FileErrorCode::kMalformed, "the " + std::string(what) + " is " + in_quotes(word) +
                                                 "; it must be a positive whole number");
    }
    if (error != std::errc() || index == 0 || index > size_.rows) {
      return fail(FileErrorCode::kOutOfRange, "the " + std::string(what) + " " +
                                                  printable_text(word, kQuotedWidth) +
                                                  " is outside 1 to " + std::to_string(size_.rows) +
                                                  "; correct it or the size line");
    }
    node = static_cast<NodeIndex>(index - 1);
    return std::nullopt;
  }

  FileStatus read_weight(std::string_view& line, float& weight) {
    const std::string_view word = take_word(line);
    double value = 0.0;
    std::errc error = parse_number(word, value);
    std::int64_t whole = 0;
    if (error == std::errc() && field_ == Field::kInteger) error = parse_number(word, whole);
    if (error == std::errc::invalid_argument) {
      return fail(FileErrorCode::kMalformed,
                  "the weight is " + in_quotes(word) + "; it must be " +
                      (field_ == Field::kInteger ? "a whole number" : "a number"));
    }
    const double magnitude = std::fabs(value);
    if (error != std::errc() || !(magnitude <= double{std::numeric_limits<float>::max()})) {
      return fail(FileErrorCode::kOutOfRange, "the weight " + in_quotes(word) +
                                                  " is not finite or beyond single precision; give "
                                                  "a weight of at most 1e38");
    }
    weight = static_cast<float>(magnitude);
    return std::nullopt;
  }

  static std::string count_text(std::uint64_t count) {
    return count == kTooMany ? "too many" : format_count(count);
  }

  FileError fail(FileErrorCode code, std::string_view text) const {
    return lines_.error_here(code, text);
  }

  static constexpr std::uint64_t kTooMany = std::numeric_limits<std::uint64_t>::max();

  GzipLines lines_;
  std::string path_;
  Field field_ = Field::kPattern;
  Size size_;
  std::vector<Edge> edges_;
  std::uint64_t ignored_lines_ = 0;
};

// The path without .mtx or .mtx.gz; nothing when it ends otherwise.
std::optional<std::string> stem_of(const std::string& path) {
  for (const std::string_view suffix : {kGzipSuffix, kPlainSuffix}) {
    if (path.ends_with(suffix)) return path.substr(0, path.size() - suffix.size());
  }
  return std::nullopt;
}

}  // namespace

FileResult<Graph> read_matrix_market(const std::string& path) { return MatrixReader(path).read(); }

FileResult<std::vector<std::string>> read_node_names(const std::string& path,
                                                     std::uint32_t node_count) {
  GzipLines lines(path);
  std::vector<std::string> names;
  std::string_view line;
  // One line more than there are nodes suffices to know that the counts differ.
  for (std::uint64_t count = 0; count <= node_count; ++count) {
    const GzipLines::Next next = lines.next(line);
    if (next == GzipLines::Next::kFailed) return lines.error();
    if (next == GzipLines::Next::kEnd) {
      if (names.size() == node_count) return names;
      break;
    }
    names.push_back(printable_text(line));
  }
  const bool more = names.size() > node_count;
  return FileError{
      FileErrorCode::kMismatch,
      printable_text(path) + ": " +
          (more ? "more than " + format_count(node_count) : "only " + format_count(names.size())) +
          " names for " + format_count(node_count) +
          " nodes; give one name a line for each node, or remove the file"};
}

std::string find_names_file(const std::string& matrix_path) {
  const std::optional<std::string> stem = stem_of(matrix_path);
  if (!stem) return "";
  const bool compressed = matrix_path.ends_with(kGzipSuffix);
  for (const bool gzip : {compressed, !compressed}) {
    std::string path = *stem + (gzip ? ".names.gz" : ".names");
    std::error_code error;
    // Only a file that is certainly absent is passed over: one that cannot be looked at is an error
    // when it is read.
    if (std::filesystem::status(path, error).type() != std::filesystem::file_type::not_found) {
      return path;
    }
  }
  return "";
}

FileResult<GraphFile> read_graph_file(const std::string& path) {
  FileResult<Graph> graph = read_matrix_market(path);
  if (!graph.ok()) return graph.error();
  GraphFile file;
  file.graph = std::move(graph.value());
  file.name =
      printable_text(std::filesystem::path(stem_of(path).value_or(path)).filename().string());
  const std::string names_path = find_names_file(path);
  if (!names_path.empty()) {
    FileResult<std::vector<std::string>> names = read_node_names(names_path, file.graph.node_count);
    if (!names.ok()) return names.error();
    file.names = std::move(names.value());
  }
  return file;
}

}  // namespace ackbus::tools
