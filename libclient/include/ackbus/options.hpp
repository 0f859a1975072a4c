// How to connect and how to send. Every default is the documented one; every unit is in the name.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace ackbus {

// A message's kind: 1 to 63, as configured on the bus. The six built-in ones:
enum class Kind : std::uint16_t {
  kReserved = 0,
  kInitializeGpu = 1,
  kUpdateGpuGraphData = 2,
  kUploadConstraintsToGpu = 3,
  kComputeForces = 4,
  kUpdateNodePositions = 5,
  kSetSharedGpuContext = 6,
};

// How a wait spends its time. All of them end at the deadline.
enum class WaitMode : std::uint8_t {
  kAdaptive,  // spin for `spin_us`, then sleep: the default
  kSpin,      // never sleep: lowest latency, one core busy while waiting
  kBlock,     // sleep at once: least CPU
};

// Which bus, and how this process waits.
struct ConnectOptions {
  std::string bus = "default";
  // Directory of the bus's socket BUS.sock. Empty: $ACKBUS_RUNTIME_DIR, else
  // $XDG_RUNTIME_DIR/ackbus, else /run/ackbus.
  std::string runtime_dir;
  std::string queue = "gpu0";
  std::string client;  // a name for logs and status, up to 31 bytes; empty: the program's name
  WaitMode wait = WaitMode::kAdaptive;
  std::uint32_t spin_us = 20;  // of kAdaptive
  // true: the handle may be used from several threads at once (one lock around each call; waits
  // release it). false: one thread at a time, no lock: full speed.
  bool shared_between_threads = false;
  std::chrono::milliseconds connect_timeout{5000};  // for the daemon to answer
};

struct ProducerOptions : ConnectOptions {
  std::uint32_t slots =
      1024;  // outstanding messages; a power of two, 4 to 65536, up to the bus's quota
  std::uint64_t arena_bytes = 16ULL
                              << 20;  // for payloads above 64 bytes, all outstanding ones together
  // The smallest timeout that any message of this link asks for; the daemon looks at least this
  // often. 0: the kinds'.
  std::chrono::milliseconds min_timeout{0};
};

struct ConsumerOptions : ConnectOptions {
  bool standby = true;  // wait behind an active consumer of the queue; false: refuse to start when
                        // there is one
  // Messages begun and not yet answered, over all links; take() gives no more until some are
  // answered.
  std::uint32_t max_running = 256;
};

// Per message. Zero and nullopt mean: what the kind says.
struct SendOptions {
  std::chrono::milliseconds timeout{0};      // for processing, from begin; 1 ms to 24 h
  std::optional<std::uint32_t> max_retries;  // 0 to 1000
  std::chrono::milliseconds max_wait{0};     // for being begun at all, from commit
  std::uint64_t key = 0;                     // of kinds that supersede; 0 is none
  std::uint64_t after_sequence =
      0;  // an earlier message of this producer that must be final first; 0 is none
  // The outcome is counted but not kept for wait(), poll() or reap().
  bool forget_outcome = false;
};

}  // namespace ackbus
