// The client's end of the control socket: connects, sends one struct a packet, receives packets
// with descriptors. What arrives is checked for size, magic and version here; order and contents
// are the caller's to check.
#pragma once

#include <sys/socket.h>

#include <ackbus/error.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "libclient/src/unique_fd.hpp"
#include "shm_layout/control.hpp"

namespace ackbus {

// A received packet: at least a ControlHeader, and the descriptors that came with it.
struct ControlPacket {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> descriptors;

  [[nodiscard]] layout::ControlHeader header() const {
    layout::ControlHeader copy;
    std::memcpy(&copy, bytes.data(), sizeof(copy));
    return copy;
  }
  [[nodiscard]] layout::ControlType type() const {
    return static_cast<layout::ControlType>(header().type);
  }
  // False when the packet is not exactly (or, for texts, at least) this struct.
  template <typename Message>
  [[nodiscard]] bool as(Message& message, bool longer_is_fine = false) const {
    if (bytes.size() < sizeof(Message) || (!longer_is_fine && bytes.size() != sizeof(Message))) {
      return false;
    }
    std::memcpy(&message, bytes.data(), sizeof(Message));
    return true;
  }
};

enum class ReceiveState : std::uint8_t { kPacket, kNothing, kHungUp, kMalformed };

class ControlSocket {
 public:
  // Errors: kNoDaemon, kPermission, kSystem; the text names the path and the remedy.
  [[nodiscard]] static Result<ControlSocket> connect(const std::string& runtime_dir,
                                                     const std::string& bus);

  ControlSocket() = default;
  // A connected SOCK_SEQPACKET socket.
  explicit ControlSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  void close() { fd_.reset(); }

  // False when the peer is gone, or reads nothing for 5 s. `descriptor` (-1: none) travels with the
  // packet.
  bool send(const void* message, std::size_t bytes, int descriptor = -1, const void* tail = nullptr,
            std::size_t tail_bytes = 0);
  template <typename Message>
  bool send(const Message& message, int descriptor = -1) {
    return send(&message, sizeof(message), descriptor);
  }
  // Without waiting: false also when there is no room at the moment.
  template <typename Message>
  [[nodiscard]] bool try_send(const Message& message) {
    return fd_ && ::send(fd_.get(), &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
  }
  // Without waiting.
  ReceiveState receive(ControlPacket& packet);
  // Waits for readability until `deadline_ns` (CLOCK_MONOTONIC); false at the deadline.
  [[nodiscard]] bool wait_readable(std::uint64_t deadline_ns) const;

 private:
  UniqueFd fd_;
};

}  // namespace ackbus
