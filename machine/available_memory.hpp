// How much memory may still be taken without the kernel killing somebody. A memfd has no size limit
// of its own, so taking more than is there would not fail: it would wake the out-of-memory killer.
// Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace ackbus::machine {

/// Bytes free for new memory: MemAvailable of the machine, or less where a control group of this
/// process (version 2) allows less. UINT64_MAX when neither can be read, so that a missing /proc
/// refuses nothing.
[[nodiscard]] std::uint64_t available_memory_bytes();

/// The same from other roots (normally "/proc" and "/sys/fs/cgroup"), for tests.
[[nodiscard]] std::uint64_t available_memory_bytes(const std::string& proc_root,
                                                   const std::string& group_root);

}  // namespace ackbus::machine
