// Bad peers on the control socket: wrong size, order or version, and clients that die half-way. The
// daemon refuses them with a reason and serves on.
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "shm_layout/check.hpp"
#include "shm_layout/control.hpp"
#include "tests/hostile/raw_client.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using layout::ControlType;
using ::testing::AllOf;
using ::testing::HasSubstr;

using hostile::sound_hello;

// A client without the library, on this bus.
class RawClient : public hostile::RawClient {
 public:
  explicit RawClient(const Bus& bus) : hostile::RawClient(bus.socket_path()) {
    EXPECT_TRUE(connected());
  }

  // The next packet of this type; others before it are passed over.
  template <typename Message>
  Message await(ControlType wanted) {
    Message message{};
    EXPECT_TRUE(receive_until(wanted) && as(message)) << "the daemon hung up";
    return message;
  }
};

class BadPeer : public ProcessTest {
 protected:
  // A message goes through, so the bus is well.
  void expect_the_bus_serves() {
    Helper consumer = Helper::ack_everything(bus_.consumer_options());
    Producer producer = bus_.producer();
    EXPECT_EQ(outcome_of(producer, send(producer, "still there")).code, OutcomeCode::kSuccess);
  }

  Bus bus_;
};

TEST_F(BadPeer, AnotherLayoutVersionIsRefusedWithBothVersions) {
  layout::HelloMessage hello = sound_hello(layout::ClientRole::kProducer);
  hello.layout_version = 4711;
  RawClient client(bus_);
  client.send(hello);
  EXPECT_THAT(client.refusal(),
              AllOf(HasSubstr("2 client has layout version 4711"),
                    HasSubstr("this daemon " + std::to_string(layout::kLayoutVersion)),
                    HasSubstr("install the same release")));
  hello = sound_hello(layout::ClientRole::kProducer);
  hello.fingerprint ^= 1;
  RawClient other(bus_);
  other.send(hello);
  std::ostringstream fingerprint;
  fingerprint << std::hex << layout::layout_fingerprint();
  EXPECT_THAT(other.refusal(), HasSubstr(fingerprint.str()));
  expect_the_bus_serves();
}

TEST_F(BadPeer, AnotherControlVersionIsRefusedWithBothVersions) {
  layout::HelloMessage hello = sound_hello(layout::ClientRole::kTool);
  hello.header.version = 9;
  RawClient client(bus_);
  client.send(hello);
  EXPECT_THAT(client.refusal(), AllOf(HasSubstr("version 9"), HasSubstr("speaks 1")));
}

TEST_F(BadPeer, MessagesOfTheWrongSizeAreRefused) {
  const layout::HelloMessage hello = sound_hello(layout::ClientRole::kProducer);
  {
    RawClient client(bus_);
    client.send("short", 5);
    EXPECT_THAT(client.refusal(), HasSubstr("shorter than its header"));
  }
  {
    RawClient client(bus_);  // Says less than it sends.
    client.send(&hello, sizeof(hello) - 8);
    EXPECT_THAT(client.refusal(), HasSubstr("malformed"));
  }
  {
    layout::HelloMessage cut = hello;  // Agrees with itself, and is no hello.
    cut.header.bytes = sizeof(hello) - 8;
    RawClient client(bus_);
    client.send(&cut, sizeof(cut) - 8);
    EXPECT_THAT(client.refusal(), HasSubstr("expected 144"));
  }
  {
    layout::HelloMessage noise = hello;
    noise.header.magic = 0xdeadbeef;
    RawClient client(bus_);
    client.send(noise);
    EXPECT_THAT(client.refusal(), HasSubstr("malformed"));
  }
  expect_the_bus_serves();
}

