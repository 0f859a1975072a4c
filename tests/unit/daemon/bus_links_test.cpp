// Links of a bus with peers that the test plays: lives told again when somebody was out of
// descriptors, messages about what is not there, letters of what nobody begins, and a worker that
// has no place left.
#include <poll.h>

#include <future>

#include "tests/unit/daemon/bus_raw_link.hpp"

namespace ackbus::daemon {
namespace {

using layout::ClientRole;
using layout::ControlType;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint64_t kSecondNs = 1'000'000'000;

class BusLinks : public ::testing::Test {
 protected:
  // A letter on the disk, of a message that nobody knows any more.
  LetterId make_letter(std::uint8_t number, const std::string& queue) {
    Letter letter;
    letter.id[0] = number;
    letter.bus = "default";
    letter.queue = queue;
    letter.kind_id = 4;
    letter.kind_name = "ComputeForces";
    letter.reason = DeathReason::kRetries;
    EXPECT_TRUE(bus_->letters->write(letter, std::vector<std::byte>(8)).ok());
    return letter.id;
  }
  std::string redrive(const LetterId& id) {
    tool_.query({{"verb", "dead_redrive"}, {"id", to_text(id)}});
    std::string answer = "no answer";
    // The daemon's own link is made meanwhile.
    for (int turns = 0; turns < 50 && answer == "no answer"; ++turns) {
      bus_.turn(kSecondNs);
      answer = tool_.answer();
    }
    return answer;
  }

