// The supervisor of a run: who is started, killed and started again, and what must hold at the end.
#include "tests/sim/world.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <typeinfo>

#include "daemon/bus_query.hpp"
#include "libclient/src/session.hpp"
#include "shm_layout/assert.hpp"

namespace ackbus::sim {
namespace {

constexpr std::size_t kLogLinesMax = 4000;
constexpr std::uint32_t kTimeoutMs = 20;

// What a process makes once and keeps, the simulator makes for all of them, before any runs.
void make_statics() {
  static const bool made = [] {
    [[maybe_unused]] const bool registered = register_membarrier();
    [[maybe_unused]] const std::uint64_t generation = fork_generation();
    [[maybe_unused]] const MessageId id = MessageId::create();
    std::ostringstream() << 1 << 1.5 << "text";
    return true;
  }();
  ACKBUS_ASSERT(made);
}

}  // namespace

World::World(const WorldOptions& options)
    : options_(options),
      kernel_(options.kernel),
      journal_([this](const std::string& what) { kernel_.fail(what); },
               [this](const std::string& what) { note(what); }, [this] { return kernel_.now_ns; }),
      directory_("/dev/shm/ackbus-sim-" + std::to_string(::getpid())),
      drained_(options.producers, false) {
  make_statics();
  journal_.clock_from_commit = options.clock_from_commit;
  journal_.may_stand_still = options.kernel.stop_permille != 0;
  journal_.timeout_ns = kTimeoutMs * kMs;
  std::filesystem::remove_all(directory_);
  std::filesystem::create_directory(directory_);
}

World::~World() {
  bus_ = nullptr;
  std::filesystem::remove_all(directory_);
}

void World::note(const std::string& what) {
  const SimulatorScope simulator;
  if (log_.size() == kLogLinesMax) {
    log_.pop_front();
  }
  log_.push_back(std::to_string(kernel_.turns) + " @" + std::to_string(kernel_.now_ns / kMs) +
                 "ms " + what);
}

daemon::Config World::config() const {
  daemon::Config config = daemon::default_config();
  config.runtime_dir = directory_;
  config.metrics = "off";
  config.dead_letter_directory = directory_ + "/dead";
  config.queues.clear();
  for (std::uint32_t queue = 0; queue < options_.queues; ++queue) {
    config.queues.push_back({"queue" + std::to_string(queue), {}, {}});
  }
  for (daemon::KindConfig& kind : config.kinds) {
    kind.timeout_ms = kTimeoutMs;
    kind.max_retries = 2;
    kind.max_wait_ms = 400;
    kind.max_age_ms = 500;
    kind.clock =
        options_.clock_from_commit ? daemon::ClockStart::kCommit : daemon::ClockStart::kBegin;
  }
  daemon::Environment machine;
  machine.physical_memory_bytes = std::uint64_t{1} << 40;
  machine.variable = [](const char*) { return std::nullopt; };
  machine.directory_exists = [](const std::string&) { return true; };
  const daemon::Result<void> complete = daemon::complete_config(config, machine);
  ACKBUS_ASSERT(complete.ok());
  return config;
}

// ---- starting and starting again ----

// Small numbers are as likely as large ones, so that every stage of a life is met.
void World::doom(Process& process, std::uint32_t& kills_left, std::uint32_t& done) {
  if (kills_left == 0 || quiet_) {
    return;
  }
  kills_left -= 1;
  done += 1;
  const std::uint64_t magnitude = std::uint64_t{1} << (3 + kernel_.pick(13));
  process.accesses_to_live = magnitude + kernel_.pick(magnitude);
}

void World::start_daemon() {
  Process& process = kernel_.start(
      "daemon", [this] { daemon_main(); },
      [this](bool killed) {
        bus_ = nullptr;
        note(killed ? "the daemon was killed" : "the daemon ended");
        if (killed && options_.store_losses > 0 && !quiet_ && kernel_.chance(500)) {
          options_.store_losses -= 1;
          done_.store += 1;
          note("the store of segments is lost");
          kernel_.kept.clear();
          journal_.store_lost();
        }
        const std::uint64_t pause_ms = kernel_.chance(300) ? 1000 : 20;
        kernel_.after((1 + kernel_.pick(pause_ms)) * kMs, [this] { start_daemon(); });
      });
  daemon_pid_ = process.pid;
  process.before_end = [this, &process] {
    calm_ = bus_ != nullptr && !process.stored && every_life_is_told();
  };
  doom(process, options_.daemon_kills, done_.daemon);
}

bool World::every_life_is_told() const {
  return std::all_of(bus_->links.begin(), bus_->links.end(), [this](const auto& entry) {
    const daemon::Link& link = *entry.second;
    const daemon::Queue& queue = *bus_->queues[link.queue];
    return queue.active != 0 && !queue.ending && link.life != nullptr &&
           link.life->epoch == queue.epoch && bus_->ledger.link(link.record).life.told != 0;
  });
}

void World::start_producer(std::uint32_t index) {
  producers_alive_ += 1;
  Process& process =
      kernel_.start("producer" + std::to_string(index), [this, index] { producer_main(index); });
  const std::uint32_t pid = process.pid;
  process.on_end = [this, index, pid](bool killed) {
    note("producer " + std::to_string(index) + (killed ? " was killed" : " ended"));
    producers_alive_ -= 1;
    if (killed || !closing_) {  // Else it has taken every outcome.
      journal_.producer_ended(pid);
    }
    if (sending_) {
      kernel_.after(kernel_.pick(50) * kMs, [this, index] { start_producer(index); });
    } else {
      drained_[index] = true;
    }
  };
  doom(process, options_.producer_kills, done_.producer);
}

void World::start_consumer(std::uint32_t queue) {
  consumers_alive_ += 1;
  Process& process = kernel_.start("consumer", [this, queue] { consumer_main(queue); });
  const std::uint32_t pid = process.pid;
  process.on_end = [this, queue, pid](bool killed) {
    note("consumer " + std::to_string(pid) + (killed ? " was killed" : " ended"));
    consumers_alive_ -= 1;
    journal_.life_ended(life_of_[pid], killed);
    journal_.consumer_died = journal_.consumer_died || killed;
    if (!leaving_) {
      kernel_.after(kernel_.pick(50) * kMs, [this, queue] { start_consumer(queue); });
    }
  };
  doom(process, options_.consumer_kills, done_.consumer);
}

// ---- the run ----

std::string World::run() {
  // The first daemon is left to come up: what it holds without clients is the baseline.
  kernel_.faults_on = false;
  kernel_.kills_on = false;
  start_daemon();
  kernel_.run([this] { return bus_ != nullptr; }, 100'000);
  kernel_.faults_on = true;
  kernel_.kills_on = true;
  for (std::uint32_t queue = 0; queue < options_.queues; ++queue) {
    for (std::uint32_t i = 0; i < options_.consumers_per_queue; ++i) {
      start_consumer(queue);
    }
  }
  for (std::uint32_t index = 0; index < options_.producers; ++index) {
    start_producer(index);
  }
  const std::uint64_t end = kernel_.turns + options_.turns;
  kernel_.run([this, end] { return kernel_.turns >= end; }, options_.turns + 1);
  if (kernel_.failure().empty() && settle()) {
    check_end();
  }
  return kernel_.failure();
}

// In peace everything that was committed must end, every link must go, and every client.
bool World::settle() {
  note("quiet");
  quiet_ = true;
  sending_ = false;
  kernel_.faults_on = false;
  kernel_.kills_on = false;
  const auto reach = [this](const char* what, const std::function<bool()>& done) {
    if (!kernel_.run(done, options_.quiet_turns_max)) {
      kernel_.fail(std::string("never settled: ") + what + ":" + kernel_.describe() +
                   describe_links());
    }
    return kernel_.failure().empty();
  };
  const auto all_drained = [this] {
    return std::all_of(drained_.begin(), drained_.end(), [](bool drained) { return drained; });
  };
  if (!reach("a producer still waits for an outcome", all_drained)) {
    return false;
  }
  closing_ = true;
  if (!reach("a producer does not end", [this] { return producers_alive_ == 0; }) ||
      !reach("a link does not end", [this] { return bus_ != nullptr && bus_->links.empty(); }) ||
      !reach("the worker does not come to rest", [this] { return bus_->worker->pending() == 0; })) {
    return false;
  }
  leaving_ = true;
  return reach("a consumer does not end", [this] { return consumers_alive_ == 0; }) &&
         reach("a connection does not end",
               [this] { return bus_->connections.empty() && bus_->door.turned_away.empty(); }) &&
         reach("the worker does not come to rest", [this] { return bus_->worker->pending() == 0; });
}

// What the daemon still holds, for a person who looks at a run that does not end.
std::string World::describe_links() const {
  std::string text;
  if (bus_ == nullptr) {
    return text;
  }
  for (const auto& [number, link] : bus_->links) {
    text += " link " + std::to_string(number) + (link->mapped ? "" : " not mapped") +
            (link->draining ? " draining" : "") + (link->closed ? " closed" : "") +
            (link->handing_over ? " handing over" : "") + " jobs " + std::to_string(link->jobs) +
            " life " + std::to_string(link->life ? link->life->epoch : 0) +
            (link->life && !link->life->mapped ? " not mapped" : "") + ":";
    for (std::uint32_t slot = 0; link->tracker && slot < link->slots; ++slot) {
      if (const auto view = link->tracker->look(slot)) {
        text += " " + std::to_string(view->descriptor.number) + "(state " +
                std::to_string(static_cast<int>(view->entry.state)) + " attempt " +
                std::to_string(view->entry.attempt) + (view->acked ? " acked" : "") +
                (view->begun.sequence != 0 ? " begun" : "") + ")";
      }
    }
    text += ";";
  }
  return text;
}

void World::check_end() {
  check_letters();
  if (!journal_.lost_store()) {  // The books went with it.
    check_totals();
  }
  check_leaks();
}

void World::check_letters() {
  std::vector<Journal::Letter> letters;
  for (const daemon::Letter& letter : bus_->letters->list({}, 1'000'000)) {
    MessageId::Bytes bytes{};
    std::copy(letter.id.begin(), letter.id.end(), bytes.begin());
    letters.push_back({MessageId::from_bytes(bytes).to_string(), letter.link_id, letter.sequence,
                       letter.late_success});
  }
  journal_.check_outcomes(letters);
}

void World::check_totals() {
  Journal::Totals sum;
  const daemon::BusFigures figures = daemon::gather_figures(*bus_, kernel_.now_ns);
  for (const daemon::KindFigures& kind : figures.kinds) {
    sum.sent += kind.totals.sent;
    sum.success += kind.totals.success;
    sum.partial += kind.totals.partial_success;
    sum.failed += kind.totals.failed;
    sum.exhausted += kind.totals.exhausted;
    sum.superseded += kind.totals.superseded;
    sum.cancelled += kind.totals.cancelled;
    sum.closed += kind.totals.closed;
    sum.posted += kind.totals.posted;
  }
  journal_.check_totals(sum);
}

void World::check_leaks() {
  const auto& descriptors = kernel_.find(daemon_pid_)->descriptors;
  if (descriptors.size() != baseline_descriptors_) {
    std::string kinds;
    for (const auto& [number, file] : descriptors) {
      const File& description = *file;
      kinds += std::string(" ") + typeid(description).name();
    }
    kernel_.fail("the daemon holds " + std::to_string(descriptors.size()) + " descriptors, " +
                 std::to_string(baseline_descriptors_) + " without clients:" + kinds);
  }
  if (Memory::alive != baseline_memories_) {
    kernel_.fail(std::to_string(Memory::alive) + " segments are left of " +
                 std::to_string(baseline_memories_));
  }
  // Ledger, bus and listening socket are kept for the next daemon.
  if (kernel_.kept.size() != 3) {
    std::string names;
    for (const auto& [name, files] : kernel_.kept) {
      names += " " + name;
    }
    kernel_.fail("the service manager keeps more than it should:" + names);
  }
}

}  // namespace ackbus::sim
