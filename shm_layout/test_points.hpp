// The named points at which a test can stop or kill a process: before and after each store that
// publishes something, and between the steps of a message, a retry, a verdict and a hand-over.
//
// Purpose: scripts/chaos.sh (docs/chaos.md) ends processes exactly there. Data flow: only a build
// with -DACKBUS_TEST_POINTS=ON defines ACKBUS_TEST_POINTS; then ACKBUS_POINT(name) calls
// ackbus_reach_point(), which tests/chaos/reach_point.cpp defines; ACKBUS_POINT_WITH(name, word)
// says more of the case, so that a test can wait for one of them. In every other build the macro is
// nothing at all: no call, no load, no byte. The one list of points is test_points.def. Threads:
// any.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ackbus::layout {

enum class Point : std::uint32_t {
#define ACKBUS_POINT_ENTRY(name, role, where) name,
#include "shm_layout/test_points.def"
#undef ACKBUS_POINT_ENTRY
};

#define ACKBUS_POINT_ENTRY(name, role, where) +1
inline constexpr std::size_t kPointCount = 0
#include "shm_layout/test_points.def"
    ;
#undef ACKBUS_POINT_ENTRY

}  // namespace ackbus::layout

#if defined(ACKBUS_TEST_POINTS)
extern "C" void ackbus_reach_point(std::uint32_t point, std::uint32_t word) noexcept;
#define ACKBUS_POINT_WITH(name, word)                                           \
  ackbus_reach_point(static_cast<std::uint32_t>(::ackbus::layout::Point::name), \
                     static_cast<std::uint32_t>(word))
#define ACKBUS_POINT(name) ACKBUS_POINT_WITH(name, 0)
#else
#define ACKBUS_POINT_WITH(name, word) static_cast<void>(0)
#define ACKBUS_POINT(name) static_cast<void>(0)
#endif
