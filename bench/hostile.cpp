#include "bench/hostile.hpp"

#include <poll.h>

#include <ackbus/consumer.hpp>
#include <ackbus/producer.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>

#include "bench/clock.hpp"
#include "bench/process.hpp"

namespace ackbus::bench {
namespace {

constexpr const char* kVictimQueue = "bench";
constexpr const char* kAttackedQueue = "attacked";
constexpr Kind kKind = Kind::kComputeForces;
constexpr std::size_t kWindow = 64;  // messages outstanding while throughput is measured
constexpr int kSettleMs = 100;       // the attacker starts, and what the last one left goes
constexpr std::chrono::seconds kPatience{30};
constexpr std::size_t kTripsMax = 1'000'000;

Deadline patience() { return std::chrono::steady_clock::now() + kPatience; }

// Takes and acks for ever; ends with the measurement.
int serve(const std::string& runtime_dir, const std::string& queue) {
  ConsumerOptions options;
  options.runtime_dir = runtime_dir;
  options.queue = queue;
  options.client = "bench-consumer";
  options.wait = WaitMode::kBlock;
  Result<Consumer> consumer = Consumer::connect(options);
  while (consumer) {
    Result<std::optional<Delivery>> taken = consumer->take(patience());
    if (!taken) {
      return 1;
    }
    if (*taken) {
      [[maybe_unused]] const Result<void> acked = consumer->ack(**taken);
    }
  }
  return 1;
}

struct Cast {
  std::string name;
  std::string side;
};

// The attacker's own list, a line for each: name, side, words.
Result<std::vector<Cast>> list_attacks(const HostileOptions& options, const std::string& folder) {
  const std::string log = folder + "/attacks";
  Result<ChildProcess> listing = ChildProcess::execute({options.attacker, "--list"}, log);
  if (!listing) {
    return listing.error();
  }
  for (int looks = 0; looks < 1000 && listing->running(); ++looks) {
    ::poll(nullptr, 0, 5);
  }
  std::ifstream file(log);
  std::vector<Cast> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    Cast& cast = all.emplace_back();
    words >> cast.name >> cast.side;
  }
  std::vector<Cast> wanted;
  for (const std::string& name : options.attacks) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Cast& cast) { return cast.name == name; });
    if (found == all.end()) {
      return Error{ErrorCode::kNotFound, options.attacker + " knows no attack '" + name +
                                             "': its --list says which there are"};
    }
    wanted.push_back(*found);
  }
  if (all.empty()) {
    return Error{ErrorCode::kSystem, options.attacker + " lists no attack"};
  }
  return options.attacks.empty() ? all : wanted;
}

class Hostile {
 public:
  explicit Hostile(const HostileOptions& options) : options_(options), trips_(kTripsMax) {}

  Result<HostileReport> run() {
    if (Result<void> set = set_stage(); !set) {
      return set.error();
    }
    const Result<std::vector<Cast>> attacks = list_attacks(options_, bus_->runtime_dir());
    if (!attacks) {
      return attacks.error();
    }
    HostileReport report;
    for (const Cast& attack : *attacks) {
      Result<HostileFigures> figures = measure(attack);
      if (!figures) {
        return Error{figures.error().code, attack.name + ": " + figures.error().text};
      }
      report.attacks.push_back(std::move(*figures));
    }
    report.victims_core = cores_.pinned() ? cores_.producer : -1;
    report.others_core = cores_.pinned() ? cores_.consumer : -1;
    report.machine = describe_machine();
    return report;
  }

 private:
  struct Windows {
    std::vector<double> rates;
    std::vector<double> p50s;
    std::vector<double> p99s;
    [[nodiscard]] HostileSide medians() const {
      return {median(rates), median(p50s), median(p99s)};
    }
  };

  void go_to_victims() const {
    if (cores_.pinned()) {
      pin_to(cores_.producer);
    }
  }
  void go_to_others() const {
    if (cores_.pinned()) {
      pin_to(cores_.consumer);
    }
  }

  // Whom this process starts runs where this process is just then.
  Result<void> set_stage() {
    watch_for_interrupts();
    cores_ = choose_cores();
    go_to_others();
    Result<PrivateBus> bus = PrivateBus::start(options_.daemon);
    if (!bus) {
      return bus.error();
    }
    bus_.emplace(std::move(*bus));
    go_to_victims();
    Result<ChildProcess> consumer =
        ChildProcess::fork_off([&] { return serve(bus_->runtime_dir(), kVictimQueue); });
    if (!consumer) {
      return consumer.error();
    }
    consumer_ = std::move(*consumer);
    return connect();
  }