TEST_F(BadPeer, MessagesOutOfOrderAreRefused) {
  {
    RawClient client(bus_);  // Nobody yet, and asks.
    layout::QueryMessage query{};
    query.header = layout::control_header<layout::QueryMessage>(ControlType::kQuery);
    client.send(query);
    EXPECT_THAT(client.refusal(), HasSubstr("out of order"));
  }
  {
    RawClient client(bus_);  // A tool is no consumer.
    client.send(sound_hello(layout::ClientRole::kTool));
    ASSERT_EQ(client.receive(), ControlType::kWelcome);
    layout::LinkMessage bell{};
    bell.header = layout::control_header<layout::LinkMessage>(ControlType::kBell);
    client.send(bell);
    EXPECT_THAT(client.refusal(), HasSubstr("out of order"));
  }
  {
    RawClient client(bus_);
    client.send(sound_hello(layout::ClientRole::kTool));
    ASSERT_EQ(client.receive(), ControlType::kWelcome);
    client.send(sound_hello(layout::ClientRole::kTool));
    EXPECT_THAT(client.refusal(), HasSubstr("second hello"));
  }
  {
    RawClient client(bus_);
    layout::HelloMessage hello = sound_hello(layout::ClientRole::kTool);
    hello.role = 77;
    client.send(hello);
    EXPECT_THAT(client.refusal(), HasSubstr("unknown role"));
  }
  {
    RawClient client(bus_);
    layout::LinkMessage unknown{};
    unknown.header = layout::control_header<layout::LinkMessage>(static_cast<ControlType>(999));
    client.send(unknown);
    EXPECT_THAT(client.refusal(), HasSubstr("999"));
  }
  expect_the_bus_serves();
}

TEST_F(BadPeer, AForgedLinkTokenIsRefused) {
  Producer victim = bus_.producer();
  layout::HelloMessage hello = sound_hello(layout::ClientRole::kProducer);
  hello.link = victim.link();
  hello.token[0] = 1;
  hello.token[1] = 2;
  RawClient client(bus_);
  client.send(hello);
  EXPECT_THAT(client.refusal(), HasSubstr("does not know link"));
  Helper consumer = Helper::ack_everything(bus_.consumer_options());
  EXPECT_EQ(outcome_of(victim, send(victim, "mine")).code, OutcomeCode::kSuccess);
}

