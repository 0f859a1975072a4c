// State and frames: made for the active consumer, filled, published, read by others and by the next
// life; and everything that is refused on the way.
#include <sys/mman.h>

#include "tests/unit/daemon/bus_fixture.hpp"

namespace ackbus::daemon {
namespace {

using layout::ClientRole;
using layout::ControlType;
using layout::SegmentRole;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class BusSegments : public ::testing::Test {
 protected:
  static layout::SegmentMessage message(ControlType type, SegmentRole role,
                                        std::uint64_t bytes = 8192) {
    layout::SegmentMessage made{};
    made.header = layout::control_header<layout::SegmentMessage>(type, 7);
    made.role = static_cast<std::uint32_t>(role);
    made.bytes = bytes;
    std::strcpy(made.queue, "gpu0");
    return made;
  }
  void say(const TestClient& client, const layout::SegmentMessage& what) {
    client.say(what);
    bus_.turn();
  }
  // Makes, fills with `fill` and publishes.
  void publish(const TestClient& consumer, SegmentRole role, char fill) {
    say(consumer, message(ControlType::kCreateSegment, role));
    std::optional<Heard> made = consumer.hear(ControlType::kSegment);
    ASSERT_TRUE(made && made->descriptors.size() == 1);
    void* at =
        ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, made->descriptors[0].get(), 0);
    ASSERT_NE(at, MAP_FAILED);
    std::memset(at, fill, 8192);
    ::munmap(at, 8192);
    say(consumer, message(ControlType::kPublishSegment, role));
    ASSERT_TRUE(consumer.hear(ControlType::kSegment));
  }
  static char first_byte(int fd) {
    char byte = 0;
    EXPECT_EQ(::pread(fd, &byte, 1, 0), 1);
    return byte;
  }

  TestBus bus_;
};

TEST_F(BusSegments, AreMadeForTheActiveConsumerAlone) {
  TestClient active(bus_, ClientRole::kConsumer);
  TestClient standby(bus_);
  layout::HelloMessage waits = hello_of(ClientRole::kConsumer);
  waits.slots = 1;
  standby.say(waits);
  bus_.turn();
  say(standby, message(ControlType::kCreateSegment, SegmentRole::kState));
  EXPECT_THAT(standby.refusal(), AllOf(StartsWith("1 "), HasSubstr("only the active consumer")));
  say(active, message(ControlType::kCreateSegment, SegmentRole::kAck));
  EXPECT_THAT(active.refusal(), HasSubstr("only the active consumer may make a state or frames"));
  say(active, message(ControlType::kCreateSegment, SegmentRole::kState, 0));
  EXPECT_THAT(active.refusal(), StartsWith("1 "));
  say(active, message(ControlType::kCreateSegment, SegmentRole::kFrames, std::uint64_t{1} << 60));
  EXPECT_THAT(active.refusal(), AllOf(StartsWith("4 "), HasSubstr("[limits] max_memory_bytes")));
  EXPECT_FALSE(active.is_hung_up_on()) << "each was the answer to a question";
}

TEST_F(BusSegments, ThatWereNotMadeCannotBePublished) {
  TestClient consumer(bus_, ClientRole::kConsumer);
  say(consumer, message(ControlType::kPublishSegment, SegmentRole::kState));
  EXPECT_THAT(consumer.refusal(), AllOf(StartsWith("1 "), HasSubstr("make it anew")));
  publish(consumer, SegmentRole::kState, 'a');
  say(consumer, message(ControlType::kPublishSegment, SegmentRole::kState));
  EXPECT_THAT(consumer.refusal(), HasSubstr("make it anew")) << "it was published already";
}

TEST_F(BusSegments, ArePublishedToToolsReadOnlyAndTheLastOneCounts) {
  TestClient consumer(bus_, ClientRole::kConsumer);
  TestClient tool(bus_, ClientRole::kTool);
  say(tool, message(ControlType::kOpenSegment, SegmentRole::kFrames));
  EXPECT_EQ(tool.hear(ControlType::kSegment)->as<layout::SegmentMessage>().found, 0U);
  publish(consumer, SegmentRole::kFrames, 'a');
  publish(consumer, SegmentRole::kFrames, 'b');
  say(tool, message(ControlType::kOpenSegment, SegmentRole::kFrames));
  const std::optional<Heard> opened = tool.hear(ControlType::kSegment);
  ASSERT_TRUE(opened && opened->descriptors.size() == 1);
  EXPECT_EQ(opened->as<layout::SegmentMessage>().found, 1U);
  EXPECT_EQ(opened->as<layout::SegmentMessage>().bytes, 8192U);
  EXPECT_EQ(first_byte(opened->descriptors[0].get()), 'b');
  EXPECT_EQ(::pwrite(opened->descriptors[0].get(), "x", 1, 0), -1);
  say(tool, message(ControlType::kOpenSegment, SegmentRole::kState));
  EXPECT_EQ(tool.hear(ControlType::kSegment)->as<layout::SegmentMessage>().found, 0U);
  say(tool, message(ControlType::kOpenSegment, SegmentRole::kAck));
  EXPECT_EQ(tool.hear(ControlType::kSegment)->as<layout::SegmentMessage>().found, 0U);
}

TEST_F(BusSegments, WhoseMemoryItsWriterGaveBackAreNotPublished) {
  TestClient consumer(bus_, ClientRole::kConsumer);
  say(consumer, message(ControlType::kCreateSegment, SegmentRole::kState));
  std::optional<Heard> made = consumer.hear(ControlType::kSegment);
  ASSERT_TRUE(made && made->descriptors.size() == 1);
  ASSERT_EQ(
      ::fallocate(made->descriptors[0].get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
      0);
  say(consumer, message(ControlType::kPublishSegment, SegmentRole::kState));
  EXPECT_THAT(consumer.refusal(), HasSubstr("gave memory of the segment back"));
}

// The state goes to the next life with its activation; what was only made does not.
TEST_F(BusSegments, OfAStateGoToTheNextLife) {
  TestClient first(bus_, ClientRole::kConsumer);
  TestClient second(bus_);
  layout::HelloMessage waits = hello_of(ClientRole::kConsumer);
  waits.slots = 1;
  second.say(waits);
  bus_.turn();
  EXPECT_TRUE(second.hear(ControlType::kStandby));
  publish(first, SegmentRole::kState, 's');
  say(first, message(ControlType::kCreateSegment, SegmentRole::kState));
  first.say_of_link(ControlType::kBye, 0, 0);
  bus_.turn();
  const std::optional<Heard> activated = second.hear(ControlType::kActivated);
  ASSERT_TRUE(activated && activated->descriptors.size() == 1);
  EXPECT_EQ(activated->as<layout::ActivatedMessage>().state_bytes, 8192U);
  EXPECT_EQ(first_byte(activated->descriptors[0].get()), 's');
  say(second, message(ControlType::kPublishSegment, SegmentRole::kState));
  EXPECT_THAT(second.refusal(), HasSubstr("make it anew"));
}

TEST_F(BusSegments, AreMadeForNobodyWhoHasLeftMeanwhile) {
  TestClient consumer(bus_, ClientRole::kConsumer);
  consumer.say(message(ControlType::kCreateSegment, SegmentRole::kState));
  bus_.read_all();  // The worker makes it.
  consumer.say_of_link(ControlType::kBye, 0, 0);
  bus_.read_all();
  bus_.turn();
  EXPECT_FALSE(bus_->queues[0]->made[0].fd.valid());
  EXPECT_TRUE(bus_->connections.empty());
}

}  // namespace
}  // namespace ackbus::daemon
