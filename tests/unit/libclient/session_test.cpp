// The first words of a connection, against a peer that the test plays over a socket pair.
#include "libclient/src/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

#include "libclient/src/clock.hpp"

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

}  // namespace
}  // namespace ackbus
