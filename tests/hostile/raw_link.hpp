// A producer and a consumer without the library, with their own memory in their own hands: they can
// write there whatever they like, while the daemon and their honest peers read it.
//
// Data flow: hello -> the daemon's descriptors -> mappings -> words written straight into them.
// Threads: one, but for a thread that an attack starts itself.
#pragma once

#include <optional>
#include <vector>

#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"
#include "tests/hostile/raw_client.hpp"

namespace ackbus::hostile {

// A mapping of a whole segment; empty when the kernel refused it.
class Map {
 public:
  Map() = default;
  Map(int fd, std::uint64_t bytes, bool writable);
  ~Map();
  Map(Map&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Map& operator=(Map&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] explicit operator bool() const { return base_ != nullptr; }
  // Its words, whatever they are part of.
  [[nodiscard]] std::uint64_t word_count() const { return bytes_ / 8; }
  void store_word(std::uint64_t index, std::uint64_t value) const;

 private:
  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
};

struct RawProducerOptions {
  std::string queue = "gpu0";
  std::uint32_t slots = 16;
  std::uint64_t arena_bytes = 65536;
  std::uint32_t min_timeout_ms = 0;
  bool say_mapped = true;
};

class RawProducer {
 public:
  // Nothing when the daemon refused, or is gone.
  [[nodiscard]] static std::optional<RawProducer> connect(const std::string& socket_path,
                                                          const RawProducerOptions& options);
  void say_mapped();
  // Takes what the daemon said meanwhile, without waiting; false when it hung up or closed the
  // link.
  bool listen();
  // Waits for the first life, so that somebody reads this link.
  bool wait_for_life();
  // Publishes a message as an honest producer would; its payload lies in the descriptor.
  void commit(std::uint64_t sequence, const layout::DescriptorCopy& descriptor) const;
  // A sound descriptor of a tracked ComputeForces message with 8 bytes inline.
  [[nodiscard]] static layout::DescriptorCopy sound(std::uint64_t sequence);
  [[nodiscard]] std::uint32_t slot_of(std::uint64_t sequence) const {
    return static_cast<std::uint32_t>(sequence % granted.slots);
  }
  // Whether the life in force has read the place of this sequence; also once it reads no more.
  [[nodiscard]] bool was_read(std::uint64_t sequence) const;
  void ring() const;  // the consumer's pipe

  RawClient client;
  layout::LinkGrantedMessage granted{};
  Fd submission_fd;
  Fd tracking_fd;
  Map submission;
  Map tracking;
  layout::SubmissionView view;
  Fd ack_fd;
  Fd ring_fd;
  Fd rung_fd;
  Map ack;
  std::uint64_t epoch = 0;
  bool closed = false;

 private:
  explicit RawProducer(RawClient made) : client(std::move(made)) {}
  void take_life();
};

// One link as a raw consumer holds it.
struct RawLink {
  layout::LifeMessage life{};
  Fd submission_fd;
  Fd tracking_fd;
  Fd ack_fd;
  Fd rung_fd;
  Fd ring_fd;
  Map submission;
  Map tracking;
  Map ack;
  layout::SubmissionView from_producer;
  layout::AckView mine;
  bool gone = false;
};

class RawConsumer {
 public:
  [[nodiscard]] static std::optional<RawConsumer> connect(const std::string& socket_path,
                                                          const std::string& queue);
  // Takes what the daemon said meanwhile; waits for it with `wait`. False when it hung up.
  bool listen(bool wait);

  RawClient client;
  std::uint64_t epoch = 0;
  std::vector<RawLink> links;

 private:
  explicit RawConsumer(RawClient made) : client(std::move(made)) {}
  void take_link();
};

}  // namespace ackbus::hostile
