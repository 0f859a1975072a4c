// What every client does first: connect, say hello, be welcomed. Also the process-wide facts a
// connection needs: the generation of forks, whether the daemon's membarrier reaches this process,
// and the descriptor of this process.
#pragma once

#include <ackbus/error.hpp>
#include <ackbus/options.hpp>
#include <atomic>
#include <cstdint>
#include <string>

#include "libclient/src/control_socket.hpp"
#include "libclient/src/mapping.hpp"
#include "shm_layout/control.hpp"
#include "shm_layout/views.hpp"

namespace ackbus {

// Counts forks of this process: a handle made under another generation is refused by name. Counting
// begins with the first call of fork_generation().
inline std::atomic<std::uint64_t> forks_of_process{0};
[[nodiscard]] std::uint64_t fork_generation();
// The same for every later call, and cheap.
[[nodiscard]] inline bool forked_since(std::uint64_t generation) {
  // relaxed because it is written in the child of a fork only, by the one thread that it has
  return forks_of_process.load(std::memory_order_relaxed) != generation;
}
[[nodiscard]] Error forked_error();
// True when the kernel lets the daemon order this process's loads and stores (membarrier, global
// expedited).
bool register_membarrier();

[[nodiscard]] layout::HelloMessage make_hello(const ConnectOptions& options,
                                              layout::ClientRole role);
// Sends the hello with this process's pidfd.
[[nodiscard]] bool send_hello(ControlSocket& socket, const layout::HelloMessage& hello);
// A refusal as an Error.
[[nodiscard]] Error refused_error(const ControlPacket& packet);
// Checks a welcome and maps the bus segment that came with it.
[[nodiscard]] Result<Mapping> accept_welcome(const ControlPacket& packet);
// Waits for the next packet of an expected type; a refusal or anything else is an Error.
[[nodiscard]] Result<ControlPacket> expect(ControlSocket& socket, layout::ControlType type,
                                           std::uint64_t deadline_ns);

// Says hello on a connected socket and waits for the welcome. A refusal is an Error, also one that
// was said before the hello.
[[nodiscard]] Result<ControlPacket> greet(ControlSocket& socket, const layout::HelloMessage& hello,
                                          std::uint64_t deadline_ns);

// For a connection that is given up before the daemon answered: it may take the hello all the same,
// later, and a consumer's process whose connection only hangs up is killed.
void say_bye(ControlSocket& socket);

struct Session {
  ControlSocket socket;
  Mapping bus;
  std::string runtime_dir;
};
// Connects, says hello and waits for the welcome.
[[nodiscard]] Result<Session> open_session(const ConnectOptions& options,
                                           const layout::HelloMessage& hello,
                                           std::uint64_t deadline_ns);

// Maps one segment and checks its header against what the daemon announced.
[[nodiscard]] Result<Mapping> map_checked(int fd, std::uint64_t bytes, bool writable,
                                          layout::SegmentRole role, std::uint64_t slots,
                                          std::uint64_t arena_bytes);

// Whether a link can be of this size, so that its geometry can be computed.
[[nodiscard]] constexpr bool sound_slots(std::uint64_t slots) {
  return layout::is_power_of_two(slots) && slots >= layout::kSlotsMin && slots <= layout::kSlotsMax;
}

// A kind's row of the bus segment; a row that stays torn counts as undefined.
struct KindInfo {
  std::string name;
  std::uint32_t flags = 0;
  std::uint32_t timeout_ms = 0;
  std::uint32_t max_wait_ms = 0;
  std::uint64_t min_payload_bytes = 0;
  std::uint64_t max_payload_bytes = 0;  // 0: no bound
};
[[nodiscard]] KindInfo read_kind(const layout::BusView& bus, std::uint32_t kind);

}  // namespace ackbus
