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

// Connected as a tool. One thread at a time.
class Tool {
 public:
  [[nodiscard]] static Result<Tool> connect(const ConnectOptions& options);
  Tool(Tool&&) noexcept;
  Tool& operator=(Tool&&) noexcept;
  ~Tool();

  // `request` is a JSON object {"verb": ..., ...}; the answer is JSON text. docs/commands.md lists
  // the verbs. Errors: the daemon's refusal with its text, kTimeout, kDisconnected.
  [[nodiscard]] Result<std::string> query(const std::string& request, Deadline deadline);
  // The queue's published segment, mapped read-only; nullopt when there is none.
  [[nodiscard]] Result<std::optional<Segment>> open_segment(const std::string& queue,
                                                            SegmentKind kind, Deadline deadline);

 private:
  explicit Tool(std::unique_ptr<struct ToolCore> core);
  std::unique_ptr<struct ToolCore> core_;
};

// The directory of the bus's socket, as every command finds it: `wished` if not empty, else
// $ACKBUS_RUNTIME_DIR, else $XDG_RUNTIME_DIR/ackbus, else /run/ackbus (root), else an error that
// names the option.
[[nodiscard]] Result<std::string> find_runtime_dir(const std::string& wished);

}  // namespace ackbus
