// Publishing a state or frames segment: when publish_segment() says that it is done, it is, and
// when it is not, the caller hears why.
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SegmentPublish : public ProcessTest {};

std::string said(const Result<void>& result) {
  return result ? "published"
                : std::string(error_name(result.error().code)) + ": " + result.error().text;
}

// Makes and publishes frames segments as it is told: "make", "publish", "hurry" (a deadline that a
// daemon that stands still misses).
int frames_on_demand(Consumer& consumer, const Channel& test) {
  std::optional<Segment> kept;
  while (const std::optional<std::string> order = test.hear(soon(seconds(3600)))) {
    if (*order == "make") {
      Result<Segment> made = consumer.create_segment(SegmentKind::kFrames, 4096, soon());
      test.say(made ? "made" : made.error().text);
      if (made) {
        kept = std::move(*made);
      }
    } else {
      const Deadline deadline = *order == "hurry" ? soon(milliseconds(50)) : soon();
      test.say(said(consumer.publish_segment(SegmentKind::kFrames, deadline)));
    }
  }
  return 0;
}

std::string told(const Helper& consumer, const std::string& order) {
  consumer.channel.say(order);
  return consumer.channel.hear().value_or("nothing");
}

TEST_F(SegmentPublish, NothingMadeIsNothingPublished) {
  const Bus bus;
  const Helper consumer = Helper::consume(bus.consumer_options(), frames_on_demand);
  EXPECT_THAT(told(consumer, "publish"), AllOf(StartsWith("protocol"), HasSubstr("make it anew")));
  EXPECT_EQ(told(consumer, "make"), "made");
  EXPECT_EQ(told(consumer, "publish"), "published");
  EXPECT_THAT(told(consumer, "publish"), StartsWith("protocol")) << "each is published once";
  EXPECT_EQ(told(consumer, "make"), "made") << "a refusal ends nothing";
}

TEST_F(SegmentPublish, ADaemonThatStandsStillIsWaitedForUntilTheDeadline) {
  const Bus bus;
  const Helper consumer = Helper::consume(bus.consumer_options(), frames_on_demand);
  ASSERT_EQ(told(consumer, "make"), "made");
  const pid_t daemon = bus.daemon_pid();
  ASSERT_GT(daemon, 0);
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  const std::string answer = told(consumer, "hurry");
  ASSERT_EQ(::kill(daemon, SIGCONT), 0);
  EXPECT_THAT(answer, StartsWith("timeout"));
  EXPECT_EQ(told(consumer, "make"), "made") << "the late answer disturbs nothing";
  EXPECT_EQ(told(consumer, "publish"), "published");
}

TEST_F(SegmentPublish, WithoutADaemonTheCallerHearsThatTheSegmentIsGone) {
  Bus bus;
  const Helper consumer = Helper::consume(bus.consumer_options(), frames_on_demand);
  ASSERT_EQ(told(consumer, "make"), "made");
  bus.program().child.end();
  EXPECT_THAT(told(consumer, "publish"),
              AllOf(StartsWith("disconnected"), HasSubstr("make the segment anew")));
}

}  // namespace
}  // namespace ackbus::process_test
