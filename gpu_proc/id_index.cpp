#include "gpu_proc/id_index.hpp"

#include <algorithm>

namespace ackbus::gpu {

std::optional<std::uint32_t> IdIndex::build(std::span<const std::uint32_t> ids) {
  sorted_.resize(ids.size());
  for (std::size_t place = 0; place < ids.size(); ++place) {
    sorted_[place] = std::uint64_t{ids[place]} << 32 | place;
  }
  if (!std::is_sorted(sorted_.begin(), sorted_.end())) std::sort(sorted_.begin(), sorted_.end());
  const auto twice = std::adjacent_find(
      sorted_.begin(), sorted_.end(),
      [](std::uint64_t left, std::uint64_t right) { return left >> 32 == right >> 32; });
  if (twice == sorted_.end()) return std::nullopt;
  const auto id = static_cast<std::uint32_t>(*twice >> 32);
  sorted_.clear();
  return id;
}

std::optional<std::uint32_t> IdIndex::find(std::uint32_t id) const {
  // Ids 0 to n - 1 in order lie at their own place.
  if (id < sorted_.size() && sorted_[id] >> 32 == id) {
    return static_cast<std::uint32_t>(sorted_[id] & 0xFFFFFFFF);
  }
  const auto found = std::lower_bound(sorted_.begin(), sorted_.end(), std::uint64_t{id} << 32);
  if (found == sorted_.end() || *found >> 32 != id) return std::nullopt;
  return static_cast<std::uint32_t>(*found & 0xFFFFFFFF);
}

}  // namespace ackbus::gpu
