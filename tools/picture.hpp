// The picture of a layout: composed as plain coordinates, which a test can examine, then drawn to
// PNG or SVG. Data flow: graph + positions + names -> compose_picture -> Picture -> write_picture
// -> file. Threads: pure functions on the calling thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools/file_result.hpp"
#include "tools/graph.hpp"
#include "tools/picture_labels.hpp"
#include "tools/picture_projection.hpp"

namespace ackbus::tools {

struct PictureOptions {
  int width_px = 1800;  // 400 to 16384, clamped.
  int height_px = 1350;
  std::size_t label_count = 10;  // How many hubs are named.
  std::uint64_t seed = 1337;     // For the communities that give the colours.
};

struct Color {
  double red = 0.0;  // 0 to 1, and so for the others.
  double green = 0.0;
  double blue = 0.0;
  double alpha = 1.0;
};

struct DrawnNode {
  Point at;
  double radius_px = 0.0;
  Color color;
};

struct DrawnEdge {
  NodeIndex source = 0;
  NodeIndex target = 0;
  std::uint32_t style = 0;  // Index into Picture::edge_styles.
};

struct Picture {
  double width_px = 0.0;
  double height_px = 0.0;
  double text_px = 0.0;               // Height of the labels' font.
  std::string title;                  // The graph's name.
  std::string subtitle;               // Nodes, edges, steps.
  std::vector<DrawnNode> nodes;       // By node index; every disc lies inside the picture.
  std::vector<NodeIndex> draw_order;  // All nodes, the first drawn first.
  std::vector<Color> edge_styles;
  double edge_width_px = 0.0;
  std::vector<DrawnEdge> edges;  // In drawing order, sorted by style. At most kDrawnEdgesMax.
  std::vector<Label> labels;     // Every box lies inside the picture; none overlap.
};

// Beyond this an even sample of the edges is drawn, and the subtitle says so.
inline constexpr std::size_t kDrawnEdgesMax = 400'000;

struct PictureContent {
  std::string name;                     // The graph's name for the title.
  std::uint64_t steps = 0;              // Simulated steps for the title.
  std::span<const Position> positions;  // One for each node (asserted).
  std::span<const std::string>
      names;  // One for each node, or none: then hubs are named by number, from 1.
};

// Where everything goes. Space is projected along its direction of least spread; nodes of one
// community share a colour; hubs are larger. A few nodes far off are drawn in towards the frame
// instead of shrinking everything else; a node whose position is not finite is put in the middle.
// The same input gives the same picture.
[[nodiscard]] Picture compose_picture(const Graph& graph, const PictureContent& content,
                                      const PictureOptions& options = {});

// Whether write_picture could write to `path` now: its extension is .png or .svg (any case) and its
// folder takes files.
[[nodiscard]] FileStatus check_picture_path(const std::string& path);

// Draws the picture in the format of the extension. The file is replaced as a whole or, on an
// error, left alone.
[[nodiscard]] FileStatus write_picture(const std::string& path, const Picture& picture);

// The size of a label's text, halo included, in the font that write_picture uses.
struct TextSize {
  double width_px = 0.0;
  double height_px = 0.0;
};
[[nodiscard]] TextSize measure_label(const std::string& text, double text_px);

}  // namespace ackbus::tools
