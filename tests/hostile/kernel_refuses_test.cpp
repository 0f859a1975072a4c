// Who may make whose memory fault: nobody. Every way to take pages of a segment away from under its
// readers, or to write where another process is the writer, is refused by the kernel, one by one;
// and what a peer hands over in place of a segment is never mapped.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tests/hostile/bystanders.hpp"
#include "tests/hostile/raw_link.hpp"

namespace ackbus::hostile {
namespace {

using process_test::Bus;
using process_test::Channel;
using process_test::eventually;
using process_test::Helper;
using process_test::json;
using process_test::ProcessTest;
using process_test::seconds;
using process_test::soon;

struct Attempt {
  const char* name;
  // True when the kernel let it happen.
  bool (*try_it)(int fd, const Map& map);
};

bool reopened_writable(int fd) {
  const Fd again(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR | O_CLOEXEC));
  return again.get() >= 0 && static_cast<bool>(Map(again.get(), 4096, true));
}

// To its own segment, once the daemon has sealed it.
constexpr Attempt kAsWriter[] = {
    {"shrink", [](int fd, const Map&) { return ::ftruncate(fd, 4096) == 0; }},
    {"shrink to nothing", [](int fd, const Map&) { return ::ftruncate(fd, 0) == 0; }},
    {"grow",
     [](int fd, const Map& map) {
       return ::ftruncate(fd, static_cast<off_t>(map.bytes()) + 4096) == 0;
     }},
    {"punch a hole",
     [](int fd, const Map&) {
       return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) == 0;
     }},
    {"collapse",
     [](int fd, const Map&) { return ::fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096) == 0; }},
    {"madvise remove",
     [](int, const Map& map) { return ::madvise(map.base() + 4096, 4096, MADV_REMOVE) == 0; }},
    {"write", [](int fd, const Map&) { return ::pwrite(fd, "x", 1, 4096) == 1; }},
    {"map writable again",
     [](int fd, const Map&) { return static_cast<bool>(Map(fd, 4096, true)); }},
    {"reopen and map writable", [](int fd, const Map&) { return reopened_writable(fd); }},
    {"another seal",
     [](int fd, const Map&) { return ::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0; }},
    {"a lease", [](int fd, const Map&) { return ::fcntl(fd, F_SETLEASE, F_WRLCK) == 0; }},
};

// To a segment that somebody else writes, with the descriptor that came.
constexpr Attempt kAsReader[] = {
    {"shrink", [](int fd, const Map&) { return ::ftruncate(fd, 4096) == 0; }},
    {"punch a hole",
     [](int fd, const Map&) {
       return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) == 0;
     }},
    {"write", [](int fd, const Map&) { return ::pwrite(fd, "x", 1, 0) == 1; }},
    {"map writable", [](int fd, const Map&) { return static_cast<bool>(Map(fd, 4096, true)); }},
    {"make writable",
     [](int, const Map& map) { return ::mprotect(map.base(), 4096, PROT_READ | PROT_WRITE) == 0; }},
    {"madvise remove",
     [](int, const Map& map) { return ::madvise(map.base(), 4096, MADV_REMOVE) == 0; }},
    {"a seal", [](int fd, const Map&) { return ::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0; }},
};

template <std::size_t kCount>
std::string what_was_let(const Attempt (&attempts)[kCount], int fd, const Map& map) {
  std::string let;
  for (const Attempt& attempt : attempts) {
    let += attempt.try_it(fd, map) ? std::string(attempt.name) + "; " : "";
  }
  return let;
}

class KernelRefuses : public ProcessTest {
 protected:
  Bus bus_;
};

TEST_F(KernelRefuses, AProducerEveryWayToItsOwnSegmentButTheMappingItHas) {
  Bystander consumer = Bystander::consumer(bus_, "gpu0");
  std::optional<RawProducer> raw = RawProducer::connect(bus_.socket_path(), {});
  ASSERT_TRUE(raw && raw->wait_for_life());
  EXPECT_EQ(what_was_let(kAsWriter, raw->submission_fd.get(), raw->submission), "");
  EXPECT_EQ(what_was_let(kAsReader, raw->tracking_fd.get(), raw->tracking), "");
  EXPECT_EQ(what_was_let(kAsReader, raw->ack_fd.get(), raw->ack), "");
  EXPECT_FALSE(reopened_writable(raw->ack_fd.get()));
  raw->commit(1, RawProducer::sound(1));
  raw->ring();
  EXPECT_TRUE(eventually([&] { return consumer.watch().foreign.load() == 1; })) << "and it works";
  raw->client.hang_up();
  consumer.finish();
}

