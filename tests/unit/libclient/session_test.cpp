// The first words of a connection, against a peer that the test plays over a socket pair.
#include "libclient/src/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ackbus/tool.hpp>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

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
  void refuse(const char* text, layout::RefusedCode code = layout::RefusedCode::kQuota) {
    layout::TextMessage message{};
    message.header = layout::control_header<layout::TextMessage>(layout::ControlType::kRefused);
    message.code = static_cast<std::uint32_t>(code);
    message.length = static_cast<std::uint32_t>(std::strlen(text));
    std::memcpy(message.text, text, message.length);
    ASSERT_TRUE(daemon_.send(message));
  }
  Result<ControlPacket> greeted(std::uint64_t patience_ns) {
    return greet(client_, make_hello(ConnectOptions(), layout::ClientRole::kTool),
                 now_ns() + patience_ns);
  }
  // What greet() makes of a daemon that has said this.
  Error error_of_greeting() {
    const Result<ControlPacket> welcome = greeted(0);
    EXPECT_FALSE(welcome);
    return welcome ? Error{} : welcome.error();
  }
  layout::WelcomeMessage sound_welcome() {
    layout::WelcomeMessage welcome{};
    welcome.header = layout::control_header<layout::WelcomeMessage>(layout::ControlType::kWelcome);
    welcome.layout_version = layout::kLayoutVersion;
    welcome.fingerprint = layout::layout_fingerprint();
    return welcome;
  }
  Error error_of_welcome(const layout::WelcomeMessage& welcome, int descriptor) {
    EXPECT_TRUE(daemon_.send(welcome, descriptor));
    Result<ControlPacket> packet = greeted(0);
    EXPECT_TRUE(packet);
    const Result<Mapping> accepted = accept_welcome(*packet);
    EXPECT_FALSE(accepted);
    return accepted ? Error{} : accepted.error();
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

TEST_F(SessionTest, EveryRefusalHasItsCode) {
  using layout::RefusedCode;
  const std::pair<RefusedCode, ErrorCode> codes[] = {
      {RefusedCode::kProtocol, ErrorCode::kProtocol},
      {RefusedCode::kVersion, ErrorCode::kVersion},
      {RefusedCode::kPermission, ErrorCode::kPermission},
      {RefusedCode::kQuota, ErrorCode::kQuota},
      {RefusedCode::kMemory, ErrorCode::kMemory},
      {RefusedCode::kNoQueue, ErrorCode::kNotFound},
      {RefusedCode::kUnknownLink, ErrorCode::kNotFound},
      {RefusedCode::kShutdown, ErrorCode::kClosed},
      {static_cast<RefusedCode>(4242), ErrorCode::kProtocol},
  };
  for (const auto& [said, understood] : codes) {
    refuse("because", said);
    const Error error = error_of_greeting();
    EXPECT_EQ(error.code, understood) << static_cast<std::uint32_t>(said);
    EXPECT_EQ(error.text, "because");
  }
}

TEST_F(SessionTest, ARefusalOfTheWrongSizeIsARefusalAllTheSame) {
  const auto header = layout::control_header<layout::ControlHeader>(layout::ControlType::kRefused);
  ASSERT_TRUE(daemon_.send(header));
  const Error error = error_of_greeting();
  EXPECT_EQ(error.code, ErrorCode::kProtocol);
  EXPECT_THAT(error.text, HasSubstr("refused with a malformed answer"));
}

// The length is the daemon's word: no byte behind the text is shown.
TEST_F(SessionTest, ARefusalLongerThanItsTextEndsWithTheText) {
  layout::TextMessage message{};
  message.header = layout::control_header<layout::TextMessage>(layout::ControlType::kRefused);
  message.length = 0xffff'ffff;
  std::memset(message.text, 'x', sizeof(message.text));
  ASSERT_TRUE(daemon_.send(message));
  EXPECT_EQ(error_of_greeting().text, std::string(layout::kControlTextMax, 'x'));
}

TEST_F(SessionTest, AMessageOutOfOrderIsNamedByItsType) {
  const auto news = layout::control_header<layout::LinkMessage>(layout::ControlType::kLife);
  const layout::LinkMessage message{news, 1, 1};
  ASSERT_TRUE(daemon_.send(message));
  const Error error = error_of_greeting();
  EXPECT_EQ(error.code, ErrorCode::kProtocol);
  EXPECT_THAT(error.text, HasSubstr("unexpected message of type " + std::to_string(news.type)));
}

TEST_F(SessionTest, AWakeBeforeTheWelcomeIsPassedOver) {
  const layout::LinkMessage wake{
      layout::control_header<layout::LinkMessage>(layout::ControlType::kWake), 0, 0};
  ASSERT_TRUE(daemon_.send(wake));
  ASSERT_TRUE(daemon_.send(sound_welcome()));
  EXPECT_TRUE(greeted(0));
}

TEST_F(SessionTest, BytesThatAreNoControlMessageAreRefused) {
  layout::WelcomeMessage other_magic = sound_welcome();
  other_magic.header.magic += 1;
  layout::WelcomeMessage other_version = sound_welcome();
  other_version.header.version += 1;
  layout::WelcomeMessage other_size = sound_welcome();
  other_size.header.bytes += 1;
  for (const layout::WelcomeMessage& welcome : {other_magic, other_version, other_size}) {
    ASSERT_TRUE(daemon_.send(welcome));
    EXPECT_THAT(error_of_greeting().text, HasSubstr("malformed control message"));
  }
  ASSERT_TRUE(daemon_.send(static_cast<const void*>("short"), std::size_t{5}));
  const Error error = error_of_greeting();
  EXPECT_EQ(error.code, ErrorCode::kProtocol);
  EXPECT_THAT(error.text, HasSubstr("malformed control message"));
}

TEST_F(SessionTest, ADaemonThatHangsUpAfterTheHelloIsCalledGone) {
  const layout::HelloMessage hello = make_hello(ConnectOptions(), layout::ClientRole::kTool);
  ASSERT_TRUE(send_hello(client_, hello));
  ControlPacket heard;
  ASSERT_EQ(daemon_.receive(heard), ReceiveState::kPacket);  // Unread, it would be a reset.
  daemon_.close();
  const Result<ControlPacket> welcome =
      expect(client_, layout::ControlType::kWelcome, now_ns() + 1'000'000'000);
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().code, ErrorCode::kDisconnected);
  EXPECT_THAT(welcome.error().text, HasSubstr("hung up while this process connected"));
}

TEST_F(SessionTest, AWelcomeOfAnotherLayoutNamesBothVersions) {
  const int fd = ::memfd_create("bus", MFD_CLOEXEC);
  layout::WelcomeMessage other_version = sound_welcome();
  other_version.layout_version = 4242;
  layout::WelcomeMessage other_fingerprint = sound_welcome();
  other_fingerprint.fingerprint += 1;
  for (const layout::WelcomeMessage& welcome : {other_version, other_fingerprint}) {
    const Error error = error_of_welcome(welcome, fd);
    EXPECT_EQ(error.code, ErrorCode::kVersion);
    EXPECT_THAT(error.text, HasSubstr("layout version " + std::to_string(welcome.layout_version)));
    EXPECT_THAT(error.text, HasSubstr("install the same release"));
  }
  ::close(fd);
}

TEST_F(SessionTest, AWelcomeWithoutItsSegmentIsMalformed) {
  const Error none = error_of_welcome(sound_welcome(), -1);
  EXPECT_EQ(none.code, ErrorCode::kProtocol);
  EXPECT_THAT(none.text, HasSubstr("welcome is malformed"));
  const int small = ::memfd_create("bus", MFD_CLOEXEC);
  const Error cut = error_of_welcome(sound_welcome(), small);
  EXPECT_EQ(cut.code, ErrorCode::kProtocol);
  EXPECT_THAT(cut.text, HasSubstr("smaller than it announced"));
  ::close(small);
}

// ---- where the daemon is looked for ----

TEST(RuntimeDirectory, IsTheWishedOneThenTheEnvironments) {
  ASSERT_EQ(::setenv("ACKBUS_RUNTIME_DIR", "/named", 1), 0);
  ASSERT_EQ(::setenv("XDG_RUNTIME_DIR", "/of-the-session", 1), 0);
  EXPECT_EQ(*find_runtime_dir("/wished"), "/wished");
  EXPECT_EQ(*find_runtime_dir(""), "/named");
  ASSERT_EQ(::setenv("ACKBUS_RUNTIME_DIR", "", 1), 0);
  EXPECT_EQ(*find_runtime_dir(""), "/of-the-session/ackbus");
  ASSERT_EQ(::unsetenv("ACKBUS_RUNTIME_DIR"), 0);
  EXPECT_EQ(*find_runtime_dir(""), "/of-the-session/ackbus");
}

class OpenSession : public ::testing::Test {
 protected:
  static Error error_of(const ConnectOptions& options) {
    const Result<Session> session =
        open_session(options, make_hello(options, layout::ClientRole::kTool), now_ns());
    EXPECT_FALSE(session);
    return session ? Error{} : session.error();
  }
};

TEST_F(OpenSession, RefusesAQueueNameThatNoMessageCanCarry) {
  ConnectOptions options;
  options.runtime_dir = "/nowhere";
  options.queue = std::string(layout::kNameBytesMax, 'q');
  const Error error = error_of(options);
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_THAT(error.text, HasSubstr(options.queue));
}

TEST_F(OpenSession, NamesThePathAndTheRemedyWhereNobodyListens) {
  ConnectOptions options;
  options.runtime_dir = "/nowhere";
  const Error nobody = error_of(options);
  EXPECT_EQ(nobody.code, ErrorCode::kNoDaemon);
  EXPECT_THAT(nobody.text, HasSubstr("/nowhere/default.sock"));
  EXPECT_THAT(nobody.text, HasSubstr("--runtime-dir"));
  options.runtime_dir = "/dev/null";
  const Error no_directory = error_of(options);
  EXPECT_EQ(no_directory.code, ErrorCode::kSystem);
  EXPECT_THAT(no_directory.text, HasSubstr("cannot connect to /dev/null/default.sock"));
  options.runtime_dir = "/" + std::string(200, 'd');
  const Error too_long = error_of(options);
  EXPECT_EQ(too_long.code, ErrorCode::kInvalid);
  EXPECT_THAT(too_long.text, HasSubstr("choose a shorter --runtime-dir"));
}

// ---- segments ----

TEST(KindRow, ThatIsRewrittenAllTheTimeCountsAsUndefined) {
  std::vector<std::byte> memory(layout::BusGeometry::bytes() + 64);
  void* at = memory.data();
  std::size_t room = memory.size();
  ASSERT_NE(std::align(64, layout::BusGeometry::bytes(), at, room), nullptr);
  const layout::BusView bus(static_cast<std::byte*>(at));
  EXPECT_EQ(read_kind(bus, 3).flags, 0U);  // Its number is 0, as while the daemon writes.
  bus.kind(3).timeout_ms.store_relaxed(70);
  bus.kind(3).number.store_release(1);
  EXPECT_EQ(read_kind(bus, 3).timeout_ms, 70U);
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
