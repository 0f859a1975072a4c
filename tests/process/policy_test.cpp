// What ends a message, or makes it wait, besides an ack: supersede by key, `after`, giving back,
// max_wait, max_age, and clocks that start at commit. Cancel, and the plain cases of nack, `after`
// and progress, are in client_test.cpp; the times of retries in retry_times_test.cpp.
#include <algorithm>
#include <sstream>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

// A consumer that does what it is told, one thing after the other, so that a test decides every
// order of events. Its words: "take" (waits for the next delivery), "look" (does not wait), and
// "ack TEXT", "fail TEXT", "progress TEXT", "nack TEXT MS" about what it runs.
class Puppet {
 public:
  explicit Puppet(const ConsumerOptions& options)
      : helper_(Helper::consume(options, &Puppet::obey)) {}

  // "SEQUENCE ATTEMPT TEXT" of the next delivery.
  std::string take() { return told("take"); }
  // The same, or "nothing" when there is none that it may begin now.
  std::string look() { return told("look"); }
  std::string told(const std::string& command) {
    helper_.channel.say(command);
    return answer();
  }
  // For a "take" that was said before.
  void begin_take() { helper_.channel.say("take"); }
  std::string answer() { return helper_.channel.hear().value_or("no answer"); }
  void kill() { helper_.child.end(); }

 private:
  static std::optional<std::string> take_one(Consumer& mine, std::vector<Delivery>& running,
                                             Deadline deadline) {
    Result<std::optional<Delivery>> taken = mine.take(deadline);
    if (!taken) {
      return std::nullopt;
    }
    if (!*taken) {
      return "nothing";
    }
    running.push_back(**taken);
    return std::to_string((*taken)->sequence) + " " + std::to_string((*taken)->attempt) + " " +
           text_of((*taken)->payload);
  }

  // Payloads are short, so a delivery's is its own until the answer.
  static bool answer_one(Consumer& mine, std::vector<Delivery>& running, const std::string& verb,
                         const std::string& text, int delay_ms) {
    const auto found = std::find_if(running.begin(), running.end(), [&](const Delivery& delivery) {
      return text_of(delivery.payload) == text;
    });
    if (found == running.end()) {
      return false;
    }
    if (verb == "progress") {
      return bool(mine.progress(*found));
    }
    const Delivery delivery = *found;
    running.erase(found);
    return verb == "nack"   ? bool(mine.nack(delivery, milliseconds(delay_ms)))
           : verb == "fail" ? bool(mine.ack(delivery, {AckStatus::kFailed, "as told", {}}))
                            : bool(mine.ack(delivery));
  }

  static int obey(Consumer& mine, const Channel& test) {
    std::vector<Delivery> running;
    running.reserve(64);
    while (const std::optional<std::string> command = test.hear(soon(seconds(3600)))) {
      std::istringstream words(*command);
      std::string verb;
      std::string text;
      int delay_ms = 0;
      words >> verb >> text >> delay_ms;
      if (verb == "take" || verb == "look") {
        const Deadline deadline = verb == "take" ? soon(seconds(3600)) : steady_clock::now();
        const std::optional<std::string> taken = take_one(mine, running, deadline);
        if (!taken) {
          return 2;
        }
        test.say(*taken);
      } else {
        test.say(answer_one(mine, running, verb, text, delay_ms) ? "done" : "refused");
      }
    }
    return 0;
  }

  Helper helper_;
};

class Policy : public ProcessTest {
 protected:
  // No decision of the daemon falls between this and resume_daemon(); traffic goes on without it.
  static void stop_daemon(Bus& bus) {
    bus.program().child.signal(SIGSTOP);
    const std::string path = "/proc/" + std::to_string(bus.program().child.pid()) + "/stat";
    ASSERT_TRUE(eventually([&] {
      const std::string stat = read_file(path);
      return stat.substr(stat.rfind(')') + 2, 1) == "T";
    })) << "it goes on";
  }
  static void resume_daemon(Bus& bus) { bus.program().child.signal(SIGCONT); }

  // A message goes there and back, so each side has what it needs to go on without the daemon.
  static void greet(Producer& producer, Puppet& consumer) {
    const Ticket hello = send(producer, "hello");
    ASSERT_EQ(consumer.take(), "1 1 hello");
    ASSERT_EQ(consumer.told("ack hello"), "done");
    ASSERT_EQ(outcome_of(producer, hello).code, OutcomeCode::kSuccess);
  }

