#include "libclient/src/arena.hpp"

#include <iterator>

#include "shm_layout/assert.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/segment.hpp"

namespace ackbus {

Arena::Arena(std::uint64_t bytes) : capacity_(bytes) {
  if (bytes > 0) {
    insert(0, bytes);
  }
}

std::optional<std::uint64_t> Arena::allocate(std::uint64_t bytes) {
  if (bytes == 0 || bytes > capacity_) {
    return std::nullopt;
  }
  const std::uint64_t wanted = layout::align_up(bytes, layout::kArenaAlignBytes);
  const auto best = by_bytes_.lower_bound({wanted, 0});
  if (best == by_bytes_.end()) {
    return std::nullopt;
  }
  const auto [range_bytes, offset] = *best;
  erase(by_offset_.find(offset));
  if (range_bytes > wanted) {
    insert(offset + wanted, range_bytes - wanted);
  }
  return offset;
}

void Arena::release(std::uint64_t offset, std::uint64_t bytes) {
  std::uint64_t start = offset;
  std::uint64_t length = layout::align_up(bytes, layout::kArenaAlignBytes);
  auto next = by_offset_.lower_bound(offset);
  ACKBUS_ASSERT(next == by_offset_.end() || next->first >= offset + length);
  if (next != by_offset_.end() && next->first == offset + length) {
    length += next->second;
    const auto merged = next++;
    erase(merged);
  }
  if (next != by_offset_.begin()) {
    const auto previous = std::prev(next);
    ACKBUS_ASSERT(previous->first + previous->second <= offset);
    if (previous->first + previous->second == offset) {
      start = previous->first;
      length += previous->second;
      erase(previous);
    }
  }
  insert(start, length);
}

void Arena::insert(std::uint64_t offset, std::uint64_t bytes) {
  by_offset_.emplace(offset, bytes);
  by_bytes_.emplace(bytes, offset);
  free_bytes_ += bytes;
}

void Arena::erase(std::map<std::uint64_t, std::uint64_t>::iterator range) {
  by_bytes_.erase({range->second, range->first});
  free_bytes_ -= range->second;
  by_offset_.erase(range);
}

}  // namespace ackbus
