// A daemon died while it gave both ends of a link new pipes, and the next one did it again. The
// consumer heard that the producer has its ends when its application called the next time; what it
// answered before then it rang for by the old pipe alone, to which nobody may have listened: the
// producer slept beside its outcomes for as long as a handler ran.
#include <gtest/gtest.h>

#include <ackbus/consumer.hpp>

#include "tests/process/harness.hpp"
#include "tests/regress/scripted_link.hpp"

namespace ackbus::process_test {
namespace {

using fuzz::Server;
using layout::ControlType;

class RingsBetweenTwoDaemons : public ProcessTest {
 protected:
  Consumer connect() {
    ConsumerOptions options;
    options.runtime_dir = fuzz::folder();
    options.wait = WaitMode::kBlock;
    options.max_running = 4;
    Result<Consumer> made = Consumer::connect(options);
    EXPECT_TRUE(made) << made.error().text;
    return std::move(*made);
  }
  static fuzz::Packet life_told(std::uint64_t epoch) {
    layout::LinkMessage told{};
    told.header = layout::control_header<layout::LinkMessage>(ControlType::kLifeTold);
    told.link = fuzz::kLink;
    told.epoch = epoch;
    fuzz::Packet made;
    made.bytes.resize(sizeof(told));
    std::memcpy(made.bytes.data(), &told, sizeof(told));
    return made;
  }

  std::vector<std::uint8_t> sound_ = std::vector<std::uint8_t>(65536, 0xff);
  fuzz::Input input_{sound_.data(), sound_.size()};
  fuzz::Daemon daemon_{input_};
};

TEST_F(RingsBetweenTwoDaemons, ReachTheProducerByWhicheverPipeItHas) {
  std::vector<Server::Script> scripts(1);
  scripts[0].stays = true;
  scripts[0].packets.push_back(daemon_.packet(ControlType::kWelcome));
  scripts[0].packets.push_back(daemon_.packet(ControlType::kActivated));
  ScriptedLink link(fuzz::kLink, daemon_.epoch());
  const Pipe to_consumer;
  const std::array<Pipe, 3> to_producer;  // of three daemons, each in the place of the one before
  for (const Pipe& pipe : to_producer) {
    scripts[0].packets.push_back(link.add(to_consumer, pipe));
  }
  Server server(std::move(scripts));
  Consumer consumer = connect();
  // Heard of all three before there is anything to do.
  ASSERT_TRUE(eventually([&] { return server.served() == 1; }));
  const Result<std::optional<Delivery>> none = consumer.take(steady_clock::now());
  ASSERT_TRUE(none && !none->has_value());
  link.commit(1, 0);
  const auto answer_next = [&] {
    const Result<std::optional<Delivery>> taken = consumer.take(soon());
    return taken && taken->has_value() && consumer.ack(**taken, {AckStatus::kSuccess, {}, {}});
  };

  ASSERT_TRUE(answer_next());
  for (const Pipe& pipe : to_producer) {
    EXPECT_TRUE(pipe.was_rung());
  }

  // It is known to have its end of the last one, which is rung at once and alone from now on.
  server.send(life_told(daemon_.epoch()));
  EXPECT_TRUE(eventually([&] {
    const Result<std::optional<Delivery>> nothing = consumer.take(steady_clock::now());
    return nothing && !nothing->has_value() && to_producer[2].was_rung();
  }));
  link.commit(2, 1);
  ASSERT_TRUE(answer_next());
  EXPECT_FALSE(to_producer[0].was_rung());
  EXPECT_FALSE(to_producer[1].was_rung());
  EXPECT_TRUE(to_producer[2].was_rung());
}

}  // namespace
}  // namespace ackbus::process_test
