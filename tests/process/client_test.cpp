// What a producer and a consumer can do with a real daemon between them: many outstanding messages,
// an event loop, back-pressure, cancel, order, nack, progress, untracked messages, loans, close.
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::HasSubstr;

std::byte pattern(std::uint64_t at) { return static_cast<std::byte>((at * 2654435761U) >> 13U); }

bool has_pattern(std::span<const std::byte> bytes) {
  for (std::uint64_t at = 0; at < bytes.size(); ++at) {
    if (bytes[at] != pattern(at)) {
      return false;
    }
  }
  return true;
}

class Client : public ProcessTest {
 protected:
  // Begins what it gets, says "SEQUENCE ATTEMPT TEXT", then obeys one word for each: ack, fail,
  // nack, keep. With no word it waits.
  static Helper puppet(const ConsumerOptions& options) {
    return Helper::consume(options, [](Consumer& consumer, const Channel& test) {
      for (;;) {
        Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
        if (!taken || !*taken) {
          return 2;
        }
        const Delivery& delivery = **taken;
        test.say(std::to_string(delivery.sequence) + " " + std::to_string(delivery.attempt) + " " +
                 text_of(delivery.payload));
        const std::string word = test.hear(soon(seconds(3600))).value_or("gone");
        if (word == "gone") {
          return 0;
        }
        if (word == "cancelled?") {
          test.say(consumer.cancelled(delivery) ? "yes" : "no");
        }
        const bool sound = word == "nack" ? bool(consumer.nack(delivery))
                           : word == "fail"
                               ? bool(consumer.ack(delivery, {AckStatus::kFailed, "as told", {}}))
                           : word == "keep" ? true
                                            : bool(consumer.ack(delivery));
        if (!sound) {
          return 3;
        }
      }
    });
  }

  void connect(const ProducerOptions& options) { producer_.emplace(bus_.producer(options)); }
  void connect() { connect(bus_.producer_options()); }

  Bus bus_;
  std::optional<Producer> producer_;
};

TEST_F(Client, SeveralMessagesAreOutstandingAndAnsweredInAnyOrder) {
  connect();
  Helper consumer = Helper::consume(bus_.consumer_options(), [](Consumer& mine, const Channel&) {
    std::vector<Delivery> begun;
    while (begun.size() < 10) {
      Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
      if (!taken || !*taken) {
        return 2;
      }
      begun.push_back(std::move(**taken));
    }
    for (auto last = begun.rbegin(); last != begun.rend(); ++last) {
      if (!mine.ack(*last)) {
        return 3;
      }
    }
    [[maybe_unused]] const auto rest = mine.take(soon(seconds(3600)));
    return 0;
  });
  std::vector<Ticket> tickets;
  for (int i = 0; i < 10; ++i) {
    tickets.push_back(send(*producer_, "x"));
    EXPECT_EQ(tickets.back().sequence, static_cast<std::uint64_t>(i) + 1);
  }
  std::set<std::string> ids;
  std::vector<Completion> completions;
  while (completions.size() < 10) {
    ASSERT_TRUE(producer_->wait_any(completions, soon()));
  }
  for (const Completion& completion : completions) {
    EXPECT_EQ(completion.outcome.code, OutcomeCode::kSuccess);
    ids.insert(completion.ticket.id.to_string());
  }
  EXPECT_EQ(ids.size(), 10U);
  EXPECT_EQ(completions.front().ticket.sequence, 10U) << "in the order of their acks";
  const Result<Outcome> twice = producer_->wait(tickets[0], soon());
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::kNotFound);
}

