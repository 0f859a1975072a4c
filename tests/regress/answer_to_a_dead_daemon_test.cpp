// A consumer said that it had a link's pipes and meant those of a daemon that had died since. The
// next daemon took it for the answer to its own and told the producer of pipes that the consumer
// had not read yet: until its application called again it rang others, and the producer slept.
#include "tests/hostile/raw_link.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using hostile::RawClient;
using layout::ControlType;

class AnswerToADeadDaemon : public ProcessTest {
 protected:
  static void say_mapped(const RawClient& client, const layout::LifeMessage& life) {
    layout::LinkMessage mapped{};
    mapped.header =
        layout::control_header<layout::LinkMessage>(ControlType::kMapped, life.header.request);
    mapped.link = life.link;
    mapped.epoch = life.epoch;
    client.send(mapped);
  }
  // Comes back when the daemon has dealt with everything that was said before.
  static bool ask_something(RawClient& client) {
    layout::SegmentMessage question{};
    question.header = layout::control_header<layout::SegmentMessage>(ControlType::kOpenSegment, 1);
    question.role = static_cast<std::uint32_t>(layout::SegmentRole::kState);
    std::strcpy(question.queue, "gpu0");
    client.send(question);
    return client.receive_until(ControlType::kSegment);
  }
};

TEST_F(AnswerToADeadDaemon, TellsTheProducerOfNoPipes) {
  Bus bus({.supervised = true});
  Helper consumer([&](const Channel& test) {
    RawClient client(bus.socket_path());
    client.send(hostile::sound_hello(layout::ClientRole::kConsumer));
    layout::LifeMessage first{};
    layout::LifeMessage second{};
    const auto receive = [&](layout::LifeMessage& life) {
      return client.receive_until(ControlType::kAddLink) && client.as(life);
    };
    test.say(receive(first) ? "first" : "none");
    if (!test.hear()) {
      return 1;
    }
    test.say(receive(second) ? "second" : "none");
    say_mapped(client, first);
    test.say(ask_something(client) ? "answered the first" : "unheard");
    if (!test.hear()) {
      return 1;
    }
    say_mapped(client, second);
    [[maybe_unused]] const std::optional<std::string> end = test.hear();
    return 0;
  });
  Producer producer = bus.producer();
  ASSERT_EQ(consumer.channel.hear(), "first");
  bus.kill_daemon_and_wait();
  consumer.channel.say("go on");
  ASSERT_EQ(consumer.channel.hear(), "second");
  ASSERT_EQ(consumer.channel.hear(), "answered the first");
  const auto lives = [&] {
    std::vector<Completion> none;
    producer.reap(none);
    return producer.statistics().lives;
  };
  EXPECT_EQ(lives(), 0U);
  consumer.channel.say("go on");
  EXPECT_TRUE(eventually([&] { return lives() == 1; }));
}

}  // namespace
}  // namespace ackbus::process_test
