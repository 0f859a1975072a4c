#include "gpu_proc/applied_table.hpp"

#include <algorithm>

namespace ackbus::gpu {
namespace {
constexpr std::uint64_t kWindow = 64;
}

bool AppliedTable::contains(std::uint64_t link, std::uint64_t sequence) const {
  for (const layout::StateLink& entry : links_) {
    if (entry.link != link) continue;
    if (sequence == entry.sequence) return true;
    if (sequence > entry.sequence || entry.sequence - sequence > kWindow) return false;
    return (entry.window >> (entry.sequence - sequence - 1) & 1) != 0;
  }
  return false;
}

layout::StateLink& AppliedTable::place_for(std::uint64_t link) {
  for (layout::StateLink& entry : links_) {
    if (entry.link == link) return entry;
  }
  if (links_.size() < layout::kStateMaxLinks)
    return links_.emplace_back(layout::StateLink{link, 0, 0, 0});
  const auto oldest =
      std::min_element(links_.begin(), links_.end(),
                       [](const layout::StateLink& left, const layout::StateLink& right) {
                         return left.last_use < right.last_use;
                       });
  *oldest = {link, 0, 0, 0};
  return *oldest;
}

void AppliedTable::record(std::uint64_t link, std::uint64_t sequence) {
  layout::StateLink& entry = place_for(link);
  entry.last_use = ++clock_;
  if (sequence > entry.sequence) {
    const std::uint64_t ahead = sequence - entry.sequence;
    // The old highest becomes bit ahead - 1; a shift by 64 or more would be undefined, and leaves
    // nothing.
    entry.window = ahead < kWindow ? entry.window << ahead : 0;
    if (entry.sequence != 0 && ahead <= kWindow) entry.window |= std::uint64_t{1} << (ahead - 1);
    entry.sequence = sequence;
  } else if (sequence < entry.sequence && entry.sequence - sequence <= kWindow) {
    entry.window |= std::uint64_t{1} << (entry.sequence - sequence - 1);
  }
}

void AppliedTable::assign(std::vector<layout::StateLink> links) {
  links_ = std::move(links);
  clock_ = 0;
  for (const layout::StateLink& entry : links_) clock_ = std::max(clock_, entry.last_use);
}

}  // namespace ackbus::gpu
