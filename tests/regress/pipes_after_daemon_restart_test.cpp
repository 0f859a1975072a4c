// A restarted daemon gives both ends of a link new wake-up pipes. The consumer took its own and did
// not say so, so the producer was never told of its: each rang a pipe that nobody watched, and both
// slept until their deadlines with messages between them.
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class PipesAfterDaemonRestart : public ProcessTest {};

TEST_F(PipesAfterDaemonRestart, SleepersOnBothSidesAreStillWoken) {
  Bus bus({.supervised = true});
  ConsumerOptions consumer_options = bus.consumer_options();
  consumer_options.wait = WaitMode::kBlock;  // Asleep whenever nothing is there.
  Helper consumer = Helper::ack_everything(consumer_options);
  ProducerOptions producer_options = bus.producer_options();
  producer_options.wait = WaitMode::kBlock;
  Producer producer = bus.producer(producer_options);
  EXPECT_EQ(outcome_of(producer, send(producer, "before")).code, OutcomeCode::kSuccess);
  for (int restart = 0; restart < 3; ++restart) {
    bus.kill_daemon_and_wait();
    for (int message = 0; message < 20; ++message) {
      ASSERT_EQ(outcome_of(producer, send(producer, "after")).code, OutcomeCode::kSuccess);
    }
  }
  EXPECT_EQ(producer.statistics().lives, 1U);
}

}  // namespace
}  // namespace ackbus::process_test
