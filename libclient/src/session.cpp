#include "libclient/src/session.hpp"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ackbus/tool.hpp>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>

#include "libclient/src/clock.hpp"
#include "shm_layout/bus_records.hpp"
#include "shm_layout/check.hpp"

namespace ackbus {
namespace {

int pidfd_of_this_process() { return static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)); }

void copy_name(char (&to)[layout::kNameBytesMax], const std::string& from) {
  const std::size_t bytes = std::min(from.size(), layout::kNameBytesMax - 1);
  std::memcpy(to, from.data(), bytes);
}

ErrorCode code_of(layout::RefusedCode code) {
  switch (code) {
    case layout::RefusedCode::kVersion:
      return ErrorCode::kVersion;
    case layout::RefusedCode::kPermission:
      return ErrorCode::kPermission;
    case layout::RefusedCode::kQuota:
      return ErrorCode::kQuota;
    case layout::RefusedCode::kMemory:
      return ErrorCode::kMemory;
    case layout::RefusedCode::kNoQueue:
    case layout::RefusedCode::kUnknownLink:
      return ErrorCode::kNotFound;
    case layout::RefusedCode::kShutdown:
      return ErrorCode::kClosed;
    default:
      return ErrorCode::kProtocol;
  }
}

std::string version_text(std::uint32_t version, std::uint64_t fingerprint) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "version %u, fingerprint %016llx", version,
                static_cast<unsigned long long>(fingerprint));
  return text.data();
}

Error timeout_error(const char* what) {
  return {ErrorCode::kTimeout,
          std::string("the daemon did not answer in time (") + what +
              "): look at its log, or raise connect_timeout (--connect-timeout of a command)"};
}

}  // namespace

std::uint64_t fork_generation() {
  static const bool registered = [] {
    // relaxed because the count orders nothing: it is compared within one thread
    // relaxed because it orders nothing: the child has one thread
    ::pthread_atfork(nullptr, nullptr,
                     [] { forks_of_process.fetch_add(1, std::memory_order_relaxed); });
    return true;
  }();
  return registered ? forks_of_process.load(std::memory_order_relaxed) : 0;
}

Error forked_error() {
  return {ErrorCode::kForked,
          "this handle was made before fork(): connect again in the child process"};
}

bool register_membarrier() {
  static const bool registered =
      ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
  return registered;
}

Result<std::string> find_runtime_dir(const std::string& wished) {
  if (!wished.empty()) {
    return wished;
  }
  if (const char* directory = ::getenv("ACKBUS_RUNTIME_DIR");
      directory != nullptr && *directory != 0) {
    return std::string(directory);
  }
  if (const char* directory = ::getenv("XDG_RUNTIME_DIR");
      directory != nullptr && *directory != 0) {
    return std::string(directory) + "/ackbus";
  }
  if (::access("/run/ackbus", F_OK) == 0 || ::geteuid() == 0) {
    return std::string("/run/ackbus");
  }
  return Error{ErrorCode::kNoDaemon,
               "no runtime directory: neither $ACKBUS_RUNTIME_DIR nor $XDG_RUNTIME_DIR is set and "
               "/run/ackbus does not exist; name it with --runtime-dir"};
}

layout::HelloMessage make_hello(const ConnectOptions& options, layout::ClientRole role) {
  layout::HelloMessage hello{};
  hello.header = layout::control_header<layout::HelloMessage>(layout::ControlType::kHello);
  hello.layout_version = layout::kLayoutVersion;
  hello.role = static_cast<std::uint32_t>(role);
  hello.fingerprint = layout::layout_fingerprint();
  copy_name(hello.queue, options.queue);
  copy_name(hello.client, options.client.empty() ? program_invocation_short_name : options.client);
  return hello;
}

bool send_hello(ControlSocket& socket, const layout::HelloMessage& hello) {
  const UniqueFd self(pidfd_of_this_process());
  return socket.send(hello, self.get());
}

Error refused_error(const ControlPacket& packet) {
  layout::TextMessage message{};
  if (!packet.as(message)) {
    return {ErrorCode::kProtocol, "the daemon refused with a malformed answer"};
  }
  const std::size_t length = std::min<std::size_t>(message.length, layout::kControlTextMax);
  return {code_of(static_cast<layout::RefusedCode>(message.code)),
          std::string(message.text, length)};
}

Result<Mapping> accept_welcome(const ControlPacket& packet) {
  layout::WelcomeMessage welcome{};
  if (!packet.as(welcome) || packet.descriptors.empty()) {
    return Error{ErrorCode::kProtocol, "the daemon's welcome is malformed"};
  }
  if (welcome.layout_version != layout::kLayoutVersion ||
      welcome.fingerprint != layout::layout_fingerprint()) {
    return Error{ErrorCode::kVersion,
                 "the daemon speaks layout version " + std::to_string(welcome.layout_version) +
                     ", this library " + std::to_string(layout::kLayoutVersion) +
                     ": install the same release of both"};
  }
  return map_checked(packet.descriptors[0].get(), layout::BusGeometry::bytes(), false,
                     layout::SegmentRole::kBus, 0, 0);
}

