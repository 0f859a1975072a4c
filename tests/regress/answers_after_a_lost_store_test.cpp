// A daemon that lost its memory numbers links anew, and a new link begins with sequence 1. The
// answer to a message of a lost link, given late, was taken for the answer to another message of
// the same numbers: that one succeeded for its producer and nobody had done its work.
#include <gtest/gtest.h>

#include <ackbus/consumer.hpp>

#include "tests/process/harness.hpp"
#include "tests/regress/scripted_link.hpp"

namespace ackbus::process_test {
namespace {

using fuzz::Server;
using layout::ControlType;

class AnswersAfterALostStore : public ProcessTest {
 protected:
  void SetUp() override {
    ProcessTest::SetUp();
    for (int life = 0; life < 2; ++life) {
      Server::Script& script = scripts_.emplace_back();
      script.stays = true;
      script.packets.push_back(daemon_.packet(ControlType::kWelcome));
      script.packets.push_back(daemon_.packet(ControlType::kActivated));
      links_.push_back(std::make_unique<ScriptedLink>(fuzz::kLink, daemon_.epoch()));
      links_.back()->commit(1, 0);
      script.packets.push_back(links_.back()->add(pipe_, pipe_));
    }
  }

  std::vector<std::uint8_t> sound_ = std::vector<std::uint8_t>(65536, 0xff);
  fuzz::Input input_{sound_.data(), sound_.size()};
  fuzz::Daemon daemon_{input_};
  std::vector<Server::Script> scripts_;
  std::vector<std::unique_ptr<ScriptedLink>> links_;
  Pipe pipe_;
};

TEST_F(AnswersAfterALostStore, AreNotTakenForThoseOfALinkWithTheSameNumber) {
  Server server(std::move(scripts_));
  ConsumerOptions options;
  options.runtime_dir = fuzz::folder();
  options.max_running = 2;
  Result<Consumer> consumer = Consumer::connect(options);
  ASSERT_TRUE(consumer) << consumer.error().text;
  const Result<std::optional<Delivery>> lost = consumer->take(soon());
  ASSERT_TRUE(lost && *lost);
  EXPECT_EQ(consumer->statistics().lives, 1U);
  server.hang_up();
  const Result<std::optional<Delivery>> present = consumer->take(soon());
  ASSERT_TRUE(present && *present);
  ASSERT_EQ((**present).link, (**lost).link);
  ASSERT_EQ((**present).sequence, (**lost).sequence);
  EXPECT_EQ(consumer->statistics().lives, 2U);

  const Answer success{AckStatus::kSuccess, {}, {}};
  const Result<void> late = consumer->ack(**lost, success);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(links_[1]->answered(1, 0));
  EXPECT_FALSE(consumer->nack(**lost));
  EXPECT_FALSE(consumer->progress(**lost));

  ASSERT_TRUE(consumer->ack(**present, success));
  EXPECT_TRUE(links_[1]->answered(1, 0));
  EXPECT_FALSE(links_[0]->answered(1, 0));
}

}  // namespace
}  // namespace ackbus::process_test
