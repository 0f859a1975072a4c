// The text of `ackbus status`: who holds what, what waits where, what came of the messages.
// Data flow: a BusStatus, and the one before it for rates, into text. Threads: pure functions.
#pragma once

#include <string>

#include "tools/status_model.hpp"

namespace ackbus::tools {

// What happened between two looks, for rates. `previous` may be null: then no rates are shown.
struct StatusInterval {
  const BusStatus* previous = nullptr;
  double seconds = 0.0;
};

// Several tables with a heading line; ends with a line end.
[[nodiscard]] std::string status_text(const BusStatus& status, const StatusInterval& interval = {});

// Nanoseconds as "850 ns", "12.3 us", "4.56 ms", "1.20 s"; "> 30 s" beyond the histogram.
[[nodiscard]] std::string format_latency(std::uint64_t latency_ns);

}  // namespace ackbus::tools
