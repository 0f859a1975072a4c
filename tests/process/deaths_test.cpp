// Who dies, what happens (docs/architecture.md): every row with real processes and kill -9. The
// rows about a lost store are in store_lost_test.cpp, those about the GPU process in
// layout_test.cpp.
#include <set>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;

class Deaths : public ProcessTest {
 protected:
  // Sends until `enough` holds, at most 32 outstanding, and expects every outcome to be a success.
  static void stream_until(Producer& producer, const std::function<bool()>& enough) {
    std::vector<Completion> completions;
    while (!enough()) {
      send(producer, "flowing");
      if (producer.pending() < 32) {
        continue;
      }
      completions.clear();
      EXPECT_TRUE(producer.wait_any(completions, soon()));
      for (const Completion& completion : completions) {
        EXPECT_EQ(completion.outcome.code, OutcomeCode::kSuccess);
        EXPECT_EQ(completion.outcome.attempt, 1U);
      }
      if (::testing::Test::HasFailure()) {
        break;
      }
    }
  }

  static SendOptions with_timeout(milliseconds timeout, std::uint32_t retries = 3) {
    SendOptions options;
    options.timeout = timeout;
    options.max_retries = retries;
    return options;
  }

  static ProducerOptions declaring(const Bus& bus, milliseconds min_timeout) {
    ProducerOptions options = bus.producer_options();
    options.min_timeout = min_timeout;
    return options;
  }

  // A consumer that says "SEQUENCE ATTEMPT" of each delivery and acks only what `acks` allows.
  static Helper choosy(const ConsumerOptions& options,
                       const std::function<bool(const Delivery&)>& acks) {
    return Helper::consume(options, [acks](Consumer& consumer, const Channel& test) {
      for (;;) {
        Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
        if (!taken || !*taken) {
          return 2;
        }
        const Delivery& delivery = **taken;
        const bool answers = acks(delivery);
        if (answers && !consumer.ack(delivery)) {
          return 3;
        }
        test.say(std::to_string(delivery.sequence) + " " + std::to_string(delivery.attempt));
      }
    });
  }
  static Helper mute(const ConsumerOptions& options) {
    return choosy(options, [](const Delivery&) { return false; });
  }
};

TEST_F(Deaths, ADaemonKilledWhileMessagesFlowCausesNoErrorAndNoRetry) {
  Bus bus({.supervised = true});
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  Producer producer = bus.producer();
  stream_until(producer, [&] { return producer.statistics().success > 2000; });
  const std::uint64_t before = bus.incarnation();
  const pid_t victim = bus.daemon_pid();
  ASSERT_EQ(::kill(victim, SIGKILL), 0) << "the daemon was not alive";
  // Traffic goes on while nobody is there, and while the next daemon comes up.
  std::uint64_t looks = 0;
  stream_until(producer, [&] { return ++looks % 256 == 0 && bus.incarnation() > before; });
  const std::uint64_t target = producer.statistics().success + 2000;
  stream_until(producer, [&] { return producer.statistics().success > target; });
  EXPECT_NE(bus.daemon_pid(), victim);
  ASSERT_TRUE(producer.close(soon()));
  const ProducerStatistics figures = producer.statistics();
  EXPECT_EQ(figures.sent, figures.success);
  EXPECT_EQ(figures.lives, 1U);
  EXPECT_TRUE(consumer.child.running());
  EXPECT_EQ(bus.kind("ComputeForces")["retries"], 0);
  EXPECT_EQ(bus.kind("ComputeForces")["sent"], figures.sent) << "no counter is lost";
}

TEST_F(Deaths, RetriesGoOnAfterADaemonWasKilled) {
  Bus bus({.supervised = true});
  Producer producer = bus.producer(declaring(bus, milliseconds(300)));
  Helper first = mute(bus.consumer_options());
  const Ticket ticket = send(producer, "again", with_timeout(milliseconds(300), 20));
  ASSERT_EQ(first.channel.hear(), "1 1") << "begun";
  bus.kill_daemon_and_wait();
  ASSERT_TRUE(eventually([&] {
    const json shown = bus.ask({{"verb", "show"}, {"id", ticket.id.to_string()}});
    return !shown.is_null() && shown.value("retries", 0) >= 1;
  })) << "the new daemon retries what the old one had tracked";
  first.child.end();
  Helper second = Helper::ack_everything(bus.consumer_options());
  const Outcome outcome = outcome_of(producer, ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kSuccess);
  EXPECT_GE(outcome.attempt, 2U);
}

