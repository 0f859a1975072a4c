// Rate, estimate and drawing of the bar.
#include "tools/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr std::uint64_t kRedrawInterval_ns = 100'000'000;
constexpr std::uint64_t kPlainInterval_ns = 5'000'000'000;
constexpr std::uint64_t kMeasureInterval_ns = 250'000'000;
constexpr double kSmoothing_s = 3.0;  // A change of speed shows in the rate after about this long.
constexpr std::size_t kBarWidthMax = 40;
constexpr std::size_t kBarWidthMin = 5;  // Below it a bar says nothing, so only the figures remain.
constexpr std::size_t kColumnsDefault = 80;

double seconds_between(std::uint64_t begin_ns, std::uint64_t end_ns) {
  return end_ns <= begin_ns ? 0.0 : static_cast<double>(end_ns - begin_ns) * 1e-9;
}

std::string percent_text(std::uint64_t done, std::uint64_t total) {
  // Rounded down: 100 % is said only when everything is done.
  const double share = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  return std::to_string(static_cast<int>(share * 100.0)) + "%";
}

std::string bar_text(std::uint64_t done, std::uint64_t total, std::size_t width) {
  const double share = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(width));
  std::string bar = "[" + std::string(filled, '=');
  if (filled < width) bar += '>' + std::string(width - filled - 1, ' ');
  return bar + "] ";
}

}  // namespace

Progress::Progress(ProgressOptions options, std::uint64_t now_ns)
    : options_(std::move(options)), start_ns_(now_ns), written_ns_(now_ns), measured_ns_(now_ns) {}

std::string Progress::update(std::uint64_t done, std::uint64_t now_ns) {
  done = std::min(done, options_.total);
  measure_rate(done, now_ns);
  const std::uint64_t interval_ns = options_.on_terminal ? kRedrawInterval_ns : kPlainInterval_ns;
  if (now_ns < written_ns_ + interval_ns) return "";
  written_ns_ = now_ns;
  return render(done, now_ns, false);
}

std::string Progress::finish(std::uint64_t done, std::uint64_t now_ns) {
  return render(std::min(done, options_.total), now_ns, true);
}

void Progress::measure_rate(std::uint64_t done, std::uint64_t now_ns) {
  const double elapsed_s = seconds_between(measured_ns_, now_ns);
  if (elapsed_s < static_cast<double>(kMeasureInterval_ns) * 1e-9 || done < measured_done_) return;
  const double rate = static_cast<double>(done - measured_done_) / elapsed_s;
  // Exponential smoothing over unequal intervals: the older figure keeps exp(-elapsed / smoothing)
  // of its weight.
  const double kept = rate_per_second_ == 0.0 ? 0.0 : std::exp(-elapsed_s / kSmoothing_s);
  rate_per_second_ = kept * rate_per_second_ + (1.0 - kept) * rate;
  measured_ns_ = now_ns;
  measured_done_ = done;
}

std::string Progress::figures(std::uint64_t done, std::uint64_t now_ns, bool finished) const {
  const double elapsed_s = seconds_between(start_ns_, now_ns);
  const double average = elapsed_s > 0.0 ? static_cast<double>(done) / elapsed_s : 0.0;
  const double rate = finished || rate_per_second_ == 0.0 ? average : rate_per_second_;
  std::string text = percent_text(done, options_.total) + "  " + format_count(done) + "/" +
                     format_count(options_.total) + " steps";
  if (rate > 0.0) text += "  " + format_decimal(rate, rate < 10.0 ? 2 : 0) + "/s";
  if (finished) return text + "  in " + format_duration(elapsed_s);
  const double left_s = static_cast<double>(options_.total - done) / rate;
  return text + "  ETA " + (rate > 0.0 ? format_duration(left_s) : "-");
}

std::string Progress::render(std::uint64_t done, std::uint64_t now_ns, bool finished) const {
  const std::string label = options_.label + "  ";
  const std::string text = figures(done, now_ns, finished);
  if (!options_.on_terminal) return label + text + "\n";
  // The last column stays empty: a full line would wrap on some terminals and leave a trail of
  // bars.
  const std::size_t used = display_width(label) + display_width(text) + 4;
  const std::size_t space = options_.columns > used ? options_.columns - used : 0;
  const std::size_t width = std::min(space, kBarWidthMax);
  const std::string bar =
      width >= kBarWidthMin ? bar_text(done, options_.total, width) : std::string();
  std::string line = label + bar + text;
  if (display_width(line) >= options_.columns && options_.columns > 1) {
    line = printable_text(line, options_.columns - 1);
  }
  // Return to the line's start, draw, and clear what an earlier, longer line left behind.
  return "\r" + line + "\x1b[K" + (finished ? "\n" : "");
}

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

std::size_t stderr_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kColumnsDefault;
  return size.ws_col;
}

void write_to_stderr(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace ackbus::tools
