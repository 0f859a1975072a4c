// Handles of libackbus across threads and across fork, and event loops that see the daemon go.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::HasSubstr;

class Handles : public ProcessTest {};

TEST_F(Handles, AHandleUsedAfterForkIsRefusedByName) {
  Bus bus;
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "before");
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {  // Not a Helper: that would close the handle's descriptors.
    const Result<Ticket> sent = producer.send(Kind::kComputeForces, {}, soon());
    const Result<Outcome> waited = producer.wait(ticket, soon());
    const Result<void> closed = producer.close(soon());
    std::vector<Completion> completions;
    const bool refused = !sent && sent.error().code == ErrorCode::kForked && !waited &&
                         waited.error().code == ErrorCode::kForked && !closed &&
                         closed.error().code == ErrorCode::kForked && !producer.poll(ticket) &&
                         producer.reap(completions) == 0;
    const std::string text = refused ? sent.error().text : "not refused";
    [[maybe_unused]] const ssize_t written = ::write(ends[1], text.data(), text.size());
    {
      const Producer gone = std::move(producer);  // Its end must not close the parent's link.
    }
    ::_exit(0);
  }
  std::string text(256, '\0');
  const ssize_t got = ::read(ends[0], text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(text, HasSubstr("fork()"));
  EXPECT_THAT(text, HasSubstr("connect again in the child"));
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome_of(producer, send(producer, "after")).code, OutcomeCode::kSuccess)
      << "the parent's handle is as good as before";
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(Handles, ADestroyedConsumerHandsOverAndItsProcessLivesOn) {
  Bus bus;
  Result<Consumer> active = Consumer::connect(bus.consumer_options());
  Result<Consumer> next = Consumer::connect(bus.consumer_options());
  ASSERT_TRUE(active && next);
  std::optional<Consumer> first = std::move(*active);
  Consumer standby = std::move(*next);
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "given up");
  const Result<std::optional<Delivery>> begun = first->take(soon());
  ASSERT_TRUE(begun && begun->has_value());
  first.reset();
  const Result<std::optional<Delivery>> again = standby.take(soon());
  ASSERT_TRUE(again && again->has_value());
  EXPECT_EQ((*again)->sequence, (*begun)->sequence);
  EXPECT_EQ((*again)->attempt, 2U);
  EXPECT_TRUE((*again)->may_have_run);
  ASSERT_TRUE(standby.ack(**again));
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess)
      << "this process was both consumers, and nobody ended it";
}

TEST_F(Handles, FourThreadsSendAndWaitOnOneSharedHandle) {
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  Bus bus;
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  for (const WaitMode mode : {WaitMode::kAdaptive, WaitMode::kBlock}) {
    ProducerOptions options = bus.producer_options();
    options.shared_between_threads = true;
    options.wait = mode;
    options.slots = 16;
    Producer producer = bus.producer(options);
    std::atomic<int> successes{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < kEach; ++i) {
          const Result<Ticket> ticket =
              producer.send(Kind::kComputeForces, bytes_of("shared"), soon());
          const Result<Outcome> outcome =
              ticket ? producer.wait(*ticket, soon()) : Result<Outcome>(ticket.error());
          successes += outcome && outcome->code == OutcomeCode::kSuccess ? 1 : 0;
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_EQ(successes.load(), kThreads * kEach);
    EXPECT_EQ(producer.statistics().success, static_cast<std::uint64_t>(kThreads * kEach));
  }
}

TEST_F(Handles, ASharedConsumerHandleServesSeveralThreads) {
  Bus bus;
  ConsumerOptions options = bus.consumer_options();
  options.shared_between_threads = true;
  Helper consumer = Helper::consume(options, [](Consumer& mine, const Channel&) {
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 3; ++thread) {
      threads.emplace_back([&] {
        for (;;) {
          Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
          if (!taken || !*taken || !mine.ack(**taken)) {
            return;
          }
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    return 0;
  });
  Producer producer = bus.producer();
  for (int round = 0; round < 50; ++round) {
    std::vector<Ticket> tickets;
    for (int i = 0; i < 30; ++i) {
      tickets.push_back(send(producer, "x"));
    }
    for (const Ticket& ticket : tickets) {
      ASSERT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
    }
  }
}

TEST_F(Handles, ManyProducersAreServedRoundRobinAndNoneStarves) {
  Bus bus;
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  std::vector<Helper> producers;
  for (int i = 0; i < 6; ++i) {
    producers.emplace_back([&](const Channel& test) {
      Result<Producer> producer = Producer::connect(bus.producer_options());
      if (!producer) {
        return 1;
      }
      for (int message = 0; message < 300; ++message) {
        const Result<Ticket> ticket = producer->send(Kind::kComputeForces, bytes_of("x"), soon());
        const Result<Outcome> outcome =
            ticket ? producer->wait(*ticket, soon()) : Result<Outcome>(ticket.error());
        if (!outcome || outcome->code != OutcomeCode::kSuccess) {
          return 2;
        }
      }
      test.say("done");
      return 0;
    });
  }
  for (Helper& producer : producers) {
    EXPECT_EQ(producer.channel.hear(), "done");
    const std::optional<ProcessEnd> end = producer.child.wait();
    EXPECT_TRUE(end && end->exit_status == 0);
  }
  ASSERT_TRUE(eventually([&] { return bus.status()["links"].empty(); }));
  EXPECT_EQ(bus.kind("ComputeForces")["success"], 6 * 300);
}

TEST_F(Handles, AnEventLoopThatOnlyPollsItsFdLearnsThatTheStoreWasLostAndGoesOn) {
  Bus bus;
  Producer producer = bus.producer();
  pollfd waiting{producer.completion_fd(), POLLIN, 0};
  send(producer, "lost");
  bus.program().child.end();
  bus.start();
  std::vector<Completion> completions;
  while (completions.empty()) {
    ASSERT_EQ(::poll(&waiting, 1, 30'000), 1) << "left waiting without a word";
    producer.reap(completions);
  }
  EXPECT_EQ(completions[0].outcome.code, OutcomeCode::kClosed);
  EXPECT_EQ(completions[0].outcome.reason, OutcomeReason::kUnknown);
  Helper consumer = Helper::ack_everything(bus.consumer_options());
  send(producer, "on the new link");
  completions.clear();
  while (completions.empty()) {
    ASSERT_EQ(::poll(&waiting, 1, 30'000), 1);
    producer.reap(completions);
  }
  EXPECT_EQ(completions[0].outcome.code, OutcomeCode::kSuccess);
}

TEST_F(Handles, AnEventLoopThatOnlyPollsItsFdSeesTheBusShutDown) {
  Bus bus;
  Producer producer = bus.producer();
  pollfd waiting{producer.completion_fd(), POLLIN, 0};
  send(producer, "pending");
  ASSERT_FALSE(bus.ask({{"verb", "shutdown"}}).is_null());
  std::vector<Completion> completions;
  while (completions.empty()) {
    ASSERT_EQ(::poll(&waiting, 1, 30'000), 1);
    producer.reap(completions);
  }
  EXPECT_EQ(completions[0].outcome.reason, OutcomeReason::kBusShutDown);
}

}  // namespace
}  // namespace ackbus::process_test