TEST_F(Deaths, AStandbyTakesOverFromAKilledConsumer) {
  Bus bus;
  Helper active = choosy(bus.consumer_options(),
                         [](const Delivery& delivery) { return delivery.sequence <= 20; });
  Helper standby = Helper::ack_everything(bus.consumer_options());
  ASSERT_TRUE(eventually([&] { return bus.queue()["standbys"] == 1; }));
  Producer producer = bus.producer();
  std::vector<Ticket> tickets;
  for (int i = 0; i < 50; ++i) {
    tickets.push_back(send(producer, "x"));
  }
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(active.channel.hear());
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(outcome_of(producer, tickets[static_cast<std::size_t>(i)]).attempt, 1U);
  }
  EXPECT_EQ(producer.pending(), 30U) << "begun and unanswered";
  active.child.signal(SIGKILL);
  for (std::size_t i = 20; i < tickets.size(); ++i) {
    const Outcome outcome = outcome_of(producer, tickets[i]);
    EXPECT_EQ(outcome.code, OutcomeCode::kSuccess);
    EXPECT_EQ(outcome.attempt, 2U);
  }
  EXPECT_EQ(producer.statistics().lives, 2U);
  EXPECT_EQ(bus.queue()["consumer"]["pid"], standby.child.pid());
}

TEST_F(Deaths, WithoutAStandbyMessagesWaitForTheNextConsumer) {
  Bus bus;
  ProducerOptions options = bus.producer_options();
  options.slots = 8;
  Producer producer = bus.producer(options);
  Helper active = mute(bus.consumer_options());
  std::vector<Ticket> tickets{send(producer, "begun")};
  ASSERT_EQ(active.channel.hear(), "1 1");
  active.child.end();
  ASSERT_TRUE(eventually([&] { return bus.queue()["consumer"].is_null(); }));
  for (int i = 0; i < 7; ++i) {
    tickets.push_back(send(producer, "unbegun"));
  }
  const Result<Ticket> refused =
      producer.send(Kind::kComputeForces, bytes_of("no slot"), soon(milliseconds(20)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBackPressured);
  Helper next = Helper::ack_everything(bus.consumer_options());
  for (const Ticket& ticket : tickets) {
    const Outcome outcome = outcome_of(producer, ticket);
    EXPECT_EQ(outcome.code, OutcomeCode::kSuccess);
    EXPECT_EQ(outcome.attempt, ticket.sequence == 1 ? 2U : 1U)
        << "only what was begun uses an attempt";
  }
}

TEST_F(Deaths, AStoppedConsumerIsReportedThenKilledAndReplaced) {
  Bus bus;
  Producer producer = bus.producer(declaring(bus, milliseconds(500)));
  ConsumerOptions one_at_a_time = bus.consumer_options();
  one_at_a_time.max_running = 1;
  Helper hung = mute(one_at_a_time);
  const Ticket begun = send(producer, "begun", with_timeout(milliseconds(500), 20));
  const Ticket waiting = send(producer, "waiting", with_timeout(milliseconds(500), 20));
  ASSERT_EQ(hung.channel.hear(), "1 1");
  hung.child.signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return bus.queue()["stalled"].is_object(); }));
  const json stalled = bus.queue()["stalled"];
  EXPECT_EQ(stalled["pid"], hung.child.pid());
  EXPECT_EQ(stalled["message"], begun.id.to_string());
  EXPECT_GE(stalled["age_ms"].get<int>(), 1000);
  const Ran check = bus.ackbus({"status", "--check"});
  EXPECT_EQ(check.status, 10);
  EXPECT_THAT(check.errors, ::testing::HasSubstr("stalled"));
  EXPECT_TRUE(hung.child.running()) << "the daemon does not kill what is only slow";
  hung.child.signal(SIGKILL);
  Helper next = Helper::ack_everything(bus.consumer_options());
  const Outcome first = outcome_of(producer, begun);
  const Outcome second = outcome_of(producer, waiting);
  EXPECT_EQ(first.code, OutcomeCode::kSuccess);
  EXPECT_GE(first.attempt, 2U);
  EXPECT_EQ(second.code, OutcomeCode::kSuccess);
  EXPECT_EQ(second.attempt, 1U) << "what was not begun uses no attempt";
  EXPECT_TRUE(bus.queue()["stalled"].is_null());
}

