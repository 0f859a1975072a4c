#include "libclient/src/control_socket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "libclient/src/clock.hpp"

namespace ackbus {
namespace {

Error connect_error(int number, const std::string& path) {
  if (number == ENOENT || number == ECONNREFUSED) {
    return {ErrorCode::kNoDaemon,
            "no daemon at " + path +
                ": start it (ackbus run, or systemctl start ackbusd), or name its "
                "directory with --runtime-dir or $ACKBUS_RUNTIME_DIR"};
  }
  if (number == EACCES || number == EPERM) {
    return {ErrorCode::kPermission, "no permission to use " + path +
                                        ": join the group that owns it, or ask its administrator"};
  }
  return {ErrorCode::kSystem, "cannot connect to " + path + ": " + std::strerror(number)};
}

}  // namespace

Result<ControlSocket> ControlSocket::connect(const std::string& runtime_dir,
                                             const std::string& bus) {
  const std::string path = runtime_dir + "/" + bus + ".sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Error{ErrorCode::kInvalid, "the socket path " + path + " is longer than " +
                                          std::to_string(sizeof(address.sun_path) - 1) +
                                          " bytes: choose a shorter --runtime-dir"};
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    return Error{ErrorCode::kSystem, std::string("cannot make a socket: ") + std::strerror(errno)};
  }
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return connect_error(errno, path);
  }
  return ControlSocket(std::move(fd));
}

bool ControlSocket::send(const void* message, std::size_t bytes, int descriptor, const void* tail,
                         std::size_t tail_bytes) {
  if (!fd_) {
    return false;
  }
  std::array<iovec, 2> parts{
      {{const_cast<void*>(message), bytes}, {const_cast<void*>(tail), tail_bytes}}};
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = tail_bytes == 0 ? 1 : 2;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(part), &descriptor, sizeof(int));
  }
  for (int tries = 0; tries < 100; ++tries) {
    if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
      return true;
    }
    if (errno == EAGAIN ||
        errno == EWOULDBLOCK) {  // The daemon is slow to read: wait for room, bounded.
      pollfd waiting{fd_.get(), POLLOUT, 0};
      ::poll(&waiting, 1, 50);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return false;
}

ReceiveState ControlSocket::receive(ControlPacket& packet) {
  packet.descriptors.clear();
  const auto look = [&] {
    return fd_ ? ::recv(fd_.get(), nullptr, 0, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC) : 0;
  };
  ssize_t waiting = look();
  if (waiting < 0 && errno == ECONNRESET) {
    waiting = look();  // The daemon left something of ours unread; what it had sent comes next.
  }
  if (waiting < 0) {  // Nothing, mostly: spinners look often, so it costs one call and no memory.
    return errno == EAGAIN || errno == EINTR ? ReceiveState::kNothing : ReceiveState::kHungUp;
  }
  packet.bytes.resize(
      std::min<std::size_t>(static_cast<std::size_t>(waiting), layout::kControlBytesMax));
  iovec part{packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 16)> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t received = fd_ ? ::recvmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) : 0;
  if (received < 0) {
    return errno == EAGAIN || errno == EINTR ? ReceiveState::kNothing : ReceiveState::kHungUp;
  }
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS) {
      const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
        packet.descriptors.emplace_back(fd);
      }
    }
  }
  if (received == 0) {
    return ReceiveState::kHungUp;
  }
  packet.bytes.resize(static_cast<std::size_t>(received));
  if (packet.bytes.size() < sizeof(layout::ControlHeader)) {
    return ReceiveState::kMalformed;
  }
  const layout::ControlHeader head = packet.header();
  const bool sound = head.magic == layout::kControlMagic &&
                     head.version == layout::kControlVersion && head.bytes == packet.bytes.size();
  return sound ? ReceiveState::kPacket : ReceiveState::kMalformed;
}

bool ControlSocket::wait_readable(std::uint64_t deadline_ns) const {
  for (;;) {
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns) {
      return false;
    }
    const std::uint64_t left = deadline_ns - now;
    const timespec timeout{static_cast<time_t>(left / 1'000'000'000ULL),
                           static_cast<long>(left % 1'000'000'000ULL)};
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::ppoll(&waiting, 1, &timeout, nullptr) > 0) {
      return true;
    }
  }
}

}  // namespace ackbus
