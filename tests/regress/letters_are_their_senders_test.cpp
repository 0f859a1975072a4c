// A dead letter lies under the id that its producer wrote into the message. A producer that used
// the id of somebody else's letter (anybody who may look is shown them) replaced that letter by its
// own, and could have it deleted or marked. A letter belongs to one message now: id, link,
// sequence, user.
#include "daemon/dead_letters.hpp"
#include "tests/hostile/raw_link.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using daemon::DeadLetters;
using daemon::Letter;
using daemon::LetterId;
using hostile::RawProducer;
using ::testing::HasSubstr;

class LettersAreTheirSenders : public ProcessTest {
 protected:
  // The only letter in the store.
  [[nodiscard]] json letter() const {
    const json list = bus_.ask({{"verb", "dead_list"}});
    return list.is_null() || list["letters"].size() != 1 ? json() : list["letters"][0];
  }

  Bus bus_;
};

TEST_F(LettersAreTheirSenders, AnotherProducersMessageWithItsIdReplacesNoLetter) {
  Helper consumer = Helper::consume(bus_.consumer_options(), [](Consumer& mine, const Channel&) {
    for (;;) {
      Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
      if (!taken || !*taken || !mine.nack(**taken)) {
        return 2;
      }
    }
  });
  Producer producer = bus_.producer();
  SendOptions once;
  once.max_retries = 0;
  const Ticket ticket = send(producer, "mine", once);
  ASSERT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kExhausted);
  ASSERT_TRUE(eventually([&] { return !letter().is_null(); }));
  const json before = letter();
  Helper thief([&](const Channel& test) {
    hostile::RawProducerOptions wished;
    wished.min_timeout_ms = 5;
    std::optional<RawProducer> raw = RawProducer::connect(bus_.socket_path(), wished);
    if (!raw || !raw->wait_for_life()) {
      return 1;
    }
    layout::DescriptorCopy copy = RawProducer::sound(1);
    std::memcpy(copy.id, ticket.id.bytes().data(), sizeof(copy.id));
    copy.retries_after_slot = 1U << 16;  // no retry
    raw->commit(1, copy);
    raw->ring();
    test.say(raw->client.receive_until(layout::ControlType::kClosed) ? "closed" : "hung up");
    [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
    return 0;
  });
  EXPECT_EQ(thief.channel.hear(), "closed");
  EXPECT_EQ(letter(), before);
  EXPECT_THAT(bus_.program().errors(), HasSubstr("is that of another message's dead letter"));
}

Letter letter_of(std::uint64_t link, std::uint64_t sequence, std::uint32_t uid) {
  Letter letter;
  letter.id = LetterId{1, 2, 3};
  letter.link_id = link;
  letter.sequence = sequence;
  letter.sender_uid = uid;
  letter.reason = daemon::DeathReason::kRetries;
  return letter;
}

TEST(LettersOfOthers, AreNeitherReplacedNorMarkedNorDeleted) {
  const Folder folder;
  auto opened = DeadLetters::open(folder / "dead", {});
  ASSERT_TRUE(opened);
  DeadLetters& store = *opened.value();
  ASSERT_TRUE(store.write(letter_of(1, 5, 1000), {}));
  EXPECT_TRUE(store.write(letter_of(1, 5, 1000), {})) << "a new daemon does it again";
  for (const Letter& other : {letter_of(2, 5, 1000), letter_of(1, 6, 1000), letter_of(1, 5, 7)}) {
    const auto refused = store.write(other, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, daemon::ErrorCode::kExists);
    EXPECT_FALSE(
        store.mark_late_success_of({other.id, other.link_id, other.sequence, other.sender_uid})
            .value());
    EXPECT_FALSE(
        store.remove_of({other.id, other.link_id, other.sequence, other.sender_uid}).value());
  }
  EXPECT_TRUE(store.remove_of({LetterId{1, 2, 3}, 1, 5, std::nullopt}).value());
}

}  // namespace
}  // namespace ackbus::process_test
