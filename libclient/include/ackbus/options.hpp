// How to connect and how to send. Every default is the documented one; every unit is in the name or
// in the type. Plain values: a call reads them and keeps a copy.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace ackbus {

// A message's kind: 1 to 63, as configured on the bus; Producer::kind() finds the number of a name.
// The six built-in ones (timeouts and retries: docs/protocol.md; payloads: docs/gpu-process.md):
enum class Kind : std::uint16_t {
  kReserved = 0,  // no kind: a Producer refuses it
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
  std::string bus = "default";  // 1 to 31 of a-z 0-9 _ -
  // Directory of the bus's socket BUS.sock. Empty: $ACKBUS_RUNTIME_DIR, else
  // $XDG_RUNTIME_DIR/ackbus, else /run/ackbus. With the socket's name at most 107 bytes.
  std::string runtime_dir;
  std::string queue = "gpu0";  // 1 to 31 bytes, as configured on the bus; a Tool has none
  std::string client;  // a name for logs and status, cut to 31 bytes; empty: the program's name
  WaitMode wait = WaitMode::kAdaptive;
  std::uint32_t spin_us = 20;  // of kAdaptive: how long each wait spins, in microseconds
  // true: the handle may be used from several threads at once (one lock around each call; waits
  // release it). false: one thread at a time, no lock: full speed.
  bool shared_between_threads = false;
  // For the daemon to answer; brought into 1 ms to 1 h. A daemon that is not there is an error at
  // once.
  std::chrono::milliseconds connect_timeout{5000};
};

// The link that a producer asks for. Its memory is allocated when it connects and stays as it is.
struct ProducerOptions : ConnectOptions {
  // Outstanding messages: a power of two, 4 to 65536, up to the bus's quota. 0: the bus's [limits]
  // default_slots, 1024 unless configured.
  std::uint32_t slots = 0;
  // For payloads above 64 bytes, all outstanding ones together; whole pages of 4 KiB, rounded up.
  // 0: the bus's [limits] default_arena_bytes, 16 MiB unless configured.
  std::uint64_t arena_bytes = 0;
  // The smallest timeout or max_wait that any message of this link asks for with SendOptions; the
  // daemon looks at least this often, so less is refused there. 0: the smallest of all configured
  // kinds, which is 1 s with the built-in ones. Not negative.
  std::chrono::milliseconds min_timeout{0};
};

// A consumer's place at a queue.
struct ConsumerOptions : ConnectOptions {
  bool standby = true;  // wait behind an active consumer of the queue; false: refuse to start when
                        // there is one
  // Messages begun and not yet answered, over all links; take() gives no more until some are
  // answered. At least 1.
  std::uint32_t max_running = 256;
};

// Per message. Zero and nullopt mean: what the kind says. What is out of range is refused with
// kInvalid, and the text names it.
struct SendOptions {
  // For processing, from begin to the final ack, before a retry. 1 ms to 24 h, and not below what
  // the daemon looks for: ProducerOptions::min_timeout, or the smallest of the kinds when that is
  // 0. On a handle with default options 1 ms is therefore refused; to ask for it, connect with
  // min_timeout = 1 ms.
  std::chrono::milliseconds timeout{0};
  std::optional<std::uint32_t> max_retries;  // redeliveries after the first delivery: 0 to 1000
  // For being begun at all, from commit; then the message ends Exhausted (undelivered). The range
  // of `timeout`.
  std::chrono::milliseconds max_wait{0};
  // Of kinds that supersede: a redelivery ends Superseded when a newer message of the same kind and
  // key succeeded. 0 is none; kinds that do not supersede only hand it to the consumer.
  std::uint64_t key = 0;
  // Ticket::sequence of an earlier message of this producer that must be final before this one is
  // begun; what was sent after this one waits with it. 0 is none.
  std::uint64_t after_sequence = 0;
  // The outcome is counted but not kept for wait(), poll() or reap().
  bool forget_outcome = false;
};

}  // namespace ackbus
