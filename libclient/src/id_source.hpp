// Message ids in blocks: asking OpenSSL for 4 KiB at a time makes 256 ids, and each of them then
// costs a copy of 16 bytes. A block never outlives a fork: a child that went on with a copy of its
// parent's block would give its parent's ids. Not synchronised: a thread or a handle's lock owns
// it.
#pragma once

#include <ackbus/message_id.hpp>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ackbus {

class IdSource {
 public:
  // A new version 4 UUID (RFC 4122, section 4.4). Ends the process when the system has no
  // randomness.
  [[nodiscard]] MessageId next() {
    // relaxed because only a fork changes it, and a child starts with what the forking thread saw
    const std::uint32_t generation = fork_generation_.load(std::memory_order_relaxed);
    if (next_ == kIds || generation != generation_) {
      refill();
    }
    return ids_[next_++];
  }

 private:
  static constexpr std::size_t kBlockBytes = 4096;
  static constexpr std::size_t kIds = kBlockBytes / MessageId::kByteCount;

  static bool watch_forks();
  static void begin_new_generation();
  void refill();

  // Moves on in every child process; 0 is none, so a new block counts as used up.
  static inline std::atomic<std::uint32_t> fork_generation_{1};

  std::size_t next_ = kIds;
  std::uint32_t generation_ = 0;
  std::array<MessageId, kIds> ids_{};
};

}  // namespace ackbus
