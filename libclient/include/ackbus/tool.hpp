// What the tools ask of a daemon: queries with JSON answers, and the published segments of a queue,
// read-only.
#pragma once

#include <ackbus/consumer.hpp>
#include <ackbus/error.hpp>
#include <ackbus/options.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace ackbus {

// Connected as a tool. One thread at a time, whatever ConnectOptions::shared_between_threads says.
// Moved, never copied; of a handle that was moved from nothing but destroying it and assigning to
// it is allowed. When the daemon ends the handle is of no more use: connect anew.
class Tool {
 public:
  // `queue`, `wait` and `spin_us` of the options are not used. Errors: kInvalid (a name or path
  // that is too long), kNoDaemon, kPermission (not admitted), kVersion, kQuota, kMemory, kTimeout
  // (after connect_timeout), kDisconnected (the daemon hung up meanwhile), kProtocol, kSystem.
  [[nodiscard]] static Result<Tool> connect(const ConnectOptions& options);
  Tool(Tool&&) noexcept;
  Tool& operator=(Tool&&) noexcept;
  ~Tool();

  // `request` is a JSON object {"verb": ..., ...}; the answer is JSON text. docs/commands.md lists
  // the verbs. Waits for the daemon. Errors: the daemon's refusal with its text (kInvalid,
  // kNotFound, kPermission and others), kInvalid (a request that is too long), kTimeout (a late
  // answer is dropped), kDisconnected, kProtocol, kForked.
  [[nodiscard]] Result<std::string> query(const std::string& request, Deadline deadline);
  // The queue's published segment, mapped read-only; nullopt when there is none, and for a queue
  // that does not exist. It stays as it is when another one is published: open it again. Errors:
  // kPermission (this user may not read the queue's segments), kMemory, kTimeout, kDisconnected,
  // kProtocol, kForked.
  [[nodiscard]] Result<std::optional<Segment>> open_segment(const std::string& queue,
                                                            SegmentKind kind, Deadline deadline);

 private:
  explicit Tool(std::unique_ptr<struct ToolCore> core);
  std::unique_ptr<struct ToolCore> core_;
};

// The directory of the bus's socket, as every command finds it: `wished` if not empty, else
// $ACKBUS_RUNTIME_DIR, else $XDG_RUNTIME_DIR/ackbus, else /run/ackbus when it exists or the user is
// root. Whether a daemon serves there is not looked at. Errors: kNoDaemon, whose text names the
// option. Any thread, as long as no other one changes the environment.
[[nodiscard]] Result<std::string> find_runtime_dir(const std::string& wished);

}  // namespace ackbus
