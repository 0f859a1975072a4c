// A consumer that died before it had mapped its ack segment: the next daemon had read that segment,
// gave it back at the hand-over and went on reading it. Without the fix that daemon dies of a
// segmentation fault.
#include <signal.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class LifeThatNobodyMapped : public ProcessTest {};

TEST_F(LifeThatNobodyMapped, IsHandedOverByADaemonThatWasStartedMeanwhile) {
  Bus bus({.supervised = true});
  Helper first = Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel& test) {
    const Result<std::optional<Delivery>> taken = mine.take(soon());
    test.say("begun");
    [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
    return taken && *taken ? 0 : 2;
  });
  Helper second = Helper::ack_everything(bus.consumer_options());
  ASSERT_TRUE(eventually([&] { return bus.queue()["standbys"] == 1; }));
  Helper third = Helper::ack_everything(bus.consumer_options());
  ASSERT_TRUE(eventually([&] { return bus.queue()["standbys"] == 2; }));
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "begun by the first");
  ASSERT_EQ(first.channel.hear(), "begun");
  second.child.signal(SIGSTOP);  // It is made the active one, and maps nothing.
  first.child.end();
  ASSERT_TRUE(eventually([&] {
    const json consumer = bus.queue()["consumer"];
    return !consumer.is_null() && consumer["pid"] == second.child.pid();
  }));
  bus.kill_daemon_and_wait();
  const pid_t daemon = bus.daemon_pid();
  second.child.end();
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
  EXPECT_EQ(bus.daemon_pid(), daemon) << "the daemon lives on";
}

}  // namespace
}  // namespace ackbus::process_test
