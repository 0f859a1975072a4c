// System calls on pipes and sockets.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "tests/sim/calls.hpp"

namespace ackbus::sim {
namespace {

std::string path_of(const sockaddr* address) {
  return reinterpret_cast<const sockaddr_un*>(address)->sun_path;
}

// Descriptors that travel with a message; -1 when one of them is none.
bool take_files(const msghdr* header, Message& message) {
  if (header->msg_control == nullptr || header->msg_controllen == 0) {
    return true;
  }
  auto* copy = const_cast<msghdr*>(header);
  for (cmsghdr* item = CMSG_FIRSTHDR(copy); item != nullptr; item = CMSG_NXTHDR(copy, item)) {
    const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
      message.files.push_back(kernel().file(descriptor));
      if (message.files.back() == nullptr) {
        return false;
      }
    }
  }
  return true;
}

// Puts them into the receiver's table; without room the rest is lost and the message says so.
void give_files(msghdr* header, const Message& message) {
  const std::size_t room = header->msg_controllen < CMSG_LEN(0)
                               ? 0
                               : (header->msg_controllen - CMSG_LEN(0)) / sizeof(int);
  std::size_t given = std::min(room, message.files.size());
  if (!message.files.empty() && kernel().fault(Fault::kDescriptors)) {
    given = std::min<std::size_t>(given, kernel().pick(message.files.size()));
  }
  header->msg_flags = given < message.files.size() ? MSG_CTRUNC : 0;
  if (given == 0) {
    header->msg_controllen = 0;
    return;
  }
  auto* item = static_cast<cmsghdr*>(header->msg_control);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(given * sizeof(int));
  for (std::size_t i = 0; i < given; ++i) {
    const int descriptor = kernel().open_descriptor(message.files[i]);
    std::memcpy(CMSG_DATA(item) + i * sizeof(int), &descriptor, sizeof(int));
  }
  header->msg_controllen = CMSG_SPACE(given * sizeof(int));
}

long receive(int descriptor, msghdr* header, int flags) {
  const SimulatorScope simulator;
  const auto socket = file_as<Endpoint>(descriptor);
  if (socket == nullptr) {
    return -ENOTSOCK;
  }
  if (socket->incoming.empty()) {
    if (socket->reset) {
      socket->reset = false;
      return -ECONNRESET;
    }
    return socket->peer_gone() ? 0 : -EAGAIN;
  }
  const Message& first = socket->incoming.front();
  std::size_t copied = 0;
  for (std::size_t part = 0; part < header->msg_iovlen; ++part) {
    const std::size_t bytes = std::min(header->msg_iov[part].iov_len, first.bytes.size() - copied);
    std::memcpy(header->msg_iov[part].iov_base, first.bytes.data() + copied, bytes);
    copied += bytes;
  }
  const auto whole = static_cast<long>((flags & MSG_TRUNC) != 0 ? first.bytes.size() : copied);
  give_files(header, first);
  if ((flags & MSG_PEEK) == 0) {
    socket->incoming.pop_front();
  }
  return whole;
}

long send_message(int descriptor, const msghdr* header) {
  const SimulatorScope simulator;
  const auto socket = file_as<Endpoint>(descriptor);
  if (socket == nullptr) {
    return -ENOTSOCK;
  }
  Message message;
  if (!take_files(header, message)) {
    return -EBADF;
  }
  if (!message.files.empty() && kernel().fault(Fault::kDescriptors)) {
    return -ETOOMANYREFS;
  }
  for (std::size_t part = 0; part < header->msg_iovlen; ++part) {
    const auto* bytes = static_cast<const std::byte*>(header->msg_iov[part].iov_base);
    message.bytes.insert(message.bytes.end(), bytes, bytes + header->msg_iov[part].iov_len);
  }
  const auto bytes = static_cast<long>(message.bytes.size());
  const int failed = socket->send(std::move(message));
  return failed < 0 ? failed : bytes;
}

}  // namespace
}  // namespace ackbus::sim

using namespace ackbus::sim;  // NOLINT(google-build-using-namespace): C names, which no namespace
                              // holds

