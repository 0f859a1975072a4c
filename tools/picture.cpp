// Composition: where nodes, edges and names go, and in which colours.
#include "tools/picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "shm_layout/assert.hpp"
#include "tools/communities.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr int kSideMin_px = 400;
constexpr int kSideMax_px = 16384;
constexpr std::size_t kLabelWidthMax = 32;  // Characters; the rest of a name becomes an ellipsis.
constexpr std::size_t kTitleWidthMax = 60;
constexpr double kReferenceSide_px =
    1350.0;  // Sizes below are for a picture this high; others scale.

// Hues that stay apart on a dark ground; the largest communities get them in this order, the rest
// the last.
constexpr std::array<Color, 13> kPalette{{{0.31, 0.76, 0.97, 1.0},
                                          {1.00, 0.60, 0.30, 1.0},
                                          {0.55, 0.86, 0.45, 1.0},
                                          {0.96, 0.40, 0.62, 1.0},
                                          {0.72, 0.52, 0.98, 1.0},
                                          {1.00, 0.83, 0.35, 1.0},
                                          {0.25, 0.83, 0.72, 1.0},
                                          {0.95, 0.36, 0.33, 1.0},
                                          {0.42, 0.55, 0.98, 1.0},
                                          {0.80, 0.93, 0.42, 1.0},
                                          {0.93, 0.58, 0.90, 1.0},
                                          {0.85, 0.66, 0.48, 1.0},
                                          {0.56, 0.62, 0.70, 1.0}}};

std::uint32_t palette_index(const Communities& communities, NodeIndex node) {
  const std::uint32_t community = communities.community_of[node];
  const auto rest = static_cast<std::uint32_t>(kPalette.size() - 1);
  // A community of one or two nodes is not a structure, whatever its rank.
  return communities.sizes[community] > 2 ? std::min(community, rest) : rest;
}

Color mixed(const Color& left, const Color& right, double alpha) {
  return {0.5 * (left.red + right.red), 0.5 * (left.green + right.green),
          0.5 * (left.blue + right.blue), alpha};
}

Color faded(const Color& color, double brightness) {
  return {color.red * brightness, color.green * brightness, color.blue * brightness, color.alpha};
}

// Collects the parts of a Picture; each step uses what the steps before it made.
class Composer {
 public:
  Composer(const Graph& graph, const PictureContent& content, const PictureOptions& options)
      : graph_(graph), content_(content), options_(options) {
    ACKBUS_ASSERT(content.positions.size() == graph.node_count);
    ACKBUS_ASSERT(content.names.empty() || content.names.size() == graph.node_count);
  }

  Picture compose() {
    picture_.width_px = std::clamp(options_.width_px, kSideMin_px, kSideMax_px);
    picture_.height_px = std::clamp(options_.height_px, kSideMin_px, kSideMax_px);
    unit_px_ = std::min(picture_.width_px, picture_.height_px) / kReferenceSide_px;
    picture_.text_px = std::max(11.0, 24.0 * unit_px_);
    communities_ = find_communities(graph_, options_.seed);
    place_nodes();
    add_edges();
    add_texts();
    return std::move(picture_);
  }

 private:
  // Nodes keep clear of the border and, at the top, of the title.
  [[nodiscard]] Rectangle frame() const {
    const double margin = 40.0 * unit_px_ + 2.0;
    return {margin, margin + 4.0 * picture_.text_px, picture_.width_px - margin,
            picture_.height_px - margin};
  }

  [[nodiscard]] double radius_of(NodeIndex node) const {
    // Small graphs have room for larger discs; area grows with the degree, slowly, so that hubs
    // stand out.
    const double crowd = std::clamp(std::sqrt(3000.0 / graph_.node_count), 0.65, 2.6);
    return unit_px_ * std::min(16.0, crowd * (1.6 + 0.55 * std::sqrt(graph_.degree(node))));
  }

