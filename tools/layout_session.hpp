// The producer of `ackbus layout`: one link, messages counted by kind, a window of them in flight.
// Data flow: payloads in, outcomes out, figures of every message kept for the report. A daemon that
// is away and a GPU process that is being replaced only make it wait: it gives up when nothing at
// all came back for kPatience. Threads: one.
#pragma once

#include <ackbus/producer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"
#include "tools/layout_report.hpp"
#include "tools/percentiles.hpp"

namespace ackbus::tools {

// Why a layout ended: the exit code and one line.
struct LayoutFailure {
  ExitCode code = ExitCode::kFailed;
  std::string text;
};

struct LayoutSessionOptions {
  std::string queue = "gpu0";
  std::uint64_t arena_bytes = 0;
  std::uint32_t window = 16;  // messages in flight, 1 to kWindowMax
};

inline constexpr std::uint32_t kWindowMax = 4096;

// The value of an outcome's metadata by name, as text; empty when there is none.
[[nodiscard]] std::string metadata_text(const Outcome& outcome, const std::string& name);
// As a finite number, or nothing.
[[nodiscard]] std::optional<double> metadata_number(const Outcome& outcome,
                                                    const std::string& name);

class LayoutSession {
 public:
  static constexpr std::chrono::seconds kPatience{180};

  [[nodiscard]] static Result<LayoutSession> connect(const CommonOptions& common,
                                                     const LayoutSessionOptions& options);

  // Commits one message; waits for room as long as others make progress. `fill` writes the payload
  // in place. The failure of an earlier message ends it too.
  [[nodiscard]] std::optional<LayoutFailure> send(
      Kind kind, std::size_t bytes, const std::function<void(std::span<std::byte>)>& fill);
  [[nodiscard]] std::optional<LayoutFailure> send(Kind kind, std::span<const std::byte> payload);

  // Waits until at most `limit` messages are in flight, calling `idle` now and then.
  [[nodiscard]] std::optional<LayoutFailure> wait_until(std::uint64_t limit,
                                                        const std::function<void()>& idle);

  // The outcome of the last message of a kind by number, and of the first one.
  [[nodiscard]] const Outcome& first(Kind kind) const { return figures_.at(kind).first; }
  [[nodiscard]] const Outcome& last(Kind kind) const { return figures_.at(kind).last; }
  [[nodiscard]] std::uint64_t done(Kind kind) const;
  [[nodiscard]] std::uint32_t window() const { return window_; }

  // Seconds from the first commit of a kind to the last outcome of any.
  [[nodiscard]] double seconds_since_first(Kind kind) const;

  // Adds every kind's figures to the report, in the order of their first sending.
  void add_to(LayoutReport& report) const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Figures {
    KindReport report;
    LatencyHistogram latency;
    Clock::time_point first_commit;
    std::uint64_t first_sequence = 0;
    std::uint64_t last_sequence = 0;
    Outcome first;
    Outcome last;
  };

  explicit LayoutSession(Producer producer, std::uint32_t window)
      : producer_(std::move(producer)), window_(window), progress_at_(Clock::now()) {}

  [[nodiscard]] std::optional<LayoutFailure> commit(Loan loan);
  // Waits a little for outcomes and takes them; a failure when one failed or patience ran out.
  [[nodiscard]] std::optional<LayoutFailure> take_outcomes();
  [[nodiscard]] std::optional<LayoutFailure> take(const Completion& completion);
  [[nodiscard]] std::optional<LayoutFailure> out_of_patience(const std::string& what) const;

  Producer producer_;
  std::uint32_t window_;
  std::uint64_t in_flight_ = 0;
  Clock::time_point progress_at_;
  Clock::time_point last_outcome_at_;
  std::vector<Kind> order_;
  std::map<Kind, Figures> figures_;
  std::vector<Completion> completions_;
};

}  // namespace ackbus::tools
