// A daemon heard that a consumer had mapped its ack segment and died before it wrote that down. The
// consumer answered, and died too. The next daemon read that segment, dropped it at the hand-over
// as one that nobody had mapped, and went on reading: it crashed, and the one after it knew of no
// answer. Here the consumer answers without saying that it has mapped, which is the same to the
// next daemon.
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "shm_layout/check.hpp"
#include "shm_layout/control.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using layout::ControlType;

class AnswersOfALifeNobodyNoted : public ProcessTest {};

int connect_to(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? fd : -1;
}

void say_hello(int fd) {
  layout::HelloMessage hello{};
  hello.header = layout::control_header<layout::HelloMessage>(ControlType::kHello);
  hello.layout_version = layout::kLayoutVersion;
  hello.role = static_cast<std::uint32_t>(layout::ClientRole::kConsumer);
  hello.fingerprint = layout::layout_fingerprint();
  std::strcpy(hello.queue, "gpu0");
  std::strcpy(hello.client, "forgetful");
  [[maybe_unused]] const ssize_t sent = ::send(fd, &hello, sizeof(hello), MSG_NOSIGNAL);
}

// The descriptors of AddLink: submission, tracking, ack, and two pipes.
bool receive_link(int fd, layout::LifeMessage& life, std::array<int, 5>& descriptors) {
  for (int packets = 0; packets < 16; ++packets) {
    std::array<std::byte, layout::kControlBytesMax> bytes{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 16)> control{};
    iovec part{bytes.data(), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    if (::recvmsg(fd, &header, 0) < static_cast<ssize_t>(sizeof(layout::ControlHeader))) {
      return false;
    }
    std::memcpy(&life, bytes.data(), sizeof(life));
    const cmsghdr* item = CMSG_FIRSTHDR(&header);
    if (static_cast<ControlType>(life.header.type) == ControlType::kAddLink && item != nullptr) {
      std::memcpy(descriptors.data(), CMSG_DATA(item), sizeof(descriptors));
      return true;
    }
  }
  return false;
}

// Answers the first message of the link as a consumer's library does, and says nothing to the
// daemon.
bool answer_first(const std::string& socket_path) {
  const int fd = connect_to(socket_path);
  layout::LifeMessage life{};
  std::array<int, 5> descriptors{};
  say_hello(fd);
  if (fd < 0 || !receive_link(fd, life, descriptors)) {
    return false;
  }
  const layout::SubmissionGeometry sent{life.slots, life.arena_bytes};
  const layout::AckGeometry answers{life.slots};
  void* submission = ::mmap(nullptr, sent.bytes(), PROT_READ, MAP_SHARED, descriptors[0], 0);
  void* memory =
      ::mmap(nullptr, answers.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, descriptors[2], 0);
  if (submission == MAP_FAILED || memory == MAP_FAILED) {
    return false;
  }
  layout::PlaceCopy place;
  const layout::SubmissionView from(static_cast<std::byte*>(submission), sent);
  if (!layout::place_read(from.place(1), 1, place)) {
    return false;
  }
  const layout::AckView ack(static_cast<std::byte*>(memory), answers);
  const std::uint32_t packed = layout::pack_answer(layout::AckCode::kSuccess, 0, 1);
  ack.words().cursor.store_release(2);
  layout::begun_publish(ack.record(place.slot), {1, place.sent_ns, 1});
  layout::answer_publish(ack.record(place.slot), {1, place.sent_ns, packed, 1, 0});
  layout::ack_place_publish(ack.place(1), 1, {1, place.sent_ns, place.slot, packed});
  return true;
}

TEST_F(AnswersOfALifeNobodyNoted, ReachTheProducer) {
  Bus bus({.supervised = true});
  Producer producer = bus.producer();
  const Ticket ticket = send(producer, "answered once");
  Helper forgetful([path = bus.socket_path()](const Channel& test) {
    test.say(answer_first(path) ? "answered" : "failed");
    ::pause();
    return 0;
  });
  ASSERT_EQ(forgetful.channel.hear(), "answered");
  bus.kill_daemon_and_wait();
  const std::uint64_t incarnation = bus.incarnation();
  forgetful.child.end();
  Helper next = Helper::ack_everything(bus.consumer_options());
  EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kSuccess);
  EXPECT_EQ(outcome_of(producer, send(producer, "the next one")).code, OutcomeCode::kSuccess)
      << "and the link goes on with the next life";
  EXPECT_EQ(bus.incarnation(), incarnation) << "the daemon crashed at the hand-over";
}

}  // namespace
}  // namespace ackbus::process_test
