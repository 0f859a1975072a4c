// The end of a bus: its memory is lost with a daemon that nobody kept descriptors for, it is shut
// down for good, or a queue is removed. Producers are told, never left waiting.
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class BusEnds : public ProcessTest {
 protected:
  // Begins everything, answers only what says "answer me", and speaks of each delivery.
  static Helper hesitant(const ConsumerOptions& options) {
    return Helper::consume(options, [](Consumer& consumer, const Channel& test) {
      for (;;) {
        Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
        if (!taken || !*taken) {
          test.say(taken ? "deadline" : error_name(taken.error().code));
          return 0;
        }
        const std::string text = text_of((*taken)->payload);
        if (text == "answer me" && !consumer.ack(**taken)) {
          return 3;
        }
        test.say(text);
      }
    });
  }
};

TEST_F(BusEnds, WhenTheStoreIsLostOutstandingMessagesEndUnknownAndClientsReattach) {
  Bus bus;
  Helper consumer = hesitant(bus.consumer_options());
  Producer producer = bus.producer();
  const std::uint64_t old_link = producer.link();
  std::vector<Ticket> tickets;
  for (int i = 0; i < 3; ++i) {
    tickets.push_back(send(producer, "begun"));
    ASSERT_EQ(consumer.channel.hear(), "begun");
  }
  bus.program().child.signal(SIGKILL);
  ASSERT_TRUE(bus.program().child.wait());
  tickets.push_back(send(producer, "sent while nobody was there"));
  bus.start();
  for (const Ticket& ticket : tickets) {
    const Outcome outcome = outcome_of(producer, ticket);
    EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
    EXPECT_EQ(outcome.reason, OutcomeReason::kUnknown);
  }
  // The same handles go on: neither side was restarted.
  const Ticket after = send(producer, "answer me");
  EXPECT_GT(after.sequence, tickets.back().sequence) << "sequences go on";
  EXPECT_EQ(outcome_of(producer, after).code, OutcomeCode::kSuccess);
  EXPECT_NE(producer.link(), 0U);
  EXPECT_EQ(bus.status()["links"].size(), 1U);
  EXPECT_TRUE(consumer.child.running());
  const ProducerStatistics figures = producer.statistics();
  EXPECT_EQ(figures.sent, 5U);
  EXPECT_EQ(figures.closed, 4U);
  EXPECT_EQ(figures.success, 1U);
  EXPECT_EQ(figures.pending, 0U);
  EXPECT_GE(old_link, 1U);
}

TEST_F(BusEnds, AProducerThatWaitsForRoomGoesOnOnItsNewLink) {
  Bus bus;
  ProducerOptions options = bus.producer_options();
  options.slots = 4;
  Producer producer = bus.producer(options);
  for (int i = 0; i < 4; ++i) {
    send(producer, "fills the slots");
  }
  bus.program().child.signal(SIGKILL);
  ASSERT_TRUE(bus.program().child.wait());
  bus.start();
  const Ticket ticket = send(producer, "answer me");
  Helper consumer = hesitant(bus.consumer_options());
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
  std::vector<Completion> rest;
  EXPECT_EQ(producer.reap(rest), 4U);
  for (const Completion& completion : rest) {
    EXPECT_EQ(completion.outcome.code, OutcomeCode::kClosed);
  }
}

TEST_F(BusEnds, AShutdownForGoodEndsEverythingClosed) {
  Bus bus;
  Helper consumer = hesitant(bus.consumer_options());
  Producer producer = bus.producer();
  const Ticket begun = send(producer, "begun");
  ASSERT_EQ(consumer.channel.hear(), "begun");
  EXPECT_FALSE(bus.ask({{"verb", "shutdown"}}).is_null());
  const std::optional<ProcessEnd> end = bus.program().child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_status, 0);
  const Outcome outcome = outcome_of(producer, begun);
  EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(outcome.reason, OutcomeReason::kBusShutDown);
  EXPECT_EQ(consumer.channel.hear(), "closed");
  const Result<Ticket> refused = producer.send(Kind::kComputeForces, {}, soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kClosed);
}

TEST_F(BusEnds, ASupervisorAskedToEndShutsTheBusDown) {
  Bus bus({.supervised = true});
  Producer producer = bus.producer();
  const Ticket pending = send(producer, "nobody begins it");
  const pid_t daemon = bus.daemon_pid();
  bus.program().child.signal(SIGTERM);
  const std::optional<ProcessEnd> end = bus.program().child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_status, 0) << bus.program().errors();
  EXPECT_EQ(::kill(daemon, 0), -1) << "the daemon outlived its supervisor";
  const Outcome outcome = outcome_of(producer, pending);
  EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(outcome.reason, OutcomeReason::kBusShutDown);
}

TEST_F(BusEnds, ARemovedQueueEndsItsMessagesAndNoOthers) {
  Bus bus;
  Producer stays = bus.producer();
  ProducerOptions options = bus.producer_options();
  options.queue = "doomed";
  ConsumerOptions served = bus.consumer_options();
  served.queue = "doomed";
  Helper consumer = hesitant(served);
  Producer doomed = bus.producer(options);
  const Ticket closed = send(doomed, "begun");
  const Ticket kept = send(stays, "answer me");
  ASSERT_EQ(consumer.channel.hear(), "begun");
  EXPECT_FALSE(bus.ask({{"verb", "remove_queue"}, {"queue", "doomed"}}).is_null());
  const Outcome outcome = outcome_of(doomed, closed);
  EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(outcome.reason, OutcomeReason::kQueueRemoved);
  EXPECT_EQ(consumer.channel.hear(), "closed");
  Helper other = hesitant(bus.consumer_options());
  EXPECT_EQ(outcome_of(stays, kept).code, OutcomeCode::kSuccess);
}

}  // namespace
}  // namespace ackbus::process_test
