// Zeroed memory for one segment, aligned like a mapping, on the heap: what a memfd gives a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "shm_layout/assert.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::test {

class SegmentMemory {
 public:
  explicit SegmentMemory(std::uint64_t bytes)
      : base_(static_cast<std::byte*>(std::aligned_alloc(4096, bytes)), &std::free), bytes_(bytes) {
    ACKBUS_ASSERT(base_ != nullptr);
    std::memset(base_.get(), 0, bytes);
  }
  [[nodiscard]] std::byte* base() const { return base_.get(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> base_;
  std::uint64_t bytes_;
};

}  // namespace ackbus::test
