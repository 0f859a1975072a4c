// One run: a bus with its daemon, consumers and producers in the simulated machine, disturbed by a
// seed, then left in peace until everything has settled, then checked. The roles use the public
// interface and the daemon is Bus itself.
#pragma once

#include <ackbus/consumer.hpp>
#include <ackbus/producer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daemon/bus.hpp"
#include "tests/sim/journal.hpp"
#include "tests/sim/kernel.hpp"

namespace ackbus::sim {

struct WorldOptions {
  KernelOptions kernel;
  std::uint64_t turns = 4000;                 // of disturbance
  std::uint64_t quiet_turns_max = 4'000'000;  // until everything has settled
  std::uint32_t producers = 2;
  std::uint32_t queues = 1;
  std::uint32_t consumers_per_queue = 2;  // the second stands by
  std::uint32_t slots = 4;
  std::uint32_t daemon_kills = 2;
  std::uint32_t consumer_kills = 2;
  std::uint32_t producer_kills = 1;
  std::uint32_t store_losses = 0;
  bool goodbyes = true;  // clients end in order now and then
  bool untracked = true;
  bool cancels = true;
  bool nacks = true;
  bool keys = true;
  bool after = true;
  bool clock_from_commit = false;
  bool lazy_producers = false;
  std::uint32_t short_wait_permille = 50;
};

class World {
 public:
  explicit World(const WorldOptions& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Runs it; the first broken rule, empty when all held.
  std::string run();
  [[nodiscard]] const std::deque<std::string>& log() const { return log_; }
  [[nodiscard]] const Journal& journal() const { return journal_; }
  [[nodiscard]] Kernel& kernel() { return kernel_; }
  struct Kills {
    std::uint32_t daemon = 0, consumer = 0, producer = 0, store = 0;
  };
  [[nodiscard]] const Kills& kills() const { return done_; }
  [[nodiscard]] Process* daemon_process() { return kernel_.find(daemon_pid_); }
  [[nodiscard]] bool closing() const { return closing_; }
  [[nodiscard]] const std::string& directory() const { return directory_; }

  // Between the library and the roles that write down what it told them: a test may change that
  // (canary_test.cpp).
  std::function<void(Producer&, std::vector<Completion>&)> between_taken;
  std::function<void(Consumer&, std::optional<Delivery>&)> between_delivered;

 private:
  // ---- processes; roles.cpp ----
  void daemon_main();
  void producer_main(std::uint32_t index);
  void consumer_main(std::uint32_t queue);
  struct ProducerRole;
  struct ConsumerRole;

  void start_daemon();
  void start_producer(std::uint32_t index);
  void start_consumer(std::uint32_t queue);
  // Accesses until it dies, by chance; never when its kills are used up.
  void doom(Process& process, std::uint32_t& kills_left, std::uint32_t& done);
  void note(const std::string& what);
  [[nodiscard]] bool nobody_may_sleep() const;
  [[nodiscard]] bool every_life_is_told() const;
  [[nodiscard]] daemon::Config config() const;

  // ---- the end; world.cpp ----
  bool settle();
  [[nodiscard]] std::string describe_links() const;
  void check_end();
  void check_letters();
  void check_totals();
  void check_leaks();

  WorldOptions options_;
  Kernel kernel_;
  Journal journal_;
  std::deque<std::string> log_;
  std::string directory_;
  daemon::Bus* bus_ = nullptr;  // of the daemon that serves now
  std::uint32_t daemon_pid_ = 0;
  std::size_t baseline_descriptors_ = 0;  // of a daemon without clients
  int baseline_memories_ = 0;
  std::uint64_t next_life_ = 1;
  std::map<std::uint32_t, std::uint64_t> life_of_;  // by process
  std::vector<bool> drained_;                       // by producer: nothing of it is pending
  std::uint32_t producers_alive_ = 0;
  std::uint32_t consumers_alive_ = 0;
  Kills done_;
  // When the last daemon died no hand-over was under way, and nothing published that it had yet to
  // ring for.
  bool calm_ = true;
  bool sending_ = true;
  bool quiet_ = false;    // prompt answers, nobody is replaced
  bool closing_ = false;  // producers end
  bool leaving_ = false;  // consumers end
};

}  // namespace ackbus::sim
