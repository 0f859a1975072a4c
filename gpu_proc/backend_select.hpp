// Which backend computes, by the option --backend auto|cpu|cuda, and why, as text for the log and
// for --version. Called once at start.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "gpu_proc/backend.hpp"

namespace ackbus::gpu {

struct BackendChoice {
  std::unique_ptr<Backend> backend;  // Null: `reason` is an error that names the remedy.
  std::string reason;
};

// `threads` is for the CPU backend, the calling thread included; 0 means one per processor.
BackendChoice select_backend(std::string_view option, unsigned threads);

}  // namespace ackbus::gpu
