// Where the engine's shared segments come from. The worker implements it over the bus (the daemon
// makes the memory), tests over the heap. Called from the engine's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ackbus::gpu {

enum class SegmentRole : std::uint32_t {
  kReserved = 0,
  kState = 1,   // For the successor.
  kFrames = 2,  // For readers of positions.
};

class SegmentProvider {
 public:
  SegmentProvider() = default;
  virtual ~SegmentProvider() = default;
  SegmentProvider(const SegmentProvider&) = delete;
  SegmentProvider& operator=(const SegmentProvider&) = delete;

  // A zeroed, writable segment of at least `bytes`, aligned to 64, not yet seen by anybody else;
  // empty when there is no memory for it. The published segment of that role stays mapped and
  // valid. A created segment that was not published is dropped by the next create of its role.
  virtual std::span<std::byte> create(SegmentRole role, std::size_t bytes) = 0;
  // The created segment takes the place of the published one, whose memory may then go away.
  // Everything that must be in it has been written. Where that fails the provider sees to it that
  // nothing more is answered in this life.
  virtual void publish(SegmentRole role) = 0;
  // Why the last create gave nothing, as text for the Failed ack; may be empty.
  [[nodiscard]] virtual std::string failure() const { return {}; }
};

}  // namespace ackbus::gpu
