// A consumer's state and frames segments: made by the daemon on request, published when they are
// whole. Threads: that of the consumer's calls.
#include <memory>
#include <utility>

#include "libclient/src/consumer_core.hpp"

namespace ackbus {

using layout::ControlType;

namespace {

layout::SegmentRole role_of(SegmentKind kind) {
  return kind == SegmentKind::kState ? layout::SegmentRole::kState : layout::SegmentRole::kFrames;
}

layout::SegmentMessage segment_request(ControlType type, std::uint32_t request, SegmentKind kind,
                                       std::uint64_t bytes, std::uint64_t epoch) {
  layout::SegmentMessage message{};
  message.header = layout::control_header<layout::SegmentMessage>(type, request);
  message.role = static_cast<std::uint32_t>(role_of(kind));
  message.bytes = bytes;
  message.epoch = epoch;
  return message;
}

}  // namespace

// Sends a numbered request and waits for its answer; what else the daemon says meanwhile is heard.
Result<ControlPacket> ConsumerCore::ask(const layout::SegmentMessage& message,
                                        std::uint64_t deadline_ns) {
  if (!control.send(message)) {
    return Error{ErrorCode::kDisconnected,
                 "the daemon is away: this life and its segments end with it; make the segment "
                 "anew in the next one"};
  }
  for (;;) {
    ControlPacket packet;
    const ReceiveState state = control.receive(packet);
    if (state == ReceiveState::kNothing) {
      if (!control.wait_readable(deadline_ns)) {
        return Error{ErrorCode::kTimeout, "the daemon did not answer in time about the segment"};
      }
      continue;
    }
    if (state != ReceiveState::kPacket) {
      lose_control();
      return Error{ErrorCode::kDisconnected,
                   "the daemon hung up: this life and its segments ended with it; make the segment "
                   "anew in the next one"};
    }
    if (packet.header().request != message.header.request) {
      handle_control(packet);
      continue;
    }
    if (packet.type() == ControlType::kSegment) {
      return packet;
    }
    return refused_error(packet);
  }
}

Result<Segment> ConsumerCore::create_segment(SegmentKind kind, std::uint64_t bytes,
                                             std::uint64_t deadline_ns) {
  const Result<ControlPacket> packet =
      ask(segment_request(ControlType::kCreateSegment, ++request, kind, bytes, epoch), deadline_ns);
  if (!packet) {
    return packet.error();
  }
  layout::SegmentMessage made{};
  if (!packet->as(made) || packet->descriptors.size() != 1 || made.bytes < bytes) {
    return Error{ErrorCode::kProtocol, "the daemon made another segment than was asked for"};
  }
  Result<Mapping> mapping = Mapping::map(packet->descriptors[0].get(), made.bytes, true);
  if (!mapping) {
    return mapping.error();
  }
  auto kept = std::make_shared<Mapping>(std::move(*mapping));
  const std::span<std::byte> span = kept->span();
  return Segment(std::shared_ptr<void>(std::move(kept)), span);
}

Result<void> ConsumerCore::publish_segment(SegmentKind kind, std::uint64_t deadline_ns) {
  const Result<ControlPacket> packet =
      ask(segment_request(ControlType::kPublishSegment, ++request, kind, 0, epoch), deadline_ns);
  if (!packet) {
    return packet.error();
  }
  return {};
}

}  // namespace ackbus
