// What a descriptor of a simulated process refers to: one object here is one open file description,
// shared by every descriptor that was duplicated or passed from it. Memory, pipes, events, timers,
// sockets, epoll sets and pidfds behave as on Linux, as far as the product uses them; kernel_test
// compares them with the real ones. One thread; no file ever blocks, waiting is the kernel's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ackbus::sim {

class File;
using FilePointer = std::shared_ptr<File>;

class File {
 public:
  File() : number(++made) {}
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // EPOLLIN, EPOLLOUT, EPOLLHUP of the present moment.
  [[nodiscard]] virtual std::uint32_t readiness() const { return 0; }
  // Bytes, or -errno.
  virtual long read(void*, std::size_t) { return -22; }
  virtual long write(const void*, std::size_t) { return -22; }

  // Counts from 1 in every run, so that nothing depends on addresses.
  inline static std::uint64_t made = 0;
  const std::uint64_t number;
};

// A memfd's pages. All processes see them at the same address.
class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void grow(std::uint64_t bytes);
  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  int seals = 0;
  inline static int alive = 0;

 private:
  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
};

class MemoryFile final : public File {
 public:
  MemoryFile(std::shared_ptr<Memory> of, bool can_write)
      : memory(std::move(of)), writable(can_write) {}
  std::shared_ptr<Memory> memory;
  bool writable;
};

class Pipe {
 public:
  static constexpr std::size_t kCapacityBytes = 65536;
  std::size_t waiting = 0;  // only their number counts: they are rings
  int readers = 0;
  int writers = 0;
};

class PipeFile final : public File {
 public:
  PipeFile(std::shared_ptr<Pipe> of, bool reads, bool writes);
  ~PipeFile() override;
  [[nodiscard]] std::uint32_t readiness() const override;
  long read(void* bytes, std::size_t count) override;
  long write(const void* bytes, std::size_t count) override;
  std::shared_ptr<Pipe> pipe;

 private:
  bool reads_;
  bool writes_;
};

class EventFile final : public File {
 public:
  [[nodiscard]] std::uint32_t readiness() const override;
  long read(void* bytes, std::size_t count) override;
  long write(const void* bytes, std::size_t count) override;

 private:
  std::uint64_t count_ = 0;
};

class TimerFile final : public File {
 public:
  explicit TimerFile(const std::uint64_t& now_ns) : now_ns_(now_ns) {}
  [[nodiscard]] std::uint32_t readiness() const override;
  std::uint64_t at_ns = 0;  // 0: silent

 private:
  const std::uint64_t& now_ns_;
};

// A pidfd.
class ProcessFile final : public File {
 public:
  explicit ProcessFile(std::uint32_t process, std::shared_ptr<const bool> alive)
      : pid(process), alive_(std::move(alive)) {}
  [[nodiscard]] std::uint32_t readiness() const override;
  const std::uint32_t pid;

 private:
  std::shared_ptr<const bool> alive_;
};

// A signalfd that never hears anything: signals are the simulator's to replace.
class SilentFile final : public File {
 public:
  long read(void*, std::size_t) override { return -11; }
};

struct Message {
  std::vector<std::byte> bytes;
  std::vector<FilePointer> files;
};

// One end of a connected SOCK_SEQPACKET socket.
class Endpoint final : public File {
 public:
  static constexpr std::size_t kQueueMax = 48;  // messages, as the default buffer of Linux has room
  ~Endpoint() override;
  [[nodiscard]] std::uint32_t readiness() const override;
  // 0, or -errno.
  int send(Message message);
  // Nothing more will come.
  [[nodiscard]] bool peer_gone() const {
    const auto other = peer.lock();
    return other == nullptr || other->shut;
  }

  std::weak_ptr<Endpoint> peer;
  std::deque<Message> incoming;
  bool shut = false;   // for sending, by its owner
  bool reset = false;  // the peer closed with something of ours unread
  std::uint32_t peer_pid = 0;
};

class Listener final : public File {
 public:
  [[nodiscard]] std::uint32_t readiness() const override;
  std::deque<std::shared_ptr<Endpoint>> waiting;
  std::string path;
};

// A socket before it is bound or connected.
class UnboundSocket final : public File {};

class EpollFile final : public File {
 public:
  struct Item {
    std::weak_ptr<File> file;
    std::uint32_t events = 0;
    std::uint64_t data = 0;
  };
  struct Event {
    std::uint32_t events = 0;
    std::uint64_t data = 0;
  };
  [[nodiscard]] std::uint32_t readiness() const override;
  // 0, or an errno.
  int control(int operation, int fd, const FilePointer& file, std::uint32_t events,
              std::uint64_t data);
  // Up to `max`, the first one after `turn` others, so that none starves.
  [[nodiscard]] std::vector<Event> ready(std::size_t max, std::size_t turn) const;

 private:
  // As in the kernel: an item lives until the last descriptor of its description is closed.
  std::map<std::pair<int, std::uint64_t>, Item> items_;  // by descriptor and File::number
};

}  // namespace ackbus::sim