TEST_F(Deaths, WhatAKilledProducerCommittedIsDeliveredAndItsMemoryGoes) {
  Bus bus;
  Helper producer([&](const Channel& test) {
    Producer made = bus.producer();
    for (int i = 0; i < 40; ++i) {
      send(made, "committed " + std::to_string(i));
    }
    test.say("committed");
    [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
    return 0;
  });
  ASSERT_EQ(producer.channel.hear(), "committed");
  ASSERT_TRUE(producer.child.running());
  producer.child.signal(SIGKILL);
  ASSERT_TRUE(eventually([&] { return bus.status()["links"][0]["state"] == "draining"; }));
  EXPECT_GT(bus.status()["memory"]["submission"].get<std::uint64_t>(), 0U);
  Helper consumer = choosy(bus.consumer_options(), [](const Delivery&) { return true; });
  for (int i = 1; i <= 40; ++i) {
    ASSERT_EQ(consumer.channel.hear(), std::to_string(i) + " 1");
  }
  ASSERT_TRUE(eventually([&] { return bus.status()["links"].empty(); }));
  const json memory = bus.status()["memory"];
  EXPECT_EQ(memory["submission"], 0);
  EXPECT_EQ(memory["ack"], 0);
  EXPECT_EQ(memory["tracking"], 0);
  const json kind = bus.kind("ComputeForces");
  EXPECT_EQ(kind["sent"], 40);
  EXPECT_EQ(kind["success"], 40);
  EXPECT_EQ(kind["pending"], 0);
}

TEST_F(Deaths, DaemonAndConsumerKilledTogetherLoseNothing) {
  Bus bus({.supervised = true});
  Helper consumer = choosy(bus.consumer_options(),
                           [](const Delivery& delivery) { return delivery.sequence % 2 == 0; });
  ProducerOptions options = bus.producer_options();
  options.slots = 32;
  Producer producer = bus.producer(options);
  std::vector<Ticket> tickets;
  for (int i = 0; i < 10; ++i) {
    tickets.push_back(send(producer, "before"));
    ASSERT_TRUE(consumer.channel.hear());
  }
  const std::uint64_t before = bus.incarnation();
  ASSERT_EQ(::kill(bus.daemon_pid(), SIGKILL), 0) << "the daemon was not alive";
  consumer.child.signal(SIGKILL);
  for (int i = 0; i < 10; ++i) {
    tickets.push_back(send(producer, "during"));
  }
  ASSERT_TRUE(bus.wait_incarnation_after(before));
  Helper next = Helper::ack_everything(bus.consumer_options());
  for (const Ticket& ticket : tickets) {
    EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess) << ticket.sequence;
  }
  EXPECT_EQ(producer.statistics().sent, 20U);
  EXPECT_EQ(producer.statistics().success, 20U);
}

TEST_F(Deaths, AMessageThatWasTheOnlyOneBegunAtTwoDeathsEndsPoison) {
  Bus bus;
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "kills its consumer");
  for (int death = 1; death <= 2; ++death) {
    Helper victim = mute(bus.consumer_options());
    ASSERT_EQ(victim.channel.hear(), "1 " + std::to_string(death));
    victim.child.signal(SIGKILL);
    ASSERT_TRUE(victim.child.wait());
  }
  Helper next = choosy(bus.consumer_options(), [](const Delivery&) { return true; });
  const Outcome outcome = outcome_of(producer, ticket);
  EXPECT_FALSE(next.channel.heard()) << "nobody runs it a third time";
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kPoison);
  EXPECT_EQ(bus.status()["dead_letters"]["count"], 1);
}

}  // namespace
}  // namespace ackbus::process_test
