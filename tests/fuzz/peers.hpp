// Processes that a daemon can tell apart, end and outlive: each connects to a bus when it is asked
// and gives its socket to the harness, so the kernel says that it is the peer, and killing it hurts
// nobody else. Data flow: harness -> a small first child, made before the harness grows -> peers ->
// sockets back by SCM_RIGHTS. One thread.
#pragma once

#include <sys/types.h>

#include <array>
#include <string>

#include "daemon/unique_fd.hpp"

namespace ackbus::fuzz {

// One packet with at most one descriptor; -1: none. False when the other end is gone.
bool send_packet(int socket, const void* bytes, std::size_t count, int descriptor);
// The bytes received, 0 when the other end is gone.
std::size_t receive_packet(int socket, void* bytes, std::size_t count,
                           daemon::UniqueFd& descriptor);

class Peers {
 public:
  static constexpr std::size_t kCount = 6;

  // Forks the first child: call it before anything large is allocated.
  Peers();
  // A socket of the peer's, connected to `path`; invalid when nobody listens there.
  daemon::UniqueFd connect(std::size_t peer, const std::string& path);
  // Ends the peer's process and waits until it has ended; the next connect() makes another.
  void kill(std::size_t peer);

 private:
  struct Peer {
    pid_t pid = 0;
    daemon::UniqueFd channel;
  };
  void spawn(std::size_t peer);

  daemon::UniqueFd nursery_;  // to the first child
  std::array<Peer, kCount> peers_;
};

}  // namespace ackbus::fuzz
