// A daemon's words were taken as they came: a life of an impossible size made the consumer compute
// with it, an answer's unknown code became a code that does not exist, and a link that replaced a
// lost one and could not be mapped left the producer reading memory that was gone.
#include <gtest/gtest.h>

#include <ackbus/consumer.hpp>
#include <ackbus/producer.hpp>
#include <ackbus/tool.hpp>

#include "tests/fuzz/hostile_daemon.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using fuzz::Packet;
using fuzz::Server;
using layout::ControlType;

class DaemonThatSaysAnything : public ProcessTest {
 protected:
  // Bytes that make every choice of the hostile daemon a sound one.
  std::vector<std::uint8_t> sound_ = std::vector<std::uint8_t>(65536, 0xff);
  fuzz::Input input_{sound_.data(), sound_.size()};
  fuzz::Daemon daemon_{input_};

  template <typename Message, typename Change>
  static void change(Packet& packet, Change with) {
    Message message{};
    std::memcpy(&message, packet.bytes.data(), sizeof(message));
    with(message);
    std::memcpy(packet.bytes.data(), &message, sizeof(message));
  }
  template <typename Options>
  static Options options() {
    Options made;
    made.runtime_dir = fuzz::folder();
    made.wait = WaitMode::kBlock;
    return made;
  }
};

TEST_F(DaemonThatSaysAnything, ALinkOfAnImpossibleSizeIsLeftOut) {
  std::vector<Packet> said;
  said.push_back(daemon_.packet(ControlType::kWelcome));
  said.push_back(daemon_.packet(ControlType::kActivated));
  for (const std::uint64_t slots : {0ULL, 3ULL, 1ULL << 17, 1ULL << 58, ~0ULL}) {
    said.push_back(daemon_.packet(ControlType::kAddLink));
    change<layout::LifeMessage>(said.back(),
                                [&](layout::LifeMessage& life) { life.slots = slots; });
  }
  said.push_back(daemon_.packet(ControlType::kAddLink));
  change<layout::LifeMessage>(said.back(),
                              [](layout::LifeMessage& life) { life.arena_bytes = ~0ULL - 4096; });
  std::vector<Server::Script> scripts(1);
  scripts[0].packets = std::move(said);
  scripts[0].stays = true;
  Server server(std::move(scripts));
  Result<Consumer> consumer = Consumer::connect(options<ConsumerOptions>());
  ASSERT_TRUE(consumer) << consumer.error().text;
  const Result<std::optional<Delivery>> taken = consumer->take(steady_clock::now());
  EXPECT_TRUE(taken && !*taken);
  EXPECT_EQ(consumer->statistics().links, 0U);
}

TEST_F(DaemonThatSaysAnything, AnUnknownCodeOfAnAnswerIsAnError) {
  for (const std::uint32_t code : {15U, 256U, 1U << 31}) {
    std::vector<Server::Script> scripts(1);
    scripts[0].packets.push_back(daemon_.packet(ControlType::kWelcome));
    scripts[0].packets.push_back(daemon_.packet(ControlType::kAnswer, 1));
    change<layout::QueryMessage>(scripts[0].packets.back(), [&](layout::QueryMessage& answer) {
      answer.code = code;
      answer.more = 0;
    });
    scripts[0].stays = true;
    Server server(std::move(scripts));
    Result<Tool> tool = Tool::connect(options<ConnectOptions>());
    ASSERT_TRUE(tool) << tool.error().text;
    const Result<std::string> answer = tool->query("{}", soon());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kProtocol);
  }
}

TEST_F(DaemonThatSaysAnything, AReplacementThatCannotBeMappedLeavesTheLostLinkReadable) {
  std::vector<Server::Script> scripts(2);
  scripts[0].packets.push_back(daemon_.packet(ControlType::kWelcome));
  scripts[0].packets.push_back(daemon_.packet(ControlType::kLinkGranted));
  scripts[0].packets.push_back(daemon_.packet(ControlType::kLife));
  scripts[0].stays = true;
  scripts[1].packets.push_back(daemon_.packet(ControlType::kWelcome));
  scripts[1].packets.push_back(daemon_.packet(ControlType::kLinkGranted));
  scripts[1].packets.back().descriptors.pop_back();
  scripts[1].stays = true;
  Server server(std::move(scripts));
  ProducerOptions wished = options<ProducerOptions>();
  wished.slots = fuzz::kSlots;
  wished.arena_bytes = fuzz::kArenaBytes;
  Result<Producer> producer = Producer::connect(wished);
  ASSERT_TRUE(producer) << producer.error().text;
  const Result<Ticket> ticket = producer->send(Kind::kComputeForces, {}, soon());
  ASSERT_TRUE(ticket) << ticket.error().text;
  Result<Loan> loan = producer->loan(Kind::kComputeForces, 100, soon());
  ASSERT_TRUE(loan);
  ASSERT_GE(producer->completion_fd(), 0);  // From now on every call looks at the socket.
  server.hang_up();
  // It connects again, and hears of a link that it cannot map; the first one is still read.
  while (server.served() < 2) {
    ASSERT_FALSE(producer->poll(*ticket).has_value());
  }
  const Result<Outcome> outcome = producer->wait(*ticket, soon(milliseconds(100)));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(producer->statistics().sent, 1U);
  std::fill(loan->bytes().begin(), loan->bytes().end(), std::byte{1});
}

// A daemon took its hello and died before it wrote anything down, and the next one knew nothing of
// it: the producer waited for an answer for ever.
TEST_F(DaemonThatSaysAnything, AProducerThatGetsNoAnswerToItsHelloSaysItAgain) {
  std::vector<Server::Script> scripts(3);
  scripts[0].packets.push_back(daemon_.packet(ControlType::kWelcome));
  scripts[0].packets.push_back(daemon_.packet(ControlType::kLinkGranted));
  scripts[0].stays = true;
  scripts[1].stays = true;  // and says nothing
  scripts[2].stays = true;
  Server server(std::move(scripts));
  ProducerOptions wished = options<ProducerOptions>();
  wished.slots = fuzz::kSlots;
  wished.arena_bytes = fuzz::kArenaBytes;
  wished.connect_timeout = milliseconds(50);
  Result<Producer> producer = Producer::connect(wished);
  ASSERT_TRUE(producer) << producer.error().text;
  const Result<Ticket> ticket = producer->send(Kind::kComputeForces, {}, soon());
  ASSERT_TRUE(ticket) << ticket.error().text;
  ASSERT_GE(producer->completion_fd(), 0);  // From now on every call looks at the socket.
  server.hang_up();
  const Deadline end = soon();
  while (server.served() < 3 && steady_clock::now() < end) {
    ASSERT_FALSE(producer->wait(*ticket, soon(milliseconds(20))));
  }
  EXPECT_EQ(server.served(), 3U);
}

}  // namespace
}  // namespace ackbus::process_test
