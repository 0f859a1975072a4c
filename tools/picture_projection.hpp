// From positions in space to places in a picture: the two directions of greatest spread, then a fit
// into the frame that a few far-off nodes cannot shrink. Data flow: positions in, one place for
// each node out. Threads: pure functions.
#pragma once

#include <span>
#include <vector>

#include "tools/graph.hpp"

namespace ackbus::tools {

// A place in a picture in pixels from its top left corner, or an offset.
struct Point {
  double x = 0.0;
  double y = 0.0;
};

struct Rectangle {
  double left = 0.0;
  double top = 0.0;
  double right = 0.0;
  double bottom = 0.0;

  [[nodiscard]] bool contains(const Point& point) const {
    return point.x >= left && point.x <= right && point.y >= top && point.y <= bottom;
  }
  [[nodiscard]] bool contains(const Rectangle& other) const {
    return other.left >= left && other.right <= right && other.top >= top && other.bottom <= bottom;
  }
  [[nodiscard]] bool overlaps(const Rectangle& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

struct ProjectedNode {
  Point at;            // In the plane of the projection, or in the picture after fitting.
  double depth = 0.5;  // 0 farthest from the viewer, 1 nearest.
};

// Turns the nodes so that their greatest spread lies along x, the next along y and the least along
// the view (principal component analysis: eigenvectors of the covariance). Only `main_nodes` decide
// the axes, and of them the nearest 98 %. A node whose position is not finite is put in the middle.
// The axes' signs are fixed, so equal input gives equal output.
[[nodiscard]] std::vector<ProjectedNode> project_to_plane(std::span<const Position> positions,
                                                          std::span<const NodeIndex> main_nodes);

// Scales the nodes, equally in both directions, so that 99 % of `main_nodes` fill most of
// `frame`. Those farther out are drawn in along their direction, ever closer to the frame's edge
// and never beyond: every node ends inside.
void fit_into_frame(std::vector<ProjectedNode>& nodes, std::span<const NodeIndex> main_nodes,
                    const Rectangle& frame);

// The nodes that a picture is about: those in components at least a tenth of the largest one's
// size.
[[nodiscard]] std::vector<NodeIndex> main_nodes_of(const Components& components);

}  // namespace ackbus::tools
