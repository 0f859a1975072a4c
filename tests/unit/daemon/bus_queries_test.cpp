// What tools ask of a bus, and what it answers when the question is wrong, or comes too often: the
// code, the thing and the remedy.
#include "tests/unit/daemon/bus_fixture.hpp"

namespace ackbus::daemon {
namespace {

using layout::ClientRole;
using layout::ControlType;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kNobodysId = "00000000-0000-4000-8000-000000000001";
constexpr const char* kNoLetters = R"(0 {"letters":[],"more":0,"next":null})";

class BusQueries : public ::testing::Test {
 protected:
  TestBus bus_;
  TestClient tool_{bus_, ClientRole::kTool};
};

TEST_F(BusQueries, OfAnUnknownVerbOrNoTextAreInvalid) {
  EXPECT_THAT(tool_.ask({{"verb", "sing"}}), AllOf(StartsWith("6 "), HasSubstr("unknown verb")));
  EXPECT_THAT(tool_.ask({{"verb", 7}}), AllOf(StartsWith("6 "), HasSubstr("unknown verb")));
  EXPECT_THAT(tool_.ask(json::object()), AllOf(StartsWith("6 "), HasSubstr("unknown verb")));
  EXPECT_THAT(tool_.ask(json::array()), StartsWith("6 "));
  tool_.say(layout::control_header<layout::ControlHeader>(ControlType::kQuery, 5));
  bus_.turn();
  EXPECT_THAT(tool_.answer(), AllOf(StartsWith("6 "), HasSubstr("shorter than its header")));
  EXPECT_THAT(tool_.ask({{"verb", "status"}}), StartsWith("0 {")) << "and it is served";
}

TEST_F(BusQueries, ForLettersNameTheMemberThatIsWrong) {
  EXPECT_EQ(tool_.ask({{"verb", "dead_list"}}), kNoLetters);
  EXPECT_EQ(tool_.ask({{"verb", "dead_list"}, {"kind", "ComputeForces"}, {"reason", "poison"}}),
            kNoLetters);
  EXPECT_THAT(tool_.ask({{"verb", "dead_list"}, {"kind", "nonsense"}}),
              AllOf(StartsWith("6 "), HasSubstr("no kind 'nonsense': ackbus status lists")));
  EXPECT_THAT(tool_.ask({{"verb", "dead_list"}, {"reason", "boredom"}}),
              AllOf(StartsWith("6 "), HasSubstr("no reason 'boredom': retries, undelivered")));
  EXPECT_THAT(tool_.ask({{"verb", "dead_list"}, {"queue", 5}}),
              AllOf(StartsWith("6 "), HasSubstr("'queue'")));
  EXPECT_THAT(tool_.ask({{"verb", "dead_list"}, {"limit", "many"}}),
              AllOf(StartsWith("6 "), HasSubstr("'limit'")));
  for (const char* place : {"", "5", "5:", ":", "x:y", "5:no-id"}) {
    EXPECT_THAT(tool_.ask({{"verb", "dead_list"}, {"after", place}}),
                AllOf(StartsWith("6 "), HasSubstr("after: not a place in a listing")))
        << place;
  }
  EXPECT_EQ(tool_.ask({{"verb", "dead_list"}, {"after", std::string("5:") + kNobodysId}}),
            kNoLetters);
  EXPECT_THAT(tool_.ask({{"verb", "dead_purge"}, {"older_than_seconds", -1}}),
              AllOf(StartsWith("6 "), HasSubstr("'older_than_seconds'")));
  EXPECT_THAT(tool_.ask({{"verb", "dead_redrive"}, {"id", "all"}, {"limit", "many"}}),
              AllOf(StartsWith("6 "), HasSubstr("'limit'")));
  for (const char* verb : {"show", "dead_show", "dead_payload", "dead_redrive", "dead_purge"}) {
    EXPECT_THAT(tool_.ask({{"verb", verb}, {"id", "no-id"}}),
                AllOf(StartsWith("6 "), HasSubstr("'id'")))
        << verb;
    EXPECT_THAT(tool_.ask({{"verb", verb}, {"id", 5}}), AllOf(StartsWith("6 "), HasSubstr("'id'")))
        << verb;
  }
}

TEST_F(BusQueries, ForALetterThatIsNotThereSayWhereTheyAre) {
  EXPECT_EQ(tool_.ask({{"verb", "show"}, {"id", kNobodysId}}), "0 {\"found\":false}");
  for (const char* verb : {"dead_show", "dead_payload", "dead_redrive"}) {
    EXPECT_THAT(tool_.ask({{"verb", verb}, {"id", kNobodysId}}),
                AllOf(StartsWith("12 "), HasSubstr(kNobodysId)))
        << verb;
  }
  EXPECT_THAT(tool_.ask({{"verb", "dead_show"}, {"id", kNobodysId}}),
              HasSubstr("ackbus dead list shows them"));
}

TEST_F(BusQueries, ToPurgeHaveToSayWhat) {
  EXPECT_THAT(tool_.ask({{"verb", "dead_purge"}}),
              AllOf(StartsWith("6 "), HasSubstr("name a message id, 'all' or an age")));
  for (const json& what :
       {json{{"id", "all"}}, json{{"id", kNobodysId}}, json{{"older_than_seconds", 1}},
        json{{"id", "all"}, {"older_than_seconds", UINT64_MAX}}}) {
    json query = what;
    query["verb"] = "dead_purge";
    EXPECT_EQ(tool_.ask(query), "0 {\"purged\":0}") << query;
  }
}

// Each looks at the disk, where verdicts wait too.
TEST_F(BusQueries, BeyondEightAtATimeAreTurnedAway) {
  std::vector<TestClient> tools;
  for (int i = 0; i < 9; ++i) {
    tools.emplace_back(bus_, ClientRole::kTool);
  }
  for (const TestClient& tool : tools) {
    tool.query({{"verb", "dead_list"}});
  }
  bus_.read_all();
  EXPECT_THAT(tools.back().answer(), AllOf(StartsWith("7 "), HasSubstr("try again")));
  bus_.turn();
  EXPECT_EQ(tools.front().answer(), kNoLetters);
  EXPECT_EQ(tools.back().ask({{"verb", "dead_list"}}), kNoLetters);
}

TEST_F(BusQueries, WhoseAskerHasLeftAreAnsweredToNobody) {
  tool_.query({{"verb", "dead_list"}});
  bus_.read_all();
  tool_.leave();
  bus_.read_all();
  bus_.turn();
  EXPECT_EQ(bus_->query_jobs, 0U);
  EXPECT_TRUE(bus_->connections.empty());
}

// What it does not take stays with the daemon, which asks it nothing more meanwhile; no answer is
// lost.
TEST_F(BusQueries, OfAToolThatDoesNotReadAreAllAnsweredWhenItDoes) {
  std::uint32_t sent = 0;
  const auto connection = [this] { return bus_->connections.begin()->second.get(); };
  while (connection()->outgoing.empty()) {
    ASSERT_LT(sent, 10'000U);
    tool_.query({{"verb", "status"}}, ++sent);
    bus_.turn();
  }
  tool_.query({{"verb", "status"}}, ++sent);
  bus_.turn();
  EXPECT_EQ(connection()->outgoing.size(), 1U) << "the last question waits unread";
  std::uint32_t answered = 0;
  for (std::uint32_t turns = 0; turns < sent && answered < sent; ++turns) {
    while (const std::optional<Heard> heard = tool_.hear(ControlType::kAnswer)) {
      EXPECT_EQ(heard->as<layout::ControlHeader>().request, ++answered);
    }
    bus_.turn();
  }
  EXPECT_EQ(answered, sent);
}

TEST_F(BusQueries, ToRemoveAQueueEndItsLinksAndItsConsumers) {
  EXPECT_THAT(tool_.ask({{"verb", "remove_queue"}}),
              AllOf(StartsWith("6 "), HasSubstr("'queue' must name the queue")));
  EXPECT_THAT(tool_.ask({{"verb", "remove_queue"}, {"queue", 5}}), StartsWith("6 "));
  EXPECT_THAT(tool_.ask({{"verb", "remove_queue"}, {"queue", "nothere"}}),
              AllOf(StartsWith("12 "), HasSubstr("ackbus status lists the queues")));
  EXPECT_THAT(tool_.ask({{"verb", "remove_queue"}, {"queue", "gpu0"}}),
              AllOf(StartsWith("6 "), HasSubstr("take its [[queue]] out of the file")));
  TestClient consumer(bus_, ClientRole::kConsumer, "mine");
  TestClient standby(bus_);
  layout::HelloMessage waits = hello_of(ClientRole::kConsumer, "mine");
  waits.slots = 1;
  standby.say(waits);
  TestClient producer(bus_, ClientRole::kProducer, "mine");
  const auto granted = producer.hear(ControlType::kLinkGranted)->as<layout::LinkGrantedMessage>();
  producer.say_of_link(ControlType::kMapped, granted.link, 0);
  bus_.turn();
  EXPECT_EQ(tool_.ask({{"verb", "remove_queue"}, {"queue", "mine"}}),
            "0 {\"consumers\":2,\"links\":1}");
  EXPECT_EQ(consumer.refusal(), "6 queue 'mine' was removed");
  EXPECT_EQ(standby.refusal(), "6 queue 'mine' was removed");
  EXPECT_TRUE(producer.hear(ControlType::kClosed));
  EXPECT_THAT(TestClient(bus_, ClientRole::kProducer, "mine").refusal(),
              AllOf(StartsWith("6 "), HasSubstr("no queue 'mine'")));
}

TEST_F(BusQueries, ToReloadAWrongFileLeaveTheOldOneInForce) {
  EXPECT_EQ(tool_.ask({{"verb", "reload"}}), "0 {\"waiting_for_restart\":[]}");
  bus_->options.config_path = bus_.folder() / "nothere.toml";
  const std::uint32_t tick_ms = bus_->config().tick_ms;
  EXPECT_THAT(tool_.ask({{"verb", "reload"}}), HasSubstr("nothere.toml"));
  EXPECT_TRUE(bus_.logged("configuration not reloaded; the old one stays in force"));
  EXPECT_EQ(bus_->config().tick_ms, tick_ms);
  bus_->options.config_path.clear();
  bus_->options.command_line = [](Config& config) {
    config.tick_ms = 7;
    config.metrics = "127.0.0.1:0";
  };
  EXPECT_THAT(tool_.ask({{"verb", "reload"}}), AllOf(StartsWith("0 "), HasSubstr("\"metrics\"")));
  EXPECT_TRUE(bus_.logged("waits for a restart"));
  EXPECT_EQ(bus_->config().metrics, "off");
}

TEST_F(BusQueries, ToShutDownEndTheLoopAndTellEverybody) {
  TestClient consumer(bus_, ClientRole::kConsumer);
  TestClient producer(bus_, ClientRole::kProducer);
  ASSERT_TRUE(producer.hear(ControlType::kLinkGranted));
  tool_.query({{"verb", "status"}}, 1);
  tool_.query({{"verb", "shutdown"}}, 2);
  bus_->run();  // Ends because it was asked to.
  EXPECT_TRUE(bus_->closed_for_good);
  EXPECT_THAT(tool_.answer(), StartsWith("0 {"));
  EXPECT_EQ(tool_.answer(), "0 {}");
  const auto closed = static_cast<std::uint32_t>(layout::VerdictReason::kClosedBus);
  EXPECT_EQ(consumer.hear(ControlType::kClosed)->as<layout::TextMessage>().code, closed);
  EXPECT_EQ(producer.hear(ControlType::kClosed)->as<layout::TextMessage>().code, closed);
  EXPECT_FALSE(std::filesystem::exists(bus_.path()));
}

}  // namespace
}  // namespace ackbus::daemon
