// Greedy placing: rings of candidates around the anchor, then a scan of the whole area.
#include "tools/picture_labels.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

namespace ackbus::tools {
namespace {

constexpr int kRings = 14;
constexpr int kAngles = 24;
constexpr double kGap_px = 5.0;  // Between a node's rim and its label, and between labels.
constexpr double kRingStep_px = 14.0;
constexpr int kApartFromRing = 2;
constexpr int kScanSteps = 100;  // Positions tried along each axis of the area.

Rectangle grown(const Rectangle& box, double by_px) {
  return {box.left - by_px, box.top - by_px, box.right + by_px, box.bottom + by_px};
}

Rectangle disc_box(const LabelRequest& request) {
  return grown({request.anchor.x, request.anchor.y, request.anchor.x, request.anchor.y},
               request.radius_px);
}

class Placer {
 public:
  Placer(std::span<const LabelRequest> requests, const Rectangle& area)
      : requests_(requests), area_(area) {}

  std::vector<Label> place() {
    for (const LabelRequest& request : requests_) {
      if (!place_around(request)) place_anywhere(request);
    }
    return labels_;
  }

 private:
  [[nodiscard]] bool is_clear(const Rectangle& box, bool keep_nodes_free) const {
    if (!area_.contains(box)) return false;
    const Rectangle spaced = grown(box, kGap_px);
    for (const Label& label : labels_) {
      if (label.box.overlaps(spaced)) return false;
    }
    if (!keep_nodes_free) return true;
    for (const LabelRequest& request : requests_) {
      if (disc_box(request).overlaps(box)) return false;
    }
    return true;
  }

  void add(const LabelRequest& request, const Rectangle& box, bool is_apart) {
    labels_.push_back(
        {request.node, request.text, request.anchor, request.radius_px, box, is_apart});
  }

  bool place_around(const LabelRequest& request) {
    for (int ring = 0; ring < kRings; ++ring) {
      for (int turn = 0; turn < kAngles; ++turn) {
        // Right, left, then further up and down: names read best beside what they name.
        const int quarter = (turn + 1) / 2 * (turn % 2 == 0 ? 1 : -1);
        const double angle = 2.0 * std::numbers::pi * quarter / kAngles;
        const double reach = request.radius_px + kGap_px + ring * kRingStep_px;
        const Point middle{request.anchor.x + std::cos(angle) * (reach + 0.5 * request.width_px),
                           request.anchor.y + std::sin(angle) * (reach + 0.5 * request.height_px)};
        const Rectangle box = box_around(middle, request);
        if (!is_clear(box, true)) continue;
        add(request, box, ring >= kApartFromRing);
        return true;
      }
    }
    return false;
  }

  // The clear place nearest to the anchor on a fine grid; over a named node when there is no other.
  void place_anywhere(const LabelRequest& request) {
    for (const bool keep_nodes_free : {true, false}) {
      std::optional<Rectangle> nearest;
      double nearest_distance = std::numeric_limits<double>::infinity();
      for (int step = 0; step < kScanSteps * kScanSteps; ++step) {
        const int column = step % kScanSteps;
        const int row = step / kScanSteps;
        const Point middle{area_.left + (area_.right - area_.left) * column / (kScanSteps - 1),
                           area_.top + (area_.bottom - area_.top) * row / (kScanSteps - 1)};
        const double distance =
            std::hypot(middle.x - request.anchor.x, middle.y - request.anchor.y);
        const Rectangle box = box_around(middle, request);
        if (distance >= nearest_distance || !is_clear(box, keep_nodes_free)) continue;
        nearest = box;
        nearest_distance = distance;
      }
      if (!nearest) continue;
      add(request, *nearest, true);
      return;
    }
  }

  static Rectangle box_around(const Point& middle, const LabelRequest& request) {
    return {middle.x - 0.5 * request.width_px, middle.y - 0.5 * request.height_px,
            middle.x + 0.5 * request.width_px, middle.y + 0.5 * request.height_px};
  }

  std::span<const LabelRequest> requests_;
  Rectangle area_;
  std::vector<Label> labels_;
};

}  // namespace

std::vector<Label> place_labels(std::span<const LabelRequest> requests, const Rectangle& area) {
  return Placer(requests, area).place();
}

}  // namespace ackbus::tools
