#include "libclient/src/ack_text.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace ackbus {
namespace {

constexpr std::size_t kBytes = layout::kAckTextBytesMax;
constexpr std::size_t kPairHead = 2 * sizeof(std::uint16_t);

std::uint16_t load_u16(const char* from) {
  std::uint16_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

void store_u16(char* to, std::size_t value) {
  const auto narrow = static_cast<std::uint16_t>(value);
  std::memcpy(to, &narrow, sizeof(narrow));
}

}  // namespace

AckTextWritten write_ack_text(layout::AckText& words, std::string_view text,
                              std::span<const std::pair<std::string, std::string>> metadata) {
  std::array<char, kBytes> buffer{};
  AckTextWritten written;
  const std::size_t text_bytes = std::min(text.size(), kBytes);
  written.cut = text_bytes < text.size();
  std::memcpy(buffer.data(), text.data(), text_bytes);
  std::size_t at = text_bytes;
  for (const auto& [key, value] : metadata) {
    if (kPairHead + key.size() + value.size() > kBytes - at) {
      written.cut = true;
      break;
    }
    store_u16(buffer.data() + at, key.size());
    store_u16(buffer.data() + at + sizeof(std::uint16_t), value.size());
    std::memcpy(buffer.data() + at + kPairHead, key.data(), key.size());
    std::memcpy(buffer.data() + at + kPairHead + key.size(), value.data(), value.size());
    at += kPairHead + key.size() + value.size();
  }
  written.lengths =
      static_cast<std::uint32_t>(text_bytes) | static_cast<std::uint32_t>(at - text_bytes) << 16;
  for (std::size_t i = 0; i < (at + 7) / 8; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, buffer.data() + i * 8, 8);
    words.words[i].store_relaxed(word);  // relaxed because the record's `acked` publishes the text
  }
  return written;
}

void read_ack_text(const layout::AckText& words, std::uint32_t lengths, std::string& text,
                   Metadata& metadata) {
  const std::size_t text_bytes = std::min<std::size_t>(lengths & 0xffffU, kBytes);
  const std::size_t end = std::min<std::size_t>(text_bytes + (lengths >> 16), kBytes);
  std::array<char, kBytes> buffer{};
  for (std::size_t i = 0; i < (end + 7) / 8; ++i) {
    const std::uint64_t word =
        words.words[i].load_relaxed();  // relaxed because the ack place brought the text
    std::memcpy(buffer.data() + i * 8, &word, 8);
  }
  text.assign(buffer.data(), text_bytes);
  metadata.clear();
  std::size_t at = text_bytes;
  while (end - at >= kPairHead) {
    const std::size_t key = load_u16(buffer.data() + at);
    const std::size_t value = load_u16(buffer.data() + at + sizeof(std::uint16_t));
    if (key + value > end - at - kPairHead) {
      break;
    }
    const char* pair = buffer.data() + at + kPairHead;
    metadata.emplace_back(std::string(pair, key), std::string(pair + key, value));
    at += kPairHead + key + value;
  }
}

}  // namespace ackbus
