// Queues that nobody listed: a consumer begins them, a producer that misspells a name is told so,
// `ackbus queue remove` ends them. And `ackbus reload`, and what the programs say of a wrong line.
#include <algorithm>
#include <optional>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class QueueCommand : public ProcessTest {
 protected:
  static ConsumerOptions serving(const Bus& bus, const std::string& queue) {
    ConsumerOptions options = bus.consumer_options();
    options.queue = queue;
    return options;
  }

  static Producer producer_of(const Bus& bus, const std::string& queue) {
    ProducerOptions options = bus.producer_options();
    options.queue = queue;
    return bus.producer(options);
  }

  // A consumer that comes, says so, and goes with a goodbye.
  static void serve_once(const Bus& bus, const std::string& queue) {
    Helper consumer =
        Helper::consume(serving(bus, queue), [](Consumer&, const Channel&) { return 0; });
    ASSERT_TRUE(consumer.child.wait());
    ASSERT_TRUE(eventually([&] { return bus.queue(queue)["consumer"].is_null(); }));
  }

  static Ran send_to(const Bus& bus, const std::string& queue) {
    return bus.ackbus({"send", "--kind", "ComputeForces", "--queue", queue});
  }

  Folder folder_;
};

TEST_F(QueueCommand, AProducerOfAQueueThatNobodyServedIsToldAndNoQueueIsMade) {
  Bus bus;
  expect_one_line(send_to(bus, "typo"), 9, "no queue 'typo' on bus 'default': correct the name");
  write_file(folder_ / "g.mtx", "%%MatrixMarket matrix coordinate pattern symmetric\n2 2 1\n2 1\n");
  expect_one_line(bus.ackbus({"layout", folder_ / "g.mtx", "--steps", "1", "--queue", "typo"}), 9,
                  "no queue 'typo'");
  EXPECT_TRUE(bus.queue("typo").is_null());
}

TEST_F(QueueCommand, AConsumerBeginsAQueueThatStaysKnownWhenItGoes) {
  Bus bus;
  serve_once(bus, "batch");
  EXPECT_EQ(bus.queue("batch")["listed"], false);
  EXPECT_EQ(bus.queue("gpu0")["listed"], true);
  Producer producer = producer_of(bus, "batch");
  const Ticket ticket = send(producer, "wait for the next consumer");
  Helper next = Helper::ack_everything(serving(bus, "batch"));
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
}

TEST_F(QueueCommand, TheCheckLeavesOutAQueueWhoseLastUserWentAndNamesEveryProblem) {
  Bus bus;
  Helper gpu = Helper::ack_everything(bus.consumer_options());
  serve_once(bus, "batch");
  EXPECT_EQ(bus.ackbus({"status", "--check"}).status, 0);
  Producer waits = producer_of(bus, "batch");
  gpu.child.end();
  ASSERT_TRUE(eventually([&] { return bus.queue()["consumer"].is_null(); }));
  const Ran ran = bus.ackbus({"status", "--check"});
  EXPECT_EQ(ran.status, 10);
  EXPECT_THAT(ran.errors, AllOf(HasSubstr("queue gpu0 has no consumer"),
                                HasSubstr("queue batch has no consumer")));
  EXPECT_EQ(std::count(ran.errors.begin(), ran.errors.end(), '\n'), 2) << ran.errors;
}

