// Before it sleeps, a waiter empties its control socket. What it heard there could be what it
// waited for (a new link, the end of its queue), and it slept until its deadline all the same.
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class NewsHeardBeforeSleeping : public ProcessTest {
 protected:
  // Far more than the deadlines that a waiter missed by sleeping.
  static constexpr milliseconds kHalfPatience = kPatience / 2;
};

TEST_F(NewsHeardBeforeSleeping, AProducerWaitingForRoomTakesItsNewLinkAtOnce) {
  Bus bus;
  for (const WaitMode mode : {WaitMode::kBlock, WaitMode::kAdaptive}) {
    ProducerOptions options = bus.producer_options();
    options.slots = 4;
    options.wait = mode;
    Producer producer = bus.producer(options);
    for (int i = 0; i < 4; ++i) {
      send(producer, "fills the slots");
    }
    bus.program().child.end();
    bus.start();
    const auto before = steady_clock::now();
    const Ticket ticket = send(producer, "on the new link");
    EXPECT_EQ(ticket.sequence, 5U);
    EXPECT_LT(steady_clock::now() - before, kHalfPatience) << "it slept until its deadline";
  }
}

}  // namespace
}  // namespace ackbus::process_test
