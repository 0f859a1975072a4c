// The second process of a measurement: the consumer of the private bus and the far half of the
// floor in one, so that neither competes with the other for a core. Data flow: a command in over a
// socket, the work, a report back; between commands it sleeps. Threads: one in each process. It is
// forked before this process connects to anything.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/options.hpp>
#include <cstdint>
#include <string>

#include "bench/floor.hpp"
#include "bench/machine.hpp"
#include "bench/process.hpp"

namespace ackbus::bench {

inline constexpr const char* kQueue = "bench";
// The first byte of each payload: 0, or this in the last message of a run.
inline constexpr std::byte kLastMessage{1};

enum class PeerWork : std::uint32_t {
  kReserved = 0,
  kLine,     // line_far() of `count` trips numbered from `first`
  kPipe,     // pipe_far() of `count` trips
  kFlow,     // flow_far() from `first`
  kConsume,  // take and ack at once, until a payload begins with kLastMessage
};

struct PeerCommand {
  PeerWork work = PeerWork::kReserved;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

struct PeerSetup {
  std::string runtime_dir;
  WaitMode wait = WaitMode::kSpin;
  CorePair cores;
};

class Peer {
 public:
  // Forks it; returns once its consumer is connected and active. The mapping must outlive it.
  [[nodiscard]] static Result<Peer> start(const PeerSetup& setup, FloorMapping mapping);
  Peer(Peer&& other) noexcept;
  Peer& operator=(Peer&&) = delete;
  ~Peer();

  // Tells it what to do; it is at it soon after.
  [[nodiscard]] Result<void> begin(const PeerCommand& command);
  // Waits until it has done it. Errors: what the other process says went wrong, or that it ended.
  [[nodiscard]] Result<void> end();

  [[nodiscard]] FloorMemory& memory() const { return mapping_.memory(); }
  [[nodiscard]] const FloorPipes& pipes() const { return pipes_; }

 private:
  explicit Peer(FloorMapping mapping) : mapping_(std::move(mapping)) {}
  [[nodiscard]] int serve(const PeerSetup& setup);

  FloorMapping mapping_;
  FloorPipes pipes_;
  int socket_[2] = {-1, -1};  // this process's end, the peer's end
  ChildProcess process_;
};

}  // namespace ackbus::bench