  TestBus bus_;
  TestClient tool_{bus_, ClientRole::kTool};
};

// ---- lives ----

TEST_F(BusLinks, AreAddedAgainForAConsumerThatCouldNotTakeThem) {
  RawProducer producer(bus_, "gpu0");
  RawConsumer consumer(bus_, "gpu0");
  ASSERT_TRUE(consumer.client.hear(ControlType::kActivated));
  ASSERT_TRUE(consumer.client.hear(ControlType::kAddLink));
  consumer.client.say_of_link(ControlType::kAgain, 0, 0);  // Nothing of this life reached it.
  bus_.turn();
  EXPECT_TRUE(consumer.client.hear(ControlType::kActivated));
  EXPECT_FALSE(consumer.client.hear(ControlType::kAddLink)) << "not at once: it has to find some";
  bus_.turn(kSecondNs);
  EXPECT_TRUE(consumer.serve(bus_));
  EXPECT_TRUE(producer.client.hear(ControlType::kLife));
  EXPECT_TRUE(producer.link().life->mapped);
}

TEST_F(BusLinks, AreToldAgainToAProducerThatCouldNotTakeThem) {
  RawProducer producer(bus_, "gpu0");
  RawConsumer consumer(bus_, "gpu0");
  ASSERT_TRUE(consumer.serve(bus_));
  const std::optional<Heard> told = producer.client.hear(ControlType::kLife);
  ASSERT_TRUE(told && told->descriptors.size() == 3);
  const std::uint64_t epoch = told->as<layout::LifeMessage>().epoch;
  producer.client.say_of_link(ControlType::kAgain, producer.granted.link, epoch);
  bus_.turn(kSecondNs);
  ASSERT_TRUE(consumer.serve(bus_)) << "with new pipes, so its other end learns of them first";
  const std::optional<Heard> again = producer.client.hear(ControlType::kLife);
  ASSERT_TRUE(again && again->descriptors.size() == 3);
  EXPECT_EQ(again->as<layout::LifeMessage>().epoch, epoch);
}

TEST_F(BusLinks, TakeNoWordOfWhatIsNotThere) {
  RawProducer producer(bus_, "gpu0");
  RawConsumer consumer(bus_, "gpu0");
  TestClient standby(bus_);
  layout::HelloMessage waits = hello_of(ClientRole::kConsumer);
  waits.slots = 1;
  standby.say(waits);
  bus_.turn();
  const std::uint64_t link = producer.granted.link;
  for (const std::uint64_t epoch : {std::uint64_t{0}, std::uint64_t{77}}) {
    producer.client.say_of_link(ControlType::kDrained, link, epoch);
    producer.client.say_of_link(ControlType::kAgain, link, epoch);
    consumer.client.say_of_link(ControlType::kMapped, link, epoch);
    consumer.client.say_of_link(ControlType::kAgain, link, epoch);
  }
  standby.say_of_link(ControlType::kAgain, 0, 0);
  standby.say_of_link(ControlType::kMapped, link, producer.link().life->epoch);
  standby.say_of_link(ControlType::kBell, link, 0);
  consumer.client.say_of_link(ControlType::kMapped, 4711, 1);
  bus_.turn(kSecondNs);
  EXPECT_FALSE(producer.link().life->mapped);
  EXPECT_FALSE(standby.hear(ControlType::kActivated));
  EXPECT_TRUE(consumer.serve(bus_)) << "and the one that is meant is served";
  EXPECT_TRUE(producer.link().life->mapped);
}

TEST_F(BusLinks, PassAStandbyThatHasLeftBy) {
  RawConsumer first(bus_, "gpu0");
  layout::HelloMessage waits = hello_of(ClientRole::kConsumer);
  waits.slots = 1;
  TestClient second(bus_);
  second.say(waits);
  bus_.turn();
  TestClient third(bus_);
  third.say(waits);
  bus_.turn();
  EXPECT_EQ(second.hear(ControlType::kStandby)->as<layout::ActivatedMessage>().ahead, 1U);
  EXPECT_EQ(third.hear(ControlType::kStandby)->as<layout::ActivatedMessage>().ahead, 2U);
  second.leave();
  bus_.turn();
  first.client.say_of_link(ControlType::kBye, 0, 0);
  bus_.turn();
  EXPECT_TRUE(third.hear(ControlType::kActivated));
}

// ---- letters ----

TEST_F(BusLinks, WriteLettersOfWhatNobodyBeginsWhateverItsDescriptorSays) {
  RawProducer producer(bus_, "gpu0");
  layout::DescriptorCopy unknown_kind = producer.next();
  unknown_kind.kind_flags = layout::pack_kind(40, layout::kFlagTracked | layout::kFlagInline);
  producer.commit(unknown_kind);
  layout::DescriptorCopy beyond = producer.next();
  beyond.kind_flags = layout::pack_kind(4, layout::kFlagTracked);
  beyond.offset = std::uint64_t{1} << 40;
  producer.commit(beyond);
  layout::DescriptorCopy too_long = producer.next();
  too_long.kind_flags = layout::pack_kind(4, layout::kFlagTracked);
  too_long.length = producer.granted.arena_bytes + 1;
  producer.commit(too_long);
  for (int turns = 0; turns < 20 && bus_->letters->stats().total.letters < 3; ++turns) {
    bus_.turn(kSecondNs);
  }
  ASSERT_EQ(bus_->letters->stats().total.letters, 3U);
  DeadLetterFilter filter;
  filter.id = RawProducer::id_of(unknown_kind);
  EXPECT_EQ(bus_->letters->list(filter, 1).at(0).kind_name, "kind 40");
  for (const layout::DescriptorCopy& hostile : {beyond, too_long}) {
    const Result<StoredLetter> stored = bus_->letters->read(RawProducer::id_of(hostile));
    ASSERT_TRUE(stored.ok());
    EXPECT_TRUE(stored.value().payload.empty()) << "nothing is read beside the arena";
    EXPECT_EQ(stored.value().letter.reason, DeathReason::kUndelivered);
  }
  EXPECT_THAT(tool_.ask({{"verb", "show"}, {"id", to_text(RawProducer::id_of(beyond))}}),
              AllOf(StartsWith("0 "), HasSubstr("\"found\":true")));
}

// A redriven letter is a message of the daemon's own link; closed with its queue, it is a letter
// again.
TEST_F(BusLinks, OfTheDaemonsOwnLeaveTheirLettersWhenTheyAreClosed) {
  RawConsumer consumer(bus_, "mine");
  const LetterId id = make_letter(1, "mine");
  EXPECT_THAT(redrive(id), AllOf(StartsWith("0 "), HasSubstr(to_text(id))));
  consumer.client.say_of_link(ControlType::kBye, 0, 0);
  bus_.turn();
  EXPECT_THAT(tool_.ask({{"verb", "remove_queue"}, {"queue", "mine"}}), HasSubstr("\"links\":1"));
  bus_.turn(kSecondNs);
  const std::vector<Letter> letters = bus_->letters->list({}, 10);
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].origin_id, id);
  EXPECT_EQ(letters[0].reason, DeathReason::kClosed);
  EXPECT_TRUE(bus_->letters->redriven().empty());
}

TEST_F(BusLinks, OfTheDaemonsOwnNeedAPlaceForTheirQueue) {
  const LetterId id = make_letter(1, "last");
  for (std::uint32_t made = 0; bus_->queues.size() < layout::kQueuesMax; ++made) {
    bus_->find_or_make_queue("queue" + std::to_string(made));
  }
  EXPECT_THAT(redrive(id), HasSubstr("no place for queue 'last'"));
  EXPECT_THAT(TestClient(bus_, ClientRole::kConsumer, "last").refusal(),
              AllOf(StartsWith("6 "), HasSubstr("ackbus queue remove NAME")));
  EXPECT_TRUE(bus_->letters->exists(id));
}

