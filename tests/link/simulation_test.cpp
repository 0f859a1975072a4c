// Random runs of the whole link: hundreds of seeds in each mixture of features, switched between
// operations and between single accesses to shared memory. ACKBUS_SIM_SEEDS runs more seeds a
// mixture, ACKBUS_SIM_SEED one seed with its log.
#include "tests/link/simulation.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

namespace ackbus::test {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void run_one(const SimulationOptions& options) {
  Simulation simulation(options);
  const std::string failure = simulation.run();
  if (failure.empty()) {
    return;
  }
  std::cout << "seed " << options.seed << ": " << failure << "\n";
  const auto& log = simulation.log();
  const std::size_t from =
      std::getenv("ACKBUS_SIM_SEED") != nullptr || log.size() < 60 ? 0 : log.size() - 60;
  for (std::size_t i = from; i < log.size(); ++i) {
    std::cout << "  " << log[i] << "\n";
  }
  FAIL() << "seed " << options.seed << ": " << failure;
}

void run_seeds(SimulationOptions options) {
  if (std::getenv("ACKBUS_SIM_SEED") != nullptr) {
    options.seed = from_environment("ACKBUS_SIM_SEED", 1);
    run_one(options);
    return;
  }
  const std::uint64_t seeds = from_environment("ACKBUS_SIM_SEEDS", 200);
  const std::uint64_t first = from_environment("ACKBUS_SIM_FIRST", 1);
  std::cout << "seeds " << first << " to " << first + seeds - 1 << "\n";
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    options.seed = seed;
    run_one(options);
    if (::testing::Test::HasFatalFailure()) {
      return;
    }
  }
}

// The features of the mixtures, so that a failure is small to look at.
SimulationOptions plain() {
  SimulationOptions options;
  options.consumer_kills = 0;
  options.daemon_kills = 0;
  options.untracked = options.cancels = options.nacks = options.keys = options.after = false;
  return options;
}

TEST(Simulation, DeliversAndRetriesWithoutDeaths) { run_seeds(plain()); }

TEST(Simulation, DeliversAndRetriesSwitchedAtAnyAccess) {
  SimulationOptions options = plain();
  options.switch_permille = 100;
  options.steps = 3000;
  run_seeds(options);
}

TEST(Simulation, SurvivesConsumerDeaths) {
  SimulationOptions options = plain();
  options.consumer_kills = 4;
  options.switch_permille = 50;
  options.steps = 3000;
  run_seeds(options);
}

TEST(Simulation, SurvivesDaemonDeathsAtAnyAccess) {
  SimulationOptions options = plain();
  options.daemon_kills = 6;
  options.switch_permille = 50;
  options.steps = 3000;
  run_seeds(options);
}

TEST(Simulation, SurvivesBothDying) {
  SimulationOptions options = plain();
  options.consumer_kills = 4;
  options.daemon_kills = 6;
  options.switch_permille = 50;
  options.steps = 4000;
  run_seeds(options);
}

TEST(Simulation, GivesBackAndCancels) {
  SimulationOptions options = plain();
  options.nacks = options.cancels = true;
  options.consumer_kills = 2;
  options.daemon_kills = 2;
  options.switch_permille = 50;
  options.steps = 3000;
  run_seeds(options);
}

TEST(Simulation, SupersedesAndWaitsForEarlierOnes) {
  SimulationOptions options = plain();
  options.keys = options.after = options.nacks = true;
  options.consumer_kills = 3;
  options.daemon_kills = 2;
  options.switch_permille = 50;
  options.steps = 3000;
  run_seeds(options);
}

TEST(Simulation, MixesUntrackedMessages) {
  SimulationOptions options = plain();
  options.untracked = options.nacks = options.cancels = true;
  options.consumer_kills = 3;
  options.daemon_kills = 2;
  options.switch_permille = 50;
  options.steps = 3000;
  run_seeds(options);
}

TEST(Simulation, EndsWhatIsNotBegunInTime) {
  SimulationOptions options = plain();
  options.short_wait_permille = 900;
  options.consumer_kills = 3;
  options.daemon_kills = 4;
  options.broken_store = true;
  options.switch_permille = 100;
  options.steps = 3000;
  run_seeds(options);
}

TEST(Simulation, EverythingBetweenOperations) {
  SimulationOptions options;
  options.consumer_kills = 3;
  options.daemon_kills = 3;
  options.broken_store = true;
  options.steps = 600;
  run_seeds(options);
}

TEST(Simulation, EverythingAtAnyAccess) {
  SimulationOptions options;
  options.consumer_kills = 4;
  options.daemon_kills = 5;
  options.broken_store = true;
  options.switch_permille = 50;
  options.steps = 4000;
  run_seeds(options);
}

TEST(Simulation, EverythingWithAProducerThatSeldomReaps) {
  SimulationOptions options;
  options.consumer_kills = 4;
  options.daemon_kills = 5;
  options.lazy_producer = true;
  options.switch_permille = 50;
  options.steps = 4000;
  run_seeds(options);
}

TEST(Simulation, EverythingWithTheClockFromCommit) {
  SimulationOptions options;
  options.consumer_kills = 3;
  options.daemon_kills = 3;
  options.clock_from_commit = true;
  options.switch_permille = 50;
  options.steps = 3000;
  run_seeds(options);
}

}  // namespace
}  // namespace ackbus::test
