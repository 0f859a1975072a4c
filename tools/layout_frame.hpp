// The picture's positions: the newest frame of a queue's frames segment, in the order of the
// graph's nodes. Data flow: the daemon's descriptor of the segment -> a read-only mapping -> a
// checked copy. The segment's writer is another process: nothing of it is trusted. Threads: one.
#pragma once

#include <ackbus/error.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools/daemon_query.hpp"
#include "tools/graph.hpp"

namespace ackbus::tools {

struct LayoutFrame {
  std::uint64_t step = 0;           // Steps since the simulation began.
  std::vector<Position> positions;  // By node id, one for each node.
};

// A look at a mapped frames segment. Errors: kNotFound when it holds no frame yet, kProtocol when
// it is no frames segment or holds another graph than one of `node_count` nodes with ids 0 to
// node_count - 1.
[[nodiscard]] Result<LayoutFrame> read_frame(std::span<const std::byte> segment,
                                             std::uint32_t node_count);

// Waits for a frame of at least `step` steps: a GPU process that took over meanwhile may still have
// to publish what its predecessor had computed. Errors: the last look's when the time is up.
[[nodiscard]] Result<LayoutFrame> await_frame(const CommonOptions& common, const std::string& queue,
                                              std::uint32_t node_count, std::uint64_t step);

}  // namespace ackbus::tools
