// The descriptor and the questions of a handle from before a fork were not refused in the child:
// its completion_fd() drained the parent's pipes and read the parent's control socket, and an ack
// that the parent waited for never woke it.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class HandleAfterFork : public ProcessTest {};

bool producer_refuses(Producer& producer) {
  const ProducerStatistics statistics = producer.statistics();
  return producer.completion_fd() == -1 && producer.pending() == 0 && statistics.sent == 0 &&
         producer.link() == 0 && !producer.kind("compute_forces");
}

TEST_F(HandleAfterFork, TakesNothingOfTheParentsNews) {
  Bus bus;
  Helper consumer =
      Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel& test) {
        const Result<std::optional<Delivery>> taken = mine.take(soon());
        if (!taken || !*taken || test.hear() != "ack" || !mine.ack(**taken)) {
          return 2;
        }
        test.say("acked");
        if (!test.hear()) {
          return 6;
        }
        return 0;
      });
  ProducerOptions options = bus.producer_options();
  options.wait = WaitMode::kBlock;
  Producer producer = bus.producer(options);
  const Ticket ticket = send(producer, "before the fork");
  pollfd news{producer.completion_fd(), POLLIN, 0};
  consumer.channel.say("ack");
  ASSERT_EQ(consumer.channel.hear(), "acked");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::_exit(producer_refuses(producer) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << "the child used the handle";
  EXPECT_EQ(::poll(&news, 1, 30'000), 1) << "the child took the news";
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
  consumer.channel.say("end");
}

TEST_F(HandleAfterFork, OfAConsumerAnswersNothing) {
  Bus bus;
  Helper consumer = Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel&) {
    const Result<std::optional<Delivery>> taken = mine.take(soon());
    if (!taken || !*taken || !mine.active()) {
      return 2;
    }
    const Delivery& delivery = **taken;
    const pid_t pid = ::fork();
    if (pid == 0) {
      const bool refused = mine.fd() == -1 && !mine.active() && !mine.cancelled(delivery) &&
                           mine.id(delivery).is_nil() && mine.statistics().begun == 0 &&
                           !mine.predecessor_state();
      ::_exit(refused ? 0 : 1);
    }
    int status = -1;
    if (::waitpid(pid, &status, 0) != pid || status != 0) {
      return 3;
    }
    return mine.id(delivery).is_nil() || !mine.ack(delivery) ? 4 : 0;
  });
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "x");
  const std::optional<ProcessEnd> end = consumer.child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_status, 0);
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
}

}  // namespace
}  // namespace ackbus::process_test
