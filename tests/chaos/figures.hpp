// What the daemon says of itself, against what must be: its counters against the journals, and its
// descriptors and memory against what they were before anybody came. Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/chaos/stage.hpp"
#include "tests/chaos/verifier.hpp"

namespace ackbus::chaos {

// The kinds of a chaos run as the configuration and the metrics page name them.
[[nodiscard]] const std::map<std::uint16_t, std::string>& kind_names();

// Counters that differ, a line each: "NAME{LABELS}: 5 instead of 4". `compared` counts all.
[[nodiscard]] std::vector<std::string> compare_counters(
    const std::string& page, const std::map<std::uint16_t, Expected>& expected,
    std::uint64_t& compared);

// Of a bus with no client.
struct Holdings {
  std::uint64_t daemon_descriptors = 0;
  std::uint64_t stored_descriptors = 0;
  std::uint64_t stored_bytes = 0;   // of the segments in the store
  std::uint64_t mapped_bytes = 0;   // of segments in the daemon's address space
  std::uint64_t counted_bytes = 0;  // by the daemon: submission, ack and tracking
  std::uint64_t letter_files = 0;   // in the dead-letter directory, after all letters were purged
};
[[nodiscard]] Holdings read_holdings(const Stage& stage);

}  // namespace ackbus::chaos
