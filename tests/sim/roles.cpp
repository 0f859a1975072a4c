// What the simulated processes do: the daemon serves, producers send and take outcomes, consumers
// take and answer, all by chance. They use what any program would use, and write down in the
// journal what they ask and hear. A process that is killed leaves its frame without a trace, so
// what must survive it lies in the World, made under a SimulatorScope.
#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "tests/sim/world.hpp"

namespace ackbus::sim {
namespace {

constexpr Kind kSuperseding = Kind::kUpdateGpuGraphData;
constexpr std::uint64_t kSlotPatienceMs = 10'000;
constexpr std::uint64_t kBackoffMs = 100;  // before the first retry, when nobody wishes another

Deadline at_ns(std::uint64_t ns) { return Deadline(std::chrono::nanoseconds(ns)); }

}  // namespace

// ---- the daemon ----

void World::daemon_main() {
  daemon::Log log({.level = daemon::LogLevel::kDebug,
                   .records_per_minute = 1'000'000,
                   .sink =
                       [this](const daemon::LogRecord& record) {
                         const SimulatorScope simulator;
                         std::string text = "daemon: " + record.message;
                         for (const daemon::LogField& field : record.fields) {
                           text += " " + field.key + "=" + field.value;
                         }
                         note(text);
                       },
                   .clock =
                       [this] {
                         return daemon::Log::Times{kernel_.now_ns, kernel_.now_ns};
                       }});
  daemon::Result<std::unique_ptr<daemon::Bus>> bus =
      daemon::Bus::open({.config = config(), .config_path = {}}, log);
  if (!bus) {
    const SimulatorScope simulator;
    note("daemon ends: " + bus.error().text);
    return;
  }
  bus_ = bus.value().get();
  if (baseline_descriptors_ == 0) {
    baseline_descriptors_ = kernel_.process().descriptors.size();
    baseline_memories_ = Memory::alive;
  }
  bus_->run();
}

// ---- a producer ----

struct World::ProducerRole {
  World& world;
  Kernel& kernel;
  std::uint32_t index;
  std::uint64_t pid;
  std::optional<Producer> producer;
  std::map<std::uint64_t, std::uint64_t> numbers;  // by sequence
  std::vector<Completion> completions;

  bool connect() {
    world.journal_.connected(pid, 0);
    ProducerOptions options;
    options.runtime_dir = world.directory_;
    options.queue = "queue" + std::to_string(index % world.options_.queues);
    options.client = "producer" + std::to_string(index);
    options.slots = world.options_.slots;
    options.arena_bytes = 8192;
    options.min_timeout = std::chrono::milliseconds(1);
    options.wait = kernel.chance(700) ? WaitMode::kBlock : WaitMode::kAdaptive;
    Result<Producer> made = Producer::connect(options);
    if (!made) {
      const SimulatorScope simulator;
      if (made.error().code == ErrorCode::kNoDaemon) {
        return false;
      }
      world.note("producer " + std::to_string(index) + " cannot connect: " + made.error().text);
      return false;
    }
    producer.emplace(std::move(*made));
    world.journal_.connected(pid, producer->link());
    return true;
  }

  SendOptions options_for(Kind& kind, std::uint64_t& after) {
    SendOptions options;
    if (world.options_.keys && kernel.chance(400)) {
      kind = kSuperseding;
      options.key = 1 + kernel.pick(2);
    }
    if (kernel.chance(100)) {
      options.max_retries = static_cast<std::uint32_t>(kernel.pick(2));
    }
    if (kernel.chance(world.options_.short_wait_permille)) {
      options.max_wait = std::chrono::milliseconds(1 + kernel.pick(30));
    }
    if (world.options_.after && kernel.chance(150) && !numbers.empty()) {
      options.after_sequence = numbers.rbegin()->first;
      after = numbers.rbegin()->second;
    }
    return options;
  }

  void send() {
    const bool tracked = !world.options_.untracked || !kernel.chance(150);
    Kind kind = Kind::kComputeForces;
    std::uint64_t after = 0;
    const SendOptions options = tracked ? options_for(kind, after) : SendOptions{};
    const std::size_t bytes =
        kPayloadMin + (kernel.chance(300) ? 100 + kernel.pick(900) : kernel.pick(57));
    const Deadline deadline = at_ns(kernel.now_ns + kernel.pick(20) * kMs);
    const std::uint64_t number = world.journal_.sending(pid, tracked, kind, options, after, bytes);
    std::vector<std::byte> payload(bytes);
    fill_payload(number, payload);
    if (!tracked) {
      const Result<void> posted = producer->post(kind, payload, deadline);
      posted ? world.journal_.sent(number, {}, producer->link()) : world.journal_.not_sent(number);
      return;
    }
    const Result<Ticket> ticket = kernel.chance(300)
                                      ? send_loaned(kind, payload, deadline, options)
                                      : producer->send(kind, payload, deadline, options);
    if (!ticket) {
      world.journal_.not_sent(number);
      return;
    }
    numbers[ticket->sequence] = number;
    world.journal_.sent(number, *ticket, producer->link());
  }

