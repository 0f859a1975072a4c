// Hints that a line of shared memory will be needed soon. They change nothing that anybody can see:
// no order, no value, and an address of nothing is ignored.
#pragma once

namespace ackbus {

// To be read. Not the builtin: a function that only prefetches has no effect in the compiler's
// eyes, and g++ 12 drops the calls of it.
inline void prefetch_to_read(const void* address) {
#if defined(__x86_64__)
  asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address, 0);
#endif
}

// To be written: the line leaves the peer's cache before the store wants it, so that the store, and
// a fence behind it, do not wait.
inline void prefetch_to_write(const void* address) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address, 1);
#endif
}

}  // namespace ackbus
