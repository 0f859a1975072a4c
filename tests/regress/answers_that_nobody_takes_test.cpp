// A client that asked without end and never read an answer had the daemon keep up to 4096 of them,
// each of 60 kB or with a descriptor of its own, which it ran out of. Whoever does not take its
// answers is asked for no more questions.
#include <poll.h>
#include <sys/socket.h>

#include <filesystem>

#include "shm_layout/segment.hpp"
#include "tests/hostile/raw_client.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using hostile::RawClient;
using layout::ControlType;

constexpr int kAsked = 3000;

class AnswersThatNobodyTakes : public ProcessTest {
 protected:
  [[nodiscard]] std::size_t descriptors() const {
    const auto folder =
        std::filesystem::directory_iterator("/proc/" + std::to_string(daemon_) + "/fd");
    return static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
  }

  // Sends until the daemon has taken nothing for a while; how many it took.
  static int ask_without_end(const RawClient& client, const void* packet, std::size_t bytes) {
    int taken = 0;
    for (int silent = 0; taken < kAsked && silent < 100;) {
      if (client.send(packet, bytes, {}, MSG_DONTWAIT)) {
        taken += 1;
        silent = 0;
      } else if (errno == EAGAIN) {
        silent += 1;
        ::poll(nullptr, 0, 2);
      } else {
        break;
      }
    }
    return taken;
  }

  Bus bus_;
  pid_t daemon_ = bus_.daemon_pid();
};

TEST_F(AnswersThatNobodyTakes, HoldNoDescriptors) {
  Helper consumer = Helper::consume(bus_.consumer_options(), [](Consumer& mine, const Channel& t) {
    const auto made = mine.create_segment(SegmentKind::kFrames, 4096, soon());
    t.say(made && mine.publish_segment(SegmentKind::kFrames, soon()) ? "published" : "no");
    [[maybe_unused]] const auto forever = t.hear(soon(seconds(3600)));
    return 0;
  });
  ASSERT_EQ(consumer.channel.hear(), "published");
  layout::SegmentMessage message{};
  message.header = layout::control_header<layout::SegmentMessage>(ControlType::kOpenSegment, 1);
  message.role = static_cast<std::uint32_t>(layout::SegmentRole::kFrames);
  std::strcpy(message.queue, "gpu0");
  const std::size_t before = descriptors();
  for (const auto role : {layout::ClientRole::kTool, layout::ClientRole::kProducer}) {
    Helper asks([&](const Channel& test) {
      RawClient client(bus_.socket_path());
      client.send(hostile::sound_hello(role));
      const bool in = client.receive_until(ControlType::kWelcome);
      test.say(in && ask_without_end(client, &message, sizeof(message)) < kAsked ? "held" : "all");
      [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
      return 0;
    });
    EXPECT_EQ(asks.channel.hear(), "held");
    EXPECT_LT(descriptors(), before + 200);
  }
  EXPECT_TRUE(eventually([&] { return descriptors() <= before; })) << "they are let go of";
}

TEST_F(AnswersThatNobodyTakes, StopItsQuestionsAndNobodyElses) {
  RawClient client(bus_.socket_path());
  ASSERT_TRUE(client.send(hostile::sound_hello(layout::ClientRole::kTool)));
  ASSERT_TRUE(client.receive_until(ControlType::kWelcome));
  const std::string text = "{\"verb\":\"status\"}";
  layout::QueryMessage query{};
  query.header = layout::control_header<layout::QueryMessage>(ControlType::kQuery, 1);
  query.header.bytes += static_cast<std::uint32_t>(text.size());
  std::string packet(reinterpret_cast<const char*>(&query), sizeof(query));
  packet += text;
  const int asked = ask_without_end(client, packet.data(), packet.size());
  EXPECT_LT(asked, kAsked);
  EXPECT_FALSE(bus_.status().is_null());
  // When it reads again, it gets every answer.
  int answers = 0;
  client.set_patience(1);
  while (answers < asked && client.receive() == ControlType::kAnswer) {
    answers += 1;
  }
  EXPECT_EQ(answers, asked);
}

}  // namespace
}  // namespace ackbus::process_test
