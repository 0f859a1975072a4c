// The assertion for our own invariants. It is on in every build, release included: a broken
// invariant ends the process, which every other process survives by design, instead of spreading
// wrong data. Never use it on what a peer wrote.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ackbus::layout {

[[noreturn]] inline void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "ackbus: assertion failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace ackbus::layout

#define ACKBUS_ASSERT(condition)      \
  ((condition) ? static_cast<void>(0) \
               : ::ackbus::layout::assertion_failed(#condition, __FILE__, __LINE__))