TEST_F(BadPeer, AProducerThatDiesWhileConnectingLeavesNoMemory) {
  for (int round = 0; round < 5; ++round) {
    Helper client([&](const Channel& test) {
      RawClient raw(bus_);
      raw.send(sound_hello(layout::ClientRole::kProducer));
      if (round != 0) {  // Round 0 dies before the answer, the others with the link in hand.
        while (raw.receive() != ControlType::kLinkGranted) {
        }
      }
      test.say("said hello");
      [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
      return 0;
    });
    ASSERT_EQ(client.channel.hear(), "said hello");
    if (round != 0) {
      EXPECT_GT(bus_.status()["memory"]["submission"].get<std::uint64_t>(), 0U);
    }
    client.child.signal(SIGKILL);
    ASSERT_TRUE(client.child.wait());
    ASSERT_TRUE(eventually([&] {
      const json now = bus_.status();
      return now["links"].empty() && now["memory"]["submission"] == 0 &&
             now["memory"]["tracking"] == 0;
    }));
  }
  expect_the_bus_serves();
}

TEST_F(BadPeer, AConsumerThatDiesWhileConnectingDoesNotHoldItsQueue) {
  for (int round = 0; round < 3; ++round) {
    Helper client([&](const Channel& test) {
      RawClient raw(bus_);
      raw.send(sound_hello(layout::ClientRole::kConsumer));
      while (raw.receive() != ControlType::kActivated) {
      }
      test.say("active");
      [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
      return 0;
    });
    ASSERT_EQ(client.channel.hear(), "active");
    client.child.end();
  }
  expect_the_bus_serves();
}

layout::LinkMessage link_message(ControlType type, std::uint64_t link) {
  layout::LinkMessage message{};
  message.header = layout::control_header<layout::LinkMessage>(type);
  message.link = link;
  return message;
}

TEST_F(BadPeer, AProducerThatSaysByeBeforeItMappedItsLinkEndsNobodyElse) {
  const pid_t daemon = bus_.daemon_pid();
  RawClient producer(bus_);
  producer.send(sound_hello(layout::ClientRole::kProducer));
  const auto granted = producer.await<layout::LinkGrantedMessage>(ControlType::kLinkGranted);
  producer.send(link_message(ControlType::kBye, granted.link));
  expect_the_bus_serves();
  EXPECT_EQ(bus_.daemon_pid(), daemon);
}

TEST_F(BadPeer, ABellForALinkThatItsProducerHasNotMappedIsOverheard) {
  const pid_t daemon = bus_.daemon_pid();
  Helper client([&](const Channel& test) {  // Its end is a death, so it is a process of its own.
    RawClient consumer(bus_);
    consumer.send(sound_hello(layout::ClientRole::kConsumer));
    consumer.await<layout::ActivatedMessage>(ControlType::kActivated);
    RawClient producer(bus_);
    producer.send(sound_hello(layout::ClientRole::kProducer));
    const auto granted = producer.await<layout::LinkGrantedMessage>(ControlType::kLinkGranted);
    consumer.send(link_message(ControlType::kBell, granted.link));
    layout::SegmentMessage last{};  // Answered after the bell was heard.
    last.header = layout::control_header<layout::SegmentMessage>(ControlType::kOpenSegment, 1);
    consumer.send(last);
    consumer.receive();
    test.say("rung");
    return 0;
  });
  ASSERT_EQ(client.channel.hear(), "rung");
  client.child.end();
  expect_the_bus_serves();
  EXPECT_EQ(bus_.daemon_pid(), daemon);
}

TEST_F(BadPeer, GarbageOnManyConnectionsDoesNotStopTheDaemon) {
  unsigned seed = 20250131;
  std::printf("seed %u\n", seed);
  const pid_t daemon = bus_.daemon_pid();
  for (int round = 0; round < 200; ++round) {
    std::vector<unsigned char> noise(1 + static_cast<std::size_t>(rand_r(&seed)) % 400);
    for (unsigned char& byte : noise) {
      byte = static_cast<unsigned char>(rand_r(&seed));
    }
    if (round % 2 == 0 &&
        noise.size() >= sizeof(layout::ControlHeader)) {  // Past the first checks.
      const layout::ControlHeader header{layout::kControlMagic, layout::kControlVersion,
                                         static_cast<std::uint16_t>(rand_r(&seed) % 40),
                                         static_cast<std::uint32_t>(noise.size()), 0};
      std::memcpy(noise.data(), &header, sizeof(header));
    }
    RawClient client(bus_);
    client.send(noise.data(), noise.size());
  }
  expect_the_bus_serves();
  EXPECT_EQ(bus_.daemon_pid(), daemon);
}

TEST_F(BadPeer, AckTextBeyondTheLimitIsCutFlaggedAndCounted) {
  Helper consumer = Helper::consume(bus_.consumer_options(), [](Consumer& mine, const Channel&) {
    const std::string text(2000, 't');
    const std::vector<std::pair<std::string, std::string>> metadata = {
        {"name", std::string(3000, 'm')}};
    for (;;) {
      Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
      if (!taken || !*taken) {
        return 2;
      }
      const bool brief = text_of((*taken)->payload) == "brief";
      const Answer answer{
          AckStatus::kFailed, std::string_view(brief ? "no" : text.c_str()),
          brief ? std::span<const std::pair<std::string, std::string>>() : metadata};
      if (!mine.ack(**taken, answer)) {
        return 3;
      }
    }
  });
  Producer producer = bus_.producer();
  const Outcome brief = outcome_of(producer, send(producer, "brief"));
  EXPECT_EQ(brief.text(), "no");
  EXPECT_FALSE(brief.text_cut());
  const Outcome cut = outcome_of(producer, send(producer, "long"));
  EXPECT_EQ(cut.code, OutcomeCode::kFailed);
  EXPECT_TRUE(cut.text_cut());
  EXPECT_GT(cut.text().size(), 0U);
  EXPECT_LE(cut.text().size(), layout::kAckTextBytesMax);
  EXPECT_EQ(cut.text(), std::string(cut.text().size(), 't'));
}

}  // namespace
}  // namespace ackbus::process_test
