// The daemon's side of the descriptor store: the exact messages on the wire, and what a new process
// takes over.
#include "daemon/fd_store.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "daemon/config.hpp"
#include "shm_layout/limits.hpp"

namespace ackbus::daemon {
namespace {

/// A service manager that only records: a bound datagram socket named in the environment.
class FdStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = ::testing::TempDir() + "manager_" + std::to_string(getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ASSERT_LT(path.size(), sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    unlink(path.c_str());
    manager_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ASSERT_EQ(bind(manager_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    path_ = path;
  }
  void TearDown() override {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("FDSTORE");
    unlink(path_.c_str());
  }

  /// The next datagram's text; its descriptors are counted and closed.
  std::string next(std::size_t* descriptor_count = nullptr) {
    std::array<char, 4096> text{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control{};
    iovec place{text.data(), text.size()};
    msghdr message{};
    message.msg_iov = &place;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t length = recvmsg(manager_.get(), &message, MSG_CMSG_CLOEXEC);
    std::size_t count = 0;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); length >= 0 && part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
      const std::size_t bytes = part->cmsg_len - CMSG_LEN(0);
      std::vector<int> fds(bytes / sizeof(int));
      std::memcpy(fds.data(), CMSG_DATA(part), bytes);
      for (const int fd : fds) {
        const UniqueFd closes(fd);
        ++count;
      }
    }
    if (descriptor_count != nullptr) {
      *descriptor_count = count;
    }
    return length < 0 ? "" : std::string(text.data(), static_cast<std::size_t>(length));
  }

  UniqueFd manager_;
  std::string path_;
};

TEST_F(FdStoreTest, PutSendsTheDescriptorsUnderTheirNameAndAsksNotToPollThem) {
  FdStore store;
  ASSERT_TRUE(store.available());
  const std::array<int, 3> fds = {0, 1, 2};
  ASSERT_TRUE(store.put("link0042", fds).ok());
  std::size_t count = 0;
  EXPECT_EQ(next(&count), "FDSTORE=1\nFDNAME=link0042\nFDPOLL=0");
  EXPECT_EQ(count, 3U);
}

TEST_F(FdStoreTest, ManyDescriptorsGoInSeveralMessages) {
  FdStore store;
  const std::vector<int> fds(450, 0);
  ASSERT_TRUE(store.put("many", fds).ok());
  std::size_t total = 0;
  for (int message = 0; message < 3; ++message) {
    std::size_t count = 0;
    EXPECT_EQ(next(&count), "FDSTORE=1\nFDNAME=many\nFDPOLL=0");
    total += count;
  }
  EXPECT_EQ(total, 450U);
  EXPECT_EQ(next(), "");
}

TEST_F(FdStoreTest, RemoveNamesWhatTheManagerMayClose) {
  FdStore store;
  ASSERT_TRUE(store.remove("link1").ok());
  EXPECT_EQ(next(), "FDSTOREREMOVE=1\nFDNAME=link1");
}

TEST_F(FdStoreTest, ANameThatDoesNotFitIsRefusedAndNothingIsSent) {
  FdStore store;
  const std::array<int, 1> fds = {0};
  for (const char* name : {"ninechars", "", "a:b", "a\nb"}) {
    EXPECT_EQ(store.put(name, fds).error().code, ErrorCode::kInvalid) << name;
    EXPECT_EQ(store.remove(name).error().code, ErrorCode::kInvalid) << name;
  }
  EXPECT_EQ(next(), "");
}

TEST_F(FdStoreTest, WhatTheManagerWouldNotKeepIsAnErrorAndIsNotSent) {
  setenv("FDSTORE", "4", 1);
  FdStore store;
  EXPECT_EQ(store.capacity(), 4U);
  NamedFds kept;
  kept["ledger"].emplace_back(dup(0));
  store.adopt(kept);
  const std::array<int, 2> two = {0, 1};
  ASSERT_TRUE(store.put("link1", two).ok());
  EXPECT_NE(next(), "");
  EXPECT_EQ(store.count(), 3U);
  const Result<void> full = store.put("link2", two);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ErrorCode::kFull);
  EXPECT_NE(full.error().text.find("FileDescriptorStoreMax"), std::string::npos);
  EXPECT_EQ(next(), "");
  ASSERT_TRUE(store.remove("link1").ok());
  EXPECT_EQ(store.count(), 1U);
  EXPECT_TRUE(store.put("link2", two).ok());
}

TEST_F(FdStoreTest, AManagerThatDoesNotSayHowManyIsNotLimited) {
  for (const char* text : {"", "many"}) {
    setenv("FDSTORE", text, 1);
    EXPECT_EQ(FdStore().capacity(), 0U) << text;
  }
  unsetenv("FDSTORE");
  FdStore store;
  EXPECT_EQ(store.capacity(), 0U);
  EXPECT_TRUE(store.put("many", std::vector<int>(450, 0)).ok());
}

/// The number behind "KEY=" in the unit of the daemon.
std::uint64_t unit_number(const std::string& key) {
  std::ifstream unit(std::string(ACKBUS_SOURCE_DIR) + "/systemd/ackbusd.service");
  for (std::string line; std::getline(unit, line);) {
    if (line.rfind(key, 0) == 0) {
      return std::stoull(line.substr(key.size()));
    }
  }
  return 0;
}

TEST(Descriptors, TheUnitHasRoomForTheLinksOfTheDefaultConfiguration) {
  const std::uint32_t links = LimitsConfig().max_links;
  EXPECT_GE(unit_number("FileDescriptorStoreMax="), layout::kept_descriptors(links));
  EXPECT_GE(unit_number("LimitNOFILE="), layout::open_descriptors(links));
  EXPECT_EQ(unit_number("Environment=FDSTORE="), unit_number("FileDescriptorStoreMax="))
      << "the daemon goes by what the manager will do";
}

TEST_F(FdStoreTest, ABadDescriptorIsAnError) {
  FdStore store;
  const std::array<int, 1> fds = {-1};
  EXPECT_FALSE(store.put("link1", fds).ok());
}

TEST_F(FdStoreTest, ABarrierThatNobodyAnswersTimesOut) {
  FdStore store;
  EXPECT_EQ(store.barrier(1000).error().code, ErrorCode::kTimeout);
  EXPECT_EQ(next(), "BARRIER=1");
}

TEST(FdStore, WithoutAManagerEverythingSucceedsAndDoesNothing) {
  unsetenv("NOTIFY_SOCKET");
  FdStore store;
  EXPECT_FALSE(store.available());
  const std::array<int, 1> fds = {0};
  EXPECT_TRUE(store.put("link1", fds).ok());
  EXPECT_TRUE(store.remove("link1").ok());
  EXPECT_TRUE(store.barrier(1000).ok());
  EXPECT_TRUE(FdStore::take_all().empty());
}

bool holds(int fd, char letter) {
  char found = 0;
  return pread(fd, &found, 1, 0) == 1 && found == letter;
}

/// In a child, as after a restart: descriptors at 3, 4, 5 and the manager's variables. Returns what
/// failed, 0 = nothing.
int take_over() {
  const std::array<char, 3> letters = {'a', 'b', 'c'};
  closefrom(3);
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const int fd = memfd_create("ackbus-test", 0);
    if (fd != 3 + static_cast<int>(i) || write(fd, &letters[i], 1) != 1) {
      return 1;
    }
  }
  setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  setenv("LISTEN_FDS", "3", 1);
  setenv("LISTEN_FDNAMES", "control:link1:link1", 1);
  const NamedFds taken = FdStore::take_all();
  if (taken.size() != 2 || taken.at("control").size() != 1 || taken.at("link1").size() != 2) {
    return 2;
  }
  if (!holds(taken.at("control")[0].get(), 'a') || !holds(taken.at("link1")[1].get(), 'c')) {
    return 3;
  }
  if ((fcntl(taken.at("link1")[0].get(), F_GETFD) & FD_CLOEXEC) == 0) {
    return 4;
  }
  return getenv("LISTEN_FDS") == nullptr && FdStore::take_all().empty() ? 0 : 5;
}

TEST(FdStore, TakesOverWhatTheManagerKeptByName) {
  const pid_t child = fork();
  if (child == 0) {
    _exit(take_over());
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "step " << WEXITSTATUS(status);
}

}  // namespace
}  // namespace ackbus::daemon
