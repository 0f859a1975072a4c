#include "tests/hostile/raw_client.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>

#include "shm_layout/check.hpp"

namespace ackbus::hostile {

using layout::ControlType;

namespace {

constexpr int kPatienceSeconds = 20;
constexpr std::size_t kDescriptorsMax = 253;  // of one packet, by the kernel

}  // namespace

layout::HelloMessage sound_hello(layout::ClientRole role, const std::string& queue) {
  layout::HelloMessage hello{};
  hello.header = layout::control_header<layout::HelloMessage>(ControlType::kHello);
  hello.layout_version = layout::kLayoutVersion;
  hello.role = static_cast<std::uint32_t>(role);
  hello.fingerprint = layout::layout_fingerprint();
  queue.copy(hello.queue, sizeof(hello.queue) - 1);
  std::strcpy(hello.client, "raw");
  hello.slots = 16;
  hello.arena_bytes = 65536;
  hello.first_sequence = 1;
  return hello;
}

RawClient::RawClient(const std::string& socket_path)
    : socket_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  set_patience(kPatienceSeconds);
  connected_ =
      ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

void RawClient::set_patience(int seconds) const {
  const timeval patience{seconds, 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

bool RawClient::send(const void* bytes, std::size_t count, const std::vector<int>& descriptors,
                     int flags) const {
  iovec part{const_cast<void*>(bytes), count};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsMax)> control{};
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(item), descriptors.data(), sizeof(int) * descriptors.size());
  }
  return ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | flags) == static_cast<ssize_t>(count);
}

ControlType RawClient::receive(int flags) {
  packet_.resize(layout::kControlBytesMax);
  descriptors_.clear();
  iovec part{packet_.data(), packet_.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 16)> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | flags);
  packet_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  for (cmsghdr* item = got > 0 ? CMSG_FIRSTHDR(&header) : nullptr; item != nullptr;
       item = CMSG_NXTHDR(&header, item)) {
    const std::size_t count =
        item->cmsg_type == SCM_RIGHTS ? (item->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
      descriptors_.emplace_back(fd);
    }
  }
  layout::ControlHeader head{};
  if (packet_.size() < sizeof(head)) {
    return ControlType::kReserved;
  }
  std::memcpy(&head, packet_.data(), sizeof(head));
  return static_cast<ControlType>(head.type);
}

bool RawClient::receive_until(ControlType type) {
  for (int packets = 0; packets < 1000; ++packets) {
    const ControlType got = receive();
    if (got == type || got == ControlType::kReserved || got == ControlType::kRefused) {
      return got == type;
    }
  }
  return false;
}

std::string RawClient::refusal() {
  if (receive() != ControlType::kRefused) {
    return "no refusal";
  }
  layout::TextMessage message{};
  std::memcpy(&message, packet_.data(), std::min(packet_.size(), sizeof(message)));
  const char* remark = receive() == ControlType::kReserved ? "" : " (the daemon did not hang up)";
  return std::to_string(message.code) + " " +
         std::string(message.text, std::min<std::size_t>(message.length, sizeof(message.text))) +
         remark;
}

}  // namespace ackbus::hostile