TEST_F(QueueCommand, RemoveEndsTheQueuesMessagesAndItsName) {
  Bus bus;
  serve_once(bus, "batch");
  std::optional<Producer> producer = producer_of(bus, "batch");
  const Ticket ticket = send(*producer, "nobody begins it");
  const Ran ran = bus.ackbus({"queue", "remove", "batch"});
  EXPECT_EQ(ran.status, 0) << ran.errors;
  EXPECT_EQ(ran.output, "removed queue batch: closed 1 link(s), sent away 0 consumer(s)\n");
  const Outcome outcome = outcome_of(*producer, ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(outcome.reason, OutcomeReason::kQueueRemoved);
  producer.reset();
  EXPECT_TRUE(eventually([&] { return bus.queue("batch").is_null(); }));
  expect_one_line(send_to(bus, "batch"), 9, "no queue 'batch'");
}

TEST_F(QueueCommand, WhatCannotBeRemovedIsNamed) {
  Bus bus;
  expect_one_line(bus.ackbus({"queue", "remove", "nowhere"}), 9, "no queue 'nowhere'");
  expect_one_line(bus.ackbus({"queue", "remove", "gpu0"}), 2, "take its [[queue]] out");
  expect_one_line(bus.ackbus({"queue", "remove", "two words"}), 2, "1 to 31 of");
  EXPECT_FALSE(bus.queue("gpu0").is_null());
}

TEST_F(QueueCommand, ARemovedQueueStaysRemovedWhenTheDaemonRestarts) {
  Bus bus({.supervised = true});
  serve_once(bus, "batch");
  serve_once(bus, "stays");
  EXPECT_EQ(bus.ackbus({"queue", "remove", "batch"}).status, 0);
  bus.kill_daemon_and_wait();
  EXPECT_TRUE(bus.queue("batch").is_null());
  EXPECT_FALSE(bus.queue("stays").is_null());
}

TEST_F(QueueCommand, AFullTableNamesTheRemedyAndARemovedQueueMakesRoom) {
  Bus bus;
  constexpr int kQueuesMax = 64;  // gpu0 is one of them
  for (int number = 1; number < kQueuesMax; ++number) {
    serve_once(bus, "q" + std::to_string(number));
  }
  Helper one_more([&](const Channel& test) {
    const Result<Consumer> consumer = Consumer::connect(serving(bus, "one-more"));
    test.say(consumer ? "connected" : consumer.error().text);
    return 0;
  });
  EXPECT_THAT(one_more.channel.hear().value_or(""),
              AllOf(HasSubstr("64 queues"), HasSubstr("ackbus queue remove")));
  EXPECT_EQ(bus.ackbus({"queue", "remove", "q7"}).status, 0);
  Helper next = Helper::ack_everything(serving(bus, "one-more"));
  Producer producer = producer_of(bus, "one-more");
  EXPECT_EQ(outcome_of(producer, send(producer, "a")).code, OutcomeCode::kSuccess);
  EXPECT_TRUE(bus.queue("q7").is_null());
}

TEST_F(QueueCommand, ReloadTakesANewQueueAndRefusesAMistakeByName) {
  Bus bus({.config = "any_queue = false\n"});
  expect_one_line(send_to(bus, "later"), 9, "no queue 'later'");
  write_file(bus.config_path(),
             "any_queue = false\n[[queue]]\nname = \"gpu0\"\n[[queue]]\nname = \"later\"\n");
  const Ran reloaded = bus.ackbus({"reload"});
  EXPECT_EQ(reloaded.status, 0) << reloaded.errors;
  EXPECT_THAT(reloaded.output, HasSubstr("configuration reloaded"));
  EXPECT_EQ(
      bus.ackbus({"send", "--kind", "ComputeForces", "--queue", "later", "--wait", "0"}).status, 0);
  write_file(bus.config_path(), "any_queues = true\n");
  expect_one_line(bus.ackbus({"reload"}), 2, "ackbusd.toml:1:1: unknown key");
  EXPECT_FALSE(bus.queue("later").is_null()) << "the old configuration is in force";
}

TEST_F(QueueCommand, AWrongLineOfAnyProgramIsOneLineAndStatus2) {
  for (const char* program : {"ackbusd", "ackbus-gpu", "ackbus"}) {
    const std::string name = std::string(program) + ": ";
    expect_one_line(run_program(folder_, program, {"--bogus"}), 2, name);
  }
}

TEST_F(QueueCommand, EveryProgramSaysItsBuildAndTheSameLayout) {
  const auto line_of = [&](const std::string& program, const std::string& word) {
    const std::string text = run_program(folder_, program, {"--version"}).output;
    const std::size_t start = text.find("\n" + word);
    return start == std::string::npos ? text
                                      : text.substr(start + 1, text.find('\n', start + 1) - start);
  };
  for (const char* word : {"build ", "layout "}) {
    const std::string line = line_of("ackbus", word);
    EXPECT_THAT(line, HasSubstr(word));
    EXPECT_EQ(line_of("ackbusd", word), line);
    EXPECT_EQ(line_of("ackbus-gpu", word), line);
  }
}

}  // namespace
}  // namespace ackbus::process_test
