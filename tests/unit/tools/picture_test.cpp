// The picture's promises: every node and name inside, names apart, robust against far-off nodes and
// hostile input.
#include "tools/picture.hpp"

#include <cairo.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <random>
#include <utility>

// Fontconfig keeps a few patterns until the process ends; under a leak checker they are its own,
// not ours.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): its name
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libfontconfig"; }
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

namespace ackbus::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::uint64_t kSeed = 90210;

struct Drawing {
  Graph graph;
  std::vector<Position> positions;
};

// A random connected graph of `nodes` at random places in a ball; the first nodes are hubs.
Drawing random_drawing(std::uint32_t nodes) {
  std::mt19937 engine(kSeed);
  std::normal_distribution<float> coordinate(0.0F, 100.0F);
  Drawing drawing;
  std::vector<Edge> edges;
  for (NodeIndex node = 0; node < nodes; ++node) {
    drawing.positions.push_back({coordinate(engine), coordinate(engine), coordinate(engine)});
    if (node == 0) continue;
    edges.push_back({node, static_cast<NodeIndex>(engine() % node), 1.0F});
    edges.push_back({node, static_cast<NodeIndex>(engine() % std::min(node, 12U)), 1.0F});
  }
  drawing.graph = build_graph(nodes, std::move(edges));
  return drawing;
}

Picture picture_of(const Drawing& drawing, const PictureOptions& options = {},
                   std::span<const std::string> names = {}) {
  return compose_picture(drawing.graph, {"graph", 100, drawing.positions, names}, options);
}

void expect_promises_kept(const Picture& picture, std::size_t labels) {
  const Rectangle whole{0.0, 0.0, picture.width_px, picture.height_px};
  for (const DrawnNode& node : picture.nodes) {
    ASSERT_TRUE(whole.contains(Rectangle{node.at.x - node.radius_px, node.at.y - node.radius_px,
                                         node.at.x + node.radius_px, node.at.y + node.radius_px}))
        << node.at.x << " " << node.at.y << " radius " << node.radius_px;
  }
  EXPECT_EQ(picture.labels.size(), labels);
  for (std::size_t index = 0; index < picture.labels.size(); ++index) {
    EXPECT_TRUE(whole.contains(picture.labels[index].box)) << picture.labels[index].text;
    for (std::size_t other = 0; other < index; ++other) {
      EXPECT_FALSE(picture.labels[index].box.overlaps(picture.labels[other].box))
          << picture.labels[index].text << " over " << picture.labels[other].text;
    }
  }
}

TEST(Picture, KeepsEveryNodeAndTenNamesInsideAndNamesApart) {
  std::cout << "seed " << kSeed << '\n';
  expect_promises_kept(picture_of(random_drawing(3000)), 10);
}

TEST(Picture, KeepsItsPromisesInASmallPictureWithLongNamesInOnePlace) {
  Drawing drawing = random_drawing(40);
  drawing.positions.assign(40, Position{1.0F, 2.0F, 3.0F});
  const std::vector<std::string> names(40, std::string(200, 'W'));
  PictureOptions options;
  options.width_px = 600;
  options.height_px = 500;
  expect_promises_kept(picture_of(drawing, options, names), 10);
}

TEST(Picture, NamesTheHubs) {
  const Drawing drawing = random_drawing(500);
  std::vector<std::string> names;
  names.reserve(500);
  for (int node = 0; node < 500; ++node) names.push_back("name" + std::to_string(node));
  const Picture picture = picture_of(drawing, {}, names);
  const std::vector<NodeIndex> hubs = top_hubs(drawing.graph, 10);
  ASSERT_EQ(picture.labels.size(), hubs.size());
  for (std::size_t place = 0; place < hubs.size(); ++place) {
    EXPECT_EQ(picture.labels[place].text, names[hubs[place]]);
    EXPECT_EQ(picture.labels[place].anchor.x, picture.nodes[hubs[place]].at.x);
  }
}

