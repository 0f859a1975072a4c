// Files that are right, and every way in which a file can be wrong: each gets one line that names
// file, line, thing and remedy.
#include "tools/matrix_market.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace ackbus::tools {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr const char* kBanner = "%%MatrixMarket matrix coordinate pattern symmetric\n";

class MatrixMarket : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("ackbus_matrix_market_" + std::string(test->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path_of(const std::string& name) const {
    return (folder_ / name).string();
  }

  [[nodiscard]] std::string plain(const std::string& name, const std::string& text) const {
    std::ofstream(path_of(name), std::ios::binary) << text;
    return path_of(name);
  }

  [[nodiscard]] std::string compressed(const std::string& name, const std::string& text) const {
    gzFile file = gzopen(path_of(name).c_str(), "wb");
    gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    gzclose(file);
    return path_of(name);
  }

  // Expects the code and, in one line, the file, the line (unless 0), and the thing; returns the
  // text.
  std::string expect_error(const std::string& text, FileErrorCode code, int line,
                           const std::string& thing) const {
    return expect_error_of(plain("graph.mtx", text), code, line, thing);
  }

  static std::string expect_error_of(const std::string& path, FileErrorCode code, int line,
                                     const std::string& thing) {
    const auto result = read_matrix_market(path);
    if (result.ok()) {
      ADD_FAILURE() << "read without an error, expected: " << thing;
      return "";
    }
    EXPECT_EQ(result.error().code, code) << result.error().text;
    const std::string place = line == 0 ? path + ": " : path + ":" + std::to_string(line) + ": ";
    EXPECT_THAT(result.error().text,
                AllOf(StartsWith(place), HasSubstr(thing), Not(HasSubstr("\n"))));
    // The remedy stands behind a semicolon or "so".
    EXPECT_THAT(result.error().text, testing::AnyOf(HasSubstr(";"), HasSubstr(", so")));
    return result.error().text;
  }

  std::filesystem::path folder_;
};

TEST_F(MatrixMarket, ReadsAPatternWithCommentsBlankLinesAndDosLineEnds) {
  const auto result = read_matrix_market(
      plain("graph.mtx",
            "%%MatrixMarket MATRIX Coordinate Pattern Symmetric\r\n% comment\r\n\r\n"
            "3 3 2\r\n2 1\r\n \t\r\n%% more\r\n  3\t1  \r\n\r\n"));
  ASSERT_TRUE(result.ok()) << result.error().text;
  EXPECT_EQ(result.value().node_count, 3U);
  EXPECT_THAT(result.value().edges, ElementsAre(Edge{0, 1, 1.0F}, Edge{0, 2, 1.0F}));
}

TEST_F(MatrixMarket, ReadsWeightsAsMagnitudes) {
  const auto real = read_matrix_market(
      plain("real.mtx",
            "%%MatrixMarket matrix coordinate real general\n3 3 3\n1 2 0.5\n2 3 -1.5e1\n3 1 +2\n"));
  ASSERT_TRUE(real.ok()) << real.error().text;
  EXPECT_THAT(real.value().edges,
              ElementsAre(Edge{0, 1, 0.5F}, Edge{0, 2, 2.0F}, Edge{1, 2, 15.0F}));
  const auto integer = read_matrix_market(
      plain("integer.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 2 -7\n"));
  ASSERT_TRUE(integer.ok()) << integer.error().text;
  EXPECT_THAT(integer.value().edges, ElementsAre(Edge{0, 1, 7.0F}));
}

TEST_F(MatrixMarket, MergesDuplicatesAndDropsSelfLoopsAndCountsBoth) {
  const auto result = read_matrix_market(
      plain("graph.mtx",
            "%%MatrixMarket matrix coordinate pattern general\n3 3 5\n1 2\n2 1\n1 2\n3 3\n2 3\n"));
  ASSERT_TRUE(result.ok()) << result.error().text;
  EXPECT_EQ(result.value().edges.size(), 2U);
  EXPECT_EQ(result.value().merged_duplicates, 2U);
  EXPECT_EQ(result.value().dropped_self_loops, 1U);
}

TEST_F(MatrixMarket, ReadsAFileWithoutALastLineEnd) {
  EXPECT_TRUE(read_matrix_market(plain("graph.mtx", std::string(kBanner) + "2 2 1\n2 1")).ok());
}

TEST_F(MatrixMarket, ReadsCompressedFilesLargerThanItsBuffer) {
  std::string text = std::string(kBanner) + "50001 50001 50000\n";
  for (int node = 2; node <= 50001; ++node) text += std::to_string(node) + " 1\n";
  const auto result = read_matrix_market(compressed("graph.mtx.gz", text));
  ASSERT_TRUE(result.ok()) << result.error().text;
  EXPECT_EQ(result.value().degree(0), 50000U);
}

TEST_F(MatrixMarket, RefusesWhatIsNotThere) {
  expect_error_of(path_of("absent.mtx"), FileErrorCode::kUnreadable, 0, "No such file");
  expect_error_of(folder_.string(), FileErrorCode::kUnreadable, 0, "Is a directory");
}

TEST_F(MatrixMarket, RefusesABannerThatIsNotItsOwn) {
  expect_error("", FileErrorCode::kEmpty, 0, "empty");
  expect_error("hello\n", FileErrorCode::kMalformed, 1, "not a Matrix Market file");
  expect_error("%%MatrixMarket matrix array real general\n", FileErrorCode::kMalformed, 1,
               "matrix array");
  expect_error("%%MatrixMarket vector coordinate real general\n", FileErrorCode::kMalformed, 1,
               "vector coordinate");
  expect_error("%%MatrixMarket matrix coordinate complex general\n", FileErrorCode::kMalformed, 1,
               "'complex'");
  expect_error("%%MatrixMarket matrix coordinate real hermitian\n", FileErrorCode::kMalformed, 1,
               "'hermitian'");
  expect_error("%%MatrixMarket matrix coordinate pattern\n", FileErrorCode::kMalformed, 1,
               "symmetry ''");
  expect_error("%%MatrixMarket matrix coordinate pattern general x\n", FileErrorCode::kMalformed, 1,
               "after the symmetry");
}

TEST_F(MatrixMarket, RefusesASizeLineThatMakesNoGraph) {
  const std::string banner = kBanner;
  expect_error(banner, FileErrorCode::kTruncated, 1, "ends before");
  expect_error(banner + "3 3\n", FileErrorCode::kMalformed, 2, "''");
  expect_error(banner + "3 x 2\n", FileErrorCode::kMalformed, 2, "'x'");
  expect_error(banner + "-3 -3 2\n", FileErrorCode::kMalformed, 2, "'-3'");
  expect_error(banner + "3 3 2 9\n", FileErrorCode::kMalformed, 2, "more than three");
  expect_error(banner + "3 4 2\n", FileErrorCode::kMalformed, 2, "3 rows and 4 columns");
}

TEST_F(MatrixMarket, RefusesAnEmptyGraph) {
  const std::string banner = kBanner;
  expect_error(banner + "0 0 0\n", FileErrorCode::kEmpty, 2, "no nodes");
  expect_error(banner + "5 5 0\n", FileErrorCode::kEmpty, 2, "no edges");
  expect_error(banner + "2 2 1\n2 2\n", FileErrorCode::kEmpty, 0, "no edges besides self loops");
}

TEST_F(MatrixMarket, RefusesAbsurdSizesBeforeItReservesMemory) {
  const std::string banner = kBanner;
  expect_error(banner + "10000001 10000001 1\n", FileErrorCode::kTooLarge, 2, "10,000,001 nodes");
  expect_error(banner + "5 5 100000001\n", FileErrorCode::kTooLarge, 2, "100,000,001 entries");
  expect_error(banner + "99999999999999999999999 99999999999999999999999 1\n",
               FileErrorCode::kTooLarge, 2, "too many nodes");
  // Within the limits, but a lie: the file's end decides, not the claim.
  expect_error(banner + "10000000 10000000 100000000\n2 1\n", FileErrorCode::kTruncated, 3,
               "after 1 of 100,000,000 entries");
}

TEST_F(MatrixMarket, RefusesIndicesOutOfRange) {
  const std::string start = std::string(kBanner) + "3 3 2\n2 1\n";
  expect_error(start + "4 1\n", FileErrorCode::kOutOfRange, 4, "row 4 is outside 1 to 3");
  expect_error(start + "1 0\n", FileErrorCode::kOutOfRange, 4, "column 0 is outside 1 to 3");
  expect_error(start + "1 99999999999999999999999\n", FileErrorCode::kOutOfRange, 4, "column");
  expect_error(start + "-1 2\n", FileErrorCode::kMalformed, 4, "'-1'");
  expect_error(start + "1 2.5\n", FileErrorCode::kMalformed, 4, "'2.5'");
  expect_error(start + "1\n", FileErrorCode::kMalformed, 4, "column is ''");
  expect_error(start + "1 2 7\n", FileErrorCode::kMalformed, 4, "'7' after the entry");
}

TEST_F(MatrixMarket, RefusesWeightsThatAreNotFiniteOrNoNumbers) {
  const std::string real = "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 ";
  for (const char* weight : {"nan", "inf", "-inf", "1e39", "1e999", "-1e300"}) {
    expect_error(real + weight + "\n", FileErrorCode::kOutOfRange, 3, weight);
  }
  for (const char* weight : {"", "x", "1.5y", "0x10", "++1", "+-1"}) {
    expect_error(real + weight + "\n", FileErrorCode::kMalformed, 3, weight);
  }
  expect_error("%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 2 1.5\n",
               FileErrorCode::kMalformed, 3, "a whole number");
}

TEST_F(MatrixMarket, RefusesMoreOrFewerEntriesThanAnnounced) {
  const std::string start = std::string(kBanner) + "3 3 2\n2 1\n";
  expect_error(start, FileErrorCode::kTruncated, 3, "after 1 of 2 entries");
  expect_error(start + "3 1\n3 2\n", FileErrorCode::kMalformed, 5, "more than the 2 entries");
}

TEST_F(MatrixMarket, RefusesLinesAndCommentsWithoutEnd) {
  const std::string banner = kBanner;
  expect_error(banner + std::string(5000, '1') + "\n", FileErrorCode::kTooLarge, 2,
               "longer than 4096 bytes");
  expect_error(banner + std::string(200'000, '1'), FileErrorCode::kTooLarge, 2,
               "longer than 4096 bytes");
  expect_error(banner + std::string(1'000'001, '\n'), FileErrorCode::kTooLarge, 1'000'002,
               "more than a million");
  EXPECT_TRUE(
      read_matrix_market(plain("ok.mtx", banner + "%" + std::string(4095, 'c') + "\n2 2 1\n2 1\n"))
          .ok());
}

TEST_F(MatrixMarket, RefusesATruncatedCompressedFile) {
  std::string text = std::string(kBanner) + "2000 2000 1999\n";
  for (int node = 2; node <= 2000; ++node) text += std::to_string(node) + " 1\n";
  const std::string path = compressed("graph.mtx.gz", text);
  const auto size = std::filesystem::file_size(path);
  for (const auto kept : {size - 1, size - 9, size / 2, std::uintmax_t{20}}) {
    std::filesystem::resize_file(path, kept);
    expect_error_of(path, FileErrorCode::kTruncated, 0, "end too early");
  }
}

TEST_F(MatrixMarket, RefusesDamagedCompressedData) {
  std::string text = std::string(kBanner) + "2000 2000 1999\n";
  for (int node = 2; node <= 2000; ++node) text += std::to_string(node) + " 1\n";
  const std::string path = compressed("graph.mtx.gz", text);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-6, std::ios::end);  // In the checksum.
    file.put('\x5A');
  }
  expect_error_of(path, FileErrorCode::kUnreadable, 0, "damaged");
}

