// A consumer that was destroyed while packets of the daemon lay unread in its socket: the kernel
// reported a reset before the goodbye behind it, the daemon took the end for a hang-up without one,
// and killed the process half a second later.
#include <signal.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class GoodbyeBehindUnreadPackets : public ProcessTest {};

// Whether the kernel has stopped it; the state stands behind the name's parenthesis.
bool stopped(pid_t pid) {
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.substr(name_end, 4).find('T') != std::string::npos;
}

TEST_F(GoodbyeBehindUnreadPackets, IsHeardAndTheStandbyTakesOver) {
  Bus bus;
  Result<Consumer> active = Consumer::connect(bus.consumer_options());
  Result<Consumer> standby = Consumer::connect(bus.consumer_options());
  ASSERT_TRUE(active && standby);
  Producer producer =
      bus.producer();  // The daemon tells the active consumer, which does not read it.
  const Ticket ticket = send(producer, "for the next one");
  const pid_t daemon = bus.daemon_pid();  // It stands still, so that it finds both at once.
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  ASSERT_TRUE(eventually([&] { return stopped(daemon); }));
  { const Consumer gone = std::move(*active); }
  ASSERT_EQ(::kill(daemon, SIGCONT), 0);
  const Result<std::optional<Delivery>> taken = standby->take(soon());
  ASSERT_TRUE(taken && taken->has_value());
  EXPECT_EQ((*taken)->attempt, 1U) << "nobody had begun it";
  ASSERT_TRUE(standby->ack(**taken));
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
}

}  // namespace
}  // namespace ackbus::process_test
