#include "libclient/src/payload_bounds.hpp"

#include <algorithm>

namespace ackbus {

bool PayloadBounds::add(std::uint32_t kind, const std::string& name, std::uint64_t min_bytes,
                        std::uint64_t max_bytes) {
  if (min_bytes == 0 && max_bytes == 0) {
    return false;
  }
  kinds_ |= 1ULL << kind;
  bounds_.push_back({kind, name, min_bytes, max_bytes});
  return true;
}

std::optional<std::string> PayloadBounds::problem(std::uint32_t kind, std::uint64_t bytes) const {
  const auto found = std::find_if(bounds_.begin(), bounds_.end(),
                                  [&](const Bound& bound) { return bound.kind == kind; });
  if (found == bounds_.end()) {
    return std::nullopt;
  }
  const bool small = bytes < found->min_bytes;
  const bool large = found->max_bytes != 0 && bytes > found->max_bytes;
  if (!small && !large) {
    return std::nullopt;
  }
  return "a payload of " + std::to_string(bytes) + " bytes is " +
         (small ? "less than min_payload_bytes = " + std::to_string(found->min_bytes)
                : "more than max_payload_bytes = " + std::to_string(found->max_bytes)) +
         " of kind " + found->name + ": send what its [[kind]] allows, or change it there";
}

}  // namespace ackbus
