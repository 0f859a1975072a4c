#include "daemon/bus.hpp"

#include <fcntl.h>
#include <openssl/rand.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kNever = UINT64_MAX;
constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kDrainLookNs =
    20 * kMillisecondNs;  // how often a link that ends is looked at

std::uint64_t read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(time.tv_nsec);
}

const char* fault_text(std::uint64_t fault) {
  switch (static_cast<layout::LinkFault>(fault)) {
    case layout::LinkFault::kAhead:
      return "a place was overwritten before it was read";
    case layout::LinkFault::kUnsound:
      return "a place names no slot or no kind, or its descriptor is another message's";
    case layout::LinkFault::kSlotInUse:
      return "a place names a slot that is in use";
    case layout::LinkFault::kReserved:
      break;
  }
  return "an unknown fault";
}

}  // namespace

std::uint64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }
std::uint64_t realtime_ns() { return read_clock(CLOCK_REALTIME); }

std::string store_name(char kind, std::uint32_t record) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%c%06x", kind, record);
  return text.data();
}

std::string life_store_name(std::uint32_t record, std::uint64_t epoch) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "a%05x%02x", record & 0xfffffU,
                static_cast<unsigned>(epoch & 0xff));
  return text.data();
}

LetterId random_id() {
  LetterId id{};
  ACKBUS_ASSERT(::RAND_bytes(id.data(), static_cast<int>(id.size())) == 1);
  id[6] = static_cast<std::uint8_t>((id[6] & 0x0fU) | 0x40U);
  id[8] = static_cast<std::uint8_t>((id[8] & 0x3fU) | 0x80U);
  return id;
}

Bus::Bus(BusOptions bus_options, Log& bus_log) : log(bus_log), options(std::move(bus_options)) {}

Bus::~Bus() {
  if (worker) {
    worker->stop();
    worker->run_completions();
  }
}

// ---- the loop ----

void Bus::watch(int fd, std::uint64_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0 && errno == EEXIST) {
    ::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, fd, &event);
  }
}

