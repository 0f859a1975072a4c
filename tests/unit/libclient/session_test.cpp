// The first words of a connection, against a peer that the test plays over a socket pair.
#include "libclient/src/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "libclient/src/clock.hpp"
#include "shm_layout/check.hpp"

namespace ackbus {
namespace {

using ::testing::HasSubstr;

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    client_ = ControlSocket(UniqueFd(ends[0]));
    daemon_ = ControlSocket(UniqueFd(ends[1]));
  }
  void refuse(const char* text) {
    layout::TextMessage message{};
    message.header = layout::control_header<layout::TextMessage>(layout::ControlType::kRefused);
    message.code = static_cast<std::uint32_t>(layout::RefusedCode::kQuota);
    message.length = static_cast<std::uint32_t>(std::strlen(text));
    std::memcpy(message.text, text, message.length);
    ASSERT_TRUE(daemon_.send(message));
  }
  Result<ControlPacket> greeted(std::uint64_t patience_ns) {
    return greet(client_, make_hello(ConnectOptions(), layout::ClientRole::kTool),
                 now_ns() + patience_ns);
  }

  ControlSocket client_;
  ControlSocket daemon_;
};

TEST_F(SessionTest, ARefusalBeforeTheHelloIsTold) {
  refuse("one connection too many");
  daemon_.close();
  const Result<ControlPacket> welcome = greeted(0);
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().code, ErrorCode::kQuota);
  EXPECT_EQ(welcome.error().text, "one connection too many");
}

TEST_F(SessionTest, ADaemonThatOnlyHangsUpIsCalledGone) {
  daemon_.close();
  const Result<ControlPacket> welcome = greeted(0);
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().code, ErrorCode::kDisconnected);
}

TEST_F(SessionTest, ATimeoutNamesTheOptionOfTheLibraryAndOfTheCommands) {
  const Result<ControlPacket> welcome = greeted(0);
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(welcome.error().text, HasSubstr("connect_timeout"));
  EXPECT_THAT(welcome.error().text, HasSubstr("--connect-timeout"));
}

TEST(SegmentOfAnotherLayout, IsRefusedWithBothVersions) {
  const std::uint64_t bytes = layout::BusGeometry::bytes();
  const int fd = ::memfd_create("bus", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(fd, static_cast<off_t>(bytes)), 0);
  Result<Mapping> made = Mapping::map(fd, bytes, true);
  ASSERT_TRUE(made);
  layout::stamp_segment(made->base(), {layout::SegmentRole::kBus, bytes, 0, 0}, 0, 0, 0, 0);
  auto& header = *reinterpret_cast<layout::SegmentHeader*>(made->base());
  EXPECT_TRUE(map_checked(fd, bytes, false, layout::SegmentRole::kBus, 0, 0));
  header.layout_version = 4242;
  header.fingerprint = 0xfeed;
  const Result<Mapping> refused = map_checked(fd, bytes, false, layout::SegmentRole::kBus, 0, 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kVersion);
  EXPECT_THAT(refused.error().text,
              ::testing::AllOf(
                  HasSubstr("version 4242, fingerprint 000000000000feed"),
                  HasSubstr("this library version " + std::to_string(layout::kLayoutVersion))));
  ::close(fd);
}

}  // namespace
}  // namespace ackbus
