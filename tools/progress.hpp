// The progress of a long command: a bar that redraws itself on a terminal, an occasional plain line
// elsewhere. Data flow: the command reports steps done and the time; what comes back is written to
// standard error, so that standard output stays clean for results. Threads: one Progress belongs to
// one thread. It holds no clock: time is a parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ackbus::tools {

struct ProgressOptions {
  std::string label;         // What is counted, for example "layout"; printed as it is.
  std::uint64_t total = 0;   // Steps until done.
  bool on_terminal = false;  // A redrawn bar (true) or plain lines (false).
  std::size_t columns = 80;  // Width of the terminal; the bar's line stays below it.
};

class Progress {
 public:
  // `now_ns` is any monotonic time; all later times must come from the same clock.
  Progress(ProgressOptions options, std::uint64_t now_ns);

  // The text to write now: empty most of the time, at most ten redraws a second on a terminal,
  // elsewhere a line every five seconds. `done` beyond the total counts as the total.
  [[nodiscard]] std::string update(std::uint64_t done, std::uint64_t now_ns);

  // The last text, whenever the last one was: the state reached and a line end. Call it also when
  // the command fails, so that an error message starts on a line of its own.
  [[nodiscard]] std::string finish(std::uint64_t done, std::uint64_t now_ns);

 private:
  void measure_rate(std::uint64_t done, std::uint64_t now_ns);
  [[nodiscard]] std::string render(std::uint64_t done, std::uint64_t now_ns, bool finished) const;
  [[nodiscard]] std::string figures(std::uint64_t done, std::uint64_t now_ns, bool finished) const;

  ProgressOptions options_;
  std::uint64_t start_ns_;
  std::uint64_t written_ns_;         // When text was last given out.
  std::uint64_t measured_ns_;        // Start of the interval whose rate is being measured,
  std::uint64_t measured_done_ = 0;  // and the steps done by then.
  double rate_per_second_ = 0.0;     // Smoothed; 0 until the first measurement.
};

// Whether standard error is a terminal, and how many columns it has (80 when it does not say).
[[nodiscard]] bool stderr_is_terminal();
[[nodiscard]] std::size_t stderr_columns();

// Writes text to standard error at once; a closed standard error is ignored.
void write_to_stderr(const std::string& text);

}  // namespace ackbus::tools