  Result<Ticket> send_loaned(Kind kind, const std::vector<std::byte>& payload, Deadline deadline,
                             const SendOptions& options) {
    Result<Loan> loan = producer->loan(kind, payload.size(), deadline);
    if (!loan) {
      return loan.error();
    }
    std::copy(payload.begin(), payload.end(), loan->bytes().begin());
    return producer->commit(std::move(*loan), options);
  }

  void take(std::uint64_t wait_ns) {
    completions.clear();
    if (wait_ns == 0) {
      producer->reap(completions);
    } else {
      kernel.forget_sleep();
      const Result<std::size_t> taken =
          producer->wait_any(completions, at_ns(kernel.now_ns + wait_ns));
      if (taken && *taken > 0 && kernel.slept_alone() && world.nobody_may_sleep()) {
        kernel.fail("a producer slept while an outcome waited for it");
      }
    }
    if (world.between_taken) {
      world.between_taken(*producer, completions);
    }
    for (const Completion& completion : completions) {
      const auto found = numbers.find(completion.ticket.sequence);
      if (found == numbers.end()) {
        kernel.fail("an outcome of a message that was not sent");
        return;
      }
      world.journal_.outcome(found->second, completion.outcome);
    }
  }

  void cancel() {
    if (numbers.empty()) {
      return;
    }
    const auto chosen =
        std::next(numbers.begin(), static_cast<std::ptrdiff_t>(kernel.pick(numbers.size())));
    const Ticket ticket = world.journal_.fates().at(chosen->second).ticket;
    world.journal_.cancelling(chosen->second);
    [[maybe_unused]] const Result<void> wished = producer->cancel(ticket);
  }

  // Nothing is pending: every slot is to be had again, at the latest when the daemon has looked.
  void check_slots() {
    std::vector<Loan> loans;
    for (std::uint32_t i = 0; i < world.options_.slots; ++i) {
      Result<Loan> loan = producer->loan(Kind::kComputeForces, kPayloadMin,
                                         at_ns(kernel.now_ns + kSlotPatienceMs * kMs));
      if (!loan) {
        const SimulatorScope simulator;
        kernel.fail("a slot is never free again: " + loan.error().text);
        return;
      }
      loans.push_back(std::move(*loan));
    }
  }

  void act() {
    world.journal_.connected(pid, producer->link());
    const std::uint64_t choice = kernel.pick(10);
    if (choice < 4) {
      send();
    } else if (choice == 4 && world.options_.cancels) {
      cancel();
    } else if (choice < 8 && (!world.options_.lazy_producers || kernel.chance(100))) {
      take(kernel.pick(3) * 10 * kMs);
    } else if (choice == 8) {
      kernel.pause_until(kernel.now_ns + kernel.pick(30) * kMs);
    }
  }
};

// Whether nobody may sleep while something published waits for them. A ring that the simulator
// drops may leave somebody asleep, and so may pipes that were lost for want of room; so may, until
// the next daemon rings everybody, one that died while it told the two ends of a link of each
// other, or between publishing something and ringing for it.
bool World::nobody_may_sleep() const {
  const auto never = [this](Fault fault) {
    return kernel_.options.fault_permille[static_cast<std::size_t>(fault)] == 0;
  };
  return never(Fault::kRing) && never(Fault::kDescriptors) && never(Fault::kMemory) &&
         (bus_ != nullptr || calm_);
}

void World::producer_main(std::uint32_t index) {
  ProducerRole role{*this, kernel_, index, kernel_.process().pid, {}, {}, {}};
  while (!role.connect()) {
    kernel_.pause_until(kernel_.now_ns + 5 * kMs);
  }
  while (sending_) {
    role.act();
    if (options_.goodbyes && kernel_.chance(3)) {
      [[maybe_unused]] const Result<void> closed =
          role.producer->close(at_ns(kernel_.now_ns + kernel_.pick(2) * 50 * kMs));
      role.take(0);
      return;
    }
  }
  while (!closing_) {
    role.take(100 * kMs);
    drained_[index] = role.producer->pending() == 0;
  }
  role.take(0);
  const ProducerStatistics figures = role.producer->statistics();
  if (figures.pending != 0) {
    kernel_.fail("a producer that had drained has messages pending");
  }
  role.check_slots();
  [[maybe_unused]] const Result<void> closed = role.producer->close(at_ns(kernel_.now_ns));
}

// ---- a consumer ----

struct World::ConsumerRole {
  struct Running {
    Delivery delivery;
    std::uint64_t number = 0;
  };
  World& world;
  Kernel& kernel;
  std::uint32_t queue;
  std::uint32_t max_running;
  std::optional<Consumer> consumer;
  std::vector<Running> running;
  std::uint64_t life = 0;
  std::uint64_t lives = 0;  // as the library counts them