void Bus::run() {
  std::array<epoll_event, 64> events{};
  std::uint64_t wake_ns = do_work(monotonic_ns());
  while (!stopping) {
    const std::uint64_t before = monotonic_ns();
    const std::uint64_t left = wake_ns > before ? wake_ns - before : 0;
    timespec timeout{static_cast<time_t>(left / 1'000'000'000ULL),
                     static_cast<long>(left % 1'000'000'000ULL)};
    const int count = ::epoll_pwait2(epoll.get(), events.data(), static_cast<int>(events.size()),
                                     wake_ns == kNever ? nullptr : &timeout, nullptr);
    const std::uint64_t woken = monotonic_ns();
    for (int i = 0; i < count; ++i) {
      handle_event(events[static_cast<std::size_t>(i)].data.u64,
                   events[static_cast<std::size_t>(i)].events);
    }
    wake_ns = do_work(monotonic_ns());
    const std::uint64_t busy = monotonic_ns() - woken;
    loop_turns += 1;
    loop_busy_ns += busy;
    loop_longest_ns = std::max(loop_longest_ns, busy);
  }
}

void Bus::handle_event(std::uint64_t tag, std::uint32_t events) {
  const std::uint64_t number = tag & 0x00ff'ffff'ffff'ffffULL;
  switch (static_cast<EventKind>(tag >> 56)) {
    case EventKind::kListener:
      accept_connections();
      break;
    case EventKind::kSocket:
      if (Connection* connection = find_connection(number);
          connection != nullptr && (events & EPOLLOUT) != 0) {
        flush(*connection);
      }
      if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_connection(number);
      }
      break;
    case EventKind::kProcess:
      process_ended(number);
      break;
    case EventKind::kWorker:
      worker->run_completions();
      break;
    case EventKind::kExporter:
      exporter->publish(metrics());
      break;
    case EventKind::kSignals:
      handle_signals();
      break;
  }
  drop_gone();
}

void Bus::handle_signals() {
  signalfd_siginfo info{};
  while (::read(signals.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGHUP) {
      [[maybe_unused]] const auto reloaded = reload();  // It logs what is wrong.
      continue;
    }
    // With a store the segments outlive this process and the next daemon goes on; without one they
    // do not.
    if (!store.available()) {
      shut_down_for_good();
    }
    stopping = true;
  }
}

// One order of duties: deadlines, scans, what was put off, links that end, the heartbeat.
std::uint64_t Bus::do_work(std::uint64_t now_ns) {
  wheel->advance(now_ns, [&](std::uint64_t key, std::uint64_t /*deadline_ns*/) {
    const std::uint64_t number = link_by_record[key >> 32];
    if (Link* link = find_link(number); link != nullptr && link->tracker) {
      link->tracker->expire(static_cast<std::uint32_t>(key & 0xffff'ffffU), now_ns);
    }
  });
  submit_kept_jobs();
  note_put_off_letters(now_ns);
  std::uint64_t wake_ns = kNever;
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, link] : links) {
    numbers.push_back(number);
  }
  for (const std::uint64_t number : numbers) {
    if (Link* link = find_link(number); link != nullptr && link->tracker) {
      wake_ns = std::min(wake_ns, work_on_link(*link, now_ns));
    }
  }
  wake_ns = std::min(wake_ns, continue_redrives(now_ns));
  wake_ns =
      std::min({wake_ns, watch_the_door(now_ns), watch_letters(now_ns), retry_corrections(now_ns)});
  wake_ns = std::min(wake_ns, log.tell_suppressed());
  if (const auto next = wheel->next_deadline_ns()) {
    wake_ns = std::min(wake_ns, *next);
  }
  for (const auto& queue : queues) {
    Connection* ending = queue->ending ? find_connection(queue->active) : nullptr;
    if (ending != nullptr && ending->kill_at_ns != 0) {
      if (now_ns >= ending->kill_at_ns) {
        ending->kill_at_ns = 0;
        end_process_of(*ending);
      } else {
        wake_ns = std::min(wake_ns, ending->kill_at_ns);
      }
    }
  }
  if (const std::uint64_t interval = notify.watchdog_interval_ns(); interval != 0) {
    if (now_ns >= next_watchdog_ns_) {
      notify.watchdog();
      next_watchdog_ns_ = now_ns + interval;
    }
    wake_ns = std::min(wake_ns, next_watchdog_ns_);
  }
  // relaxed because it is a hint for people and for `ackbus status --check`
  layout::BusView(bus_map.base()).words().next_wake_ns.store_relaxed(wake_ns);
  drop_gone();
  return wake_ns;
}

// The consumer says so, so it is named too: which of the two lies nobody else can tell.
void Bus::close_for_violation(Link& link) {
  if (!link.life || !link.life->mapped || link.closed) {
    return;
  }
  const layout::AckView life(link.life->ack.base(), {link.slots});
  // The consumer saw its producer break the protocol; relaxed because nothing else is asked.
  const std::uint64_t fault = life.words().violation.load_relaxed();
  if (fault != 0) {
    const Connection* consumer = find_connection(queues[link.queue]->active);
    close_link(link, layout::VerdictReason::kClosedViolation,
               std::string("the producer broke the protocol on its main ring: ") +
                   fault_text(fault) + ", says its consumer, pid " +
                   std::to_string(consumer == nullptr ? 0 : consumer->pid));
  }
}

std::uint64_t Bus::work_on_link(Link& link, std::uint64_t now_ns) {
  const Queue& queue = *queues[link.queue];
  if (link.own) {
    link.own->reap();
    for (const RedriveEnd& end : link.own->take_ends()) {
      end_redrive(end);
    }
  }
  if (now_ns >= link.tracker->next_scan_ns()) {
    link.tracker->scan(now_ns);
    close_for_violation(link);
  }
  std::uint64_t wake_ns = link.tracker->next_scan_ns();
  const bool wants_life = queue.active != 0 && !queue.ending && link.mapped && !link.closed &&
                          !link.handing_over && (!link.life || link.life->epoch != queue.epoch);
  if (wants_life) {
    hand_over(link);
    wake_ns = std::min(wake_ns, now_ns + kDrainLookNs);
  } else {
    write_waiting_letters(link, now_ns);  // A hand-over waits for no more than are being written.
  }
  if (send_again(link, now_ns)) {
    wake_ns = std::min(wake_ns, now_ns + kDrainLookNs);
  }
  if (link.draining) {
    wake_ns = std::min(wake_ns, now_ns + kDrainLookNs);
    end_link_if_final(link);
  }
  return wake_ns;
}

// ---- reload and the end ----

// Validate, then swap; the old configuration stays in force when the new one has an error, and so
// do the values that only a new daemon can take.
Result<std::vector<std::string>> Bus::reload() {
  notify.reloading(monotonic_ns());
  Result<Config> fresh =
      options.config_path.empty() ? Result<Config>(config()) : load_config(options.config_path);
  std::vector<std::string> waiting;
  if (fresh) {
    options.command_line(fresh.value());
    const Result<void> completed = complete_config(fresh.value(), Environment::of_this_process());
    if (!completed) {
      fresh = completed.error();
    }
  }
  if (!fresh) {
    log.line(LogLevel::kError, "daemon", "configuration not reloaded; the old one stays in force",
             {{"why", fresh.error().text}});
  } else {
    waiting = keys_for_restart(config(), fresh.value());
    keep_restart_keys(config(), fresh.value());
    options.config = std::move(fresh.value());
    set_socket_mode();
    letters->set_limits(config().dead_letter_limits);
    log.set_level(config().log_level);
    log.set_records_per_minute(config().log_records_per_minute);
    write_kinds();
    for (const auto& [number, link] : links) {
      if (link->tracker) {
        link->tracker->set_rules(rules_of(*link));
        link->tracker->scan_soon();
      }
    }
    for (const QueueConfig& queue : config().queues) {
      find_or_make_queue(queue.name);
    }
    ring_all();
    std::string keys;
    for (const std::string& key : waiting) {
      keys += (keys.empty() ? "" : ", ") + key;
    }
    if (keys.empty()) {
      log.line(LogLevel::kInfo, "daemon", "configuration reloaded");
    } else {
      log.line(LogLevel::kWarning, "daemon",
               "configuration reloaded; what only a new daemon can take waits for a restart",
               {{"keys", keys}});
    }
  }
  notify.ready("serving bus " + config().name);
  return fresh ? Result<std::vector<std::string>>(std::move(waiting))
               : Result<std::vector<std::string>>(fresh.error());
}

void Bus::shut_down_for_good() {
  closed_for_good = true;
  for (const auto& [number, link] : links) {
    close_link(*link, layout::VerdictReason::kClosedBus, "the bus was shut down for good");
  }
  for (const auto& [number, connection] : connections) {
    if (connection->role == layout::ClientRole::kConsumer) {
      layout::TextMessage message{};
      message.header = layout::control_header<layout::TextMessage>(layout::ControlType::kClosed);
      message.code = static_cast<std::uint32_t>(layout::VerdictReason::kClosedBus);
      send(*connection, message);
    }
  }
  for (std::uint32_t index = 0; index < ledger.header().max_links; ++index) {
    ledger.link(index).state =
        RecordState::kFree;  // A daemon that finds these books starts with no link.
  }
  ::unlink((config().runtime_dir + "/" + config().name + ".sock").c_str());
  notify.stopping("shut down for good");
  stopping = true;
}

}  // namespace ackbus::daemon
