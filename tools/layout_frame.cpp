#include "tools/layout_frame.hpp"

#include <chrono>
#include <cmath>
#include <optional>
#include <thread>
#include <utility>

#include "shm_layout/frames.hpp"

namespace ackbus::tools {
namespace {

using layout::FrameReadResult;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kFrameTimeout{30};
constexpr std::chrono::milliseconds kFramePeriod{20};

Error error_of(FrameReadResult result) {
  switch (result) {
    case FrameReadResult::kNoFrame:
      return {ErrorCode::kNotFound, "the frames segment holds no frame yet"};
    case FrameReadResult::kBusy:
      return {ErrorCode::kTimeout, "the frames segment is rewritten faster than it can be read"};
    case FrameReadResult::kTooSmall:
      return {ErrorCode::kProtocol,
              "the frames segment holds a larger graph: another producer uses this queue too"};
    default:
      return {ErrorCode::kProtocol, "the frames segment's content contradicts itself"};
  }
}

// Puts each position at its node's place; nothing when an id is out of range or comes twice.
std::optional<std::vector<Position>> by_id(const std::vector<std::uint32_t>& ids,
                                           const std::vector<float>& places) {
  std::vector<Position> positions(ids.size());
  std::vector<bool> seen(ids.size(), false);
  for (std::size_t index = 0; index < ids.size(); ++index) {
    const std::uint32_t id = ids[index];
    if (id >= ids.size() || seen[id]) {
      return std::nullopt;
    }
    seen[id] = true;
    positions[id] = {places[3 * index], places[3 * index + 1], places[3 * index + 2]};
  }
  return positions;
}

Result<LayoutFrame> open_and_read(const CommonOptions& common, const std::string& queue,
                                  std::uint32_t node_count) {
  Result<DaemonSession> session = DaemonSession::open(common);
  if (!session) {
    return session.error();
  }
  const Result<std::optional<Segment>> segment =
      session->tool().open_segment(queue, SegmentKind::kFrames, Clock::now() + kQueryTimeout);
  if (!segment) {
    return segment.error();
  }
  if (!segment->has_value()) {
    return Error{ErrorCode::kNotFound, "queue " + queue + " has no frames segment: its consumer " +
                                           "is no ackbus-gpu, or has no graph"};
  }
  return read_frame(segment.value()->bytes(), node_count);
}

}  // namespace

Result<LayoutFrame> read_frame(std::span<const std::byte> segment, std::uint32_t node_count) {
  std::vector<std::uint32_t> ids(node_count);
  std::vector<float> places(std::size_t{3} * node_count);
  std::uint64_t id_count = 0;
  std::uint64_t id_generation = 0;
  layout::FrameInfo info{};
  FrameReadResult result = layout::copy_latest_frame(segment.data(), segment.size(), places.data(),
                                                     nullptr, node_count, info);
  if (result == FrameReadResult::kOk) {
    result = layout::copy_node_ids(segment.data(), segment.size(), ids.data(), node_count, id_count,
                                   id_generation);
  }
  if (result != FrameReadResult::kOk) {
    return error_of(result);
  }
  if (info.node_count != node_count || id_count != node_count || id_generation != info.generation) {
    return Error{ErrorCode::kProtocol,
                 "the frames segment holds another graph: another producer uses this queue too"};
  }
  std::optional<std::vector<Position>> positions = by_id(ids, places);
  if (!positions) {
    return Error{ErrorCode::kProtocol,
                 "the frames segment names other nodes: another producer uses this queue too"};
  }
  return LayoutFrame{info.step, std::move(*positions)};
}

Result<LayoutFrame> await_frame(const CommonOptions& common, const std::string& queue,
                                std::uint32_t node_count, std::uint64_t step) {
  const Clock::time_point deadline = Clock::now() + kFrameTimeout;
  for (;;) {
    Result<LayoutFrame> frame = open_and_read(common, queue, node_count);
    if (frame && frame->step >= step) {
      return frame;
    }
    if (Clock::now() >= deadline) {
      return frame ? Result<LayoutFrame>(Error{ErrorCode::kTimeout,
                                               "the newest frame is of step " +
                                                   std::to_string(frame->step) +
                                                   ", not yet of step " + std::to_string(step)})
                   : frame;
    }
    std::this_thread::sleep_for(kFramePeriod);
  }
}

}  // namespace ackbus::tools
