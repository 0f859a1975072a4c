// A fuzzer's bytes as decisions: each call takes from the front, and an input that has ended gives
// zeros, so every input is a whole scenario and a prefix of an input is one too. Header-only, used
// by every harness; one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "shm_layout/assert.hpp"

namespace ackbus::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : bytes_(reinterpret_cast<const std::byte*>(data), size) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  [[nodiscard]] std::size_t left() const { return bytes_.size(); }

  template <typename Value>
  Value take() {
    static_assert(std::is_trivially_copyable_v<Value>);
    Value value{};
    const std::span<const std::byte> got = bytes(sizeof(Value));
    if (!got.empty()) {
      std::memcpy(&value, got.data(), got.size());
    }
    return value;
  }
  std::uint8_t byte() { return take<std::uint8_t>(); }
  bool flag() { return (byte() & 1) != 0; }
  // 0 to limit - 1; limit is 1 or more. Small limits cost one byte of the input.
  std::uint64_t below(std::uint64_t limit) {
    ACKBUS_ASSERT(limit > 0);
    return limit <= 256 ? byte() % limit
                        : (limit <= 65536 ? take<std::uint16_t>() : take<std::uint64_t>()) % limit;
  }
  // At most so many bytes, fewer at the end.
  std::span<const std::byte> bytes(std::size_t count) {
    const std::span<const std::byte> got = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(got.size());
    return got;
  }
  std::span<const std::byte> rest() { return bytes(bytes_.size()); }
  std::string text(std::size_t length_max) {
    const std::span<const std::byte> got = bytes(below(length_max + 1));
    return std::string(reinterpret_cast<const char*>(got.data()), got.size());
  }
  std::string rest_as_text() {
    const std::span<const std::byte> got = rest();
    return std::string(reinterpret_cast<const char*>(got.data()), got.size());
  }
  // A number of the sort that breaks arithmetic, or one near `near`, which the scenario knows.
  std::uint64_t word(std::uint64_t near) {
    const std::uint64_t small = byte();
    switch (below(8)) {
      case 0:
        return small & 15;
      case 1:
        return near + (small & 15) - 4;
      case 2:
        return near;
      case 3:
        return UINT64_MAX - (small & 15);
      case 4:
        return std::uint64_t{1} << (small & 63);
      case 5:
        return (std::uint64_t{1} << (small & 63)) - 1;
      case 6:
        return small;
      default:
        return take<std::uint64_t>();
    }
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace ackbus::fuzz

// What every harness defines and what runs it: libFuzzer, or replay_main.cpp over kept files.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
