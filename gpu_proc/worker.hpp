// The loop of ackbus-gpu: takes messages from the queue on this thread, copies each payload out of
// the producer's memory, lets the engine answer, and acks when the work is complete. Segments for
// state and frames come from the daemon.
#pragma once

#include <ackbus/consumer.hpp>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu_proc/backend.hpp"
#include "gpu_proc/engine.hpp"
#include "gpu_proc/segment_provider.hpp"

namespace ackbus::gpu {

// Exit statuses of ackbus-gpu, for the service manager: 1 and 75 ask to be started again; 2 and 69
// ask not to, for only a person can change what is wrong.
inline constexpr int kExitFailed = 1;        // no daemon within the patience, or a system error
inline constexpr int kExitUsage = 2;         // the command line
inline constexpr int kExitUnavailable = 69;  // no such device or queue, not admitted, other layout
inline constexpr int kExitRestart = 75;      // the device or the connection was lost

// The status for a connection that was refused: kExitUnavailable where the next try would get the
// same answer, else kExitFailed.
[[nodiscard]] int exit_status_of(ErrorCode code);

class Worker final : public SegmentProvider {
 public:
  // `alive` is called while the work makes progress, for a watchdog.
  Worker(Consumer& consumer, Backend& backend, std::function<void()> alive)
      : consumer_(consumer), backend_(backend), alive_(std::move(alive)) {}

  // Until `stop` is set or the queue is closed; gives the process's exit status. `serving` is
  // called once, when this process is the active consumer.
  int run(const volatile std::sig_atomic_t& stop, const std::function<void()>& serving);

  // ---- SegmentProvider: the engine's, on the same thread ----
  std::span<std::byte> create(SegmentRole role, std::size_t bytes) override;
  void publish(SegmentRole role) override;
  [[nodiscard]] std::string failure() const override { return failure_; }

 private:
  struct Slot {
    std::optional<Segment> created;
    std::optional<Segment> published;
  };
  void begin_life(std::uint64_t epoch);
  int answer(const Delivery& delivery);
  void alive_if_due();
  void send(const Delivery& delivery, const Reply& reply);
  Slot& slot_of(SegmentRole role) { return slots_[role == SegmentRole::kState ? 0 : 1]; }

  Consumer& consumer_;
  Backend& backend_;
  std::function<void()> alive_;
  std::unique_ptr<Engine> engine_;
  std::chrono::steady_clock::time_point said_alive_;
  std::uint64_t lives_ = 0;          // as the library counts them: the epoch may be the same
  std::vector<std::uint64_t> copy_;  // the payload at work, aligned to 8
  Slot slots_[2];
  std::string failure_;
  bool unpublished_ = false;  // a segment of this life stays unseen: leave, and answer nothing more
};

}  // namespace ackbus::gpu
