// Queries and published segments, for the tools: one request at a time, each with its deadline.
#include <ackbus/tool.hpp>
#include <algorithm>

#include "libclient/src/clock.hpp"
#include "libclient/src/session.hpp"

namespace ackbus {

using layout::ControlType;

namespace {

// A daemon of another release may know more codes than this library.
ErrorCode code_of(std::uint32_t code) {
  return code > 0 && code <= static_cast<std::uint32_t>(ErrorCode::kSystem)
             ? static_cast<ErrorCode>(code)
             : ErrorCode::kProtocol;
}

}  // namespace

struct ToolCore {
  ControlSocket control;
  Mapping bus;
  std::uint32_t request = 0;
  std::uint64_t made_in_generation = fork_generation();

  // The next packet that answers `request`.
  Result<ControlPacket> answer(std::uint64_t deadline_ns) {
    for (;;) {
      ControlPacket packet;
      switch (control.receive(packet)) {
        case ReceiveState::kPacket:
          if (packet.header().request == request) {
            return packet;
          }
          break;
        case ReceiveState::kNothing:
          if (!control.wait_readable(deadline_ns)) {
            return Error{ErrorCode::kTimeout, "the daemon did not answer in time: look at its log"};
          }
          break;
        case ReceiveState::kHungUp:
          return Error{ErrorCode::kDisconnected, "the daemon hung up"};
        case ReceiveState::kMalformed:
          return Error{ErrorCode::kProtocol, "the daemon sent a malformed control message"};
      }
    }
  }
};

Tool::Tool(std::unique_ptr<ToolCore> core) : core_(std::move(core)) {}
Tool::Tool(Tool&&) noexcept = default;
Tool& Tool::operator=(Tool&&) noexcept = default;
Tool::~Tool() = default;

Result<Tool> Tool::connect(const ConnectOptions& options) {
  const auto patience = static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(options.connect_timeout.count(), 1, 3'600'000));
  Result<Session> session = open_session(options, make_hello(options, layout::ClientRole::kTool),
                                         now_ns() + patience * 1'000'000);
  if (!session) {
    return session.error();
  }
  auto core = std::make_unique<ToolCore>();
  core->control = std::move(session->socket);
  core->bus = std::move(session->bus);
  return Tool(std::move(core));
}

Result<std::string> Tool::query(const std::string& text, Deadline deadline) {
  if (core_->made_in_generation != fork_generation()) {
    return forked_error();
  }
  layout::QueryMessage message{};
  message.header =
      layout::control_header<layout::QueryMessage>(ControlType::kQuery, ++core_->request);
  message.header.bytes += static_cast<std::uint32_t>(text.size());
  if (message.header.bytes > layout::kControlBytesMax) {
    return Error{ErrorCode::kInvalid, "the query is longer than a control message may be"};
  }
  if (!core_->control.send(&message, sizeof(message), -1, text.data(), text.size())) {
    return Error{ErrorCode::kDisconnected, "the daemon hung up"};
  }
  std::string whole;
  for (;;) {
    Result<ControlPacket> packet = core_->answer(to_ns(deadline));
    if (!packet) {
      return packet.error();
    }
    layout::QueryMessage head{};
    if (packet->type() != ControlType::kAnswer || !packet->as(head, true)) {
      return refused_error(*packet);
    }
    whole.append(reinterpret_cast<const char*>(packet->bytes.data()) + sizeof(head),
                 packet->bytes.size() - sizeof(head));
    if (head.more == 0) {
      return head.code == 0 ? Result<std::string>(std::move(whole))
                            : Result<std::string>(Error{code_of(head.code), std::move(whole)});
    }
  }
}

Result<std::optional<Segment>> Tool::open_segment(const std::string& queue, SegmentKind kind,
                                                  Deadline deadline) {
  if (core_->made_in_generation != fork_generation()) {
    return forked_error();
  }
  layout::SegmentMessage message{};
  message.header =
      layout::control_header<layout::SegmentMessage>(ControlType::kOpenSegment, ++core_->request);
  message.role = static_cast<std::uint32_t>(
      kind == SegmentKind::kState ? layout::SegmentRole::kState : layout::SegmentRole::kFrames);
  queue.copy(message.queue, layout::kNameBytesMax - 1);
  if (!core_->control.send(message)) {
    return Error{ErrorCode::kDisconnected, "the daemon hung up"};
  }
  Result<ControlPacket> packet = core_->answer(to_ns(deadline));
  if (!packet) {
    return packet.error();
  }
  layout::SegmentMessage made{};
  if (packet->type() != ControlType::kSegment || !packet->as(made)) {
    return refused_error(*packet);
  }
  if (made.found == 0 || packet->descriptors.empty()) {
    return std::optional<Segment>();
  }
  Result<Mapping> mapping = Mapping::map(packet->descriptors[0].get(), made.bytes, false);
  if (!mapping) {
    return mapping.error();
  }
  auto kept = std::make_shared<Mapping>(std::move(*mapping));
  const std::span<std::byte> span = kept->span();
  return std::optional<Segment>(Segment(std::shared_ptr<void>(std::move(kept)), span));
}

}  // namespace ackbus
