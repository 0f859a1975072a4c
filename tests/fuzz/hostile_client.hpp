// A client of the daemon as it sees itself: its socket, what it was told, the segments it was
// given. Data flow: packets of the daemon -> Client; what it says is decided by
// control_daemon_fuzz.cpp. One thread.
#pragma once

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "daemon/unique_fd.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/control.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::fuzz {

using daemon::UniqueFd;
using layout::ControlType;

// A mapping of what came with a message, as far as it can be had.
class Mapped {
 public:
  Mapped() = default;
  Mapped(int fd, std::uint64_t bytes) : bytes_(bytes) {
    struct stat facts {};
    if (bytes == 0 || ::fstat(fd, &facts) != 0 ||
        static_cast<std::uint64_t>(facts.st_size) < bytes) {
      return;
    }
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    base_ = at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
  }
  Mapped(Mapped&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), bytes_(other.bytes_) {}
  Mapped& operator=(Mapped&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapped() {
    if (base_ != nullptr) {
      ::munmap(base_, bytes_);
    }
  }
  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
};

// A client as it sees itself: what it was told.
struct Client {
  UniqueFd socket;
  std::size_t peer = 0;
  layout::LinkGrantedMessage granted{};
  layout::LifeMessage life{};
  Mapped submission;
  Mapped ack;
  std::uint64_t epoch = 0;
  std::uint64_t sent = 0;
  layout::ClientRole role = layout::ClientRole::kReserved;  // as it said in its hello
  bool refused = false;
  bool activated = false;
  std::string answer;
  std::uint32_t answers = 0;
};

struct Received {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> descriptors;
};

inline bool receive(int socket, Received& received) {
  static std::vector<std::byte> buffer(layout::kControlBytesMax);
  received.descriptors.clear();
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got <= 0) {
    return false;
  }
  received.bytes.assign(buffer.begin(), buffer.begin() + got);
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    for (std::size_t at = 0; at + sizeof(int) <= item->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(item) + at, sizeof(int));
      received.descriptors.emplace_back(fd);
    }
  }
  return true;
}

inline void send_all(int socket, const void* bytes, std::size_t count,
                     const std::vector<int>& fds) {
  iovec part{const_cast<void*>(bytes), count};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 20)> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(item), fds.data(), sizeof(int) * fds.size());
  }
  ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

template <typename Message>
Message as(const Received& received) {
  Message message{};
  std::memcpy(&message, received.bytes.data(), std::min(sizeof(message), received.bytes.size()));
  return message;
}

inline layout::HelloMessage sound_hello(layout::ClientRole role, const char* queue) {
  layout::HelloMessage hello{};
  hello.header = layout::control_header<layout::HelloMessage>(ControlType::kHello);
  hello.layout_version = layout::kLayoutVersion;
  hello.role = static_cast<std::uint32_t>(role);
  hello.fingerprint = layout::layout_fingerprint();
  std::string(queue).copy(hello.queue, sizeof(hello.queue) - 1);
  std::string("fuzz").copy(hello.client, sizeof(hello.client) - 1);
  hello.slots = role == layout::ClientRole::kConsumer ? 1 : 4;
  hello.arena_bytes = 4096;
  hello.first_sequence = 1;
  return hello;
}

inline void learn(Client& client, const Received& received, ControlType type) {
  if (type == ControlType::kLinkGranted && received.descriptors.size() == 2) {
    client.granted = as<layout::LinkGrantedMessage>(received);
    const layout::SubmissionGeometry place{client.granted.slots, client.granted.arena_bytes};
    client.submission = Mapped(received.descriptors[0].get(), place.bytes());
  } else if (type == ControlType::kAddLink && received.descriptors.size() == 5) {
    client.life = as<layout::LifeMessage>(received);
    const layout::AckGeometry place{client.life.slots};
    client.ack = Mapped(received.descriptors[2].get(), place.bytes());
  } else if (type == ControlType::kActivated) {
    client.epoch = as<layout::ActivatedMessage>(received).epoch;
    client.activated = true;
  } else if (type == ControlType::kLife) {
    client.epoch = as<layout::LifeMessage>(received).epoch;
  } else if (type == ControlType::kRefused) {
    client.refused = true;
  } else if (type == ControlType::kAnswer) {
    const auto head = as<layout::QueryMessage>(received);
    client.answer.append(reinterpret_cast<const char*>(received.bytes.data()) + sizeof(head),
                         received.bytes.size() - sizeof(head));
    client.answers += head.more == 0 ? 1U : 0U;
  }
}

// Takes in what has come.
inline void hear(Client& client) {
  Received received;
  for (int packets = 0; packets < 64 && client.socket.valid(); ++packets) {
    if (!receive(client.socket.get(), received)) {
      return;
    }
    ACKBUS_ASSERT(received.bytes.size() >= sizeof(layout::ControlHeader));
    const auto head = as<layout::ControlHeader>(received);
    ACKBUS_ASSERT(head.magic == layout::kControlMagic && head.bytes == received.bytes.size());
    learn(client, received, static_cast<ControlType>(head.type));
  }
}

}  // namespace ackbus::fuzz
