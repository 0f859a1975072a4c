// The clients of a chaos run, each a process of its own: the same program, started again with
// --role. They find everything in the run's folder, keep a journal there, and end when the control
// page says so. Threads: one a process.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace ackbus::chaos {

enum class Phase : std::uint32_t {
  kLoad = 0,     // everybody works
  kDrain = 1,    // producers send no more, take what is outstanding, and end
  kGoodbye = 2,  // consumers end in order
};

// Shared by the supervisor with its clients.
struct ControlPage {
  std::atomic<std::uint32_t> phase;
  std::atomic<std::uint32_t> active_consumer;  // pid of the one that serves gpu-less messages
};

struct RoleArguments {
  std::string role;  // producer, consumer, gpu-producer
  std::string folder;
  std::uint32_t index = 0;
  std::uint32_t incarnation = 0;
  std::uint64_t seed = 0;
  std::uint32_t rate = 0;  // messages a second; producers
};

inline constexpr const char* kWorkQueue = "work";
inline constexpr const char* kGpuQueue = "gpu0";
// Producers of the GPU process count from here, so that no two producers share a number.
inline constexpr std::uint32_t kGpuProducerFirst = 100;

[[nodiscard]] std::string journal_path(const RoleArguments& arguments);
[[nodiscard]] ControlPage& open_control_page(const std::string& folder);
// Waits so many milliseconds where there is no event to wait for: between tries to connect.
void pause_ms(int duration_ms);

int run_producer(const RoleArguments& arguments);
int run_consumer(const RoleArguments& arguments);
int run_gpu_producer(const RoleArguments& arguments);

}  // namespace ackbus::chaos
