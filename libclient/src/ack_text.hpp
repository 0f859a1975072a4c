// An ack's text and metadata in shared memory: the text, then pairs of [key length u16][value
// length u16][key][value]. Written by the consumer, read by the producer, who trusts none of the
// lengths.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shm_layout/ack.hpp"

namespace ackbus {

using Metadata = std::vector<std::pair<std::string, std::string>>;

struct AckTextWritten {
  std::uint32_t lengths = 0;  // low 16: text, high 16: metadata
  bool cut = false;
};

// Cuts what does not fit: the text first to what is there, then whole pairs.
AckTextWritten write_ack_text(layout::AckText& words, std::string_view text,
                              std::span<const std::pair<std::string, std::string>> metadata);
// Reads as far as the lengths make sense.
void read_ack_text(const layout::AckText& words, std::uint32_t lengths, std::string& text,
                   Metadata& metadata);

}  // namespace ackbus
