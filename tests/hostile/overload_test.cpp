// More than the bus can do: producers beyond the quota, and ten times the rate that a slow consumer
// keeps up with. Memory stays where it was, back pressure has a name and keeps its deadline, no
// link starves another, and a consumer that hangs is reported by process, queue, age and message.
#include <signal.h>

#include <algorithm>

#include "tests/hostile/bystanders.hpp"

namespace ackbus::hostile {
namespace {

using process_test::Bus;
using process_test::eventually;
using process_test::Helper;
using process_test::json;
using process_test::milliseconds;
using process_test::ProcessTest;
using process_test::seconds;
using process_test::send;
using process_test::soon;
using process_test::steady_clock;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kServed = 3'000;  // messages of all producers together

// Pages of the process that are its own: what a leak would show in.
std::uint64_t private_kib(pid_t pid) {
  std::istringstream lines(process_test::read_file("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("RssAnon:", 0) == 0) {
      return std::stoull(line.substr(8));
    }
  }
  return 0;
}

// Keeps its link full: sends until there is no room, again and again, with a short deadline.
Helper greedy_producer(const Bus& bus, Watch& watch) {
  ProducerOptions options = bus.producer_options();
  options.slots = 16;
  return Helper([=, &watch](const process_test::Channel&) {
    Result<Producer> producer = Producer::connect(options);
    std::vector<Completion> completions;
    while (producer && !watch.stop.load()) {
      const Result<Ticket> ticket = producer->send(Kind::kComputeForces, {}, soon(milliseconds(1)));
      if (!ticket) {
        watch.mistakes.fetch_add(ticket.error().code == ErrorCode::kBackPressured ? 1 : 0);
        watch.failures.fetch_add(ticket.error().code == ErrorCode::kBackPressured ? 0 : 1);
      }
      completions.clear();
      watch.checked.fetch_add(producer->reap(completions));
    }
    return producer ? 0 : 1;
  });
}

class Overload : public ProcessTest {};

TEST_F(Overload, ServesEqualLinksEquallyAndKeepsItsMemory) {
  constexpr std::size_t kProducers = 6;
  Bus bus({.config = "[limits]\nmax_links = 6\n"});
  Bystander slow = Bystander::consumer(bus, "gpu0", 200);
  std::vector<Watch*> pages;
  std::vector<Helper> producers;
  for (std::size_t i = 0; i < kProducers; ++i) {
    pages.push_back(shared_watch());
    producers.push_back(greedy_producer(bus, *pages.back()));
  }
  ASSERT_TRUE(eventually([&] { return bus.status()["links"].size() == kProducers; }));
  const Result<Producer> more = Producer::connect(bus.producer_options());
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kQuota);
  EXPECT_THAT(more.error().text, HasSubstr("[limits] max_links = 6"));
  // Each link's answers have their memory once its consumer serves it.
  ASSERT_TRUE(eventually([&] {
    return std::all_of(pages.begin(), pages.end(),
                       [](const Watch* page) { return page->checked.load() > 0; });
  }));
  const json memory = bus.status()["memory"];
  const std::uint64_t before_kib = private_kib(bus.daemon_pid());
  const auto counts = [&] {
    std::vector<std::uint64_t> now;
    for (const Watch* page : pages) {
      now.push_back(page->checked.load());
    }
    return now;
  };
  const std::vector<std::uint64_t> first = counts();
  const auto served = [&] {
    std::uint64_t sum = 0;
    const std::vector<std::uint64_t> now = counts();
    for (std::size_t i = 0; i < kProducers; ++i) {
      sum += now[i] - first[i];
    }
    return sum;
  };
  ASSERT_TRUE(eventually([&] { return served() >= kServed; }, seconds(90))) << served();
  std::vector<std::uint64_t> shares = counts();
  for (std::size_t i = 0; i < kProducers; ++i) {
    shares[i] -= first[i];
  }
  const auto [least, most] = std::minmax_element(shares.begin(), shares.end());
  EXPECT_GE(static_cast<double>(*least), 0.8 * static_cast<double>(*most))
      << *least << " of the slowest, " << *most << " of the fastest";
  EXPECT_EQ(bus.status()["memory"], memory);
  // A few megabytes of allocator slack and tables of the page; the load was thousands of messages.
  EXPECT_LT(private_kib(bus.daemon_pid()), before_kib + 8 * 1024);
  for (std::size_t i = 0; i < kProducers; ++i) {
    EXPECT_GT(pages[i]->mistakes.load(), 0U) << "nobody was held back";
    EXPECT_EQ(pages[i]->failures.load(), 0U) << "by anything but back pressure";
    pages[i]->stop.store(true);
    EXPECT_TRUE(producers[i].child.wait());
  }
  slow.finish();
}

TEST_F(Overload, BackPressureHasANameAndKeepsItsDeadline) {
  Bus bus;
  Helper nobody = Helper::consume(bus.consumer_options(), [](Consumer&, const auto& test) {
    [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
    return 0;  // It takes nothing.
  });
  ProducerOptions options = bus.producer_options();
  options.slots = 4;
  Producer producer = bus.producer(options);
  for (int i = 0; i < 4; ++i) {
    send(producer, "x");
  }
  const auto deadline = soon(milliseconds(30));
  const Result<Ticket> refused = producer.send(Kind::kComputeForces, {}, deadline);
  ASSERT_FALSE(refused);
  EXPECT_GE(steady_clock::now(), deadline) << "it waited for room";
  EXPECT_EQ(refused.error().code, ErrorCode::kBackPressured);
  EXPECT_STREQ(error_name(refused.error().code), "back-pressured");
  EXPECT_THAT(refused.error().text, HasSubstr("slot"));
  EXPECT_EQ(producer.statistics().sent, 4U);
}

TEST_F(Overload, AConsumerThatHangsIsReportedByProcessQueueAgeAndMessage) {
  Bus bus({.config = "[[kind]]\nid = 9\nname = \"Short\"\ntimeout_ms = 50\nmax_retries = 1000\n"});
  Bystander consumer = Bystander::consumer(bus, "gpu0", 1'000);
  Producer producer = bus.producer();
  const Kind kind = *producer.kind("Short");
  EXPECT_EQ(process_test::outcome_of(producer, send(producer, "x", {}, kind)).code,
            OutcomeCode::kFailed)
      << "it is no bystander's";
  // Stopped while it works on one of these.
  std::vector<std::string> ids;
  json stalled;
  ASSERT_TRUE(eventually([&] {
    for (int i = 0; i < 16; ++i) {
      ids.push_back(send(producer, "x", {}, kind).id.to_string());
    }
    consumer.child().signal(SIGSTOP);
    if (!eventually(
            [&] {
              stalled = bus.queue()["stalled"];
              return !stalled.is_null();
            },
            milliseconds(400))) {  // It was stopped between two messages.
      consumer.child().signal(SIGCONT);
    }
    return !stalled.is_null();
  }));
  EXPECT_EQ(stalled["pid"], consumer.child().pid());
  EXPECT_GE(stalled["age_ms"], 100) << "twice the timeout";
  const std::string message = stalled["message"];
  EXPECT_NE(std::find(ids.begin(), ids.end(), message), ids.end());
  const process_test::Ran check = bus.ackbus({"status", "--check"});
  EXPECT_NE(check.status, 0);
  EXPECT_THAT(check.output + check.errors,
              AllOf(HasSubstr("queue gpu0 is stalled"),
                    HasSubstr("pid " + std::to_string(consumer.child().pid())), HasSubstr(" ms"),
                    HasSubstr("message ")));
}

}  // namespace
}  // namespace ackbus::hostile