TEST_F(MatrixMarket, ShowsNoControlCharactersOfTheFileInItsErrors) {
  const std::string text = expect_error(std::string(kBanner) + "3 3 1\n\x1b[2J\x07 1\n",
                                        FileErrorCode::kMalformed, 3, "?[2J?");
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  std::string zeros = std::string(kBanner) + "3 3 1\n";
  zeros += std::string(10, '\0') + "\n";
  expect_error(zeros, FileErrorCode::kMalformed, 3, "??????????");
}

TEST_F(MatrixMarket, FindsTheNamesBesideTheMatrix) {
  EXPECT_EQ(find_names_file(path_of("graph.mtx.gz")), "");
  const std::string names = plain("graph.names", "one\ntwo\n");
  EXPECT_EQ(find_names_file(path_of("graph.mtx.gz")), names);
  const std::string compressed_names = compressed("graph.names.gz", "one\ntwo\n");
  EXPECT_EQ(find_names_file(path_of("graph.mtx.gz")), compressed_names);
  EXPECT_EQ(find_names_file(path_of("graph.mtx")), names);
  EXPECT_EQ(find_names_file(path_of("graph.txt")), "");
}

TEST_F(MatrixMarket, ReadsAGraphWithAndWithoutNames) {
  const std::string path = compressed("my.graph.mtx.gz", std::string(kBanner) + "2 2 1\n2 1\n");
  const auto bare = read_graph_file(path);
  ASSERT_TRUE(bare.ok()) << bare.error().text;
  EXPECT_EQ(bare.value().name, "my.graph");
  EXPECT_THAT(bare.value().names, IsEmpty());

  (void)compressed("my.graph.names.gz", "one\nt\x1bwo\n");
  const auto named = read_graph_file(path);
  ASSERT_TRUE(named.ok()) << named.error().text;
  EXPECT_THAT(named.value().names, ElementsAre("one", "t?wo"));
}

