// A daemon that comes back to books that make no sense: what a fault or another release left there.
// It says so, gives up what cannot be saved and nothing else, and serves on; nobody is left
// waiting. The books are edited where the supervisor keeps them, while the daemon that wrote them
// stands still.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "daemon/ledger.hpp"
#include "shm_layout/check.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using daemon::Ledger;
using daemon::LinkRecord;
using daemon::RecordState;
using daemon::UniqueFd;
using ::testing::HasSubstr;

class SpoiltBooks : public ProcessTest {
 protected:
  // What the supervisor keeps under the name that its memory has.
  UniqueFd kept(const std::string& name) {
    const std::string folder = "/proc/" + std::to_string(bus_.program().child.pid()) + "/fd";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (!gone && target.starts_with("/memfd:" + name + " ")) {
        return UniqueFd(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
      }
    }
    return {};
  }
  // The daemon stops, its books are edited, and another one comes back to them.
  void come_back_to(const std::function<void(Ledger&)>& edited) {
    const pid_t before = bus_.daemon_pid();
    ASSERT_EQ(::kill(before, SIGSTOP), 0);
    const UniqueFd fd = kept("ackbus-ledger");
    ASSERT_TRUE(fd.valid());
    daemon::Result<Ledger> books = Ledger::attach(fd.get());
    ASSERT_TRUE(books.ok());
    edited(books.value());
    ASSERT_EQ(::kill(before, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] {
      const json status = bus_.status();
      return !status.is_null() && bus_.daemon_pid() != before;
    }));
  }
  static LinkRecord& record_of(Ledger& books, std::uint64_t link) {
    std::uint32_t index = 0;
    while (books.link(index).state == RecordState::kFree || books.link(index).number != link) {
      index += 1;
    }
    return books.link(index);
  }
  ProducerOptions producer_of(const std::string& queue) {
    ProducerOptions options = bus_.producer_options();
    options.queue = queue;
    return options;
  }
  // Nobody consumes, so that it is outstanding when the daemon ends.
  static void expect_unknown(Producer& producer, const Ticket& ticket) {
    const Outcome outcome = outcome_of(producer, ticket);
    EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
    EXPECT_EQ(outcome.reason, OutcomeReason::kUnknown);
  }
  void expect_served(Producer& producer, const std::string& queue = "gpu0") {
    ConsumerOptions options = bus_.consumer_options();
    options.queue = queue;
    Helper consumer = Helper::ack_everything(options);
    const Outcome outcome = outcome_of(producer, send(producer, "after it"));
    EXPECT_EQ(outcome.code, OutcomeCode::kSuccess) << reason_name(outcome.reason);
  }

  Bus bus_{
      {.supervised = true, .config = "[[queue]]\nname = \"gpu0\"\n[[queue]]\nname = \"other\"\n"}};
};

TEST_F(SpoiltBooks, OfAnotherKindStartEveryLinkAnew) {
  const std::function<void(Ledger&)> faults[] = {
      [](Ledger& books) { books.header().magic += 1; },
      [](Ledger& books) { books.header().version += 1; },
      [](Ledger& books) { books.header().max_links *= 1000; },
  };
  Producer producer = bus_.producer();
  for (const auto& fault : faults) {
    const Ticket ticket = send(producer, "nobody can tell");
    come_back_to(fault);
    expect_unknown(producer, ticket);
    expect_served(producer);
  }
  EXPECT_THAT(bus_.program().errors(), HasSubstr("what was kept can't be used"));
}

TEST_F(SpoiltBooks, BesideABusSegmentOfAnotherLayoutStartEveryLinkAnew) {
  Producer producer = bus_.producer();
  const Ticket ticket = send(producer, "nobody can tell");
  come_back_to([this](Ledger&) {
    const UniqueFd fd = kept("ackbus-bus");
    ASSERT_TRUE(fd.valid());
    const std::uint32_t other = 4242;
    ASSERT_EQ(
        ::pwrite(fd.get(), &other, sizeof(other), offsetof(layout::SegmentHeader, layout_version)),
        static_cast<ssize_t>(sizeof(other)));
  });
  expect_unknown(producer, ticket);
  expect_served(producer);
  EXPECT_THAT(bus_.program().errors(), HasSubstr("version 4242"));
}

TEST_F(SpoiltBooks, OfOneLinkCostThatLinkAndNoOther) {
  const std::function<void(LinkRecord&)> faults[] = {
      [](LinkRecord& record) { record.slots = 12; },
      [](LinkRecord& record) { record.queue = 63; },
      [](LinkRecord& record) { record.arena_bytes *= 1024; },
      [](LinkRecord& record) { record.slots *= 1024; },
  };
  Producer spoilt = bus_.producer(producer_of("gpu0"));
  Producer sound = bus_.producer(producer_of("other"));
  for (const auto& fault : faults) {
    const Ticket lost = send(spoilt, "nobody can tell");
    const Ticket kept = send(sound, "as if nothing had been");
    come_back_to([&](Ledger& books) { fault(record_of(books, spoilt.link())); });
    expect_unknown(spoilt, lost);
    expect_served(sound, "other");
    EXPECT_EQ(outcome_of(sound, kept).code, OutcomeCode::kSuccess);
    expect_served(spoilt);
  }
  EXPECT_EQ(sound.statistics().closed, 0U);
}

// Who was connected has to say so again. Until then the daemon takes it for gone, so a link may be
// over when its producer is back: then nobody can tell what ran.
TEST_F(SpoiltBooks, OfConnectionsMakeClientsConnectAgain) {
  Producer producer = bus_.producer();
  const Ticket ticket = send(producer, "sent before");
  come_back_to([](Ledger& books) {
    for (std::uint32_t index = 0; index < books.header().max_connections; ++index) {
      books.connection(index).queue = 4711;
    }
  });
  {
    const Helper consumer = Helper::ack_everything(bus_.consumer_options());
    const Outcome outcome = outcome_of(producer, ticket);
    EXPECT_TRUE(outcome.code == OutcomeCode::kSuccess || outcome.reason == OutcomeReason::kUnknown)
        << outcome_name(outcome.code);
  }
  expect_served(producer);
}

}  // namespace
}  // namespace ackbus::process_test
