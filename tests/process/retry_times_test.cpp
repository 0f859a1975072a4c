// A consumer that never acks: retries come at the times of the formula, then there is a dead letter
// with payload, attempts and times, and `ackbus dead redrive` delivers it.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::HasSubstr;

constexpr milliseconds kTimeout{200};
constexpr std::uint32_t kRetries = 5;
// What the test asserts, beside what the machine itself was late: three processes take part.
constexpr double kBoundMs = 50;
constexpr double kAimMs = 5;  // what an idle machine with a tick of 1 ms shows
constexpr const char* kPayload =
    "a payload that is longer than the sixty-four bytes of a descriptor";

// docs/architecture.md, what the daemon decides: before retry n.
double delay_ms(std::uint32_t retry) { return std::min(100.0 * std::pow(2.0, retry - 1), 30000.0); }

class RetryTimes : public ProcessTest {
 protected:
  // Keeps taking, answers nothing: the library follows the redeliveries of what is still running.
  static Helper mute(const ConsumerOptions& options) {
    return Helper::consume(options, [](Consumer& consumer, const Channel& test) {
      for (;;) {
        Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
        if (!taken || !*taken) {
          return 2;
        }
        test.say("begun");
      }
    });
  }

  static Helper echo(const ConsumerOptions& options) {
    return Helper::consume(options, [](Consumer& consumer, const Channel& test) {
      for (;;) {
        Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
        if (!taken || !*taken || !consumer.ack(**taken)) {
          return 2;
        }
        test.say(text_of((*taken)->payload));
      }
    });
  }

  static Ticket send_hopeless(Producer& producer) {
    SendOptions options;
    options.timeout = kTimeout;
    options.max_retries = kRetries;
    return send(producer, kPayload, options);
  }

  static ProducerOptions declaring(const Bus& bus) {
    ProducerOptions options = bus.producer_options();
    options.min_timeout = kTimeout;
    return options;
  }
};

void expect_formula(const json& times, double late_ms) {
  ASSERT_EQ(times.size(), kRetries + 1) << "one time for each attempt";
  double worst_ms = 0;
  for (std::uint32_t retry = 1; retry <= kRetries; ++retry) {
    const auto before = times[retry - 1]["monotonic_ns"].get<std::uint64_t>();
    const auto after = times[retry]["monotonic_ns"].get<std::uint64_t>();
    const double measured_ms = static_cast<double>(after - before) / 1e6;
    const double formula_ms = static_cast<double>(kTimeout.count()) + delay_ms(retry);
    const double deviation_ms = measured_ms - formula_ms;
    std::printf(
        "retry %u: %8.3f ms after the attempt before it, formula %6.0f ms, off by %+.3f ms\n",
        retry, measured_ms, formula_ms, deviation_ms);
    EXPECT_LT(deviation_ms, kBoundMs + 3 * late_ms);
    EXPECT_GT(deviation_ms, -1.0) << "a retry is never early";
    worst_ms = std::max(worst_ms, std::fabs(deviation_ms));
  }
  std::printf(
      "worst deviation %.3f ms (aim: %.0f ms); sleepers of this machine were up to %.3f ms late\n",
      worst_ms, kAimMs, late_ms);
}

