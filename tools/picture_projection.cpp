// Principal axes by Jacobi rotations, and the fit by one quantile.
#include "tools/picture_projection.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "shm_layout/assert.hpp"

namespace ackbus::tools {
namespace {

using Vector = std::array<double, 3>;
using Matrix = std::array<Vector, 3>;

constexpr double kMainShare = 0.98;   // The share of the main nodes that decides the axes.
constexpr double kFrameShare = 0.99;  // The share of the main nodes that decides the scale.
constexpr double kKnee = 0.93;        // How far out, with 1 the frame's edge, distances stay true.
constexpr int kRotationsMax =
    60;  // Jacobi converges quadratically: a 3 by 3 matrix needs about ten.

bool is_finite(const Position& at) {
  return std::isfinite(at.x) && std::isfinite(at.y) && std::isfinite(at.z);
}

// The value below which `share` of the values lie; reorders them. 0 for none.
double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0.0;
  const auto rank =
      static_cast<std::size_t>(std::llround(share * static_cast<double>(values.size() - 1)));
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

template <typename Value>
double quantile_of(std::span<const NodeIndex> nodes, double share, Value value) {
  std::vector<double> values;
  values.reserve(nodes.size());
  for (const NodeIndex node : nodes) values.push_back(value(node));
  return quantile(values, share);
}

// One Jacobi rotation that zeroes element (row, column) of a symmetric matrix and turns the
// eigenvectors along.
void rotate(Matrix& matrix, Matrix& vectors, std::size_t row, std::size_t column) {
  if (matrix[row][column] == 0.0) return;
  const double theta = (matrix[column][column] - matrix[row][row]) / (2.0 * matrix[row][column]);
  const double tangent = std::copysign(1.0, theta) / (std::fabs(theta) + std::hypot(theta, 1.0));
  const double cosine = 1.0 / std::hypot(tangent, 1.0);
  const double sine = tangent * cosine;
  for (std::size_t index = 0; index < 3; ++index) {
    const double at_row = matrix[index][row];
    const double at_column = matrix[index][column];
    matrix[index][row] = cosine * at_row - sine * at_column;
    matrix[index][column] = sine * at_row + cosine * at_column;
  }
  for (std::size_t index = 0; index < 3; ++index) {
    const double at_row = matrix[row][index];
    const double at_column = matrix[column][index];
    matrix[row][index] = cosine * at_row - sine * at_column;
    matrix[column][index] = sine * at_row + cosine * at_column;
    const double vector_row = vectors[index][row];
    const double vector_column = vectors[index][column];
    vectors[index][row] = cosine * vector_row - sine * vector_column;
    vectors[index][column] = sine * vector_row + cosine * vector_column;
  }
}

// The unit eigenvectors of a symmetric matrix, by falling eigenvalue; the largest part of each is
// positive.
Matrix principal_axes(Matrix matrix) {
  Matrix vectors{{{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}}};
  for (int rotation = 0; rotation < kRotationsMax; ++rotation) {
    rotate(matrix, vectors, static_cast<std::size_t>(rotation % 3 == 2 ? 1 : 0),
           static_cast<std::size_t>(rotation % 3 == 0 ? 1 : 2));
  }
  std::array<std::size_t, 3> order{0, 1, 2};
  std::stable_sort(order.begin(), order.end(), [&matrix](std::size_t left, std::size_t right) {
    return matrix[left][left] > matrix[right][right];
  });
  Matrix axes{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (std::size_t part = 0; part < 3; ++part) axes[axis][part] = vectors[part][order[axis]];
    const Vector& found = axes[axis];
    const auto largest = *std::max_element(
        found.begin(), found.end(),
        [](double left, double right) { return std::fabs(left) < std::fabs(right) - 1e-12; });
    if (largest < 0.0) {
      for (double& part : axes[axis]) part = -part;
    }
  }
  return axes;
}

double dot(const Vector& left, const Vector& right) {
  return left[0] * right[0] + left[1] * right[1] + left[2] * right[2];
}

Vector offset_from(const Vector& center, const Position& at) {
  return {double{at.x} - center[0], double{at.y} - center[1], double{at.z} - center[2]};
}

Matrix covariance_of(std::span<const Position> positions, std::span<const NodeIndex> nodes,
                     const Vector& center) {
  const auto distance = [&](NodeIndex node) {
    const Vector offset = offset_from(center, positions[node]);
    return std::sqrt(dot(offset, offset));
  };
  const double radius = quantile_of(nodes, kMainShare, distance);
  Matrix covariance{};
  for (const NodeIndex node : nodes) {
    if (distance(node) > radius) continue;
    const Vector offset = offset_from(center, positions[node]);
    for (std::size_t row = 0; row < 3; ++row) {
      for (std::size_t column = 0; column < 3; ++column) {
        covariance[row][column] += offset[row] * offset[column] / static_cast<double>(nodes.size());
      }
    }
  }
  return covariance;
}

// The fourth-power norm: its unit circle is a square with round corners, which fills a frame better
// than an ellipse.
double frame_norm(double x, double y) {
  const double larger = std::max(std::fabs(x), std::fabs(y));
  if (larger == 0.0) return 0.0;
  return larger * std::pow(std::pow(x / larger, 4.0) + std::pow(y / larger, 4.0), 0.25);
}

// Unchanged up to the knee, then bent without a kink towards 1, which it never passes.
double compressed(double distance) {
  if (distance <= kKnee) return distance;
  const double beyond = (distance - kKnee) / (1.0 - kKnee);
  return kKnee + (1.0 - kKnee) * beyond / (1.0 + beyond);
}

}  // namespace

std::vector<ProjectedNode> project_to_plane(std::span<const Position> positions,
                                            std::span<const NodeIndex> main_nodes) {
  std::vector<NodeIndex> nodes;
  for (const NodeIndex node : main_nodes) {
    if (is_finite(positions[node])) nodes.push_back(node);
  }
  const Vector center{quantile_of(nodes, 0.5, [&](NodeIndex node) { return positions[node].x; }),
                      quantile_of(nodes, 0.5, [&](NodeIndex node) { return positions[node].y; }),
                      quantile_of(nodes, 0.5, [&](NodeIndex node) { return positions[node].z; })};
  const Matrix axes = principal_axes(covariance_of(positions, nodes, center));
  const auto depth_of = [&](const Position& at) { return dot(axes[2], offset_from(center, at)); };
  const auto depth_at = [&](NodeIndex node) { return depth_of(positions[node]); };
  const double far = quantile_of(nodes, 1.0 - kMainShare, depth_at);
  const double near = quantile_of(nodes, kMainShare, depth_at);

  std::vector<ProjectedNode> projected(positions.size());
  for (std::size_t node = 0; node < positions.size(); ++node) {
    if (!is_finite(positions[node])) continue;
    const Vector offset = offset_from(center, positions[node]);
    projected[node].at = {dot(axes[0], offset), dot(axes[1], offset)};
    if (near > far) {
      projected[node].depth =
          std::clamp((depth_of(positions[node]) - far) / (near - far), 0.0, 1.0);
    }
  }
  return projected;
}

void fit_into_frame(std::vector<ProjectedNode>& nodes, std::span<const NodeIndex> main_nodes,
                    const Rectangle& frame) {
  ACKBUS_ASSERT(frame.right > frame.left && frame.bottom > frame.top);
  const auto middle_of = [&](double Point::*part) {
    const auto value = [&](NodeIndex node) { return nodes[node].at.*part; };
    return 0.5 * (quantile_of(main_nodes, 1.0 - kFrameShare, value) +
                  quantile_of(main_nodes, kFrameShare, value));
  };
  const Point middle{middle_of(&Point::x), middle_of(&Point::y)};
  const Point half{0.5 * (frame.right - frame.left), 0.5 * (frame.bottom - frame.top)};
  const auto distance = [&](NodeIndex node) {
    return frame_norm((nodes[node].at.x - middle.x) / half.x,
                      (nodes[node].at.y - middle.y) / half.y);
  };
  const double reach = quantile_of(main_nodes, kFrameShare, distance);
  const double scale = reach > 0.0 ? kKnee / reach : 1.0;
  for (NodeIndex node = 0; node < nodes.size(); ++node) {
    const double outward = scale * distance(node);
    const double factor = outward > 0.0 ? scale * compressed(outward) / outward : 0.0;
    Point& at = nodes[node].at;
    // The clamp only takes up rounding: the norm keeps both parts within the frame already.
    at.x = std::clamp(frame.left + half.x + (at.x - middle.x) * factor, frame.left, frame.right);
    at.y = std::clamp(frame.top + half.y - (at.y - middle.y) * factor, frame.top, frame.bottom);
  }
}

std::vector<NodeIndex> main_nodes_of(const Components& components) {
  std::vector<NodeIndex> nodes;
  if (components.sizes.empty()) return nodes;
  const std::uint64_t largest = components.sizes[components.largest()];
  for (NodeIndex node = 0; node < components.component_of.size(); ++node) {
    const std::uint64_t size = components.sizes[components.component_of[node]];
    if (size * 10 >= largest) nodes.push_back(node);
  }
  return nodes;
}

}  // namespace ackbus::tools