// ---- a worker without a place ----

// The worker stands still with its queue full until let_go().
class FullWorker {
 public:
  explicit FullWorker(Bus& bus) {
    std::shared_future<void> opened = gate_.get_future().share();
    EXPECT_TRUE(bus.worker->submit([opened] { opened.wait(); }, {}));
    while (bus.worker->submit([] {}, {})) {
    }
  }
  void let_go() { gate_.set_value(); }

 private:
  std::promise<void> gate_;
};

TEST_F(BusLinks, AndWhoeverElseNeedsTheWorkerIsToldToTryAgain) {
  TestClient consumer(bus_, ClientRole::kConsumer);
  TestClient producer(bus_);
  const LetterId id = make_letter(1, "gpu0");
  FullWorker worker(*bus_);
  producer.say(hello_of(ClientRole::kProducer));
  layout::SegmentMessage segment{};
  segment.header = layout::control_header<layout::SegmentMessage>(ControlType::kCreateSegment, 3);
  segment.role = static_cast<std::uint32_t>(layout::SegmentRole::kState);
  segment.bytes = 4096;
  consumer.say(segment);
  tool_.query({{"verb", "dead_list"}});
  bus_.read_all();
  EXPECT_THAT(producer.refusal(), AllOf(StartsWith("4 "), HasSubstr("busy allocating for others")));
  EXPECT_THAT(consumer.refusal(), AllOf(StartsWith("4 "), HasSubstr("busy allocating for others")));
  EXPECT_THAT(tool_.answer(), AllOf(StartsWith("7 "), HasSubstr("try again")));
  tool_.query({{"verb", "dead_redrive"}, {"id", to_text(id)}});
  bus_.read_all();
  EXPECT_THAT(tool_.answer(), AllOf(StartsWith("7 "), HasSubstr("try again")));
  EXPECT_EQ(bus_->reserved_bytes, 0U);
  EXPECT_FALSE(bus_->redriving);
  worker.let_go();
  bus_.turn();
  EXPECT_TRUE(TestClient(bus_, ClientRole::kProducer).hear(ControlType::kLinkGranted));
  EXPECT_EQ(redrive(id).substr(0, 2), "0 ");
}

// No verdict without its letter, no life without its segment: both come when there is a place.
TEST_F(BusLinks, WaitForTheWorkerWithLettersAndLives) {
  RawProducer producer(bus_, "gpu0");
  const layout::DescriptorCopy message = producer.next();
  producer.commit(message);
  {
    FullWorker worker(*bus_);
    const std::uint64_t later = monotonic_ns() + 5 * kSecondNs;
    for (int turns = 0; turns < 5; ++turns) {
      bus_->do_work(later + static_cast<std::uint64_t>(turns) * kSecondNs);
    }
    EXPECT_FALSE(bus_->letters->exists(RawProducer::id_of(message)));
    EXPECT_FALSE(producer.link().handing_over);
    bus_->submit_or_keep([] {});
    EXPECT_EQ(bus_->kept_jobs.size(), 1U);
    worker.let_go();
  }
  for (int turns = 0; turns < 20 && !bus_->letters->exists(RawProducer::id_of(message)); ++turns) {
    bus_.turn(10 * kSecondNs);
  }
  EXPECT_TRUE(bus_->letters->exists(RawProducer::id_of(message)));
  EXPECT_TRUE(bus_->kept_jobs.empty());
  RawConsumer consumer(bus_, "gpu0");
  EXPECT_TRUE(consumer.serve(bus_));
}

// Once only 32 of a link's letters were written in a second: the clock stands here.
TEST(BusLetters, ManyAtOnceKeepTheWorkerBusyUntilAllAreWritten) {
  constexpr std::uint64_t kMessages = 128;
  TestBus bus([](BusOptions& options) { options.config.limits.default_slots = kMessages; });
  RawProducer producer(bus, "gpu0");
  while (producer.sent() < kMessages) {
    producer.commit(producer.next());
  }
  const std::uint64_t later = monotonic_ns() + 5 * kSecondNs;
  bus->do_work(later);
  while (bus->letters->stats().total.letters < kMessages) {
    ASSERT_GT(bus->worker->pending(), 0U) << bus->letters->stats().total.letters;
    pollfd done{bus->worker->completion_fd(), POLLIN, 0};
    ASSERT_GE(::poll(&done, 1, -1), 0);
    bus->worker->run_completions();
    bus->do_work(later);
  }
}

}  // namespace
}  // namespace ackbus::daemon
