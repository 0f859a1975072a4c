// The link under a seeded scheduler: producer, consumer and daemon each do random operations, are
// switched at accesses to shared memory, and consumer and daemon are killed at random accesses.
// Every rule of the protocol that can be stated from outside is checked on the way and at the end.
// Virtual time; the same seed gives the same run.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/link/fibers.hpp"
#include "tests/link/harness.hpp"

namespace ackbus::test {

struct SimulationOptions {
  std::uint64_t seed = 1;
  int steps = 400;                    // operations while messages are still sent
  std::uint32_t slots = 4;            // of the link
  std::uint32_t switch_permille = 0;  // chance of a switch at an access; 0: only between operations
  int consumer_kills = 2;
  int daemon_kills = 2;
  bool broken_store = false;  // the letter store refuses for a while now and then
  bool untracked = true;
  bool cancels = true;
  bool nacks = true;
  bool keys = true;
  bool after = true;
  bool lazy_producer = false;  // seldom reaps, so that acks and verdicts pile up
  bool clock_from_commit = false;
  std::uint32_t short_wait_permille = 100;  // messages that end when nobody begins them soon
};

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  ~Simulation();
  // Runs it; the text of the first broken rule, empty when all held.
  std::string run();
  [[nodiscard]] std::uint64_t committed() const { return fates_.size(); }
  [[nodiscard]] const std::map<OutcomeCode, int>& outcomes_seen() const { return seen_; }
  // The last operations, for a person who looks at a failure.
  [[nodiscard]] const std::vector<std::string>& log() const { return log_; }

 private:
  // What the test knows of a message.
  struct Fate {
    Ticket ticket;
    Kind kind = Kind::kReserved;
    bool tracked = true;
    std::uint64_t bytes = 0;
    std::uint64_t key = 0;
    std::uint64_t after = 0;
    bool ran = false;
    bool succeeded = false;  // answered Success by some life
    bool answered = false;   // by some life, for good
    std::uint64_t ran_in_life = 0;
    bool given_back = false;  // since it last began
    Outcome outcome;
  };

  void producer_step();
  void send();
  void take_outcomes();
  void consumer_step();
  void begin_one();
  void check_begin(const Delivery& begun);
  [[nodiscard]] bool answered_anywhere(const Fate& fate) const;
  void answer_one();
  void finish(std::size_t index);
  void daemon_step();
  void advance_time();
  void kill_consumer();
  void kill_daemon();
  void start_consumer_fiber();
  void start_daemon_fiber();
  void maybe_kill();
  void settle_down();
  void check_end();
  void check_counters();
  void check_letters();
  void fail(const std::string& what);
  void note(const std::string& what);
  [[nodiscard]] bool chance(std::uint32_t permille) {
    return std::uniform_int_distribution<std::uint32_t>(0, 999)(random_) < permille;
  }
  [[nodiscard]] std::uint64_t pick(std::uint64_t count) {
    return std::uniform_int_distribution<std::uint64_t>(0, count - 1)(random_);
  }
  static bool on_access(const void* word, bool is_store);

  inline static Simulation* current_ = nullptr;
  SimulationOptions options_;
  std::mt19937_64 random_;
  LinkWorld world_;
  std::map<std::uint64_t, Fate> fates_;  // by sequence
  std::map<OutcomeCode, int> seen_;
  std::vector<Delivery> running_;
  std::vector<std::string> log_;
  std::unique_ptr<Fiber> producer_;
  std::unique_ptr<Fiber> consumer_;
  std::unique_ptr<Fiber> daemon_;
  std::string failure_;
  std::uint64_t operations_ = 0;
  int deaths_ = 0;
  bool sending_ = true;
  bool death_unseen_ = false;  // by the daemon
  bool quiet_ = false;         // no kills, prompt answers
};

}  // namespace ackbus::test
