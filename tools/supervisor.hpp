// The supervisor of `ackbus run`: a few processes in order, each started when those before it
// serve, restarted when it dies, ended in the opposite order. Data flow: signals, ends and
// notifications in through one poll(); starts, restarts and kills out; a line for each change of
// state. Threads: one. Signals SIGTERM, SIGINT and SIGHUP are blocked and read by it from its
// construction on; a second SIGTERM or SIGINT ends everything at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/exit_codes.hpp"
#include "tools/supervised_child.hpp"

namespace ackbus::tools {

struct SupervisorOptions {
  std::uint64_t stop_grace_ns = 10'000'000'000;  // for each process to end when asked
  std::string ready_line;                        // printed once, when everybody serves first
  // Where lines go: the ready line, and everything else. Both get the text without a line end.
  std::function<void(const std::string&)> announce;
  std::function<void(const std::string&)> log;
};

class Supervisor {
 public:
  // `children` in the order of their starts; at least one (asserted).
  Supervisor(std::vector<std::unique_ptr<SupervisedChild>> children, SupervisorOptions options);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Runs until SIGTERM or SIGINT: kDone after an orderly end. kFailed when a process ended with an
  // error by itself before it ever served: it would only do so again. kSystem when one could not
  // be started at all.
  [[nodiscard]] ExitCode run();

 private:
  struct Place {
    std::unique_ptr<SupervisedChild> child;
    std::uint64_t start_due_ns = 0;
    std::uint64_t kill_due_ns = UINT64_MAX;  // while it is asked to stop
    bool asked_to_stop = false;
    bool killed = false;  // because it hung; its end is still to come
  };

  void wait_for_events(std::uint64_t now_ns);
  void read_signals();
  void take_end(Place& place, std::uint64_t now_ns);
  void start_what_is_due(std::uint64_t now_ns);
  void stop_in_order(std::uint64_t now_ns);
  void kill_what_hangs(std::uint64_t now_ns);
  void announce_when_all_serve();
  [[nodiscard]] bool all_before_are_ready(std::size_t index) const;
  [[nodiscard]] bool anything_runs() const;
  [[nodiscard]] std::uint64_t next_due_ns() const;
  void stop(ExitCode code);

  std::vector<Place> places_;
  SupervisorOptions options_;
  int signal_descriptor_ = -1;
  bool stopping_ = false;
  bool announced_ = false;
  ExitCode code_ = ExitCode::kDone;
};

// CLOCK_MONOTONIC in nanoseconds.
[[nodiscard]] std::uint64_t monotonic_ns();

}  // namespace ackbus::tools
