// A daemon that lost its memory numbers lives anew. The GPU process went on in a life of the same
// number without noticing that it was another one: its state was never given to the new daemon, and
// when the process ended its successor began empty, after everything had been answered Success. And
// the state of its own predecessor, older than its own, was handed to it again.
#include <gtest/gtest.h>

#include "gpu_proc/payload/build.hpp"
#include "tests/process/harness.hpp"
#include "tests/regress/scripted_link.hpp"

namespace ackbus::process_test {
namespace {

using gpu::payload::Bytes;

class GpuAfterALostStore : public ProcessTest {
 protected:
  static Program gpu(const Bus& bus) {
    return {bus.folder(), "ackbus-gpu", {"--runtime-dir", bus.runtime_dir(), "--backend", "cpu"}};
  }
  static OutcomeCode run(Producer& producer, Kind kind, const Bytes& payload) {
    const Result<Ticket> ticket = producer.send(kind, payload, soon());
    return ticket ? outcome_of(producer, *ticket).code : OutcomeCode::kReserved;
  }
};

TEST_F(GpuAfterALostStore, ItsStateIsThereForItsSuccessor) {
  Bus bus;
  Program first = gpu(bus);
  Producer producer = bus.producer();
  const std::vector<gpu::payload::NodeRecord> nodes = {{1, {0, 0, 0}, {0, 0, 0}, 1, 0},
                                                       {2, {1, 2, 3}, {0, 0, 0}, 1, 0}};
  const std::vector<gpu::payload::EdgeRecord> edges = {{1, 2, 1}};
  ASSERT_EQ(run(producer, Kind::kInitializeGpu, gpu::payload::make_initialize(-1, 100, 100)),
            OutcomeCode::kSuccess);
  ASSERT_EQ(run(producer, Kind::kUpdateGpuGraphData, gpu::payload::make_graph(nodes, edges)),
            OutcomeCode::kSuccess);
  bus.program().child.signal(SIGKILL);
  ASSERT_TRUE(bus.program().child.wait());
  bus.start();
  const OutcomeCode lost = run(producer, Kind::kComputeForces, gpu::payload::make_compute(1));
  ASSERT_TRUE(lost == OutcomeCode::kClosed || lost == OutcomeCode::kSuccess);
  ASSERT_EQ(run(producer, Kind::kComputeForces, gpu::payload::make_compute(1)),
            OutcomeCode::kSuccess);
  first.child.end();
  const Program second = gpu(bus);
  EXPECT_EQ(run(producer, Kind::kComputeForces, gpu::payload::make_compute(1)),
            OutcomeCode::kSuccess)
      << second.errors();
}

TEST_F(GpuAfterALostStore, ThePredecessorOfAnEarlierLifeIsNotThisOnes) {
  std::vector<std::uint8_t> sound(65536, 0xff);
  fuzz::Input input(sound.data(), sound.size());
  fuzz::Daemon daemon(input);
  layout::ActivatedMessage message{};
  message.header =
      layout::control_header<layout::ActivatedMessage>(layout::ControlType::kActivated);
  message.epoch = 1;
  fuzz::Packet alone;
  alone.bytes.resize(sizeof(message));
  std::memcpy(alone.bytes.data(), &message, sizeof(message));
  std::vector<fuzz::Server::Script> scripts(2);
  scripts[0].stays = scripts[1].stays = true;
  scripts[0].packets.push_back(daemon.packet(layout::ControlType::kWelcome));
  scripts[0].packets.push_back(daemon.packet(layout::ControlType::kActivated));
  scripts[1].packets.push_back(daemon.packet(layout::ControlType::kWelcome));
  scripts[1].packets.push_back(std::move(alone));
  fuzz::Server server(std::move(scripts));
  ConsumerOptions options;
  options.runtime_dir = fuzz::folder();
  Result<Consumer> consumer = Consumer::connect(options);
  ASSERT_TRUE(consumer) << consumer.error().text;
  EXPECT_TRUE(consumer->predecessor_state());
  server.hang_up();
  EXPECT_TRUE(eventually([&] {
    [[maybe_unused]] const auto nothing = consumer->take(steady_clock::now());
    return consumer->statistics().lives == 2;
  }));
  EXPECT_FALSE(consumer->predecessor_state());
}

}  // namespace
}  // namespace ackbus::process_test
