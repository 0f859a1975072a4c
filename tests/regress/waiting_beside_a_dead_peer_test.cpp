// The pipe of a peer that had died stayed readable, because nobody could ring it any more: whoever
// waited for the next life, or for the daemon, used a whole core until it came.
#include <poll.h>

#include <csignal>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class WaitingBesideADeadPeer : public ProcessTest {};

bool readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 0) == 1;
}

TEST_F(WaitingBesideADeadPeer, AProducersDescriptorComesToRest) {
  Bus bus;
  Producer producer = bus.producer();
  {
    Helper consumer = Helper::ack_everything(bus.consumer_options());
    EXPECT_EQ(outcome_of(producer, send(producer, "first")).code, OutcomeCode::kSuccess);
    consumer.child.signal(SIGKILL);
    ASSERT_TRUE(eventually([&] { return !consumer.child.running(); }));
  }
  const int fd = producer.completion_fd();
  // It is told of the death, and then there is nothing more to hear.
  EXPECT_TRUE(eventually([&] {
    std::vector<Completion> completions;
    producer.reap(completions);
    return bus.queue()["consumer"].is_null() && !readable(fd);
  }));
}

}  // namespace
}  // namespace ackbus::process_test
