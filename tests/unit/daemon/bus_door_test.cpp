// Who comes in and who does not: what a client says first, how long it may take, and every limit of
// connections, links, memory and descriptors, with the key that raises it.
#include <sys/resource.h>

#include "tests/unit/daemon/bus_fixture.hpp"

namespace ackbus::daemon {
namespace {

using layout::ClientRole;
using layout::ControlType;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint64_t kSecondNs = 1'000'000'000;

std::function<void(BusOptions&)> limited(const std::function<void(LimitsConfig&)>& change) {
  return [change](BusOptions& options) { change(options.config.limits); };
}

// What a hello is answered with.
std::string refusal_of(TestBus& bus, const layout::HelloMessage& hello) {
  TestClient client(bus);
  client.say(hello);
  bus.turn();
  return client.refusal();
}

TEST(BusDoor, WaitsForAHelloOnlySoLong) {
  TestBus bus(limited([](LimitsConfig& limits) { limits.hello_timeout_ms = 3000; }));
  TestClient silent(bus);
  TestClient left(bus);
  bus.turn();
  left.leave();
  bus.turn(2 * kSecondNs);
  EXPECT_EQ(silent.refusal(), "no refusal");
  bus.turn(2 * kSecondNs);
  EXPECT_THAT(silent.refusal(), HasSubstr("[limits] hello_timeout_ms = 3000"));
  bus.turn();
  EXPECT_TRUE(bus->connections.empty());
}

TEST(BusDoor, RefusesAHelloThatMakesNoSense) {
  TestBus bus;
  layout::HelloMessage role = hello_of(ClientRole::kTool);
  role.role = 9;
  EXPECT_THAT(refusal_of(bus, role), AllOf(StartsWith("1 "), HasSubstr("unknown role")));
  EXPECT_THAT(refusal_of(bus, hello_of(ClientRole::kConsumer, "bad name")),
              AllOf(StartsWith("6 "), HasSubstr("is not 1 to 31 of A-Z a-z 0-9")));
  TestClient twice(bus, ClientRole::kTool);
  twice.say(hello_of(ClientRole::kTool));
  bus.turn();
  EXPECT_THAT(twice.refusal(), HasSubstr("a second hello"));
}

TEST(BusDoor, SaysWhichMessageIsOutOfOrder) {
  TestBus bus;
  TestClient tool(bus, ClientRole::kTool);
  tool.say_of_link(ControlType::kBell, 1, 1);
  bus.turn();
  EXPECT_THAT(tool.refusal(),
              HasSubstr("control message " + std::to_string(static_cast<int>(ControlType::kBell)) +
                        " is out of order"));
  TestClient producer(bus, ClientRole::kProducer);
  producer.say(layout::control_header<layout::ControlHeader>(ControlType::kBye));
  bus.turn();
  EXPECT_THAT(producer.refusal(), HasSubstr("a link message of the wrong size"));
  TestClient other(bus, ClientRole::kTool);
  other.say(layout::control_header<layout::ControlHeader>(ControlType::kOpenSegment, 4));
  bus.turn();
  EXPECT_THAT(other.refusal(), HasSubstr("a segment message of the wrong size"));
  EXPECT_FALSE(other.is_hung_up_on()) << "it was the answer to its fourth question";
}

TEST(BusDoor, TakesUnlistedQueuesOnlyWhereItMay) {
  TestBus open;
  EXPECT_THAT(refusal_of(open, hello_of(ClientRole::kProducer, "typo")),
              AllOf(StartsWith("6 "), HasSubstr("start its consumer first")));
  TestBus closed([](BusOptions& options) { options.config.any_queue = false; });
  EXPECT_THAT(refusal_of(closed, hello_of(ClientRole::kConsumer, "mine")),
              AllOf(StartsWith("6 "), HasSubstr("any_queue = true")));
}

TEST(BusDoor, HasOneActiveConsumerForAQueue) {
  TestBus bus;
  TestClient active(bus, ClientRole::kConsumer);
  EXPECT_TRUE(active.hear(ControlType::kActivated));
  EXPECT_THAT(refusal_of(bus, hello_of(ClientRole::kConsumer)),
              AllOf(StartsWith("3 "), HasSubstr("has an active consumer")));
}

// ---- limits ----

TEST(BusDoor, CountsTheConnectionsOfAUser) {
  TestBus bus(limited([](LimitsConfig& limits) { limits.max_connections_per_uid = 2; }));
  const TestClient first(bus, ClientRole::kTool);
  TestClient second(bus, ClientRole::kTool);
  TestClient third(bus);
  bus.turn();
  EXPECT_THAT(third.refusal(),
              AllOf(StartsWith("4 "), HasSubstr("[limits] max_connections_per_uid = 2")));
  second.leave();
  bus.turn();
  EXPECT_TRUE(TestClient(bus, ClientRole::kTool).hear(ControlType::kWelcome));
  // What was turned away is let go of a second later, or when there are many.
  EXPECT_EQ(bus->door.turned_away.size(), 1U);
  bus.turn(2 * kSecondNs);
  EXPECT_TRUE(bus->door.turned_away.empty());
  std::vector<TestClient> more;
  for (int i = 0; i < 40; ++i) {
    more.emplace_back(bus);
  }
  bus.turn();
  EXPECT_LE(bus->door.turned_away.size(), 16U);
  EXPECT_THAT(more.back().refusal(), HasSubstr("max_connections_per_uid"));
}

TEST(BusDoor, NamesTheLimitThatALinkWouldBreak) {
  TestBus bus(limited([](LimitsConfig& limits) {
    limits.max_slots = 64;
    limits.max_arena_bytes = 1 << 20;
  }));
  layout::HelloMessage wishes = hello_of(ClientRole::kProducer);
  for (const std::uint32_t slots : {2U, 3U, 12U, 128U}) {
    wishes.slots = slots;
    EXPECT_THAT(refusal_of(bus, wishes), AllOf(StartsWith("4 "), HasSubstr("max_slots = 64")));
  }
  wishes.slots = 4;
  for (const std::uint64_t bytes : {std::uint64_t{100}, std::uint64_t{2} << 20}) {
    wishes.arena_bytes = bytes;
    EXPECT_THAT(refusal_of(bus, wishes),
                AllOf(StartsWith("4 "), HasSubstr("[limits] max_arena_bytes = 1048576")));
  }
  EXPECT_EQ(bus->reserved_bytes, 0U);
}

TEST(BusDoor, CountsLinksAndTheirMemory) {
  const std::uint64_t bytes = link_bytes(4, 4096);
  struct Case {
    std::function<void(LimitsConfig&)> change;
    const char* named;
  };
  const Case cases[] = {
      {[](LimitsConfig& limits) { limits.max_links = 1; }, "[limits] max_links = 1"},
      {[](LimitsConfig& limits) { limits.max_links_per_uid = 1; }, "max_links_per_uid = 1"},
      {[&](LimitsConfig& limits) { limits.max_memory_bytes = 2 * bytes - 1; },
       "[limits] max_memory_bytes"},
      {[&](LimitsConfig& limits) { limits.max_memory_per_uid_bytes = 2 * bytes - 1; },
       "[limits] max_memory_per_uid_bytes"},
  };
  for (const Case& test : cases) {
    TestBus bus(limited(test.change));
    TestClient first(bus, ClientRole::kProducer);
    ASSERT_TRUE(first.hear(ControlType::kLinkGranted)) << test.named;
    EXPECT_THAT(refusal_of(bus, hello_of(ClientRole::kProducer)),
                AllOf(StartsWith("4 "), HasSubstr(test.named)));
    first.leave();  // It had not mapped anything, so its link goes at once.
    bus.turn();
    EXPECT_TRUE(TestClient(bus, ClientRole::kProducer).hear(ControlType::kLinkGranted))
        << test.named;
  }
}

// Two whose memory is being made at the same time: the second finds the place taken.
TEST(BusDoor, LooksAgainWhenTheMemoryIsMade) {
  TestBus bus(limited([](LimitsConfig& limits) { limits.max_links = 1; }));
  TestClient first(bus);
  TestClient second(bus);
  first.say(hello_of(ClientRole::kProducer));
  second.say(hello_of(ClientRole::kProducer));
  bus.turn();
  EXPECT_TRUE(first.hear(ControlType::kLinkGranted));
  EXPECT_THAT(second.refusal(), HasSubstr("[limits] max_links = 1"));
  EXPECT_EQ(bus->links.size(), 1U);
  EXPECT_EQ(bus->reserved_bytes, 0U);
}

TEST(BusDoor, GivesNothingToAProducerThatLeftMeanwhile) {
  TestBus bus;
  TestClient client(bus);
  client.say(hello_of(ClientRole::kProducer));
  bus.read_all();  // The worker makes its memory.
  client.leave();
  bus.read_all();
  bus.turn();
  EXPECT_TRUE(bus->links.empty());
  EXPECT_EQ(bus->reserved_bytes, 0U);
}

// ---- descriptors ----

// The process's limit of open files, as low as the test wants it.
class FewDescriptors {
 public:
  explicit FewDescriptors(std::uint64_t more_than_open) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const UniqueFd lowest(::dup(0));
    rlimit low = before_;
    low.rlim_cur = static_cast<std::uint64_t>(lowest.get()) + more_than_open;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST(BusDoor, KeepsSomeDescriptorsForThoseInside) {
  TestBus bus;
  TestClient inside(bus, ClientRole::kTool);
  TestClient outside(bus);
  {
    const FewDescriptors few(6);
    bus.turn();
    EXPECT_THAT(outside.refusal(), AllOf(StartsWith("4 "), HasSubstr("out of file descriptors"),
                                         HasSubstr("LimitNOFILE")));
    EXPECT_THAT(inside.ask({{"verb", "status"}}), StartsWith("0 ")) << "who is inside is served";
  }
  EXPECT_TRUE(TestClient(bus, ClientRole::kTool).hear(ControlType::kWelcome));
  EXPECT_TRUE(bus.logged("file descriptors suffice again"));
}

TEST(BusDoor, GivesNoLinkThatNobodyCouldServe) {
  TestBus bus;
  TestClient producer(bus);
  bus.turn();
  {
    const FewDescriptors few(10);  // Enough for those inside, too few for a link more.
    producer.say(hello_of(ClientRole::kProducer));
    bus.turn();
  }
  EXPECT_THAT(producer.refusal(), AllOf(StartsWith("4 "), HasSubstr("out of file descriptors")));
  EXPECT_TRUE(bus.logged("no more links"));
  EXPECT_TRUE(TestClient(bus, ClientRole::kProducer).hear(ControlType::kLinkGranted));
}

TEST(BusDoor, RestsWhenNothingCanBeAcceptedAndListensAgain) {
  TestBus bus;
  TestClient waits(bus);
  {
    const FewDescriptors none(0);
    bus->accept_connections();
  }
  EXPECT_TRUE(bus.logged("out of file descriptors"));
  EXPECT_NE(bus->door.listen_again_ns, 0U);
  bus.turn(kSecondNs);
  EXPECT_EQ(bus->door.listen_again_ns, 0U);
  waits.say(hello_of(ClientRole::kTool));
  bus.turn();
  EXPECT_TRUE(waits.hear(ControlType::kWelcome));
}

// A link's memory is made, but nothing is left to send it with.
TEST(BusDoor, TellsAToolThatItCannotBeWelcomed) {
  TestBus bus;
  TestClient tool(bus);
  bus.turn();
  tool.say(hello_of(ClientRole::kTool));
  {
    const FewDescriptors none(0);
    bus.turn();
  }
  EXPECT_THAT(tool.refusal(), AllOf(StartsWith("5 "), HasSubstr("cannot reopen a segment")));
}

}  // namespace
}  // namespace ackbus::daemon
