// A segment as the daemon maps it, and what it does to the descriptor: seal it when its writer has
// mapped it, reopen it read-only for readers. Mapping is Boost.Interprocess over the memfd.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>

#include "daemon/result.hpp"
#include "daemon/unique_fd.hpp"

namespace ackbus::daemon {

class SegmentMap {
 public:
  SegmentMap() = default;
  [[nodiscard]] static Result<SegmentMap> map(int fd, std::uint64_t bytes, bool writable);
  [[nodiscard]] std::byte* base() const { return static_cast<std::byte*>(region_.get_address()); }
  [[nodiscard]] std::uint64_t bytes() const { return region_.get_size(); }
  explicit operator bool() const { return region_.get_address() != nullptr; }

 private:
  explicit SegmentMap(boost::interprocess::mapped_region region) : region_(std::move(region)) {}
  boost::interprocess::mapped_region region_;
};

// No new writable mapping, no further seal: the writer's mapping goes on, everybody else reads.
// Doing it twice is fine.
[[nodiscard]] Result<void> seal_for_readers(int fd);
// The same memory through a descriptor that the kernel refuses to map writable.
[[nodiscard]] Result<UniqueFd> reopen_read_only(int fd);

// A pipe that carries wake-up bytes. The two ends are separate descriptions, both non-blocking; the
// ringing end is opened for reading too, so that a dead peer costs the ringer an unread byte
// instead of SIGPIPE (docs/adr/0002).
struct BellPipe {
  UniqueFd rung;
  UniqueFd ring;
};
[[nodiscard]] Result<BellPipe> make_bell_pipe();

}  // namespace ackbus::daemon