TEST_F(KernelRefuses, AConsumerEveryWayToWhatProducersAndItselfWrote) {
  Helper raw([&](const Channel& test) {
    std::optional<RawConsumer> consumer = RawConsumer::connect(bus_.socket_path(), "gpu0");
    test.say(consumer ? "active" : "refused");
    while (consumer && consumer->links.empty() && consumer->listen(true)) {
    }
    // The daemon seals once it has read that the segment is mapped; its next packet comes after.
    while (consumer && reopened_writable(consumer->links[0].ack_fd.get())) {
    }
    const RawLink& link = consumer->links[0];
    test.say("own: " + what_was_let(kAsWriter, link.ack_fd.get(), link.ack) +
             "theirs: " + what_was_let(kAsReader, link.submission_fd.get(), link.submission) +
             (reopened_writable(link.submission_fd.get()) ? "reopen" : ""));
    [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
    return 0;
  });
  ASSERT_EQ(raw.channel.hear(), "active");
  const Producer producer = bus_.producer();
  EXPECT_EQ(raw.channel.hear(), "own: theirs: ");
}

TEST_F(KernelRefuses, AReaderOfFramesToWriteThem) {
  Helper consumer = Helper::consume(bus_.consumer_options(), [](Consumer& mine, const Channel& t) {
    Result<Segment> made = mine.create_segment(SegmentKind::kFrames, 8192, soon());
    std::memset(made->bytes().data(), 7, 8192);
    t.say(mine.publish_segment(SegmentKind::kFrames, soon()) ? "published" : "no");
    [[maybe_unused]] const auto forever = t.hear(soon(seconds(3600)));
    return 0;
  });
  ASSERT_EQ(consumer.channel.hear(), "published");
  RawClient tool(bus_.socket_path());
  tool.send(sound_hello(layout::ClientRole::kTool));
  ASSERT_TRUE(tool.receive_until(layout::ControlType::kWelcome));
  layout::SegmentMessage open{};
  open.header =
      layout::control_header<layout::SegmentMessage>(layout::ControlType::kOpenSegment, 1);
  open.role = static_cast<std::uint32_t>(layout::SegmentRole::kFrames);
  std::strcpy(open.queue, "gpu0");
  tool.send(open);
  ASSERT_TRUE(tool.receive_until(layout::ControlType::kSegment));
  ASSERT_EQ(tool.descriptors().size(), 1U);
  const int fd = tool.descriptors()[0].get();
  const Map map(fd, 8192, false);
  ASSERT_TRUE(map);
  EXPECT_EQ(what_was_let(kAsReader, fd, map), "");
  EXPECT_FALSE(reopened_writable(fd));
  EXPECT_EQ(map.base()[4096], std::byte{7});
}

// A file that can shrink, or that has no memory behind it, would fault under its reader. Nothing
// that a client sends is ever mapped: the only descriptor that the daemon takes is a pidfd.
TEST_F(KernelRefuses, NobodyGetsAFileOfHisOwnMapped) {
  Fd file(::memfd_create("mine", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(file.get(), off_t{1} << 40), 0);
  RawClient client(bus_.socket_path());
  ASSERT_TRUE(client.send(sound_hello(layout::ClientRole::kProducer), {file.get()}));
  ASSERT_TRUE(client.receive_until(layout::ControlType::kLinkGranted));
  EXPECT_EQ(client.descriptors().size(), 2U) << "the daemon's own memory, as if none had come";
  const std::string maps =
      process_test::read_file("/proc/" + std::to_string(bus_.daemon_pid()) + "/maps");
  EXPECT_EQ(maps.find("memfd:mine"), std::string::npos);
  ASSERT_EQ(::ftruncate(file.get(), 0), 0);
  EXPECT_FALSE(bus_.status().is_null());
}

}  // namespace
}  // namespace ackbus::hostile
