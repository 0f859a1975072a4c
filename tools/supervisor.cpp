#include "tools/supervisor.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "shm_layout/assert.hpp"

namespace ackbus::tools {
namespace {

sigset_t watched_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

Supervisor::Supervisor(std::vector<std::unique_ptr<SupervisedChild>> children,
                       SupervisorOptions options)
    : options_(std::move(options)) {
  ACKBUS_ASSERT(!children.empty());
  for (std::unique_ptr<SupervisedChild>& child : children) {
    Place place;
    place.child = std::move(child);
    places_.push_back(std::move(place));
  }
  const sigset_t signals = watched_signals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal_descriptor_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  ACKBUS_ASSERT(signal_descriptor_ >= 0);
}

Supervisor::~Supervisor() {
  places_.clear();
  close(signal_descriptor_);
  const sigset_t signals = watched_signals();
  sigprocmask(SIG_UNBLOCK, &signals, nullptr);
}

ExitCode Supervisor::run() {
  while (!stopping_ || anything_runs()) {
    std::uint64_t now_ns = monotonic_ns();
    if (stopping_) {
      stop_in_order(now_ns);
    } else {
      start_what_is_due(now_ns);
    }
    wait_for_events(now_ns);
    now_ns = monotonic_ns();
    read_signals();
    for (Place& place : places_) {
      const bool served_before = place.child->was_ready_once();
      if (place.child->take_notifications(now_ns) && served_before) {
        options_.log(place.child->name() + " serves again, pid " +
                     std::to_string(place.child->pid()));
      }
      take_end(place, now_ns);
      if (const std::string refusals = place.child->take_refusals(); !refusals.empty()) {
        options_.log(refusals);
      }
    }
    announce_when_all_serve();
    kill_what_hangs(now_ns);
  }
  return code_;
}

void Supervisor::wait_for_events(std::uint64_t now_ns) {
  std::vector<pollfd> descriptors{{signal_descriptor_, POLLIN, 0}};
  for (const Place& place : places_) {
    descriptors.push_back({place.child->notify_descriptor(), POLLIN, 0});
    // poll() leaves out what is -1: a process that does not run.
    descriptors.push_back({place.child->pid_descriptor(), POLLIN, 0});
  }
  constexpr std::uint64_t kLongestNs = 60'000'000'000;  // A round without an event costs nothing.
  const std::uint64_t due_ns = next_due_ns();
  const std::uint64_t wait_ns = due_ns <= now_ns ? 0 : std::min(due_ns - now_ns, kLongestNs);
  // Rounded up, so that what is due then is due when it returns.
  const int wait_ms = static_cast<int>((wait_ns + 999'999) / 1'000'000);
  poll(descriptors.data(), descriptors.size(), wait_ms);
}

std::uint64_t Supervisor::next_due_ns() const {
  std::uint64_t due_ns = UINT64_MAX;
  for (std::size_t index = 0; index < places_.size(); ++index) {
    const Place& place = places_[index];
    if (!place.child->running()) {
      if (!stopping_ && all_before_are_ready(index)) {
        due_ns = std::min(due_ns, place.start_due_ns);
      }
      continue;
    }
    due_ns = std::min(due_ns, place.kill_due_ns);
    if (!place.killed) {
      due_ns = std::min(due_ns, place.child->hung_at_ns());
    }
  }
  return due_ns;
}

void Supervisor::read_signals() {
  signalfd_siginfo info{};
  while (read(signal_descriptor_, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGHUP) {
      if (places_.front().child->running()) {
        kill(places_.front().child->pid(), SIGHUP);
      }
      continue;
    }
    if (!stopping_) {
      options_.log("ending on signal " + std::to_string(info.ssi_signo));
      stop(ExitCode::kDone);
      continue;
    }
    for (Place& place : places_) {
      place.child->kill();  // Asked twice: at once.
    }
  }
}

void Supervisor::stop(ExitCode code) {
  stopping_ = true;
  code_ = code;
}

void Supervisor::take_end(Place& place, std::uint64_t now_ns) {
  SupervisedChild& child = *place.child;
  const pid_t pid = child.pid();
  const std::optional<ChildEnd> end = child.take_end();
  if (!end) {
    return;
  }
  const std::string what = child.name() + ", pid " + std::to_string(pid);
  if (stopping_) {
    if (!end->clean() && place.asked_to_stop) {
      options_.log(what + ", ended with " + end->text());
    }
    return;
  }
  if (!child.was_ready_once() && !end->by_signal) {
    options_.log(what + ", ended with " + end->text() +
                 " before it served: see its message above, mend that and run again");
    stop(ExitCode::kFailed);
    return;
  }
  const std::uint64_t delay_ns = child.restart_delay_ns(now_ns);
  place.start_due_ns = now_ns + delay_ns;
  options_.log(
      what + ", ended with " + end->text() + "; restarting it " +
      (delay_ns == 0 ? std::string("now") : "in " + std::to_string(delay_ns / 1'000'000) + " ms"));
}

bool Supervisor::all_before_are_ready(std::size_t index) const {
  return std::all_of(places_.begin(), places_.begin() + static_cast<std::ptrdiff_t>(index),
                     [](const Place& place) { return place.child->ready(); });
}

void Supervisor::start_what_is_due(std::uint64_t now_ns) {
  for (std::size_t index = 0; index < places_.size(); ++index) {
    Place& place = places_[index];
    if (place.child->running() || place.start_due_ns > now_ns || !all_before_are_ready(index)) {
      continue;
    }
    place.killed = false;
    std::string error;
    if (!place.child->start(now_ns, error)) {
      options_.log(error);
      stop(ExitCode::kSystem);
      return;
    }
    options_.log("started " + place.child->name() + ", pid " + std::to_string(place.child->pid()));
  }
}

bool Supervisor::anything_runs() const {
  return std::any_of(places_.begin(), places_.end(),
                     [](const Place& place) { return place.child->running(); });
}

// The last one first; the next one only when it has ended.
void Supervisor::stop_in_order(std::uint64_t now_ns) {
  for (auto place = places_.rbegin(); place != places_.rend(); ++place) {
    if (!place->child->running()) {
      continue;
    }
    if (!place->asked_to_stop) {
      place->asked_to_stop = true;
      place->kill_due_ns = now_ns + options_.stop_grace_ns;
      place->child->ask_to_stop();
    } else if (now_ns >= place->kill_due_ns) {
      options_.log(place->child->name() + ", pid " + std::to_string(place->child->pid()) +
                   ", did not end in time: killing it");
      place->kill_due_ns = UINT64_MAX;
      place->child->kill();
    }
    return;
  }
}

void Supervisor::kill_what_hangs(std::uint64_t now_ns) {
  for (Place& place : places_) {
    if (now_ns >= place.child->hung_at_ns() && !place.killed) {
      options_.log(place.child->name() + ", pid " + std::to_string(place.child->pid()) +
                   ", stopped saying that it is alive: killing it");
      place.child->kill();
      place.killed = true;
    }
  }
}

void Supervisor::announce_when_all_serve() {
  if (!announced_ && !stopping_ && all_before_are_ready(places_.size())) {
    announced_ = true;
    options_.announce(options_.ready_line);
  }
}

}  // namespace ackbus::tools
