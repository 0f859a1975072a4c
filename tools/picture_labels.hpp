// Places for the names in a picture: near what they name, inside the area, never over each other.
// Data flow: boxes wanted in, places out. Threads: pure function.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/picture_projection.hpp"

namespace ackbus::tools {

// A name to be placed, most important first.
struct LabelRequest {
  NodeIndex node = 0;
  std::string text;
  Point anchor;            // The middle of the node named.
  double radius_px = 0.0;  // The node's radius, which the label keeps free.
  double width_px = 0.0;   // The size of the drawn text with its halo.
  double height_px = 0.0;
};

struct Label {
  NodeIndex node = 0;
  std::string text;
  Point anchor;
  double radius_px = 0.0;
  Rectangle box;          // Where the text with its halo goes.
  bool is_apart = false;  // So far from its node that a line should lead there.
};

// Places each label as near to its anchor as the labels before it and the named nodes allow. All
// boxes lie inside `area` and do not overlap. A label is left out only when no free place of its
// size remains in the whole area.
[[nodiscard]] std::vector<Label> place_labels(std::span<const LabelRequest> requests,
                                              const Rectangle& area);

}  // namespace ackbus::tools