TEST(Picture, NumbersTheHubsOfAGraphWithoutNamesAsTheFileDoes) {
  const Graph graph = build_graph(3, {{1, 0, 1.0F}, {1, 2, 1.0F}});
  const Picture picture = picture_of({graph, {{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}});
  ASSERT_EQ(picture.labels.size(), 3U);
  EXPECT_EQ(picture.labels[0].text, "2");
}

TEST(Picture, SaysNameNodesEdgesAndStepsInItsTitle) {
  const Drawing drawing = random_drawing(2000);
  const Picture picture = compose_picture(drawing.graph, {"my graph", 1234, drawing.positions, {}});
  EXPECT_EQ(picture.title, "my graph");
  EXPECT_THAT(picture.subtitle,
              AllOf(HasSubstr("2,000 nodes"), HasSubstr("edges"), HasSubstr("1,234 steps")));
}

TEST(Picture, FarComponentsDoNotShrinkTheMainStructure) {
  Drawing drawing = random_drawing(1000);
  std::vector<Edge> edges = drawing.graph.edges;
  // A third more nodes, in pairs without a path to the rest, a thousand times farther out.
  std::mt19937 engine(kSeed);
  for (NodeIndex node = 1000; node < 1300; ++node) {
    const float angle = static_cast<float>(node);
    drawing.positions.push_back(
        {1e5F * std::sin(angle), 1e5F * std::cos(angle), static_cast<float>(engine() % 100'000)});
    if (node % 2 == 1) edges.push_back({node - 1, node, 1.0F});
  }
  drawing.graph = build_graph(1300, std::move(edges));
  const Picture picture = picture_of(drawing);
  expect_promises_kept(picture, 10);
  double left = picture.width_px;
  double right = 0.0;
  for (NodeIndex node = 0; node < 1000; ++node) {
    left = std::min(left, picture.nodes[node].at.x);
    right = std::max(right, picture.nodes[node].at.x);
  }
  EXPECT_GT(right - left, 0.5 * picture.width_px);
}

TEST(Picture, PutsNodesWithoutAFinitePositionInside) {
  Drawing drawing = random_drawing(100);
  drawing.positions[3].x = std::numeric_limits<float>::quiet_NaN();
  drawing.positions[4].y = std::numeric_limits<float>::infinity();
  drawing.positions[5] = {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(),
                          std::numeric_limits<float>::max()};
  expect_promises_kept(picture_of(drawing), 10);
  std::fill(drawing.positions.begin(), drawing.positions.end(),
            Position{std::numeric_limits<float>::quiet_NaN(), 0.0F, 0.0F});
  expect_promises_kept(picture_of(drawing), 10);
}

TEST(Picture, KeepsTheSmallestGraphsInside) {
  expect_promises_kept(picture_of({build_graph(1, {}), {{5, 5, 5}}}), 1);
  expect_promises_kept(picture_of({build_graph(2, {{0, 1, 1.0F}}), {{0, 0, 0}, {9, 9, 9}}}), 2);
}

TEST(Picture, DrawsAnEvenSampleOfTooManyEdgesAndSaysSo) {
  Drawing drawing;
  std::vector<Edge> edges;
  for (NodeIndex node = 0; node < 1000; ++node) {
    const auto place = static_cast<float>(node);
    drawing.positions.push_back({std::sin(place), std::cos(place), place});
    for (NodeIndex other = 0; other < node; ++other) edges.push_back({node, other, 1.0F});
  }
  drawing.graph = build_graph(1000, std::move(edges));
  ASSERT_GT(drawing.graph.edges.size(), kDrawnEdgesMax);
  const Picture picture = picture_of(drawing);
  EXPECT_EQ(picture.edges.size(), kDrawnEdgesMax);
  EXPECT_THAT(picture.subtitle, HasSubstr("400,000 edges drawn"));
  EXPECT_THAT(picture_of(random_drawing(50)).subtitle, testing::Not(HasSubstr("drawn")));
}

TEST(Picture, IsTheSameForTheSameInput) {
  const Drawing drawing = random_drawing(300);
  const Picture first = picture_of(drawing);
  const Picture second = picture_of(drawing);
  for (std::size_t node = 0; node < first.nodes.size(); ++node) {
    EXPECT_EQ(first.nodes[node].at.x, second.nodes[node].at.x);
    EXPECT_EQ(first.nodes[node].color.red, second.nodes[node].color.red);
  }
}

TEST(Projection, LooksAlongTheDirectionOfLeastSpread) {
  // Spread over z most, then x, hardly over y: z must lie along the picture's x, and x along its y.
  std::vector<Position> positions;
  std::vector<NodeIndex> nodes;
  for (int step = -50; step <= 50; ++step) {
    const auto value = static_cast<float>(step);
    positions.push_back({0.0F, 0.0F, 10.0F * value});
    positions.push_back({3.0F * value, 0.0F, 0.0F});
    positions.push_back({0.0F, 0.1F * value, 0.0F});
  }
  for (NodeIndex node = 0; node < positions.size(); ++node) nodes.push_back(node);
  const std::vector<ProjectedNode> projected = project_to_plane(positions, nodes);
  for (std::size_t node = 0; node < positions.size(); ++node) {
    EXPECT_NEAR(projected[node].at.x, positions[node].z, 1e-6);
    EXPECT_NEAR(projected[node].at.y, positions[node].x, 1e-6);
  }
}

TEST(Projection, KeepsTheDistancesOfAFlatLayoutTurnedInSpace) {
  // A unit grid in a plane turned about all axes: the picture must show it undistorted.
  std::vector<Position> positions;
  std::vector<NodeIndex> nodes;
  for (int row = 0; row < 9; ++row) {
    for (int column = 0; column < 21; ++column) {
      const auto across = static_cast<float>(column);
      const auto down = static_cast<float>(row);
      // Two unit vectors at a right angle: (2, 1, 2) / 3 and (-2, 2, 1) / 3.
      positions.push_back(
          {(2 * across - 2 * down) / 3, (across + 2 * down) / 3, (2 * across + down) / 3});
      nodes.push_back(static_cast<NodeIndex>(nodes.size()));
    }
  }
  const std::vector<ProjectedNode> projected = project_to_plane(positions, nodes);
  const auto distance = [&projected](std::size_t left, std::size_t right) {
    return std::hypot(projected[left].at.x - projected[right].at.x,
                      projected[left].at.y - projected[right].at.y);
  };
  EXPECT_NEAR(distance(0, 1), 1.0, 1e-5);
  EXPECT_NEAR(distance(0, 21), 1.0, 1e-5);
  EXPECT_NEAR(distance(0, 188), std::hypot(20.0, 8.0), 1e-5);
}

class PictureFile : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        std::filesystem::path(testing::TempDir()) / ("ackbus_picture_" + std::string(test->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path_of(const std::string& name) const {
    return (folder_ / name).string();
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_),
                                                  std::filesystem::directory_iterator()));
  }

  std::filesystem::path folder_;
};

TEST_F(PictureFile, IsAPngOfTheSizeAskedForWithSomethingOnIt) {
  PictureOptions options;
  options.width_px = 640;
  options.height_px = 480;
  const std::string path = path_of("a.PNG");
  const FileStatus failure = write_picture(path, picture_of(random_drawing(200), options));
  ASSERT_FALSE(failure.has_value()) << failure->text;
  cairo_surface_t* image = cairo_image_surface_create_from_png(path.c_str());
  ASSERT_EQ(cairo_surface_status(image), CAIRO_STATUS_SUCCESS);
  EXPECT_EQ(cairo_image_surface_get_width(image), 640);
  EXPECT_EQ(cairo_image_surface_get_height(image), 480);
  const unsigned char* pixels = cairo_image_surface_get_data(image);
  const auto stride = static_cast<std::size_t>(cairo_image_surface_get_stride(image));
  std::size_t bright = 0;
  for (std::size_t row = 0; row < 480; ++row) {
    for (std::size_t column = 0; column < 640; ++column) {
      bright += pixels[row * stride + 4 * column + 1] > 128 ? 1 : 0;
    }
  }
  EXPECT_GT(bright, 1000U);
  cairo_surface_destroy(image);
  EXPECT_EQ(files(), 1U) << "a temporary file was left behind";
}

TEST_F(PictureFile, IsAnSvgOfTheDefaultSize) {
  const std::string path = path_of("a.svg");
  ASSERT_FALSE(write_picture(path, picture_of(random_drawing(200))).has_value());
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_THAT(text, AllOf(HasSubstr("<svg"), HasSubstr("</svg>"), HasSubstr("1800")));
  EXPECT_EQ(files(), 1U);
}

TEST_F(PictureFile, RefusesAnUnknownExtension) {
  for (const char* name : {"a.gif", "a", "png", "a.png.txt"}) {
    const FileStatus failure = check_picture_path(path_of(name));
    ASSERT_TRUE(failure.has_value()) << name;
    EXPECT_EQ(failure->code, FileErrorCode::kUnknownExtension);
    EXPECT_THAT(failure->text, AllOf(StartsWith(path_of(name) + ": "), HasSubstr(".png or .svg")));
  }
}

TEST_F(PictureFile, RefusesAPlaceThatCannotBeWritten) {
  const Picture picture = picture_of(random_drawing(10));
  std::filesystem::create_directory(path_of("folder.png"));
  (void)std::ofstream(path_of("file"));
  for (const std::string& path :
       {path_of("absent/a.png"), path_of("folder.png"), path_of("file/a.svg")}) {
    EXPECT_TRUE(check_picture_path(path).has_value()) << path;
    const FileStatus failure = write_picture(path, picture);
    ASSERT_TRUE(failure.has_value()) << path;
    EXPECT_EQ(failure->code, FileErrorCode::kUnwritable);
    EXPECT_THAT(failure->text,
                AllOf(StartsWith(path + ": cannot be written"), HasSubstr("; give")));
  }
  EXPECT_EQ(files(), 2U);
}

TEST_F(PictureFile, ReplacesAnOlderPictureAsAWhole) {
  const std::string path = path_of("a.svg");
  std::ofstream(path) << "old";
  ASSERT_FALSE(write_picture(path, picture_of(random_drawing(10))).has_value());
  EXPECT_GT(std::filesystem::file_size(path), 1000U);
  EXPECT_EQ(files(), 1U);
}

TEST_F(PictureFile, SurvivesNamesThatAreNotUtf8) {
  const Drawing drawing = random_drawing(20);
  const std::vector<std::string> names(20, "a\xFF\x1b<&>");
  EXPECT_FALSE(write_picture(path_of("a.png"), picture_of(drawing, {}, names)).has_value());
  EXPECT_FALSE(write_picture(path_of("a.svg"), picture_of(drawing, {}, names)).has_value());
}

}  // namespace
}  // namespace ackbus::tools