TEST_F(MatrixMarket, RefusesNamesThatDoNotMatchTheNodes) {
  const std::string path = plain("graph.mtx", std::string(kBanner) + "3 3 1\n2 1\n");
  const std::string names = plain("graph.names", "one\ntwo\n");
  const auto fewer = read_graph_file(path);
  ASSERT_FALSE(fewer.ok());
  EXPECT_EQ(fewer.error().code, FileErrorCode::kMismatch);
  EXPECT_THAT(fewer.error().text,
              AllOf(StartsWith(names + ": only 2 names for 3 nodes"), EndsWith("remove the file")));

  (void)plain("graph.names", "one\ntwo\nthree\nfour\n");
  const auto more = read_graph_file(path);
  ASSERT_FALSE(more.ok());
  EXPECT_THAT(more.error().text, HasSubstr("more than 3 names for 3 nodes"));
}

TEST_F(MatrixMarket, RefusesNamesThatExistButCannotBeRead) {
  const std::string path = plain("graph.mtx", std::string(kBanner) + "2 2 1\n2 1\n");
  std::filesystem::create_directory(path_of("graph.names"));
  const auto result = read_graph_file(path);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, FileErrorCode::kUnreadable);
  EXPECT_THAT(result.error().text, HasSubstr("graph.names"));
}

TEST_F(MatrixMarket, ReadsTheExamplesOfTheTree) {
  struct Example {
    const char* name;
    std::uint32_t nodes;
    std::size_t edges;
  };
  for (const Example& example : {Example{"debian-12-depends-17k", 17'000, 69'932},
                                 Example{"debian-12-depends-1k", 1'000, 3'271}}) {
    const auto result = read_graph_file(std::string(ACKBUS_SOURCE_DIR) + "/examples/data/" +
                                        example.name + ".mtx.gz");
    ASSERT_TRUE(result.ok()) << result.error().text;
    EXPECT_EQ(result.value().name, example.name);
    EXPECT_EQ(result.value().graph.node_count, example.nodes);
    EXPECT_EQ(result.value().graph.edges.size(), example.edges);
    EXPECT_EQ(result.value().names.size(), example.nodes);
  }
}

}  // namespace
}  // namespace ackbus::tools
