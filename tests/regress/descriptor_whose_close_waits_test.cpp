// A client sent the daemon a TCP socket that lingers, with bytes that nobody would ever read, and
// closed its own: the daemon, its last holder, waited in close() for an hour, and with it every
// other client. What strangers send is closed elsewhere now (daemon/descriptor_closer.hpp).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>

#include "tests/hostile/raw_client.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using hostile::Fd;
using hostile::RawClient;
using ::testing::HasSubstr;

class DescriptorWhoseCloseWaits : public ProcessTest {
 protected:
  // Its peer is accepted and never reads.
  Fd lingering_socket() {
    Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listener.get(), 1), 0);
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
    Fd near(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(near.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    far_.emplace_back(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::array<char, 65536> bytes{};
    while (::send(near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    const linger wait{1, 3600};
    EXPECT_EQ(::setsockopt(near.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof(wait)), 0);
    return near;
  }

  Bus bus_;
  std::vector<Fd> far_;
};

TEST_F(DescriptorWhoseCloseWaits, HoldsNobodyUpWhenItComesWithAHello) {
  for (int round = 0; round < 3; ++round) {
    const RawClient client(bus_.socket_path());
    ASSERT_TRUE(
        client.send(hostile::sound_hello(layout::ClientRole::kTool), {lingering_socket().get()}));
  }
  EXPECT_FALSE(bus_.status().is_null()) << "the daemon does not answer";
}

TEST_F(DescriptorWhoseCloseWaits, HoldsNobodyUpWhenItIsNeverRead) {
  const pid_t daemon = bus_.daemon_pid();
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);  // So that all of it lies there when it is read.
  {
    const RawClient client(bus_.socket_path());
    ASSERT_TRUE(client.send("short", 5));  // The daemon hangs up on this, and reads no further.
    for (int packets = 0; packets < 3; ++packets) {
      ASSERT_TRUE(
          client.send(hostile::sound_hello(layout::ClientRole::kTool), {lingering_socket().get()}));
    }
  }
  ASSERT_EQ(::kill(daemon, SIGCONT), 0);
  EXPECT_FALSE(bus_.status().is_null()) << "the daemon does not answer";
}

TEST_F(DescriptorWhoseCloseWaits, AHelloBringsOneAndNothingElseBringsAny) {
  RawClient client(bus_.socket_path());
  const Fd one(::dup(0));
  ASSERT_TRUE(client.send(hostile::sound_hello(layout::ClientRole::kTool), {one.get(), one.get()}));
  EXPECT_THAT(client.refusal(), HasSubstr("with 2 descriptors"));
}

}  // namespace
}  // namespace ackbus::process_test
