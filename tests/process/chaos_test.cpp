// Daemon, consumers, or all of them killed again and again at random moments while messages flow:
// nothing is lost, everything that was sent has exactly one outcome, and the daemon's figures agree
// with the producer's. The seed is printed; ACKBUS_SEED repeats it, ACKBUS_CHAOS_SECONDS lasts
// longer.
#include <cstdlib>
#include <random>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

constexpr std::uint64_t kOutstanding = 24;
// A supervisor restarts slower and slower what dies again and again, so a round kills its daemon
// no more often, and then there is a fresh bus.
constexpr std::uint64_t kDaemonKills = 4;
constexpr std::uint64_t kConsumerKills = 20;

long from_environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atol(text);
}

// One bus and what happens to it.
class Round {
 public:
  explicit Round(unsigned seed) : random_(seed), bus_({.supervised = true}) {
    for (int i = 0; i < 2; ++i) {
      consumers_.push_back(Helper::ack_everything(bus_.consumer_options()));
    }
  }

  void run() {
    Producer producer = bus_.producer();
    std::vector<Completion> completions;
    Deadline next_kill = soon(milliseconds(20));
    while ((daemon_kills < kDaemonKills || consumer_kills < kConsumerKills) &&
           !::testing::Test::HasFailure()) {
      while (producer.pending() < kOutstanding) {
        send(producer, "chaos");
      }
      [[maybe_unused]] const auto some = producer.wait_any(completions, soon(milliseconds(5)));
      take(completions);
      if (steady_clock::now() >= next_kill) {
        kill_somebody();
        next_kill = soon(milliseconds(5 + random_() % 60));
      }
      replace_dead_consumers();
    }
    settle(producer);
  }

  std::uint64_t daemon_kills = 0;
  std::uint64_t consumer_kills = 0;
  std::uint64_t sent = 0;
  std::uint64_t poisoned = 0;

 private:
  void kill_somebody() {
    const unsigned choice = random_() % 4;
    const pid_t daemon = bus_.daemon_pid();
    if (choice <= 1 && daemon != 0 && daemon_kills < kDaemonKills) {
      ::kill(daemon, SIGKILL);
      daemon_kills += 1;
    }
    if (choice >= 1) {
      consumer_kills += 1;
      // The one that is active, or the one that stands by: both happen.
      consumers_[random_() % consumers_.size()].child.end();
    }
  }

  // A supervisor's part for consumers, which have no daemon to speak with while that one restarts.
  void replace_dead_consumers() {
    for (Helper& consumer : consumers_) {
      if (!consumer.child.running() && bus_.daemon_pid() != 0) {
        consumer = consumer_when_there_is_a_daemon();
      }
    }
  }

  Helper consumer_when_there_is_a_daemon() {
    return Helper([options = bus_.consumer_options()](const Channel&) {
      for (;;) {
        Result<Consumer> consumer = Consumer::connect(options);
        if (!consumer) {
          continue;
        }
        for (;;) {
          Result<std::optional<Delivery>> taken = consumer->take(soon(seconds(3600)));
          if (!taken || !*taken || !consumer->ack(**taken)) {
            return 2;
          }
        }
      }
    });
  }

  void take(std::vector<Completion>& completions) {
    for (const Completion& completion : completions) {
      const Outcome& outcome = completion.outcome;
      // The only one begun at two deaths: that is what the rule is for, and kills here are deaths.
      const bool poison =
          outcome.code == OutcomeCode::kExhausted && outcome.reason == OutcomeReason::kPoison;
      EXPECT_TRUE(outcome.code == OutcomeCode::kSuccess || poison)
          << outcome_name(outcome.code) << " " << reason_name(outcome.reason);
      successes_ += outcome.code == OutcomeCode::kSuccess ? 1 : 0;
      poisoned += poison ? 1 : 0;
    }
    completions.clear();
  }

  // Everything that was sent gets its outcome, and all figures agree.
  void settle(Producer& producer) {
    std::vector<Completion> completions;
    ASSERT_TRUE(eventually([&] {
      replace_dead_consumers();
      producer.reap(completions);
      take(completions);
      return producer.pending() == 0;
    })) << producer.pending()
        << " messages are left waiting: " << bus_.status().dump(1);
    const ProducerStatistics figures = producer.statistics();
    sent = figures.sent;
    EXPECT_EQ(figures.sent, successes_ + poisoned);
    EXPECT_EQ(figures.success, successes_);
    EXPECT_EQ(figures.exhausted, poisoned);
    ASSERT_TRUE(eventually([&] { return bus_.daemon_pid() != 0; }));
    const json kind = bus_.kind("ComputeForces");
    EXPECT_EQ(kind["sent"], figures.sent) << "figures are exact across the daemon's own deaths";
    EXPECT_EQ(kind["success"], figures.success);
    EXPECT_EQ(bus_.status()["dead_letters"]["count"], poisoned);
  }

  std::mt19937 random_;
  Bus bus_;
  std::vector<Helper> consumers_;
  std::uint64_t successes_ = 0;
};

class Chaos : public ProcessTest {};

TEST_F(Chaos, KillingAnybodyAtAnyTimeLosesNoMessage) {
  const seconds duration(from_environment("ACKBUS_CHAOS_SECONDS", 3));
  start_watchdog(static_cast<unsigned>(duration.count()) + 150);
  auto seed = static_cast<unsigned>(
      from_environment("ACKBUS_SEED", static_cast<long>(std::random_device()() % 1'000'000'000)));
  for (const Deadline over = soon(duration); steady_clock::now() < over && !HasFailure(); ++seed) {
    std::printf("seed %u: ", seed);
    std::fflush(stdout);
    Round round(seed);
    round.run();
    std::printf("%llu messages, %llu daemon kills, %llu consumer kills, %llu poisoned\n",
                static_cast<unsigned long long>(round.sent),
                static_cast<unsigned long long>(round.daemon_kills),
                static_cast<unsigned long long>(round.consumer_kills),
                static_cast<unsigned long long>(round.poisoned));
  }
}

}  // namespace
}  // namespace ackbus::process_test