Result<ControlPacket> expect(ControlSocket& socket, layout::ControlType type,
                             std::uint64_t deadline_ns) {
  for (;;) {
    ControlPacket packet;
    switch (socket.receive(packet)) {
      case ReceiveState::kPacket:
        if (packet.type() == type) {
          return packet;
        }
        if (packet.type() == layout::ControlType::kRefused) {
          return refused_error(packet);
        }
        if (packet.type() == layout::ControlType::kWake ||
            packet.type() == layout::ControlType::kWelcome) {
          continue;  // A new daemon says again what the one before it may not have said.
        }
        return Error{ErrorCode::kProtocol, "the daemon sent an unexpected message of type " +
                                               std::to_string(packet.header().type)};
      case ReceiveState::kHungUp:
        return Error{ErrorCode::kDisconnected, "the daemon hung up while this process connected"};
      case ReceiveState::kMalformed:
        return Error{ErrorCode::kProtocol, "the daemon sent a malformed control message"};
      case ReceiveState::kNothing:
        if (!socket.wait_readable(deadline_ns)) {
          return timeout_error("connecting");
        }
    }
  }
}

Result<ControlPacket> greet(ControlSocket& socket, const layout::HelloMessage& hello,
                            std::uint64_t deadline_ns) {
  if (send_hello(socket, hello)) {
    return expect(socket, layout::ControlType::kWelcome, deadline_ns);
  }
  ControlPacket packet;  // It may have said why before it hung up.
  if (socket.receive(packet) == ReceiveState::kPacket &&
      packet.type() == layout::ControlType::kRefused) {
    return refused_error(packet);
  }
  return Error{ErrorCode::kDisconnected, "the daemon hung up before the hello"};
}

void say_bye(ControlSocket& socket) {
  layout::LinkMessage bye{};
  bye.header = layout::control_header<layout::LinkMessage>(layout::ControlType::kBye);
  [[maybe_unused]] const bool said = socket.try_send(bye);
}

Result<Session> open_session(const ConnectOptions& options, const layout::HelloMessage& hello,
                             std::uint64_t deadline_ns) {
  Result<std::string> directory = find_runtime_dir(options.runtime_dir);
  if (!directory) {
    return directory.error();
  }
  if (options.queue.size() >= layout::kNameBytesMax) {
    return Error{ErrorCode::kInvalid,
                 "the queue's name '" + options.queue + "' is longer than 31 bytes"};
  }
  Result<ControlSocket> socket = ControlSocket::connect(*directory, options.bus);
  if (!socket) {
    return socket.error();
  }
  Session session;
  session.socket = std::move(*socket);
  session.runtime_dir = *directory;
  Result<ControlPacket> welcome = greet(session.socket, hello, deadline_ns);
  if (!welcome) {
    say_bye(session.socket);
    return welcome.error();
  }
  Result<Mapping> bus = accept_welcome(*welcome);
  if (!bus) {
    return bus.error();
  }
  session.bus = std::move(*bus);
  return session;
}

Result<Mapping> map_checked(int fd, std::uint64_t bytes, bool writable, layout::SegmentRole role,
                            std::uint64_t slots, std::uint64_t arena_bytes) {
  Result<Mapping> mapping = Mapping::map(fd, bytes, writable);
  if (!mapping) {
    return mapping;
  }
  const layout::SegmentState state =
      layout::check_segment(mapping->base(), mapping->bytes(), {role, bytes, slots, arena_bytes});
  if (state != layout::SegmentState::kOk) {
    const bool other =
        state == layout::SegmentState::kOtherVersion || state == layout::SegmentState::kOtherLayout;
    const auto& header = *reinterpret_cast<const layout::SegmentHeader*>(mapping->base());
    return Error{
        ErrorCode::kVersion,
        std::string("the daemon's segment is ") + layout::segment_state_name(state) +
            (other ? " (" + version_text(header.layout_version, header.fingerprint) +
                         ", this library " +
                         version_text(layout::kLayoutVersion, layout::layout_fingerprint()) + ")"
                   : "") +
            ": install the same release of daemon and library"};
  }
  return mapping;
}

KindInfo read_kind(const layout::BusView& bus, std::uint32_t kind) {
  layout::KindRowCopy copy;
  for (int tries = 0; tries < layout::kSeqlockTriesMax; ++tries) {
    if (layout::kind_row_read(bus.kind(kind), copy)) {
      char name[sizeof(copy.name) + 1] = {};
      std::memcpy(name, copy.name, sizeof(copy.name));
      return {name,
              copy.flags,
              copy.timeout_ms,
              copy.max_wait_ms,
              copy.min_payload_bytes,
              copy.max_payload_bytes};
    }
  }
  return {};
}

}  // namespace ackbus
