// A client without the library: what a peer that keeps to no rule can put on the control socket.
//
// Data flow: a test or an attack -> packets, with any descriptors -> the daemon; its packets and
// descriptors back. Threads: one. Nothing here is part of the product, and nothing here uses
// GoogleTest, so that the attacking program can use it too.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "shm_layout/control.hpp"

namespace ackbus::hostile {

// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  [[nodiscard]] int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

// What every raw client may say: everything sound, for a link of 16 slots and 64 KiB.
[[nodiscard]] layout::HelloMessage sound_hello(layout::ClientRole role,
                                               const std::string& queue = "gpu0");

class RawClient {
 public:
  explicit RawClient(const std::string& socket_path);
  RawClient(RawClient&&) noexcept = default;
  RawClient& operator=(RawClient&&) noexcept = default;

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int fd() const { return socket_.get(); }
  // False when the packet did not go out whole. Waits for room for at most the patience.
  bool send(const void* bytes, std::size_t count, const std::vector<int>& descriptors = {},
            int flags = 0) const;
  template <typename Message>
  bool send(const Message& message, const std::vector<int>& descriptors = {}) const {
    return send(&message, sizeof(message), descriptors);
  }
  // The type of the next packet; kReserved when the daemon hung up or nothing came in time.
  layout::ControlType receive(int flags = 0);
  // Receives until a packet of this type; false when the daemon hung up or refused first.
  bool receive_until(layout::ControlType type);
  // The last packet as a message; false when it has another size.
  template <typename Message>
  [[nodiscard]] bool as(Message& message) const {
    if (packet_.size() != sizeof(Message)) {
      return false;
    }
    std::memcpy(&message, packet_.data(), sizeof(Message));
    return true;
  }
  [[nodiscard]] std::vector<Fd>& descriptors() { return descriptors_; }
  // "CODE TEXT" of a refusal, with a remark when the daemon does not hang up after it; "no refusal"
  // when the next packet is another one.
  std::string refusal();
  void set_patience(int seconds) const;
  void hang_up() { socket_.reset(); }

 private:
  Fd socket_;
  bool connected_ = false;
  std::vector<std::byte> packet_;
  std::vector<Fd> descriptors_;
};

}  // namespace ackbus::hostile