extern "C" {

// ---- pipes and sockets ----

REAL(int, pipe2, int*, int);
int __wrap_pipe2(int* ends, int flags) {
  if (!Kernel::in_process()) {
    return __real_pipe2(ends, flags);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  if (kernel().fault(Fault::kDescriptors)) {
    return refuse(EMFILE);
  }
  const auto pipe = std::make_shared<Pipe>();
  ends[0] = kernel().open_descriptor(std::make_shared<PipeFile>(pipe, true, false));
  ends[1] = kernel().open_descriptor(std::make_shared<PipeFile>(pipe, false, true));
  return 0;
}

REAL(int, socket, int, int, int);
int __wrap_socket(int domain, int type, int protocol) {
  return Kernel::in_process() ? open_new<UnboundSocket>() : __real_socket(domain, type, protocol);
}

REAL(int, bind, int, const sockaddr*, socklen_t);
int __wrap_bind(int descriptor, const sockaddr* address, socklen_t bytes) {
  if (!is_simulated(descriptor)) {
    return __real_bind(descriptor, address, bytes);
  }
  const SimulatorScope simulator;
  const auto listener = std::make_shared<Listener>();
  listener->path = path_of(address);
  kernel().process().descriptors[descriptor] = listener;
  kernel().listeners[listener->path] = listener;
  return 0;
}

REAL(int, listen, int, int);
int __wrap_listen(int descriptor, int backlog) {
  return is_simulated(descriptor) ? 0 : __real_listen(descriptor, backlog);
}

REAL(int, connect, int, const sockaddr*, socklen_t);
int __wrap_connect(int descriptor, const sockaddr* address, socklen_t bytes) {
  if (!is_simulated(descriptor)) {
    return __real_connect(descriptor, address, bytes);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const auto found = kernel().listeners.find(path_of(address));
  const auto listener = found == kernel().listeners.end() ? nullptr : found->second.lock();
  if (listener == nullptr) {
    return refuse(found == kernel().listeners.end() ? ENOENT : ECONNREFUSED);
  }
  const auto mine = std::make_shared<Endpoint>();
  const auto other = std::make_shared<Endpoint>();
  mine->peer = other;
  other->peer = mine;
  other->peer_pid = kernel().process().pid;
  listener->waiting.push_back(other);
  kernel().process().descriptors[descriptor] = mine;
  return 0;
}

REAL(int, accept4, int, sockaddr*, socklen_t*, int);
int __wrap_accept4(int descriptor, sockaddr* address, socklen_t* bytes, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_accept4(descriptor, address, bytes, flags);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  const auto listener = file_as<Listener>(descriptor);
  if (listener->waiting.empty()) {
    return refuse(EAGAIN);
  }
  if (kernel().fault(Fault::kDescriptors)) {
    return refuse(EMFILE);
  }
  const auto socket = listener->waiting.front();
  listener->waiting.pop_front();
  return kernel().open_descriptor(socket);
}

REAL(ssize_t, send, int, const void*, size_t, int);
ssize_t __wrap_send(int descriptor, const void* bytes, size_t count, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_send(descriptor, bytes, count, flags);
  }
  kernel().call_point();
  iovec part{const_cast<void*>(bytes), count};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  return answer(send_message(descriptor, &header));
}

REAL(ssize_t, sendmsg, int, const msghdr*, int);
ssize_t __wrap_sendmsg(int descriptor, const msghdr* header, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_sendmsg(descriptor, header, flags);
  }
  kernel().call_point();
  return answer(send_message(descriptor, header));
}

REAL(ssize_t, recv, int, void*, size_t, int);
ssize_t __wrap_recv(int descriptor, void* bytes, size_t count, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_recv(descriptor, bytes, count, flags);
  }
  kernel().call_point();
  iovec part{bytes, count};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  return answer(receive(descriptor, &header, flags));
}

REAL(ssize_t, recvmsg, int, msghdr*, int);
ssize_t __wrap_recvmsg(int descriptor, msghdr* header, int flags) {
  if (!is_simulated(descriptor)) {
    return __real_recvmsg(descriptor, header, flags);
  }
  kernel().call_point();
  const long received = receive(descriptor, header, flags);
  if (received <= 0) {
    header->msg_controllen = 0;
  }
  return answer(received);
}

REAL(int, shutdown, int, int);
int __wrap_shutdown(int descriptor, int how) {
  if (!is_simulated(descriptor)) {
    return __real_shutdown(descriptor, how);
  }
  kernel().call_point();
  const SimulatorScope simulator;
  ACKBUS_ASSERT(how == SHUT_WR);
  file_as<Endpoint>(descriptor)->shut = true;
  return 0;
}

REAL(int, getsockopt, int, int, int, void*, socklen_t*);
int __wrap_getsockopt(int descriptor, int level, int option, void* value, socklen_t* bytes) {
  if (!is_simulated(descriptor)) {
    return __real_getsockopt(descriptor, level, option, value, bytes);
  }
  const auto socket = file_as<Endpoint>(descriptor);
  if (option == SO_PEERCRED && socket != nullptr) {
    const ucred peer{static_cast<pid_t>(socket->peer_pid), ::geteuid(), ::getegid()};
    std::memcpy(value, &peer, sizeof(peer));
    *bytes = sizeof(peer);
    return 0;
  }
  *bytes = 0;  // SO_PEERGROUPS: of no group.
  return 0;
}

}  // extern "C"