  void place_nodes() {
    const std::vector<NodeIndex> main_nodes = main_nodes_of(connected_components(graph_));
    std::vector<ProjectedNode> projected = project_to_plane(content_.positions, main_nodes);
    fit_into_frame(projected, main_nodes, frame());
    for (NodeIndex node = 0; node < graph_.node_count; ++node) {
      const double brightness = 0.6 + 0.4 * projected[node].depth;
      const Color color = faded(kPalette[palette_index(communities_, node)], brightness);
      picture_.nodes.push_back({projected[node].at, radius_of(node), color});
    }
    // Far before near; hubs last of all, because their names need something visible to point at.
    picture_.draw_order.resize(graph_.node_count);
    std::iota(picture_.draw_order.begin(), picture_.draw_order.end(), NodeIndex{0});
    const auto rank = [&](NodeIndex node) {
      return projected[node].depth + 0.02 * graph_.degree(node);
    };
    std::stable_sort(picture_.draw_order.begin(), picture_.draw_order.end(),
                     [&rank](NodeIndex left, NodeIndex right) { return rank(left) < rank(right); });
  }

  void add_edges() {
    const std::size_t drawn = std::min(graph_.edges.size(), kDrawnEdgesMax);
    // About the same amount of ink, however many edges there are.
    const double alpha = std::clamp(44.0 / std::sqrt(static_cast<double>(drawn) + 1.0), 0.05, 0.6);
    picture_.edge_width_px = std::max(0.5, 0.9 * unit_px_);
    for (const Color& left : kPalette) {
      for (const Color& right : kPalette) {
        picture_.edge_styles.push_back(mixed(left, right, &left == &right ? alpha : 0.36 * alpha));
      }
    }
    constexpr auto kColors = static_cast<std::uint32_t>(kPalette.size());
    for (std::size_t place = 0; place < drawn; ++place) {
      const Edge& edge = graph_.edges[place * graph_.edges.size() / drawn];
      const std::uint32_t source = palette_index(communities_, edge.source);
      const std::uint32_t target = palette_index(communities_, edge.target);
      picture_.edges.push_back({edge.source, edge.target,
                                std::min(source, target) * kColors + std::max(source, target)});
    }
    // Links between communities are drawn below those inside one, which carry the structure.
    const auto rank = [](const DrawnEdge& edge) {
      const bool inside = edge.style / kColors == edge.style % kColors;
      return edge.style + (inside ? kColors * kColors : 0);
    };
    std::stable_sort(picture_.edges.begin(), picture_.edges.end(),
                     [&rank](const DrawnEdge& left, const DrawnEdge& right) {
                       return rank(left) < rank(right);
                     });
  }

  void add_texts() {
    picture_.title = printable_text(content_.name, kTitleWidthMax);
    picture_.subtitle = format_count(graph_.node_count) + " nodes  \xC2\xB7  " +
                        format_count(graph_.edges.size()) + " edges  \xC2\xB7  " +
                        format_count(content_.steps) + " steps";
    if (picture_.edges.size() < graph_.edges.size()) {
      picture_.subtitle += "  \xC2\xB7  " + format_count(picture_.edges.size()) + " edges drawn";
    }
    std::vector<LabelRequest> requests;
    for (const NodeIndex hub : top_hubs(graph_, options_.label_count)) {
      const std::string name =
          content_.names.empty() ? std::to_string(hub + 1) : content_.names[hub];
      const std::string text = printable_text(name, kLabelWidthMax);
      const TextSize size = measure_label(text, picture_.text_px);
      requests.push_back({hub, text, picture_.nodes[hub].at, picture_.nodes[hub].radius_px,
                          size.width_px, size.height_px});
    }
    const double margin = 8.0 * unit_px_;
    picture_.labels =
        place_labels(requests, {margin, margin + 4.0 * picture_.text_px, picture_.width_px - margin,
                                picture_.height_px - margin});
  }

  const Graph& graph_;
  const PictureContent& content_;
  const PictureOptions& options_;
  double unit_px_ = 1.0;
  Communities communities_;
  Picture picture_;
};

}  // namespace

Picture compose_picture(const Graph& graph, const PictureContent& content,
                        const PictureOptions& options) {
  return Composer(graph, content, options).compose();
}

}  // namespace ackbus::tools
