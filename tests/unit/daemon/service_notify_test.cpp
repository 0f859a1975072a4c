// What the daemon tells the service manager, word for word.
#include "daemon/service_notify.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "daemon/unique_fd.hpp"

namespace ackbus::daemon {
namespace {

class ServiceNotifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "notify_" + std::to_string(getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ASSERT_LT(path_.size(), sizeof address.sun_path);
    std::memcpy(address.sun_path, path_.c_str(), path_.size());
    unlink(path_.c_str());
    manager_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ASSERT_EQ(bind(manager_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
      unsetenv(name);
    }
    unlink(path_.c_str());
  }
  std::string next() {
    std::array<char, 1024> text{};
    const ssize_t length = recv(manager_.get(), text.data(), text.size(), 0);
    return length < 0 ? "" : std::string(text.data(), static_cast<std::size_t>(length));
  }

  UniqueFd manager_;
  std::string path_;
};

TEST_F(ServiceNotifyTest, TellsReadyReloadingStoppingAndStatus) {
  ServiceNotify notify;
  EXPECT_TRUE(notify.available());
  notify.ready("serving bus default");
  EXPECT_EQ(next(), "READY=1\nSTATUS=serving bus default");
  notify.reloading(1'234'567'000);
  EXPECT_EQ(next(), "RELOADING=1\nMONOTONIC_USEC=1234567");
  notify.status("3 links");
  EXPECT_EQ(next(), "STATUS=3 links");
  notify.stopping("closing");
  EXPECT_EQ(next(), "STOPPING=1\nSTATUS=closing");
}

TEST_F(ServiceNotifyTest, AStatusCannotSmuggleInAnAssignment) {
  ServiceNotify notify;
  notify.status("a\nMAINPID=1");
  EXPECT_EQ(next(), "STATUS=a MAINPID=1");
}

TEST_F(ServiceNotifyTest, FeedsTheWatchdogAtHalfItsLimit) {
  setenv("WATCHDOG_USEC", "4000000", 1);
  setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
  ServiceNotify notify;
  EXPECT_EQ(notify.watchdog_interval_ns(), 2'000'000'000U);
  notify.watchdog();
  EXPECT_EQ(next(), "WATCHDOG=1");
}

TEST_F(ServiceNotifyTest, IgnoresAWatchdogOfAnotherProcess) {
  setenv("WATCHDOG_USEC", "4000000", 1);
  setenv("WATCHDOG_PID", "1", 1);
  ServiceNotify notify;
  EXPECT_EQ(notify.watchdog_interval_ns(), 0U);
  notify.watchdog();
  EXPECT_EQ(next(), "");
}

TEST_F(ServiceNotifyTest, IsSilentWithoutAManager) {
  unsetenv("NOTIFY_SOCKET");
  ServiceNotify notify;
  EXPECT_FALSE(notify.available());
  notify.ready("serving");
  EXPECT_EQ(next(), "");
}

}  // namespace
}  // namespace ackbus::daemon
