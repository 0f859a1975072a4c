// A 64-bit checksum of plain bytes, for data that another process wrote and may have left half
// written. It finds torn and corrupted data, it does not authenticate. Written and read in 8-byte
// words, so that shared memory can be summed while it is copied word by word. Pure arithmetic, any
// thread, host and device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "shm_layout/cell.hpp"

namespace ackbus::layout {

class Checksum {
 public:
  // One word. The order of words counts.
  ACKBUS_HD void add_word(std::uint64_t word) {
    const std::uint64_t mixed = (state_ ^ word) * 0x9E3779B97F4A7C15ULL;
    state_ = mixed ^ (mixed >> 29);
  }
  // Private bytes; a rest shorter than a word is filled with zeros, then the length follows.
  void add(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    std::size_t done = 0;
    for (; done + sizeof(std::uint64_t) <= bytes; done += sizeof(std::uint64_t)) {
      std::uint64_t word;
      std::memcpy(&word, at + done, sizeof(word));
      add_word(word);
    }
    std::uint64_t rest = 0;
    if (done < bytes) std::memcpy(&rest, at + done, bytes - done);
    add_word(rest);
    add_word(bytes);
  }
  ACKBUS_HD [[nodiscard]] std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0x61636B6275733031ULL;  // Any non-zero start: zeros must not sum to zero.
};

}  // namespace ackbus::layout
