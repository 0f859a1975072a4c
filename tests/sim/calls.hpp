// What the three files of system calls share. The linker sends every call of the product to them
// (--wrap, see CMakeLists.txt). A call from outside a simulated process, and one on a descriptor of
// the real machine (the dead letters' directory), goes on to the real one. Calls are points where
// others may run; none blocks the simulator.
#pragma once

#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "shm_layout/assert.hpp"
#include "tests/sim/kernel.hpp"

// The real call behind a wrapped one.
#define REAL(result, name, ...) result __real_##name(__VA_ARGS__)

namespace ackbus::sim {

inline Kernel& kernel() { return *Kernel::current(); }

inline bool is_simulated(int descriptor) {
  return Kernel::in_process() && descriptor >= kFirstDescriptor;
}

// A call that gives bytes, 0 or -errno, as a C library gives it.
template <typename Number>
Number answer(Number result) {
  if (result < 0) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return result;
}

inline int refuse(int number) {
  errno = number;
  return -1;
}

template <typename Type>
std::shared_ptr<Type> file_as(int descriptor) {
  return std::dynamic_pointer_cast<Type>(kernel().file(descriptor));
}

template <typename Type, typename... Arguments>
int open_new(Arguments&&... arguments) {
  const SimulatorScope simulator;
  if (kernel().fault(Fault::kDescriptors)) {
    return refuse(EMFILE);
  }
  return kernel().open_descriptor(std::make_shared<Type>(std::forward<Arguments>(arguments)...));
}

inline std::uint64_t to_ns(const timespec* time) {
  return static_cast<std::uint64_t>(time->tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(time->tv_nsec);
}

inline std::uint64_t deadline_after(const timespec* timeout) {
  return timeout == nullptr ? kNever : kernel().now_ns + to_ns(timeout);
}

inline int keep_real(int descriptor) {
  if (descriptor >= 0 && Kernel::in_process()) {
    const SimulatorScope simulator;
    kernel().process().real_descriptors.insert(descriptor);
  }
  return descriptor;
}

}  // namespace ackbus::sim