  static Ticket send_keyed(Producer& producer, const std::string& text, std::uint64_t key,
                           Kind kind = Kind::kUpdateGpuGraphData) {
    SendOptions options;
    options.key = key;
    options.timeout = seconds(600);
    return send(producer, text, options, kind);
  }

  static SendOptions with_retries(std::uint32_t retries) {
    SendOptions options;
    options.timeout = seconds(600);
    options.max_retries = retries;
    return options;
  }

  static json shown(const Bus& bus, const Ticket& ticket) {
    return bus.ask({{"verb", "show"}, {"id", ticket.id.to_string()}});
  }
  static json letter_of(const Bus& bus, const Ticket& ticket) {
    const Ran show = bus.ackbus({"dead", "show", ticket.id.to_string(), "--json"});
    EXPECT_EQ(show.status, 0) << show.errors;
    return show.status == 0 ? json::parse(show.output) : json::object();
  }
};

// ---- supersede ----

TEST_F(Policy, ARedeliveryIsSupersededByANewerSuccessOfItsKey) {
  Bus bus;
  Puppet consumer(bus.consumer_options());
  Producer producer = bus.producer();
  greet(producer, consumer);
  const Ticket older = send_keyed(producer, "older", 7);
  ASSERT_EQ(consumer.take(), "2 1 older");
  stop_daemon(bus);  // Or the older one might come back before the newer one was sent.
  ASSERT_EQ(consumer.told("nack older 0"), "done");
  const Ticket newer = send_keyed(producer, "newer", 7);
  ASSERT_EQ(consumer.take(), "3 1 newer");
  ASSERT_EQ(consumer.told("ack newer"), "done");
  EXPECT_EQ(outcome_of(producer, newer).code, OutcomeCode::kSuccess);
  EXPECT_FALSE(producer.poll(older)) << "decided when it would be begun again, not before";
  resume_daemon(bus);
  consumer.begin_take();
  const Outcome outcome = outcome_of(producer, older);
  EXPECT_EQ(outcome.code, OutcomeCode::kSuperseded);
  EXPECT_EQ(outcome.attempt, 2U);
  send(producer, "last");
  EXPECT_EQ(consumer.answer(), "4 1 last") << "the older one did not run again";
  ASSERT_EQ(consumer.told("ack last"), "done");
  EXPECT_EQ(producer.statistics().superseded, 1U);
  EXPECT_EQ(bus.kind("UpdateGPUGraphData")["superseded"], 1);
  EXPECT_EQ(bus.status()["dead_letters"]["count"], 0) << "superseded is no dead letter";
}

TEST_F(Policy, OtherKeysOtherKindsAndFailuresSupersedeNothing) {
  struct Case {
    std::uint64_t older_key;
    std::uint64_t newer_key;
    Kind older_kind;
    Kind newer_kind;
    std::string answer;
    const char* name;
  };
  constexpr Kind kGraph = Kind::kUpdateGpuGraphData;
  const std::vector<Case> cases = {
      {0, 0, kGraph, kGraph, "ack", "no key"},
      {1, 2, kGraph, kGraph, "ack", "another key"},
      {3, 3, Kind::kComputeForces, Kind::kComputeForces, "ack", "a kind that does not supersede"},
      {4, 4, kGraph, Kind::kUploadConstraintsToGpu, "ack", "another kind of the same key"},
      {5, 5, kGraph, kGraph, "fail", "a newer one that failed"},
  };
  Bus bus;
  Puppet consumer(bus.consumer_options());
  Producer producer = bus.producer();
  greet(producer, consumer);
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Ticket older = send_keyed(producer, "older", one.older_key, one.older_kind);
    const std::string sequence = std::to_string(older.sequence);
    ASSERT_EQ(consumer.take(), sequence + " 1 older");
    stop_daemon(bus);
    ASSERT_EQ(consumer.told("nack older 0"), "done");
    const Ticket newer = send_keyed(producer, "newer", one.newer_key, one.newer_kind);
    ASSERT_EQ(consumer.take(), std::to_string(newer.sequence) + " 1 newer");
    ASSERT_EQ(consumer.told(one.answer + " newer"), "done");
    ASSERT_NE(outcome_of(producer, newer).code, OutcomeCode::kReserved);
    resume_daemon(bus);
    EXPECT_EQ(consumer.take(), sequence + " 2 older");
    ASSERT_EQ(consumer.told("ack older"), "done");
    EXPECT_EQ(outcome_of(producer, older).code, OutcomeCode::kSuccess);
  }
  EXPECT_EQ(producer.statistics().superseded, 0U);
}

