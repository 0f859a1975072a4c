// The GPU process's work: answers each message of the six kinds. Data flow: a private copy of a
// payload -> checks -> backend -> state segment -> frames segment -> reply. What a reply claims is
// in the state segment before the reply exists, except that ComputeForces checkpoints positions
// every Settings::checkpoint_steps. Threads: one thread calls an engine; the backend may use more
// inside the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "gpu_proc/backend.hpp"
#include "gpu_proc/payload/kinds.hpp"
#include "gpu_proc/reply.hpp"
#include "gpu_proc/segment_provider.hpp"
#include "gpu_proc/simulation_state.hpp"

namespace ackbus::gpu {

// CLOCK_MONOTONIC in nanoseconds, and the kernel's MemAvailable in bytes (unlimited when it can't
// be read).
std::uint64_t monotonic_time_ns();
std::uint64_t available_memory_bytes();

struct EngineOptions {
  std::uint64_t epoch =
      0;  // This life's number on its queue; readers find it in the frames segment.
  std::function<std::uint64_t()> time_ns = monotonic_time_ns;
  std::function<std::uint64_t()> free_bytes = available_memory_bytes;
};

struct Simulation;  // What the handlers share: handlers/simulation.hpp.

class Engine {
 public:
  // Both must outlive the engine.
  Engine(Backend& backend, SegmentProvider& provider, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Before the first message: takes over a predecessor's state segment (copied, checked) into
  // segments of its own. Returns an error for the log, or an empty text. After an error the engine
  // is empty and usable: producers are answered "not initialised" until they send InitializeGPU and
  // the graph again. A segment without a commit is no error. `links` says whether its links are
  // still those of this life: else a new one may have an old one's number.
  enum class Links : std::uint8_t { kKept, kNumberedAnew };
  std::string restore(std::span<const std::byte> predecessor, Links links = Links::kKept);

  // Answers one message. `payload_copy` is private memory aligned to 8: nobody else writes it
  // during the call. Never throws for lack of memory: that is a Failed reply. The state before a
  // Failed reply is still in use after it.
  Reply handle(Kind kind, std::span<const std::byte> payload_copy, const DeliveryContext& context);

  // For metrics and tests.
  [[nodiscard]] const SimulationState& state() const;
  [[nodiscard]] std::uint64_t frame_sequence() const;
  [[nodiscard]] std::uint64_t state_commits() const;

 private:
  std::unique_ptr<Simulation> simulation_;
};

}  // namespace ackbus::gpu
