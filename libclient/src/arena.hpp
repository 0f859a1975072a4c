// Payload memory of one link: hands out ranges of the arena, best fit, coalescing on return. The
// books are private to the producer; only the payload bytes are shared. Not thread-safe: the
// handle's lock covers it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace ackbus {

class Arena {
 public:
  explicit Arena(std::uint64_t bytes = 0);
  // The offset of `bytes` bytes, aligned to a cache line; nullopt when no free range is large
  // enough.
  [[nodiscard]] std::optional<std::uint64_t> allocate(std::uint64_t bytes);
  // `bytes` as given to allocate().
  void release(std::uint64_t offset, std::uint64_t bytes);
  [[nodiscard]] std::uint64_t capacity() const { return capacity_; }
  [[nodiscard]] std::uint64_t free_bytes() const { return free_bytes_; }

 private:
  void insert(std::uint64_t offset, std::uint64_t bytes);
  void erase(std::map<std::uint64_t, std::uint64_t>::iterator range);

  std::uint64_t capacity_;
  std::uint64_t free_bytes_ = 0;
  std::map<std::uint64_t, std::uint64_t> by_offset_;            // offset -> bytes
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_bytes_;  // (bytes, offset)
};

}  // namespace ackbus
