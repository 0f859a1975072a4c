// Two ways in which a handle's descriptor stayed silent although there was something to take: a
// producer's loan() that waited for room took outcomes in and left them there unannounced, and a
// consumer's ack that made room below max_running told nobody.
#include <poll.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

class DescriptorsTellWhatIsThere : public ProcessTest {};

bool readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 0) == 1;
}

TEST_F(DescriptorsTellWhatIsThere, AfterALoanThatFoundNoRoom) {
  Bus bus;
  Helper consumer =
      Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel& test) {
        std::optional<Delivery> first;
        for (int messages = 0; messages < 2; ++messages) {
          const Result<std::optional<Delivery>> taken = mine.take(soon());
          if (!taken || !*taken) {
            return 2;
          }
          first = first ? first : *taken;
        }
        if (test.hear() != "ack" || !mine.ack(*first)) {
          return 3;
        }
        test.say("acked");
        if (!test.hear()) {
          return 6;
        }
        return 0;
      });
  ProducerOptions options = bus.producer_options();
  options.wait = WaitMode::kBlock;
  options.arena_bytes = 8192;
  Producer producer = bus.producer(options);
  const std::string half(4000, 'h');
  const Ticket first = send(producer, half);
  send(producer, half);
  const int fd = producer.completion_fd();
  consumer.channel.say("ack");
  ASSERT_EQ(consumer.channel.hear(), "acked");
  // Room for one half only: it sleeps until the deadline, and has taken the first outcome in.
  const Result<Loan> loan = producer.loan(Kind::kComputeForces, 8000, soon(milliseconds(50)));
  ASSERT_FALSE(loan);
  EXPECT_EQ(loan.error().code, ErrorCode::kBackPressured);
  EXPECT_TRUE(readable(fd));
  EXPECT_TRUE(producer.poll(first));
  consumer.channel.say("end");
}

TEST_F(DescriptorsTellWhatIsThere, AfterAnAckThatMadeRoom) {
  Bus bus;
  ConsumerOptions options = bus.consumer_options();
  options.max_running = 1;
  Helper consumer = Helper::consume(options, [](Consumer& mine, const Channel& test) {
    const Result<std::optional<Delivery>> warm = mine.take(soon());
    if (!warm || !*warm || !mine.ack(**warm)) {
      return 2;
    }
    pollfd news{mine.fd(), POLLIN, 0};
    if (!test.hear()) {  // Both messages are there, and nothing else will come.
      return 6;
    }
    const Result<std::optional<Delivery>> first = mine.take(soon());
    if (!first || !*first) {
      return 3;
    }
    const Result<std::optional<Delivery>> none = mine.take(steady_clock::now());
    if (!none || none->has_value() || readable(news.fd) || !mine.ack(**first)) {
      return 4;
    }
    if (::poll(&news, 1, 30'000) != 1) {
      return 5;
    }
    const Result<std::optional<Delivery>> second = mine.take(steady_clock::now());
    return second && second->has_value() && mine.ack(**second) ? 0 : 7;
  });
  Producer producer = bus.producer();
  // The daemon wakes the consumer once more when it has told the producer of it: before the answer
  // to the question behind the first outcome.
  EXPECT_EQ(outcome_of(producer, send(producer, "warm")).code, OutcomeCode::kSuccess);
  EXPECT_FALSE(bus.status().is_null());
  send(producer, "one");
  const Ticket second = send(producer, "two");
  consumer.channel.say("go");
  const std::optional<ProcessEnd> end = consumer.child.wait(seconds(60));
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_status, 0);
  EXPECT_EQ(outcome_of(producer, second).code, OutcomeCode::kSuccess);
}

}  // namespace
}  // namespace ackbus::process_test