TEST_F(Policy, ABegunMessageIsNotSupersededAndTheNewerOneOfItsKeyWaits) {
  Bus bus;
  Puppet consumer(bus.consumer_options());
  Producer producer = bus.producer();
  const Ticket older = send_keyed(producer, "older", 7);
  ASSERT_EQ(consumer.take(), "1 1 older");
  const Ticket newer = send_keyed(producer, "newer", 7);
  EXPECT_EQ(consumer.look(), "nothing") << "two of one key never run at the same time";
  ASSERT_EQ(consumer.told("ack older"), "done");
  EXPECT_EQ(outcome_of(producer, older).code, OutcomeCode::kSuccess);
  EXPECT_EQ(consumer.take(), "2 1 newer");
  ASSERT_EQ(consumer.told("ack newer"), "done");
  EXPECT_EQ(outcome_of(producer, newer).code, OutcomeCode::kSuccess);
}

TEST_F(Policy, TheNextLifeKnowsWhichKeysSucceeded) {
  Bus bus;
  Puppet first(bus.consumer_options());
  Producer producer = bus.producer();
  greet(producer, first);
  const Ticket older = send_keyed(producer, "older", 7);
  ASSERT_EQ(first.take(), "2 1 older");
  stop_daemon(bus);
  ASSERT_EQ(first.told("nack older 0"), "done");
  const Ticket newer = send_keyed(producer, "newer", 7);
  ASSERT_EQ(first.take(), "3 1 newer");
  ASSERT_EQ(first.told("ack newer"), "done");
  EXPECT_EQ(outcome_of(producer, newer).code, OutcomeCode::kSuccess);
  first.kill();
  resume_daemon(bus);
  Puppet second(bus.consumer_options());
  second.begin_take();
  EXPECT_EQ(outcome_of(producer, older).code, OutcomeCode::kSuperseded);
  send(producer, "last");
  EXPECT_EQ(second.answer(), "4 1 last") << "the older one did not run again";
}

// ---- after ----

TEST_F(Policy, AfterHoldsThroughRetriesAndIsFreedByAVerdict) {
  Bus bus;
  Puppet consumer(bus.consumer_options());
  Producer producer = bus.producer();
  const Ticket first = send(producer, "first", with_retries(1));
  SendOptions after = with_retries(0);
  after.after_sequence = first.sequence;
  const Ticket second = send(producer, "second", after);
  const Ticket third = send(producer, "third");
  ASSERT_EQ(consumer.take(), "1 1 first");
  EXPECT_EQ(consumer.look(), "nothing");
  ASSERT_EQ(consumer.told("nack first 1"), "done");
  EXPECT_EQ(consumer.take(), "1 2 first") << "a retry passes what is held";
  EXPECT_EQ(consumer.look(), "nothing");
  ASSERT_EQ(consumer.told("nack first 1"), "done");
  EXPECT_EQ(consumer.take(), "2 1 second") << "a verdict is final too";
  const Outcome outcome = outcome_of(producer, first);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kRetries);
  EXPECT_EQ(consumer.take(), "3 1 third") << "commit order";
  ASSERT_EQ(consumer.told("ack third"), "done");
  ASSERT_EQ(consumer.told("ack second"), "done");
  EXPECT_EQ(outcome_of(producer, second).code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome_of(producer, third).code, OutcomeCode::kSuccess);
}

TEST_F(Policy, AfterHoldsInTheNextLifeToo) {
  Bus bus;
  Puppet dies(bus.consumer_options());
  Producer producer = bus.producer();
  const Ticket first = send(producer, "first", with_retries(5));
  SendOptions after = with_retries(5);
  after.after_sequence = first.sequence;
  const Ticket second = send(producer, "second", after);
  ASSERT_EQ(dies.take(), "1 1 first");
  dies.kill();
  Puppet lives(bus.consumer_options());
  EXPECT_EQ(lives.take(), "1 2 first");
  EXPECT_EQ(lives.look(), "nothing");
  ASSERT_EQ(lives.told("ack first"), "done");
  EXPECT_EQ(lives.take(), "2 1 second");
  ASSERT_EQ(lives.told("ack second"), "done");
  EXPECT_EQ(outcome_of(producer, first).code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome_of(producer, second).code, OutcomeCode::kSuccess);
}