  Result<void> connect() {
    ProducerOptions wished;
    wished.runtime_dir = bus_->runtime_dir();
    wished.queue = kVictimQueue;
    wished.client = "bench-producer";
    wished.wait = WaitMode::kBlock;
    const Deadline deadline = patience();
    for (;;) {  // The queue is there once its consumer is.
      Result<Producer> producer = Producer::connect(wished);
      if (producer) {
        producer_.emplace(std::move(*producer));
        return {};
      }
      if (interrupted() || std::chrono::steady_clock::now() > deadline) {
        return producer.error();
      }
      ::poll(nullptr, 0, 5);
    }
  }

  Result<HostileFigures> measure(const Cast& attack) {
    go_to_others();
    // Whom a hostile producer needs: an honest consumer that reads what it wrote. A hostile
    // consumer is the consumer itself, and attacks a producer.
    const std::string queue = attack.side == "consumer" ? attack.name : kAttackedQueue;
    Result<ChildProcess> honest = ChildProcess();
    if (attack.side != "consumer") {
      honest = ChildProcess::fork_off([&] { return serve(bus_->runtime_dir(), queue); });
    }
    if (!honest) {
      return honest.error();
    }
    Windows alone;
    Windows attacked;
    for (std::uint32_t window = 0; window < options_.windows; ++window) {
      if (Result<void> done = measure_window(alone); !done) {
        return done.error();
      }
      go_to_others();
      Result<ChildProcess> attacker = ChildProcess::execute(
          {options_.attacker, attack.name, bus_->runtime_dir() + "/default.sock", queue,
           std::to_string(window + 1)},
          bus_->runtime_dir() + "/attacker.log");
      if (!attacker) {
        return attacker.error();
      }
      if (Result<void> done = measure_window(attacked); !done) {
        return done.error();
      }
    }
    return HostileFigures{attack.name, alone.medians(), attacked.medians()};
  }

  Result<void> measure_window(Windows& windows) {
    go_to_victims();
    ::poll(nullptr, 0, kSettleMs);
    const auto half_ns = static_cast<std::uint64_t>(options_.window_seconds * 0.5e9);
    Result<double> rate = flow(half_ns);
    if (!rate) {
      return rate.error();
    }
    Result<Percentiles> trips = round_trips(half_ns);
    if (!trips) {
      return trips.error();
    }
    windows.rates.push_back(*rate);
    windows.p50s.push_back(static_cast<double>(trips->p50_ns));
    windows.p99s.push_back(static_cast<double>(trips->p99_ns));
    return {};
  }

  Result<double> flow(std::uint64_t for_ns) {
    const std::vector<std::byte> payload(64);
    const std::uint64_t started = clock_ns();
    std::size_t outstanding = 0;
    std::uint64_t done = 0;
    while (outstanding > 0 || clock_ns() - started < for_ns) {
      while (outstanding < kWindow && clock_ns() - started < for_ns) {
        if (const Result<Ticket> sent = producer_->send(kKind, payload, patience()); !sent) {
          return sent.error();
        }
        outstanding += 1;
      }
      completions_.clear();
      const Result<std::size_t> taken = producer_->wait_any(completions_, patience());
      if (!taken || interrupted()) {
        return taken ? Error{ErrorCode::kTimeout, "interrupted"} : taken.error();
      }
      outstanding -= *taken;
      done += *taken;
    }
    return static_cast<double>(done) / (static_cast<double>(clock_ns() - started) / 1e9);
  }

  Result<Percentiles> round_trips(std::uint64_t for_ns) {
    const std::vector<std::byte> payload(64);
    trips_ = Samples(kTripsMax);
    const std::uint64_t started = clock_ns();
    for (std::size_t trip = 0; trip < kTripsMax && clock_ns() - started < for_ns; ++trip) {
      const std::uint64_t before = clock_ns();
      const Result<Ticket> sent = producer_->send(kKind, payload, patience());
      if (!sent) {
        return sent.error();
      }
      const Result<Outcome> outcome = producer_->wait(*sent, patience());
      if (!outcome) {
        return outcome.error();
      }
      if (outcome->code != OutcomeCode::kSuccess) {
        return Error{ErrorCode::kProtocol,
                     std::string("a victim's message ended ") + outcome_name(outcome->code)};
      }
      trips_.add(clock_ns() - before);
    }
    return trips_.percentiles();
  }

  HostileOptions options_;
  CorePair cores_;
  std::optional<PrivateBus> bus_;
  ChildProcess consumer_;
  std::optional<Producer> producer_;
  std::vector<Completion> completions_;
  Samples trips_;
};

}  // namespace

Result<HostileReport> measure_hostile(const HostileOptions& options) {
  if (options.attacker.empty()) {
    return Error{
        ErrorCode::kNotFound,
        "ackbus-hostile-peer is neither beside this program nor in $PATH: it is built with "
        "the tests; name it with --attacker"};
  }
  return Hostile(options).run();
}

}  // namespace ackbus::bench
