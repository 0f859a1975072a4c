// min_payload_bytes and max_payload_bytes of a [[kind]]: what a producer may send, and what a
// consumer's handler is spared when a producer does not keep to it.
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Kind kBounded{9};
constexpr const char* kUnbounded = "[[kind]]\nname = \"Bounded\"\nid = 9\n";
constexpr const char* kConfig =
    "[[kind]]\nname = \"Bounded\"\nid = 9\nmin_payload_bytes = 10\nmax_payload_bytes = 20\n";

class KindBounds : public ProcessTest {};

std::string refusal_of(Producer& producer, std::size_t bytes) {
  const std::vector<std::byte> payload(bytes);
  const Result<Ticket> ticket = producer.send(kBounded, payload, soon());
  return ticket ? "sent"
                : std::string(error_name(ticket.error().code)) + ": " + ticket.error().text;
}

TEST_F(KindBounds, AProducerIsToldWhichBoundOfWhichKind) {
  const Bus bus({.config = kConfig});
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  Producer producer = bus.producer();
  for (int again = 0; again < 2; ++again) {  // The second time the kind is a known one.
    EXPECT_THAT(refusal_of(producer, 9),
                AllOf(HasSubstr("invalid"), HasSubstr("9 bytes"), HasSubstr("kind Bounded"),
                      HasSubstr("min_payload_bytes = 10")));
    EXPECT_THAT(refusal_of(producer, 21), AllOf(HasSubstr("invalid"), HasSubstr("21 bytes"),
                                                HasSubstr("max_payload_bytes = 20")));
    EXPECT_THAT(refusal_of(producer, 100), HasSubstr("max_payload_bytes = 20"));
    for (const std::size_t bytes : {10U, 20U}) {
      const std::vector<std::byte> payload(bytes);
      const Result<Ticket> ticket = producer.send(kBounded, payload, soon());
      ASSERT_TRUE(ticket) << ticket.error().text;
      EXPECT_EQ(outcome_of(producer, *ticket).code, OutcomeCode::kSuccess);
    }
  }
  EXPECT_FALSE(producer.post(kBounded, bytes_of("short"), soon()));
  EXPECT_EQ(producer.statistics().sent, 4U);
  EXPECT_EQ(outcome_of(producer, send(producer, "another kind")).code, OutcomeCode::kSuccess);
}

TEST_F(KindBounds, ALoanIsMeasuredByItsPayloadNotByItsRoomInTheArena) {
  const Bus bus({.config = kConfig});
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  Producer producer = bus.producer();
  const Result<Loan> small = producer.loan(kBounded, 9, soon());
  ASSERT_FALSE(small);
  EXPECT_THAT(small.error().text, HasSubstr("min_payload_bytes = 10"));
  EXPECT_FALSE(producer.loan(kBounded, 21, soon()));
  Result<Loan> loan = producer.loan(kBounded, 20, soon());
  ASSERT_TRUE(loan) << loan.error().text;
  const Result<Ticket> ticket = producer.commit(std::move(*loan));
  ASSERT_TRUE(ticket) << ticket.error().text;
  EXPECT_EQ(outcome_of(producer, *ticket).code, OutcomeCode::kSuccess);
}

// A producer that never waits keeps to the bounds it first saw, as a hostile one might.
TEST_F(KindBounds, AConsumerAnswersFailedForWhatAProducerShouldNotHaveSent) {
  const Bus bus({.config = kUnbounded});
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  Producer producer = bus.producer();
  const Result<Ticket> first = producer.send(kBounded, bytes_of("abc"), soon());
  ASSERT_TRUE(first) << first.error().text;
  ASSERT_EQ(outcome_of(producer, *first).code, OutcomeCode::kSuccess);
  write_file(bus.config_path(), kConfig);
  ASSERT_EQ(bus.ackbus({"reload"}).status, 0);
  std::string text;
  ASSERT_TRUE(eventually([&] {
    // What was sent before the consumer looked at the reloaded kinds may still succeed.
    EXPECT_TRUE(producer.send(kBounded, bytes_of("abc"), soon()).ok());
    std::vector<Completion> completions;
    producer.reap(completions);
    for (const Completion& completion : completions) {
      text = completion.outcome.code == OutcomeCode::kFailed ? completion.outcome.text() : text;
    }
    return !text.empty();
  }));
  EXPECT_THAT(text, AllOf(HasSubstr("3 bytes"), HasSubstr("min_payload_bytes = 10"),
                          HasSubstr("kind Bounded")));
}

// A wait is where a producer looks at what the daemon moved.
TEST_F(KindBounds, AReloadReachesAProducerWhenItWaits) {
  const Bus bus({.config = kUnbounded});
  const Helper consumer = Helper::ack_everything(bus.consumer_options());
  ProducerOptions options = bus.producer_options();
  options.wait = WaitMode::kBlock;
  Producer producer = bus.producer(options);
  ASSERT_EQ(refusal_of(producer, 3), "sent");
  write_file(bus.config_path(), kConfig);
  ASSERT_EQ(bus.ackbus({"reload"}).status, 0);
  EXPECT_TRUE(eventually([&] {
    std::vector<Completion> completions;
    [[maybe_unused]] const auto waited = producer.wait_any(completions, soon(milliseconds(20)));
    return refusal_of(producer, 3) != "sent";
  }));
  EXPECT_THAT(refusal_of(producer, 3), HasSubstr("min_payload_bytes = 10"));
}

}  // namespace
}  // namespace ackbus::process_test
