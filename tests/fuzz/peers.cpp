#include "tests/fuzz/peers.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "shm_layout/assert.hpp"

namespace ackbus::fuzz {

using daemon::UniqueFd;

bool send_packet(int socket, const void* bytes, std::size_t count, int descriptor) {
  iovec part{const_cast<void*>(bytes), count};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(item), &descriptor, sizeof(int));
  }
  return ::sendmsg(socket, &header, MSG_NOSIGNAL) >= 0;
}

std::size_t receive_packet(int socket, void* bytes, std::size_t count, UniqueFd& descriptor) {
  iovec part{bytes, count};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  // A peer that is killed with a request unread resets its channel: nothing was received then, and
  // the room for a descriptor still holds the zeroes it was made with.
  if (got <= 0) {
    return 0;
  }
  if (const cmsghdr* item = CMSG_FIRSTHDR(&header);
      item != nullptr && item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(item), sizeof(int));
    descriptor = UniqueFd(fd);
  }
  return static_cast<std::size_t>(got);
}

namespace {

// What the peers and the first child do; they end with the harness.
[[noreturn]] void serve_as_peer(const UniqueFd& channel) {
  std::array<char, sizeof(sockaddr_un::sun_path)> path{};
  UniqueFd none;
  while (receive_packet(channel.get(), path.data(), path.size() - 1, none) > 0) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const bool connected =
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    const char answer = connected ? 'y' : 'n';
    send_packet(channel.get(), &answer, 1, connected ? socket.get() : -1);
    path.fill(0);
  }
  ::_exit(0);
}

[[noreturn]] void serve_as_nursery(const UniqueFd& channel) {
  ::signal(SIGCHLD, SIG_IGN);  // Peers that end leave nothing behind.
  char request = 0;
  UniqueFd peer_channel;
  while (receive_packet(channel.get(), &request, 1, peer_channel) > 0) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      serve_as_peer(peer_channel);
    }
    send_packet(channel.get(), &pid, sizeof(pid), -1);
    peer_channel = UniqueFd();
  }
  ::_exit(0);
}

}  // namespace

Peers::Peers() {
  std::array<int, 2> ends{-1, -1};
  ACKBUS_ASSERT(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const pid_t pid = ::fork();
  ACKBUS_ASSERT(pid >= 0);
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ends[0]);
    serve_as_nursery(UniqueFd(ends[1]));
  }
  ::close(ends[1]);
  nursery_ = UniqueFd(ends[0]);
}

void Peers::spawn(std::size_t peer) {
  std::array<int, 2> ends{-1, -1};
  ACKBUS_ASSERT(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const UniqueFd theirs(ends[1]);
  peers_[peer].channel = UniqueFd(ends[0]);
  UniqueFd none;
  ACKBUS_ASSERT(send_packet(nursery_.get(), "p", 1, theirs.get()));
  ACKBUS_ASSERT(receive_packet(nursery_.get(), &peers_[peer].pid, sizeof(pid_t), none) ==
                sizeof(pid_t));
}

UniqueFd Peers::connect(std::size_t peer, const std::string& path) {
  for (int tries = 0; tries < 2; ++tries) {
    if (peers_[peer].pid == 0) {
      spawn(peer);
    }
    char answer = 'n';
    UniqueFd socket;
    if (send_packet(peers_[peer].channel.get(), path.data(), path.size(), -1) &&
        receive_packet(peers_[peer].channel.get(), &answer, 1, socket) == 1) {
      return socket;
    }
    peers_[peer] = Peer{};  // The daemon has ended it: another one takes its place.
  }
  return {};
}

void Peers::kill(std::size_t peer) {
  if (peers_[peer].pid == 0) {
    return;
  }
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, peers_[peer].pid, 0)));
  ::kill(peers_[peer].pid, SIGKILL);
  if (process.valid()) {
    pollfd ended{process.get(), POLLIN, 0};
    ::poll(&ended, 1, 5000);
  }
  peers_[peer] = Peer{};
}

}  // namespace ackbus::fuzz
