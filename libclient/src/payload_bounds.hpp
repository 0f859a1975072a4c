// How small and how large a bus wants the payloads of its kinds: [[kind]] min_payload_bytes and
// max_payload_bytes, as the rows of the bus segment say. Data flow: rows -> this -> a producer's
// claim, and a consumer's look at each message of such a kind before its handler sees it (a
// producer's memory is hostile). Threads: a plain value, its owner's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ackbus {

class PayloadBounds {
 public:
  // Takes in what a kind's row says; 0 is no bound. True when the kind has one.
  bool add(std::uint32_t kind, const std::string& name, std::uint64_t min_bytes,
           std::uint64_t max_bytes);
  // A bit per kind that has a bound.
  [[nodiscard]] std::uint64_t kinds() const { return kinds_; }
  // What is wrong with a payload of so many bytes, as one line that names the kind and the option;
  // nothing when it may be sent and run.
  [[nodiscard]] std::optional<std::string> problem(std::uint32_t kind, std::uint64_t bytes) const;

 private:
  struct Bound {
    std::uint32_t kind = 0;
    std::string name;
    std::uint64_t min_bytes = 0;
    std::uint64_t max_bytes = 0;  // 0: none
  };
  std::uint64_t kinds_ = 0;
  std::vector<Bound> bounds_;  // one per bit
};

}  // namespace ackbus