// ---- giving back ----

TEST_F(Policy, WhatIsGivenBackWithoutRetriesLeftIsADeadLetter) {
  Bus bus;
  Puppet consumer(bus.consumer_options());
  Producer producer = bus.producer();
  const Ticket hopeless = send(producer, "hopeless", with_retries(0));
  ASSERT_EQ(consumer.take(), "1 1 hopeless");
  ASSERT_EQ(consumer.told("nack hopeless 3600000"), "done");
  consumer.begin_take();
  const Outcome outcome = outcome_of(producer, hopeless);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted) << "the wished delay is of no retry";
  EXPECT_EQ(outcome.reason, OutcomeReason::kRetries);
  const json letter = letter_of(bus, hopeless);
  EXPECT_EQ(letter["reason"], "retries");
  EXPECT_EQ(letter["attempts"], 1);
  send(producer, "last");
  EXPECT_EQ(consumer.answer(), "2 1 last");
  const json kind = bus.kind("ComputeForces");
  EXPECT_EQ(kind["given_back"], 1);
  EXPECT_EQ(kind["retries"], 0);
  EXPECT_EQ(kind["dead_lettered"], 1);
}

TEST_F(Policy, WhatWasGivenBackForALongTimeGoesToTheNextLifeAtOnce) {
  Bus bus;
  Puppet first(bus.consumer_options());
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "later", with_retries(3));
  ASSERT_EQ(first.take(), "1 1 later");
  ASSERT_EQ(first.told("nack later 86400000"), "done");
  ASSERT_TRUE(eventually([&] { return shown(bus, ticket)["state"] == "waiting"; }));
  EXPECT_GT(shown(bus, ticket)["next_retry_ms"], 80'000'000) << "the consumer's own delay";
  first.kill();
  Puppet second(bus.consumer_options());
  EXPECT_EQ(second.take(), "1 2 later") << "the consumer that wanted to wait is gone";
  ASSERT_EQ(second.told("ack later"), "done");
  const Outcome outcome = outcome_of(producer, ticket);
  EXPECT_EQ(outcome.code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome.attempt, 2U);
}

// ---- waiting and age ----

TEST_F(Policy, MaxWaitOfAKindEndsWhatNobodyBeganAndNothingElse) {
  Bus bus({.config = "[[kind]]\nid = 9\nname = \"Impatient\"\nmax_wait_ms = 200\n"});
  constexpr Kind kImpatient{9};
  std::optional<Puppet> first(bus.consumer_options());
  Producer producer = bus.producer();
  greet(producer, *first);
  stop_daemon(bus);  // It looks when the message is begun, however late this machine is.
  const Ticket begun = send(producer, "begun", with_retries(3), kImpatient);
  ASSERT_EQ(first->take(), "2 1 begun");
  first.reset();
  resume_daemon(bus);
  const Ticket unbegun = send(producer, "unbegun", {}, kImpatient);
  const Outcome outcome = outcome_of(producer, unbegun);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kUndelivered);
  EXPECT_EQ(letter_of(bus, unbegun)["attempts"], 0);
  EXPECT_FALSE(producer.poll(begun)) << "it was sent before, and waits for its consumer";
  Puppet second(bus.consumer_options());
  EXPECT_EQ(second.take(), "2 2 begun");
  ASSERT_EQ(second.told("ack begun"), "done");
  EXPECT_EQ(outcome_of(producer, begun).code, OutcomeCode::kSuccess);
  send(producer, "last");
  EXPECT_EQ(second.take(), "4 1 last") << "what ended undelivered does not run any more";
}

