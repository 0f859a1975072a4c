// Each nack rang the daemon and waited for room in its socket, 5 s when the daemon did not read: a
// stopped daemon stood on the data path. With the error this test takes an hour and is ended by its
// watchdog.
#include <signal.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

constexpr std::uint32_t kMessages = 1000;  // more than the socket's buffer has room for

class NackWhileTheDaemonStandsStill : public ProcessTest {};

TEST_F(NackWhileTheDaemonStandsStill, ReturnsAndIsFoundWhenTheDaemonGoesOn) {
  Bus bus;
  ConsumerOptions options = bus.consumer_options();
  options.max_running = kMessages;
  Helper consumer = Helper::consume(options, [](Consumer& mine, const Channel& test) {
    std::vector<Delivery> running;
    while (running.size() < kMessages) {
      const Result<std::optional<Delivery>> taken = mine.take(soon());
      if (!taken || !*taken) {
        return 2;
      }
      running.push_back(**taken);
    }
    test.say("all taken");
    if (!test.hear()) {
      return 6;
    }
    for (const Delivery& delivery : running) {
      if (!mine.nack(delivery, milliseconds(1))) {
        return 3;
      }
    }
    test.say("all given back");
    for (;;) {
      const Result<std::optional<Delivery>> taken = mine.take(soon());
      if (!taken || !*taken || (*taken)->attempt != 2 || !mine.ack(**taken)) {
        return 4;
      }
    }
  });
  ProducerOptions many = bus.producer_options();
  many.slots = 1024;
  Producer producer = bus.producer(many);
  for (std::uint32_t i = 0; i < kMessages; ++i) {
    send(producer, "x");
  }
  ASSERT_EQ(consumer.channel.hear(), "all taken");
  const pid_t daemon = bus.daemon_pid();
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  consumer.channel.say("go");
  EXPECT_EQ(consumer.channel.hear(soon(seconds(100))), "all given back");
  ASSERT_EQ(::kill(daemon, SIGCONT), 0);
  EXPECT_TRUE(producer.close(soon(seconds(60))));
  EXPECT_EQ(producer.statistics().success, kMessages);
}

}  // namespace
}  // namespace ackbus::process_test
