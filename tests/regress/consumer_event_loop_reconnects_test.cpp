// A consumer in an event loop takes with a deadline of now. Such a take() returned before it looked
// for the daemon, so after a restart without kept memory the consumer never came back, and its
// descriptor, readable because it was time to look, kept the loop spinning.
#include <poll.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class ConsumerEventLoop : public ProcessTest {};

TEST_F(ConsumerEventLoop, IsWokenForMessagesAndConnectsToANewDaemon) {
  Bus bus;
  Helper consumer =
      Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel& test) {
        pollfd waiting{mine.fd(), POLLIN, 0};
        for (;;) {
          Result<std::optional<Delivery>> taken = mine.take(steady_clock::now());
          if (!taken) {
            return 2;
          }
          if (*taken) {
            if (!mine.ack(**taken)) {
              return 3;
            }
            test.say("acked");
            continue;
          }
          if (::poll(&waiting, 1, 60'000) != 1) {
            return 4;
          }
        }
      });
  {
    Producer producer = bus.producer();
    EXPECT_EQ(outcome_of(producer, send(producer, "x")).code, OutcomeCode::kSuccess);
  }
  EXPECT_EQ(consumer.channel.hear(), "acked");
  bus.program().child.end();
  bus.start();
  Producer producer = bus.producer();
  EXPECT_EQ(outcome_of(producer, send(producer, "y")).code, OutcomeCode::kSuccess);
  EXPECT_EQ(consumer.channel.hear(), "acked");
}

}  // namespace
}  // namespace ackbus::process_test
