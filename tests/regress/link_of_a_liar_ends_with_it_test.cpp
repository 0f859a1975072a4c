// A producer published places that no consumer could make anything of (no such slot, no such kind,
// a slot in use, a gap before them) and left: nobody ever answered them, so its link stayed for as
// long as its messages' max_wait said, untracked ones for ever, and with it its memory. Such a
// place is a violation now, and what the ring of an ended producer does not hold is not waited for.
#include "tests/hostile/raw_link.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using hostile::RawProducer;

struct Lie {
  const char* name;
  void (*tell)(const RawProducer& producer);
};

void put_place(const RawProducer& producer, const layout::PlaceCopy& copy) {
  layout::place_publish(producer.view.place(copy.number), copy);
}

layout::DescriptorCopy patient(std::uint64_t sequence, std::uint32_t flags) {
  layout::DescriptorCopy copy = RawProducer::sound(sequence);
  copy.max_wait_ms = 86'400'000;
  copy.kind_flags = layout::pack_kind(4, flags);
  return copy;
}

constexpr Lie kLies[] = {
    {"NoSuchSlot",
     [](const RawProducer& producer) {
       producer.commit(1, patient(1, layout::kFlagInline));
       put_place(producer, {1, 8, 0, 4711, layout::pack_kind(4, layout::kFlagInline)});
     }},
    {"NoSuchKind",
     [](const RawProducer& producer) {
       layout::DescriptorCopy copy = patient(1, layout::kFlagTracked | layout::kFlagInline);
       copy.kind_flags = layout::pack_kind(64, layout::kFlagTracked | layout::kFlagInline);
       producer.commit(1, copy);
     }},
    {"AGapBeforeIt",
     [](const RawProducer& producer) {
       producer.commit(2, patient(2, layout::kFlagTracked | layout::kFlagInline));
     }},
    {"AGapBeforeAnUntrackedOne",
     [](const RawProducer& producer) { producer.commit(2, patient(2, layout::kFlagInline)); }},
    {"WaitsForOneThatWasNeverThere",
     [](const RawProducer& producer) {
       producer.commit(1, patient(1, layout::kFlagInline));
       producer.commit(2, patient(2, layout::kFlagInline));
       layout::DescriptorCopy copy = patient(3, layout::kFlagInline | layout::kFlagAfter);
       copy.after = 2;
       copy.retries_after_slot = 1;  // where the first one is
       producer.commit(3, copy);
     }},
    {"ADescriptorOfAnEarlierOne",
     [](const RawProducer& producer) {
       for (std::uint64_t sequence = 1; sequence <= 4; ++sequence) {
         producer.commit(sequence, patient(sequence, layout::kFlagInline));
       }
       layout::descriptor_publish(producer.view.descriptor(9), patient(2, layout::kFlagInline));
     }},
};

class LinkOfALiar : public ProcessTest, public ::testing::WithParamInterface<Lie> {
 protected:
  Bus bus_;
};

TEST_P(LinkOfALiar, EndsWithIt) {
  Helper consumer = Helper::ack_everything(bus_.consumer_options());
  Helper liar([&](const Channel& test) {
    std::optional<RawProducer> producer = RawProducer::connect(bus_.socket_path(), {});
    if (!producer || !producer->wait_for_life()) {
      return 1;
    }
    GetParam().tell(*producer);
    producer->ring();
    test.say("told");
    [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
    return 0;
  });
  ASSERT_EQ(liar.channel.hear(), "told");
  ASSERT_EQ(bus_.status()["links"].size(), 1U);
  liar.child.end();
  EXPECT_TRUE(eventually([&] { return bus_.status()["links"].empty(); })) << bus_.status();
  EXPECT_EQ(bus_.status()["memory"]["submission"], 0);
  Producer producer = bus_.producer();
  EXPECT_EQ(outcome_of(producer, send(producer, "still there")).code, OutcomeCode::kSuccess);
}

INSTANTIATE_TEST_SUITE_P(Lies, LinkOfALiar, ::testing::ValuesIn(kLies),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace ackbus::process_test
