// Between its grant and the daemon's seal a segment's writer could punch holes into it. Nothing was
// wrong with what others read there (zeros), but the pages they touched were allocated anew, on the
// account of the daemon or of the honest peer, whom the kernel ends when it is at its limit. A
// segment with holes is refused now.
#include <fcntl.h>
#include <linux/falloc.h>

#include "tests/hostile/raw_link.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using hostile::RawConsumer;
using hostile::RawProducer;
using ::testing::HasSubstr;

bool punch(int fd) {
  return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192) == 0;
}

class MemoryGivenBack : public ProcessTest {
 protected:
  void expect_the_log_says(const std::string& text) {
    EXPECT_TRUE(eventually([&] { return bus_.program().errors().find(text) != std::string::npos; }))
        << text;
  }
  Bus bus_;
};

TEST_F(MemoryGivenBack, ByAProducerClosesItsLink) {
  Helper raw([&](const Channel& test) {
    hostile::RawProducerOptions wished;
    wished.say_mapped = false;
    std::optional<RawProducer> producer = RawProducer::connect(bus_.socket_path(), wished);
    if (!producer || !punch(producer->submission_fd.get())) {
      return 1;
    }
    producer->say_mapped();
    test.say(producer->client.receive_until(layout::ControlType::kClosed) ? "closed" : "no");
    return 0;
  });
  EXPECT_EQ(raw.channel.hear(), "closed");
  expect_the_log_says("pid=" + std::to_string(raw.child.pid()) +
                      " why=\"its writer gave memory of the segment back");
}

TEST_F(MemoryGivenBack, ByAConsumerEndsItsLife) {
  Helper raw([&](const Channel& test) {
    hostile::RawClient client(bus_.socket_path());
    layout::HelloMessage hello = hostile::sound_hello(layout::ClientRole::kConsumer);
    client.send(hello);
    layout::LifeMessage life{};
    test.say("connected");
    if (!client.receive_until(layout::ControlType::kAddLink) || !client.as(life) ||
        !punch(client.descriptors()[2].get())) {
      return 1;
    }
    layout::LinkMessage mapped{};
    mapped.header = layout::control_header<layout::LinkMessage>(layout::ControlType::kMapped);
    mapped.link = life.link;
    mapped.epoch = life.epoch;
    client.send(mapped);
    test.say(client.receive_until(layout::ControlType::kRefused) ? "refused" : "hung up");
    return 0;
  });
  ASSERT_EQ(raw.channel.hear(), "connected");
  Producer producer = bus_.producer();
  const Ticket ticket = send(producer, "for an honest one");
  EXPECT_TRUE(raw.channel.hear());
  expect_the_log_says("its writer gave memory of the segment back");
  Helper consumer = Helper::ack_everything(bus_.consumer_options());
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
}

}  // namespace
}  // namespace ackbus::process_test
