// A producer whose thousands of messages ended Exhausted at once filled the daemon's worker with
// letters, each of which waits for the disk: whoever connected then waited behind all of them for
// its memory. A link has a bounded number of letters on the worker now.
#include "tests/hostile/raw_link.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using hostile::RawProducer;

constexpr std::uint32_t kSlots = 2048;

class LettersOfOneLink : public ProcessTest {};

TEST_F(LettersOfOneLink, LeaveRoomForWhoeverConnects) {
  Bus bus;
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  Helper dying([&](const Channel& test) {
    hostile::RawProducerOptions wished;
    wished.slots = kSlots;
    wished.min_timeout_ms = 5;
    std::optional<RawProducer> producer = RawProducer::connect(bus.socket_path(), wished);
    if (!producer || !producer->wait_for_life()) {
      return 1;
    }
    for (std::uint64_t sequence = 2; sequence <= kSlots; ++sequence) {  // The first never comes.
      layout::DescriptorCopy copy = RawProducer::sound(sequence);
      copy.max_wait_ms = 1;
      producer->commit(sequence, copy);
    }
    test.say("committed");
    [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
    return 0;
  });
  ASSERT_EQ(dying.channel.hear(), "committed");
  const auto letters = [&] {
    const json now = bus.status();
    return now.is_null() ? 0U : now["dead_letters"]["count"].get<unsigned>();
  };
  ASSERT_TRUE(eventually([&] { return letters() > 0; }));
  const unsigned before = letters();
  Producer producer = bus.producer();
  EXPECT_LT(letters(), before + kSlots / 4) << "the link came behind all the letters";
  EXPECT_EQ(outcome_of(producer, send(producer, "x")).code, OutcomeCode::kSuccess);
}

}  // namespace
}  // namespace ackbus::process_test
