// The assertion as the memory-model explorer sees it: a broken invariant of the product fails the
// litmus test that runs, instead of ending the test program. Found before the real header because
// this folder comes first on the include path of the litmus tests.
#pragma once

namespace ackbus::layout {

[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace ackbus::layout

#define ACKBUS_ASSERT(condition)      \
  ((condition) ? static_cast<void>(0) \
               : ::ackbus::layout::assertion_failed(#condition, __FILE__, __LINE__))