TEST_F(Policy, ProgressKeepsAMessageNoLongerThanItsMaxAge) {
  Bus bus({.config = "[[kind]]\nid = 9\nname = \"Aging\"\ntimeout_ms = 400\nmax_retries = 1000\n"
                     "max_age_ms = 400\n"});
  Puppet consumer(bus.consumer_options());
  ProducerOptions options = bus.producer_options();
  options.slots = 4;
  Producer producer = bus.producer(options);
  const Ticket ticket = send(producer, "endless", {}, Kind{9});
  ASSERT_EQ(consumer.take(), "1 1 endless");
  std::optional<Outcome> outcome;
  ASSERT_TRUE(eventually([&] {
    EXPECT_EQ(consumer.told("progress endless"), "done");
    EXPECT_EQ(consumer.look(), "nothing");
    outcome = producer.poll(ticket);
    return outcome.has_value() || HasFailure();
  }));
  EXPECT_EQ(outcome->code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome->reason, OutcomeReason::kMaxAge);
  EXPECT_EQ(consumer.told("ack endless"), "done") << "the consumer may still say what it did";
  EXPECT_EQ(letter_of(bus, ticket)["reason"], "max_age");
  // The late answer frees the slot: as many messages as there are slots go through, twice.
  for (int i = 0; i < 8; ++i) {
    const Ticket next = send(producer, "next");
    ASSERT_EQ(consumer.take(), std::to_string(next.sequence) + " 1 next");
    ASSERT_EQ(consumer.told("ack next"), "done");
    ASSERT_EQ(outcome_of(producer, next).code, OutcomeCode::kSuccess);
  }
}

// ---- clocks that start at commit ----

constexpr const char* kClockConfig =
    "[[kind]]\nid = 9\nname = \"FromBegin\"\ntimeout_ms = 100\nmax_retries = 2\n"
    "[[kind]]\nid = 10\nname = \"FromCommit\"\ntimeout_ms = 100\nmax_retries = 2\n"
    "clock = \"commit\"\n";
constexpr Kind kFromBegin{9};
constexpr Kind kFromCommit{10};

TEST_F(Policy, WithTheClockAtCommitWaitingForAConsumerUsesUpTheRetries) {
  Bus bus({.config = kClockConfig});
  Producer producer = bus.producer();
  SendOptions patient;
  patient.max_retries = 1000;
  const Ticket from_begin = send(producer, "begin", patient, kFromBegin);
  const Ticket from_commit = send(producer, "commit", {}, kFromCommit);
  const Outcome outcome = outcome_of(producer, from_commit);
  EXPECT_EQ(outcome.code, OutcomeCode::kExhausted);
  EXPECT_EQ(outcome.reason, OutcomeReason::kRetries) << "not undelivered: its retries are used up";
  EXPECT_EQ(bus.kind("FromCommit")["retries"], 2);
  const json letter = letter_of(bus, from_commit);
  EXPECT_EQ(letter["reason"], "retries");
  EXPECT_TRUE(letter["first_begun_at"].is_null());
  EXPECT_FALSE(producer.poll(from_begin)) << "sent before it with the same timeout";
  EXPECT_EQ(bus.kind("FromBegin")["retries"], 0);
  Puppet consumer(bus.consumer_options());
  EXPECT_EQ(consumer.take(), "1 1 begin");
  send(producer, "last");
  EXPECT_EQ(consumer.take(), "3 1 last") << "what is exhausted does not run any more";
  ASSERT_EQ(consumer.told("ack begin"), "done");
  EXPECT_EQ(outcome_of(producer, from_begin).code, OutcomeCode::kSuccess);
}

TEST_F(Policy, WithTheClockAtCommitALateConsumerGetsItOnceAndAnswersForAll) {
  Bus bus({.config = kClockConfig});
  Producer producer = bus.producer();
  SendOptions patient;
  patient.max_retries = 1000;
  const Ticket ticket = send(producer, "late", patient, kFromCommit);
  ASSERT_TRUE(eventually([&] { return bus.kind("FromCommit")["retries"] >= 2; }));
  Puppet consumer(bus.consumer_options());
  const std::string taken = consumer.take();
  EXPECT_EQ(taken.substr(0, 2), "1 ");
  EXPECT_EQ(taken.substr(taken.size() - 4), "late");
  ASSERT_EQ(consumer.told("ack late"), "done");
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
  send(producer, "last");
  EXPECT_EQ(consumer.take(), "2 1 last") << "the places of its retries run nothing again";
}

}  // namespace
}  // namespace ackbus::process_test
