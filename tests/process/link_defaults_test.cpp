// [limits] default_slots and default_arena_bytes: what a producer gets that asks for nothing in
// particular, and keeps when its link is made again.
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kConfig = "[limits]\ndefault_slots = 16\ndefault_arena_bytes = \"64 KiB\"\n";

class LinkDefaults : public ProcessTest {
 protected:
  static ProducerOptions asking_for_nothing(const Bus& bus) {
    ProducerOptions options;
    options.runtime_dir = bus.runtime_dir();
    return options;
  }
  static void expect_link(const Bus& bus, std::uint64_t slots, std::uint64_t arena_bytes) {
    ASSERT_TRUE(eventually([&] { return bus.status()["links"].size() == 1; }));
    const json link = bus.status()["links"][0];
    EXPECT_EQ(link["slots"], slots) << link.dump();
    EXPECT_EQ(link["arena_bytes"], arena_bytes) << link.dump();
  }
};

TEST_F(LinkDefaults, AreDocumentedNumbersUnlessConfigured) {
  const Bus bus;
  const Producer producer = bus.producer(asking_for_nothing(bus));
  expect_link(bus, 1024, 16 << 20);
}

TEST_F(LinkDefaults, AreWhatTheBusConfigures) {
  const Bus bus({.config = kConfig});
  Producer producer = bus.producer(asking_for_nothing(bus));
  expect_link(bus, 16, 65536);
  for (int i = 0; i < 16; ++i) {
    send(producer, "waits for a consumer");
  }
  const Result<Ticket> full = producer.send(Kind::kComputeForces, bytes_of("x"), soon({}));
  ASSERT_FALSE(full);
  EXPECT_THAT(full.error().text, AllOf(HasSubstr("16 of 16 slots"), HasSubstr("65536 arena")));
  EXPECT_EQ(producer.statistics().sent, 16U);
}

TEST_F(LinkDefaults, OneOfTheTwoMayBeAskedFor) {
  const Bus bus({.config = kConfig});
  ProducerOptions options = asking_for_nothing(bus);
  options.slots = 64;
  const Producer producer = bus.producer(options);
  expect_link(bus, 64, 65536);
}

TEST_F(LinkDefaults, StayWhenAnotherDaemonConfiguresOthers) {
  Bus bus({.config = kConfig});
  Producer producer = bus.producer(asking_for_nothing(bus));
  expect_link(bus, 16, 65536);
  bus.program().child.end();  // Its memory goes with it: nobody kept it.
  write_file(bus.config_path(), "[limits]\ndefault_slots = 64\n");
  bus.start();
  ASSERT_TRUE(eventually([&] {
    std::vector<Completion> completions;
    [[maybe_unused]] const auto waited = producer.wait_any(completions, soon(milliseconds(20)));
    return bus.status()["links"].size() == 1;
  }));
  expect_link(bus, 16, 65536);
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  EXPECT_EQ(outcome_of(producer, send(producer, "goes on")).code, OutcomeCode::kSuccess);
}

TEST_F(LinkDefaults, AreTheSameLinkForADaemonThatKeptIt) {
  Bus bus({.supervised = true, .config = kConfig});
  Producer producer = bus.producer(asking_for_nothing(bus));
  expect_link(bus, 16, 65536);
  bus.kill_daemon_and_wait();
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  EXPECT_EQ(outcome_of(producer, send(producer, "goes on")).code, OutcomeCode::kSuccess);
  expect_link(bus, 16, 65536);
}

}  // namespace
}  // namespace ackbus::process_test