TEST_F(Client, AnEpollLoopGetsThousandsOfOutcomes) {
  constexpr std::uint64_t kMessages = 5000;
  connect();
  Helper consumer = Helper::ack_everything(bus_.consumer_options());
  const int loop = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  ASSERT_EQ(::epoll_ctl(loop, EPOLL_CTL_ADD, producer_->completion_fd(), &event), 0);
  std::uint64_t sent = 0;
  std::uint64_t done = 0;
  std::vector<Completion> completions;
  while (done < kMessages) {
    while (sent < kMessages && sent - done < 48) {
      send(*producer_, "looped");
      sent += 1;
    }
    ASSERT_EQ(::epoll_wait(loop, &event, 1, 30'000), 1)
        << "asleep with " << sent - done << " outcomes to come, " << done << " done";
    completions.clear();
    while (producer_->reap(completions) > 0) {
    }
    for (const Completion& completion : completions) {
      ASSERT_EQ(completion.outcome.code, OutcomeCode::kSuccess);
    }
    done += completions.size();
  }
  EXPECT_EQ(producer_->pending(), 0U);
  ::close(loop);
}

TEST_F(Client, ACompletionFdIsReadableAsSoonAsTheOutcomeIsThere) {
  connect();
  Helper consumer = puppet(bus_.consumer_options());
  epoll_event event{};
  const int loop = ::epoll_create1(EPOLL_CLOEXEC);
  event.events = EPOLLIN;
  ASSERT_EQ(::epoll_ctl(loop, EPOLL_CTL_ADD, producer_->completion_fd(), &event), 0);
  for (int round = 0; round < 20; ++round) {
    const Ticket ticket = send(*producer_, "slow");
    ASSERT_TRUE(consumer.channel.hear());
    EXPECT_FALSE(producer_->poll(ticket));
    consumer.channel.say("ack");
    std::optional<Outcome> outcome;
    for (int looks = 0; looks < 50 && !outcome; ++looks) {
      ASSERT_EQ(::epoll_wait(loop, &event, 1, 30'000), 1);
      outcome = producer_->poll(ticket);
    }
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->code, OutcomeCode::kSuccess);
  }
  ::close(loop);
}

TEST_F(Client, FullSlotsAreBackPressureUntilTheDeadline) {
  ProducerOptions options = bus_.producer_options();
  options.slots = 4;
  connect(options);
  for (int i = 0; i < 4; ++i) {
    send(*producer_, "fills");
  }
  const auto before = steady_clock::now();
  const Result<Ticket> refused =
      producer_->send(Kind::kComputeForces, bytes_of("x"), soon(milliseconds(50)));
  EXPECT_GE(steady_clock::now() - before, milliseconds(50)) << "it waits for its deadline";
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBackPressured);
  EXPECT_THAT(refused.error().text, HasSubstr("4 of 4 slots"));
  Helper consumer = Helper::ack_everything(bus_.consumer_options());
  EXPECT_EQ(outcome_of(*producer_, send(*producer_, "goes on")).code, OutcomeCode::kSuccess);
}

TEST_F(Client, AFullArenaIsBackPressureToo) {
  ProducerOptions options = bus_.producer_options();
  options.arena_bytes = 65536;
  connect(options);
  const std::string large(40'000, 'x');
  const Ticket first = send(*producer_, large);
  const Result<Ticket> refused =
      producer_->send(Kind::kComputeForces, bytes_of(large), soon(milliseconds(20)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBackPressured);
  EXPECT_THAT(refused.error().text, HasSubstr("arena bytes free"));
  Helper consumer = Helper::ack_everything(bus_.consumer_options());
  EXPECT_EQ(outcome_of(*producer_, first).code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome_of(*producer_, send(*producer_, large)).code, OutcomeCode::kSuccess);
}

TEST_F(Client, CancelIsDecidedByTheConsumerAtBegin) {
  connect();
  const Ticket unbegun = send(*producer_, "never begun");
  ASSERT_TRUE(producer_->cancel(unbegun));
  Helper consumer = puppet(bus_.consumer_options());
  EXPECT_EQ(outcome_of(*producer_, unbegun).code, OutcomeCode::kCancelled);
  const Ticket begun = send(*producer_, "begun");
  ASSERT_EQ(consumer.channel.hear(), "2 1 begun");
  ASSERT_TRUE(producer_->cancel(begun));
  consumer.channel.say("cancelled?");
  EXPECT_EQ(consumer.channel.hear(), "yes") << "the handler may look";
  EXPECT_EQ(outcome_of(*producer_, begun).code, OutcomeCode::kSuccess) << "what runs is answered";
  EXPECT_FALSE(producer_->cancel(begun));
  const Ticket back = send(*producer_, "given back");
  ASSERT_EQ(consumer.channel.hear(), "3 1 given back");
  ASSERT_TRUE(producer_->cancel(back));
  consumer.channel.say("nack");
  EXPECT_EQ(outcome_of(*producer_, back).code, OutcomeCode::kCancelledMayHaveRun);
  EXPECT_EQ(producer_->statistics().cancelled, 2U);
}

TEST_F(Client, AfterHoldsAMessageUntilTheEarlierOneIsFinal) {
  connect();
  ConsumerOptions options = bus_.consumer_options();
  Helper consumer = Helper::consume(options, [](Consumer& mine, const Channel& test) {
    Result<std::optional<Delivery>> first = mine.take(soon(seconds(3600)));
    if (!first || !*first) {
      return 2;
    }
    // It begins nothing behind the one that waits for `first`.
    Result<std::optional<Delivery>> early = mine.take(soon(milliseconds(100)));
    test.say(early && !*early ? "held" : "not held");
    if (!mine.ack(**first)) {
      return 3;
    }
    Result<std::optional<Delivery>> second = mine.take(soon(seconds(3600)));
    if (!second || !*second) {
      return 4;
    }
    test.say(text_of((*second)->payload));
    return mine.ack(**second) && mine.take(soon(seconds(3600))) ? 0 : 5;
  });
  const Ticket first = send(*producer_, "first");
  SendOptions after;
  after.after_sequence = first.sequence;
  const Ticket second = send(*producer_, "second", after);
  EXPECT_EQ(consumer.channel.hear(), "held");
  EXPECT_EQ(consumer.channel.hear(), "second");
  EXPECT_EQ(outcome_of(*producer_, first).code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome_of(*producer_, second).code, OutcomeCode::kSuccess);
}

TEST_F(Client, ANackComesBackAsTheNextAttemptAndAFailureIsFinal) {
  connect();
  Helper consumer = puppet(bus_.consumer_options());
  const Ticket given_back = send(*producer_, "a");
  ASSERT_EQ(consumer.channel.hear(), "1 1 a");
  consumer.channel.say("nack");
  ASSERT_EQ(consumer.channel.hear(), "1 2 a");
  consumer.channel.say("ack");
  const Outcome outcome = outcome_of(*producer_, given_back);
  EXPECT_EQ(outcome.code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome.attempt, 2U);
  EXPECT_GE(outcome.latency_ns, 100'000'000U) << "latency runs from the first send";
  const Ticket failing = send(*producer_, "b");
  ASSERT_EQ(consumer.channel.hear(), "2 1 b");
  consumer.channel.say("fail");
  const Outcome failure = outcome_of(*producer_, failing);
  EXPECT_EQ(failure.code, OutcomeCode::kFailed);
  EXPECT_EQ(failure.text(), "as told");
  const json kind = bus_.kind("ComputeForces");
  EXPECT_EQ(kind["given_back"], 1);
  EXPECT_EQ(kind["retries"], 1);
  EXPECT_EQ(kind["failed"], 1);
  EXPECT_EQ(bus_.status()["dead_letters"]["count"], 0) << "a failure is no dead letter";
}

TEST_F(Client, ProgressKeepsALongMessageAliveBeyondItsTimeout) {
  constexpr milliseconds kTimeout{1500};  // a busy machine may let a process wait for so long
  ProducerOptions declared = bus_.producer_options();
  declared.min_timeout = kTimeout;
  connect(declared);
  Helper consumer = Helper::consume(bus_.consumer_options(), [=](Consumer& mine, const Channel&) {
    Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
    if (!taken || !*taken) {
      return 2;
    }
    const auto begun = steady_clock::now();
    while (steady_clock::now() - begun < 2 * kTimeout) {
      if (!mine.progress(**taken)) {
        return 3;
      }
      // Work that looks at its queue now and then; nothing else is there to take.
      if (const auto none = mine.take(soon(kTimeout / 30)); !none || *none) {
        return 4;
      }
    }
    return mine.ack(**taken) && mine.take(soon(seconds(3600))) ? 0 : 5;
  });
  SendOptions options;
  options.timeout = kTimeout;
  options.max_retries = 0;
  const Ticket ticket = send(*producer_, "long", options);
  const Outcome outcome = outcome_of(*producer_, ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kSuccess) << "without progress it had ended Exhausted";
  EXPECT_EQ(outcome.attempt, 1U);
  EXPECT_GE(outcome.latency_ns, 3'000'000'000U);
}

TEST_F(Client, AnUntrackedMessageArrivesAndHasNoOutcome) {
  connect();
  Helper consumer = puppet(bus_.consumer_options());
  ASSERT_TRUE(producer_->post(Kind::kUpdateNodePositions, bytes_of("posted"), soon()));
  ASSERT_EQ(consumer.channel.hear(), "1 1 posted");
  consumer.channel.say("ack");
  EXPECT_EQ(producer_->pending(), 0U);
  EXPECT_EQ(outcome_of(*producer_,
                       [&] {
                         const Ticket next = send(*producer_, "tracked");
                         EXPECT_EQ(consumer.channel.hear(), "2 1 tracked");
                         consumer.channel.say("ack");
                         return next;
                       }())
                .code,
            OutcomeCode::kSuccess);
  std::vector<Completion> none;
  EXPECT_EQ(producer_->reap(none), 0U);
  EXPECT_EQ(producer_->statistics().posted, 1U);
  EXPECT_EQ(producer_->statistics().sent, 1U);
}

TEST_F(Client, ALoanedMegabyteArrivesByteForByte) {
  constexpr std::uint64_t kBytes = 1 << 20;
  connect();
  Helper consumer = Helper::consume(bus_.consumer_options(), [](Consumer& mine, const Channel&) {
    for (;;) {
      Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
      if (!taken || !*taken) {
        return 2;
      }
      const bool sound = (*taken)->payload.size() == kBytes && has_pattern((*taken)->payload);
      const AckStatus status = sound ? AckStatus::kSuccess : AckStatus::kFailed;
      if (!mine.ack(**taken, {status, sound ? "" : "other bytes", {}})) {
        return 3;
      }
    }
  });
  for (int round = 0; round < 3; ++round) {
    Result<Loan> loan = producer_->loan(Kind::kUpdateGpuGraphData, kBytes, soon());
    ASSERT_TRUE(loan) << loan.error().text;
    for (std::uint64_t at = 0; at < kBytes; ++at) {
      loan->bytes()[at] = pattern(at);
    }
    const Result<Ticket> ticket = producer_->commit(std::move(loan).value());
    ASSERT_TRUE(ticket) << ticket.error().text;
    const Outcome outcome = outcome_of(*producer_, *ticket);
    EXPECT_EQ(outcome.code, OutcomeCode::kSuccess) << outcome.text();
  }
  {
    const Result<Loan> dropped = producer_->loan(Kind::kUpdateGpuGraphData, kBytes, soon());
    ASSERT_TRUE(dropped);
  }
  EXPECT_TRUE(producer_->loan(Kind::kUpdateGpuGraphData, kBytes, soon()))
      << "an uncommitted loan gives its memory back";
}

TEST_F(Client, CloseDrainsUntilItsDeadline) {
  connect();
  Helper consumer = puppet(bus_.consumer_options());
  send(*producer_, "x");
  ASSERT_TRUE(consumer.channel.hear());
  const Result<void> early = producer_->close(soon(milliseconds(20)));
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(early.error().text, HasSubstr("1 messages are still pending"));
  consumer.channel.say("ack");
  EXPECT_TRUE(eventually([&] { return bus_.status()["links"].empty(); }));
  EXPECT_EQ(bus_.kind("ComputeForces")["success"], 1);

  Helper acks = std::move(consumer);
  connect();
  send(*producer_, "y");
  ASSERT_TRUE(acks.channel.hear());
  acks.channel.say("ack");
  EXPECT_TRUE(producer_->close(soon()));
  const Result<Ticket> refused = producer_->send(Kind::kComputeForces, {}, soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kClosed);
}

TEST_F(Client, APayloadOfSixGibibytesIsAnOptionAndNoRebuild) {
  constexpr std::uint64_t kBytes = 6ULL << 30;
  constexpr std::uint64_t kNeededKib = 14ULL << 20;
  std::ifstream meminfo("/proc/meminfo");
  std::uint64_t available_kib = 0;
  for (std::string word; meminfo >> word;) {
    if (word == "MemAvailable:") {
      meminfo >> available_kib;
    }
  }
  if (std::getenv("ACKBUS_BIG") == nullptr) {
    GTEST_SKIP() << "set ACKBUS_BIG=1 to send 6 GiB";
  }
  if (available_kib < kNeededKib) {
    GTEST_SKIP() << "needs 14 GiB of free memory, there are " << (available_kib >> 20U);
  }
  ProducerOptions options = bus_.producer_options();
  options.arena_bytes = kBytes;
  options.connect_timeout = seconds(60);
  connect(options);
  Helper consumer = Helper::consume(bus_.consumer_options(), [](Consumer& mine, const Channel&) {
    Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
    if (!taken || !*taken) {
      return 2;
    }
    const std::span<const std::byte> payload = (*taken)->payload;
    bool sound = payload.size() == kBytes;
    for (std::uint64_t at = 0; sound && at < kBytes; at += 1 << 20) {
      sound = payload[at] == pattern(at);
    }
    sound = sound && payload[kBytes - 1] == pattern(kBytes - 1);
    const AckStatus status = sound ? AckStatus::kSuccess : AckStatus::kFailed;
    return mine.ack(**taken, {status, {}, {}}) && mine.take(soon(seconds(3600))) ? 0 : 3;
  });
  Result<Loan> loan = producer_->loan(Kind::kUpdateGpuGraphData, kBytes, soon());
  ASSERT_TRUE(loan) << loan.error().text;
  for (std::uint64_t at = 0; at < kBytes; at += 1 << 20) {
    loan->bytes()[at] = pattern(at);
  }
  loan->bytes()[kBytes - 1] = pattern(kBytes - 1);
  const Result<Ticket> ticket = producer_->commit(std::move(loan).value());
  ASSERT_TRUE(ticket) << ticket.error().text;
  EXPECT_EQ(outcome_of(*producer_, *ticket).code, OutcomeCode::kSuccess);
}

}  // namespace
}  // namespace ackbus::process_test
