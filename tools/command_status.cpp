#include "tools/command_status.hpp"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "tools/status_model.hpp"
#include "tools/status_view.hpp"

namespace ackbus::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWatchPeriodMs = 1000;

struct Look {
  nlohmann::json answer;
  BusStatus status;
  Clock::time_point at;
  std::uint64_t answered_in_ms = 0;
};

Result<Look> look_once(DaemonSession& session) {
  const Clock::time_point asked = Clock::now();
  Result<nlohmann::json> answer = session.ask({{"verb", "status"}}, kQueryTimeout);
  if (!answer) {
    return answer.error();
  }
  Result<BusStatus> status = parse_status(answer.value());
  if (!status) {
    return status.error();
  }
  const Clock::time_point now = Clock::now();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(now - asked);
  return Look{std::move(answer).value(), std::move(status).value(), now,
              static_cast<std::uint64_t>(took.count())};
}

std::string render(const Look& look, const StatusOptions& options, const StatusInterval& interval) {
  if (options.json) {
    return json_text(look.answer);
  }
  if (options.metrics) {
    return metrics_of(look.status).summary();
  }
  return status_text(look.status, interval);
}

ExitCode check(const Look& look) {
  const std::vector<std::string> problems = find_problems(look.status, look.answered_in_ms);
  ExitCode found = ExitCode::kDone;
  for (const std::string& problem : problems) {
    found = report_error(ExitCode::kDegraded, problem);
  }
  if (found != ExitCode::kDone) {
    return found;
  }
  return print_text("ok: bus " + look.status.bus + " serves " +
                    std::to_string(look.status.queues.size()) + " queue(s), " +
                    std::to_string(look.status.links.size()) + " link(s)\n");
}

// Waits a period; false when standard output was closed by its reader meanwhile.
bool wait_period() {
  pollfd reader{STDOUT_FILENO, 0, 0};
  const int answered = poll(&reader, 1, kWatchPeriodMs);
  return answered <= 0 || (reader.revents & (POLLERR | POLLNVAL)) == 0;
}

// Ends when interrupted or when nobody reads any more. A daemon that is away is looked for again.
ExitCode watch(const CommonOptions& common, const StatusOptions& options) {
  const bool terminal = isatty(STDOUT_FILENO) == 1 && !options.json;
  std::optional<Look> previous;
  for (;;) {
    std::string text;
    Result<DaemonSession> session = DaemonSession::open(common);
    Result<Look> look = session ? look_once(session.value()) : Result<Look>(session.error());
    if (look) {
      StatusInterval interval;
      if (previous) {
        interval = {&previous->status,
                    std::chrono::duration<double>(look->at - previous->at).count()};
      }
      text = render(look.value(), options, interval);
      previous = std::move(look).value();
    } else {
      text = "waiting for the daemon: " + look.error().text + "\n";
    }
    // Cursor home and erase below redraw in place; a pipe gets one block a second.
    const ExitCode printed = print_text(terminal ? "\033[H\033[J" + text : text + "\n");
    if (printed != ExitCode::kDone || !wait_period()) {
      return printed;
    }
  }
}

}  // namespace

ExitCode run_status(const CommonOptions& common, const StatusOptions& options) {
  if (options.watch) {
    return watch(common, options);
  }
  Result<DaemonSession> session = DaemonSession::open(common);
  if (!session) {
    return report_error(session.error());
  }
  const Result<Look> look = look_once(session.value());
  if (!look) {
    return report_error(look.error());
  }
  return options.check ? check(look.value()) : print_text(render(look.value(), options, {}));
}

}  // namespace ackbus::tools
