// Upgrades under traffic. A daemon of a newer build takes over from an older one, and nobody
// notices. A daemon of another layout finds segments that it cannot read: it says so with both
// versions, and every producer is told that what was pending ended, instead of waiting for ever.
//
// `ackbus run` starts the ackbusd beside it, so a test puts copies of both into a folder of its own
// and replaces the daemon there. The two other daemons are test builds: ackbusd-next says another
// version, ackbusd-other-layout is compiled with another layout version.
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "shm_layout/check.hpp"
#include "tests/hostile/bystanders.hpp"

namespace ackbus::hostile {
namespace {

using process_test::Bus;
using process_test::eventually;
using process_test::Folder;
using process_test::Helper;
using process_test::ProcessTest;
using process_test::program_path;
using process_test::send;
using process_test::soon;
using ::testing::AllOf;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

class Upgrade : public ProcessTest {
 protected:
  void SetUp() override {
    ProcessTest::SetUp();
    for (const char* name : {"ackbus", "ackbusd"}) {
      fs::copy_file(program_path(name), programs_ / name);
    }
    const char* before = std::getenv("ACKBUS_BIN");
    before_ = before == nullptr ? "" : before;
    ::setenv("ACKBUS_BIN", programs_.path().c_str(), 1);
  }
  void TearDown() override {
    before_.empty() ? ::unsetenv("ACKBUS_BIN") : ::setenv("ACKBUS_BIN", before_.c_str(), 1);
  }
  // As a package manager does it: the new file takes the name, the old one runs on.
  void install(const std::string& name) const {
    fs::copy_file(std::string(ACKBUS_BIN_DIR) + "/" + name, programs_ / "ackbusd.new");
    fs::rename(programs_ / "ackbusd.new", programs_ / "ackbusd");
  }

  Folder programs_;
  std::string before_;
};

TEST_F(Upgrade, ANewerBuildTakesOverUnderTrafficAndNobodyNotices) {
  Bus bus({.supervised = true});
  Bystander consumer = Bystander::consumer(bus, "gpu0");
  std::vector<Bystander> producers;
  producers.push_back(Bystander::producer(bus, "gpu0", 1));
  producers.push_back(Bystander::producer(bus, "gpu0", 2));
  const auto get_on = [&](std::uint64_t more) {
    for (const Bystander& producer : producers) {
      const std::uint64_t since = producer.checked();
      ASSERT_TRUE(eventually([&] { return producer.gets_on(since, more); })) << producer.name();
    }
  };
  get_on(200);
  const std::string old_version = bus.status()["daemon"]["version"];
  const auto links = bus.status()["links"];
  for (const char* next : {"ackbusd-next", "ackbusd-next", "ackbusd-next"}) {
    install(next);
    bus.kill_daemon_and_wait();
    EXPECT_EQ(bus.status()["daemon"]["version"], "99.0.0");
    get_on(200);
  }
  EXPECT_NE(old_version, "99.0.0");
  ASSERT_EQ(bus.status()["links"].size(), links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    EXPECT_EQ(bus.status()["links"][i]["link"], links[i]["link"]) << "a link was made anew";
  }
  for (Bystander& producer : producers) {
    producer.finish();  // Every outcome was Success, with the right answer.
  }
  consumer.finish();
}

TEST_F(Upgrade, SegmentsOfAnotherLayoutAreRefusedAndTheirProducersAreTold) {
  Bus bus({.supervised = true});
  Helper holds = Helper::consume(bus.consumer_options(), [](Consumer& mine, const auto& test) {
    Result<std::optional<Delivery>> taken = mine.take(soon());
    test.say(taken && *taken ? "begun" : "nothing");
    for (;;) {
      taken = mine.take(soon(process_test::seconds(3600)));
      if (!taken || !*taken || !mine.ack(**taken)) {
        return 2;
      }
    }
  });
  Producer producer = bus.producer();
  const Ticket pending = send(producer, "begun");
  ASSERT_EQ(holds.channel.hear(), "begun");
  install("ackbusd-other-layout");
  ASSERT_EQ(::kill(bus.daemon_pid(), SIGKILL), 0);
  // This library can't speak with that daemon; its answer still ends what was pending.
  const Outcome outcome = process_test::outcome_of(producer, pending);
  EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(outcome.reason, OutcomeReason::kUnknown);
  std::ostringstream ours;
  ours << layout::kLayoutVersion << " (" << std::hex << layout::layout_fingerprint() << ")";
  EXPECT_TRUE(eventually([&] {
    return bus.program().errors().find("of another layout version: version " + ours.str() +
                                       ", this daemon's is 4242 (") != std::string::npos;
  })) << bus.program().errors();
  // A client of this layout is refused with both versions.
  const Result<Producer> refused = Producer::connect(bus.producer_options());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kVersion);
  EXPECT_THAT(refused.error().text,
              AllOf(HasSubstr("client has layout version " + ours.str()),
                    HasSubstr("this daemon 4242 ("), HasSubstr("install the same release")));
  // A daemon of this layout comes back, and both handles go on.
  install("ackbusd-next");
  const std::string log = bus.program().errors();
  const std::size_t at = log.rfind("ackbusd, pid ");
  ASSERT_NE(at, std::string::npos) << log;
  ASSERT_EQ(::kill(std::stoi(log.substr(at + 13)), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return !bus.status().is_null(); }));
  EXPECT_EQ(process_test::outcome_of(producer, send(producer, "again")).code,
            OutcomeCode::kSuccess);
  EXPECT_EQ(bus.status()["links"].size(), 1U);
}

}  // namespace
}  // namespace ackbus::hostile