TEST_F(RetryTimes, RetriesFollowTheFormulaThenADeadLetterIsKeptAndRedriveDeliversIt) {
  Bus bus;
  Producer producer = bus.producer(declaring(bus));
  Helper consumer = mute(bus.consumer_options());
  Metronome metronome;
  const Ticket ticket = send_hopeless(producer);
  const Outcome outcome = outcome_of(producer, ticket);
  const double late_ms = metronome.worst_ms();
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kRetries);

  const std::string id = ticket.id.to_string();
  const Ran list = bus.ackbus({"dead", "list", "--json"});
  ASSERT_EQ(list.status, 0) << list.errors;
  const json letters = json::parse(list.output)["letters"];
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0]["id"], id);
  EXPECT_EQ(letters[0]["reason"], "retries");

  const Ran show = bus.ackbus({"dead", "show", id, "--json"});
  ASSERT_EQ(show.status, 0) << show.errors;
  const json letter = json::parse(show.output);
  EXPECT_EQ(letter["attempts"], kRetries + 1);
  EXPECT_EQ(letter["kind"], "ComputeForces");
  EXPECT_EQ(letter["queue"], "gpu0");
  EXPECT_EQ(letter["bytes"], std::string(kPayload).size());
  EXPECT_EQ(letter["payload_kept"], true);
  EXPECT_TRUE(letter["sent_at"].is_string());
  EXPECT_TRUE(letter["first_begun_at"].is_string());
  EXPECT_TRUE(letter["exhausted_at"].is_string());
  expect_formula(letter["attempt_times"], late_ms);
  EXPECT_EQ(bus.kind("ComputeForces")["retries"], kRetries);
  EXPECT_EQ(bus.kind("ComputeForces")["dead_lettered"], 1);

  consumer.child.end();
  Helper acks = echo(bus.consumer_options());
  const Ran redriven = bus.ackbus({"dead", "redrive", id, "--json"});
  ASSERT_EQ(redriven.status, 0) << redriven.errors;
  const json answer = json::parse(redriven.output);
  ASSERT_EQ(answer["redriven"].size(), 1U);
  EXPECT_EQ(answer["redriven"][0]["id"], id);
  EXPECT_NE(answer["redriven"][0]["new_id"], id) << "a new message, the same payload";
  EXPECT_EQ(acks.channel.hear(), kPayload);
  ASSERT_TRUE(eventually([&] { return bus.status()["dead_letters"]["count"] == 0; }));
  EXPECT_EQ(bus.ackbus({"dead", "show", id}).status, 9) << "the letter is gone";
}

TEST_F(RetryTimes, ARedrivenMessageThatFailsAgainKeepsItsHistory) {
  Bus bus;
  Producer producer = bus.producer(declaring(bus));
  Helper consumer = Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel&) {
    for (;;) {
      Result<std::optional<Delivery>> taken = mine.take(soon(seconds(3600)));
      if (!taken || !*taken || !mine.nack(**taken, milliseconds(1))) {
        return 2;
      }
    }
  });
  SendOptions once;
  once.timeout = kTimeout;
  once.max_retries = 1;
  const Ticket ticket = send(producer, kPayload, once);
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kExhausted);
  const Ran redriven = bus.ackbus({"dead", "redrive", ticket.id.to_string(), "--json"});
  ASSERT_EQ(redriven.status, 0) << redriven.errors;
  const std::string again = json::parse(redriven.output)["redriven"][0]["new_id"];
  ASSERT_TRUE(eventually([&] { return bus.ackbus({"dead", "show", again}).status == 0; }));
  const json letter = json::parse(bus.ackbus({"dead", "show", again, "--json"}).output);
  EXPECT_EQ(letter["origin"], ticket.id.to_string());
  ASSERT_EQ(letter["history"].size(), 1U);
  EXPECT_EQ(letter["history"][0]["id"], ticket.id.to_string());
  EXPECT_EQ(letter["history"][0]["reason"], "retries");
}

TEST_F(RetryTimes, AMessageThatNobodyBeginsEndsUndelivered) {
  Bus bus;
  Producer producer = bus.producer(declaring(bus));
  SendOptions options;
  options.max_wait = milliseconds(300);
  const Ticket ticket = send(producer, "nobody is there", options);
  const Outcome outcome = outcome_of(producer, ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kUndelivered);
  const Ran show = bus.ackbus({"show", ticket.id.to_string()});
  EXPECT_EQ(show.status, 0);
  EXPECT_THAT(show.output, HasSubstr("dead letter"));
}

TEST_F(RetryTimes, LettersOutliveTheDaemonAndPurgeRemovesThem) {
  Bus bus;
  {
    Producer producer = bus.producer(declaring(bus));
    SendOptions options;
    options.max_wait = kTimeout;
    EXPECT_EQ(outcome_of(producer, send(producer, kPayload, options)).code,
              OutcomeCode::kExhausted);
  }
  bus.program().child.end();
  bus.start();
  EXPECT_EQ(bus.status()["dead_letters"]["count"], 1);
  const Ran purged = bus.ackbus({"dead", "purge", "all"});
  EXPECT_EQ(purged.status, 0) << purged.errors;
  EXPECT_EQ(bus.status()["dead_letters"]["count"], 0);
}

}  // namespace
}  // namespace ackbus::process_test
