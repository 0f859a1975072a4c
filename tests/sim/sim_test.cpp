// Random runs of the whole bus: daemon, library and protocol as they are shipped, in the simulated
// machine. ACKBUS_SIM_SEEDS runs more seeds a mixture from ACKBUS_SIM_FIRST on, ACKBUS_SIM_SEED one
// seed with its whole log.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/sim/world.hpp"

namespace ackbus::sim {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void run_one(const WorldOptions& options) {
  World world(options);
  const std::string failure = world.run();
  if (failure.empty()) {
    return;
  }
  const auto& log = world.log();
  const std::size_t from =
      std::getenv("ACKBUS_SIM_SEED") != nullptr || log.size() < 80 ? 0 : log.size() - 80;
  for (std::size_t i = from; i < log.size(); ++i) {
    std::cout << "  " << log[i] << "\n";
  }
  FAIL() << "seed " << options.kernel.seed << ": " << failure;
}

void run_seeds(WorldOptions options) {
  if (std::getenv("ACKBUS_SIM_SEED") != nullptr) {
    options.kernel.seed = from_environment("ACKBUS_SIM_SEED", 1);
    run_one(options);
    return;
  }
  const std::uint64_t seeds = from_environment("ACKBUS_SIM_SEEDS", 125);
  const std::uint64_t first = from_environment("ACKBUS_SIM_FIRST", 1);
  std::cout << "seeds " << first << " to " << first + seeds - 1 << "\n";
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    options.kernel.seed = seed;
    run_one(options);
    if (::testing::Test::HasFatalFailure()) {
      return;
    }
  }
}

WorldOptions plain() {
  WorldOptions options;
  options.daemon_kills = options.consumer_kills = options.producer_kills = 0;
  options.goodbyes = options.untracked = options.cancels = options.nacks = options.keys =
      options.after = false;
  return options;
}

void set_fault(WorldOptions& options, Fault fault, std::uint32_t permille) {
  options.kernel.fault_permille[static_cast<std::size_t>(fault)] = permille;
}

TEST(Sim, DeliversAndRetries) { run_seeds(plain()); }

TEST(Sim, SurvivesConsumerDeaths) {
  WorldOptions options = plain();
  options.consumer_kills = 6;
  run_seeds(options);
}

TEST(Sim, SurvivesDaemonDeaths) {
  WorldOptions options = plain();
  options.daemon_kills = 6;
  run_seeds(options);
}

TEST(Sim, SurvivesProducerDeaths) {
  WorldOptions options = plain();
  options.producer_kills = 6;
  run_seeds(options);
}

TEST(Sim, SurvivesEveryDeath) {
  WorldOptions options;
  options.daemon_kills = options.consumer_kills = options.producer_kills = 5;
  options.turns = 8000;
  run_seeds(options);
}

TEST(Sim, SurvivesTheLossOfTheStore) {
  WorldOptions options;
  options.daemon_kills = 4;
  options.store_losses = 2;
  run_seeds(options);
}

TEST(Sim, GoesOnWithoutMemoryOrDescriptorsForAWhile) {
  WorldOptions options;
  set_fault(options, Fault::kMemory, 30);
  set_fault(options, Fault::kDescriptors, 30);
  run_seeds(options);
}

// A life that a producer or consumer missed for want of descriptors or memory, whoever dies
// meanwhile.
TEST(Sim, TellsEveryLifeWhileDescriptorsAreFew) {
  WorldOptions options = plain();
  options.consumer_kills = 20;
  set_fault(options, Fault::kDescriptors, 200);
  run_seeds(options);
}

TEST(Sim, GoesOnWhileTheDiskFails) {
  WorldOptions options;
  options.short_wait_permille = 500;
  set_fault(options, Fault::kDisk, 200);
  run_seeds(options);
}

TEST(Sim, GoesOnWithoutRings) {
  WorldOptions options;
  set_fault(options, Fault::kRing, 300);
  run_seeds(options);
}

TEST(Sim, SurvivesProcessesThatStandStill) {
  WorldOptions options;
  options.kernel.stop_permille = 10;
  run_seeds(options);
}

TEST(Sim, ServesSeveralQueues) {
  WorldOptions options;
  options.queues = 2;
  options.producers = 5;
  options.daemon_kills = options.consumer_kills = options.producer_kills = 3;
  options.turns = 8000;
  run_seeds(options);
}

TEST(Sim, EndsWhatIsNotBegunInTime) {
  WorldOptions options;
  options.short_wait_permille = 900;
  options.daemon_kills = options.consumer_kills = 4;
  run_seeds(options);
}

TEST(Sim, CountsTheClockFromCommit) {
  WorldOptions options;
  options.clock_from_commit = true;
  options.daemon_kills = options.consumer_kills = 3;
  run_seeds(options);
}

TEST(Sim, BearsProducersThatSeldomReap) {
  WorldOptions options;
  options.lazy_producers = true;
  options.daemon_kills = options.consumer_kills = 3;
  run_seeds(options);
}

TEST(Sim, SwitchesAtEveryAccess) {
  WorldOptions options;
  options.kernel.switch_permille = 1000;
  options.turns = 20000;
  options.daemon_kills = options.consumer_kills = options.producer_kills = 3;
  run_seeds(options);
}

TEST(Sim, SurvivesEverythingAtOnce) {
  WorldOptions options;
  options.queues = 2;
  options.producers = 4;
  options.daemon_kills = options.consumer_kills = options.producer_kills = 4;
  options.store_losses = 1;
  options.kernel.stop_permille = 3;
  set_fault(options, Fault::kMemory, 5);
  set_fault(options, Fault::kDescriptors, 5);
  set_fault(options, Fault::kDisk, 50);
  options.turns = 10000;
  run_seeds(options);
}

// The same seed gives the same run, to the last line of its log.
TEST(Sim, ReplaysASeedExactly) {
  WorldOptions options;
  options.turns = 4000;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    options.kernel.seed = seed;
    std::deque<std::string> logs[2];
    for (auto& log : logs) {
      World world(options);
      [[maybe_unused]] const std::string failure = world.run();
      log = world.log();
    }
    ASSERT_EQ(logs[0].size(), logs[1].size()) << "seed " << seed;
    for (std::size_t line = 0; line < logs[0].size(); ++line) {
      ASSERT_EQ(logs[0][line], logs[1][line]) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace ackbus::sim
