// What the engine says of a message, and what it is told about its delivery. Plain data between
// worker and engine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ackbus::gpu {

struct Reply {
  enum class Status : std::uint8_t {
    kReserved = 0,
    kSuccess = 1,
    kPartialSuccess = 2,
    kFailed = 3
  };

  Status status = Status::kReserved;
  std::string text;  // The reason of a PartialSuccess, the error of a Failed; empty for Success.
  std::vector<std::pair<std::string, std::string>> metadata;
  // The device is lost: do not ack, leave by _exit and be started again; the message stays begun
  // and is redelivered.
  bool must_exit = false;
};

struct DeliveryContext {
  std::uint64_t link =
      0;  // The producer's link, unique on the bus for as long as its messages live.
  std::uint64_t sequence = 0;  // The message's number on its link, from 1.
  std::uint32_t attempt = 1;   // 1 for the first delivery.
  // Called now and then in long work, from the engine's thread; the worker turns it into Retrying
  // acks at its own pace. May be empty. Must not call the engine.
  std::function<void()> progress;
};

}  // namespace ackbus::gpu
