// A consumer whose daemon did not answer in time closed its connection and tried again. The daemon
// took both hellos later, made the first one the active consumer, saw it hung up, and killed its
// process, which was the second one's too. Without the fix the consumer is killed.
#include <signal.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class ConnectionGivenUp : public ProcessTest {};

TEST_F(ConnectionGivenUp, DoesNotEndTheProcessThatConnectsAgain) {
  Bus bus;
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "for the second connection");
  const pid_t daemon = bus.daemon_pid();
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  Helper consumer([options = bus.consumer_options()](const Channel& test) {
    ConsumerOptions hasty = options;
    hasty.connect_timeout = milliseconds(100);
    const Result<Consumer> first = Consumer::connect(hasty);
    test.say(first ? "connected" : "gave up");
    Result<Consumer> second = Consumer::connect(options);
    for (;;) {
      const Result<std::optional<Delivery>> taken = second->take(soon(seconds(3600)));
      if (!taken || !*taken || !second->ack(**taken)) {
        return 2;
      }
    }
  });
  ASSERT_EQ(consumer.channel.hear(), "gave up");
  ASSERT_EQ(::kill(daemon, SIGCONT), 0);
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
  EXPECT_TRUE(consumer.child.running());
}

}  // namespace
}  // namespace ackbus::process_test