  bool connect() {
    ConsumerOptions options;
    options.runtime_dir = world.directory_;
    options.queue = "queue" + std::to_string(queue);
    options.client = "consumer";
    options.max_running = max_running;
    options.wait = kernel.chance(700) ? WaitMode::kBlock : WaitMode::kAdaptive;
    Result<Consumer> made = Consumer::connect(options);
    if (!made) {
      const SimulatorScope simulator;
      if (made.error().code == ErrorCode::kNoDaemon) {
        return false;
      }
      world.note("a consumer cannot connect: " + made.error().text);
      return false;
    }
    consumer.emplace(std::move(*made));
    return true;
  }

  void follow_life() {
    const ConsumerStatistics now = consumer->statistics();
    if (now.lives != lives || (now.epoch == 0 && life != 0)) {
      // Its links are gone with the daemon's memory, and what it ran with them.
      world.journal_.life_ended(life, false);
      for (const Running& gone : running) {  // Answered all the same, as the library asks.
        [[maybe_unused]] const Result<void> refused = consumer->ack(gone.delivery);
      }
      running.clear();
      lives = now.lives;
      life = now.epoch == 0 ? 0 : world.next_life_++;
      const SimulatorScope simulator;
      world.life_of_[kernel.process().pid] = life;
    }
  }

  void take(std::uint64_t wait_ns) {
    kernel.forget_sleep();
    const std::uint64_t asked_ns = kernel.now_ns;
    Result<std::optional<Delivery>> taken = consumer->take(at_ns(kernel.now_ns + wait_ns));
    follow_life();
    if (taken && world.between_delivered) {
      world.between_delivered(*consumer, *taken);
    }
    if (!taken || !taken->has_value()) {
      return;
    }
    if (kernel.slept_alone() && world.nobody_may_sleep()) {
      kernel.fail("a consumer slept while a message waited for it");
    }
    const Delivery& delivery = **taken;
    const std::uint64_t number = world.journal_.begun(life, delivery, asked_ns);
    if (number == 0) {
      return;
    }
    const bool others_alone = std::any_of(
        running.begin(), running.end(), [](const Running& other) { return other.delivery.alone; });
    if (!running.empty() && (delivery.alone || others_alone)) {
      kernel.fail("a message that must run alone runs beside another");
    }
    running.push_back({delivery, number});
  }

  void answer() {
    const std::size_t index = kernel.pick(running.size());
    const Running chosen = running[index];
    world.journal_.still_runs(chosen.number, chosen.delivery.payload);
    const std::uint64_t choice = world.quiet_ ? 9 : kernel.pick(10);
    if (choice < 3) {
      kernel.pause_until(kernel.now_ns + kernel.pick(25) * kMs);
      return;
    }
    if (choice == 3) {
      [[maybe_unused]] const Result<void> said =
          consumer->progress(chosen.delivery, static_cast<std::uint32_t>(kernel.pick(2)));
      return;
    }
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
    if (choice == 4 && world.options_.nacks) {
      const std::uint64_t delay_ms = kernel.pick(2) * 5;
      world.journal_.given_back(chosen.number, (delay_ms == 0 ? kBackoffMs : delay_ms) * kMs);
      [[maybe_unused]] const Result<void> given =
          consumer->nack(chosen.delivery, std::chrono::milliseconds(delay_ms));
      world.journal_.gave_back(chosen.number);
      return;
    }
    const std::uint64_t how = kernel.pick(10);
    const AckStatus status = how == 0   ? AckStatus::kFailed
                             : how == 1 ? AckStatus::kPartialSuccess
                                        : AckStatus::kSuccess;
    world.journal_.answering(chosen.number, status);
    const Result<void> given =
        consumer->ack(chosen.delivery, {status, kernel.chance(200) ? "a text" : "", {}});
    if (given) {
      world.journal_.answered(chosen.number, status);
    }
  }
};

void World::consumer_main(std::uint32_t queue) {
  ConsumerRole role{*this, kernel_, queue, 1 + static_cast<std::uint32_t>(kernel_.pick(3)),
                    {},    {},      0,     0};
  while (!role.connect()) {
    kernel_.pause_until(kernel_.now_ns + 5 * kMs);
  }
  role.follow_life();
  while (!leaving_) {
    const bool full = role.running.size() >= role.max_running;
    if (role.running.empty() || (!full && kernel_.chance(500))) {
      role.take(quiet_ ? 50 * kMs : kernel_.pick(200) * kMs);
    } else {
      role.answer();
    }
    if (!quiet_ && options_.goodbyes && kernel_.chance(2)) {
      break;
    }
  }
  journal_.life_ended(role.life, false);  // It gives back what it has begun.
  role.running.clear();
  role.consumer.reset();
}

}  // namespace ackbus::sim
