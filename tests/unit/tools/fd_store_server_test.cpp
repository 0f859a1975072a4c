// The descriptor store of `ackbus run`, spoken to by libsystemd as a daemon would: what is put
// survives the child, everything that does not belong is refused, and the next child finds its
// descriptors at 3, 4, ...
#include "tools/fd_store_server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace ackbus::tools {
namespace {

/// A memfd with a text to know it by; closed by its owner.
class Segment {
 public:
  explicit Segment(const std::string& text) : fd_(memfd_create("ackbus-test", MFD_CLOEXEC)) {
    EXPECT_EQ(write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    lseek(fd_, 0, SEEK_SET);
  }
  ~Segment() { close(fd_); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

class FdStoreServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    options_.socket_path = ::testing::TempDir() + "notify_" + std::to_string(getpid()) + "_" +
                           std::to_string(info->line());
    options_.max_descriptors = 8;
    start();
  }
  void TearDown() override { unsetenv("NOTIFY_SOCKET"); }

  /// The test itself plays the child.
  void start() {
    server_.reset();
    std::string error;
    server_ = FdStoreServer::create(options_, error);
    ASSERT_NE(server_, nullptr) << error;
    server_->expect_child(getpid());
    setenv("NOTIFY_SOCKET", options_.socket_path.c_str(), 1);
  }
  static void put(const std::string& name, const std::vector<int>& fds) {
    const std::string text = "FDSTORE=1\nFDNAME=" + name;
    ASSERT_GT(
        sd_pid_notify_with_fds(0, 0, text.c_str(), fds.data(), static_cast<unsigned>(fds.size())),
        0);
  }
  static void tell(const std::string& text) { ASSERT_GT(sd_notify(0, text.c_str()), 0); }
  static std::size_t open_descriptors() {
    std::size_t count = 0;
    for (int fd = 0; fd < 1024; ++fd) {
      count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    }
    return count;
  }
  /// Runs a shell with what the server passes and returns its exit status.
  int run_shell(const std::string& script) {
    ChildLaunch launch =
        server_->prepare_launch({"PATH=/usr/bin:/bin", "LISTEN_FDS=77", "MARK=kept"});
    const pid_t pid = fork();
    if (pid == 0) {
      char** environment = launch.prepare_child_environment();
      const char* arguments[] = {"sh", "-c", script.c_str(), nullptr};
      if (environment != nullptr) {
        execve("/bin/sh", const_cast<char* const*>(arguments), environment);
      }
      _exit(99);
    }
    server_->expect_child(pid);
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  FdStoreServerOptions options_;
  std::unique_ptr<FdStoreServer> server_;
};

TEST_F(FdStoreServerTest, KnowsWhatTheChildSaysOfItself) {
  tell("READY=1\nSTATUS=serving 3 links");
  tell("WATCHDOG=1");
  tell("WATCHDOG=1");
  EXPECT_EQ(server_->receive(), 3U);
  EXPECT_TRUE(server_->state().ready);
  EXPECT_EQ(server_->state().status, "serving 3 links");
  EXPECT_EQ(server_->state().watchdog_count, 2U);
  tell("RELOADING=1");
  tell("STOPPING=1");
  server_->receive();
  EXPECT_TRUE(server_->state().reloading);
  EXPECT_TRUE(server_->state().stopping);
  server_->expect_child(getpid());
  EXPECT_FALSE(server_->state().ready) << "the next child starts with an empty state";
}

TEST_F(FdStoreServerTest, KeepsAndRemovesByName) {
  const Segment a("a");
  const Segment b("b");
  const Segment c("c");
  put("link1", {a.fd(), b.fd()});
  put("link2", {c.fd()});
  server_->receive();
  EXPECT_EQ(server_->descriptor_count("link1"), 2U);
  EXPECT_EQ(server_->descriptor_count(), 3U);
  tell("FDSTOREREMOVE=1\nFDNAME=link1");
  tell("FDSTOREREMOVE=1\nFDNAME=absent");
  server_->receive();
  EXPECT_EQ(server_->descriptor_count("link1"), 0U);
  EXPECT_EQ(server_->descriptor_count("link2"), 1U);
  EXPECT_EQ(server_->refused_count(), 0U);
}

TEST_F(FdStoreServerTest, PutTwiceIsKeptOnce) {
  const Segment a("a");
  put("link1", {a.fd()});
  put("link1", {a.fd()});
  server_->receive();
  EXPECT_EQ(server_->descriptor_count(), 1U);
}

TEST_F(FdStoreServerTest, RefusesNamesThatDoNotFitAndClosesWhatCameWithThem) {
  const Segment a("a");
  const std::size_t before = open_descriptors();
  for (const char* name : {"ninechars", "", "a:b", "a b", "../../x"}) {
    put(name, {a.fd()});
  }
  server_->receive();
  EXPECT_EQ(server_->refused_count(), 5U);
  EXPECT_EQ(server_->descriptor_count(), 0U);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FdStoreServerTest, TakesAllDescriptorsOfAMessageOrNoneWhenItWouldBeTooMany) {
  const Segment a("a");
  const std::size_t before = open_descriptors();
  std::vector<std::unique_ptr<Segment>> segments;
  std::vector<int> fds;
  for (int i = 0; i < 6; ++i) {
    segments.push_back(std::make_unique<Segment>(std::to_string(i)));
    fds.push_back(segments.back()->fd());
  }
  put("six", fds);
  put("again", {fds[0], fds[1], fds[2]});
  server_->receive();
  EXPECT_EQ(server_->descriptor_count(), 6U);
  EXPECT_EQ(server_->refused_count(), 1U);
  EXPECT_NE(server_->last_refusal().find("more than 8"), std::string::npos);
  EXPECT_EQ(open_descriptors(), before + 12);
  put("last", {fds[0], fds[1]});
  server_->receive();
  EXPECT_EQ(server_->descriptor_count(), 8U);
}

TEST_F(FdStoreServerTest, RefusesEveryProcessButTheChild) {
  const pid_t stranger = fork();
  if (stranger == 0) {
    _exit(sd_notify(0, "READY=1") > 0 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(stranger, &status, 0), stranger);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(server_->receive(), 1U);
  EXPECT_FALSE(server_->state().ready);
  EXPECT_EQ(server_->refused_count(), 1U);
  EXPECT_NE(server_->last_refusal().find(std::to_string(stranger)), std::string::npos);
}

TEST_F(FdStoreServerTest, StillHearsWhatTheChildSentBeforeItDied) {
  const Segment a("a");
  const pid_t child = fork();
  if (child == 0) {
    put("link1", {a.fd()});
    _exit(0);
  }
  server_->expect_child(child);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(server_->receive(), 1U);
  EXPECT_EQ(server_->descriptor_count("link1"), 1U);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(FdStoreServerTest, RefusesWhatIsTooLongAndTakesAnyOtherBytes) {
  tell("STATUS=" + std::string(10'000, 'x'));
  tell(std::string("\n\n=\n==1\nREADY\nREADY=\nREADY=2\nFDSTORE=1"));
  server_->receive();
  EXPECT_EQ(server_->refused_count(), 1U);
  EXPECT_FALSE(server_->state().ready);
  EXPECT_EQ(server_->descriptor_count(), 0U);
}

TEST_F(FdStoreServerTest, AnswersABarrierWhenAllBeforeItIsHandled) {
  auto barrier = std::async(std::launch::async, [] { return sd_notify_barrier(0, 60'000'000); });
  while (server_->state().status != "before" ||
         barrier.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    if (server_->state().status.empty()) {
      tell("STATUS=before");
    }
    server_->receive();
  }
  EXPECT_GT(barrier.get(), 0);
  EXPECT_EQ(server_->refused_count(), 0U);
}

TEST_F(FdStoreServerTest, ClosesDescriptorsThatNobodyAskedItToKeep) {
  const Segment a("a");
  const std::size_t before = open_descriptors();
  const int fd = a.fd();
  ASSERT_GT(sd_pid_notify_with_fds(0, 0, "STATUS=x", &fd, 1), 0);
  server_->receive();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FdStoreServerTest, EveryRestartedChildGetsAllThatWasKept) {
  const Segment first("first");
  const Segment second("second");
  put("link1", {first.fd(), second.fd()});
  server_->receive();
  const std::string script =
      "[ \"$LISTEN_PID\" = \"$$\" ] || exit 1; [ \"$LISTEN_FDS\" = 2 ] || exit 2;"
      "[ \"$LISTEN_FDNAMES\" = link1:link1 ] || exit 3; [ \"$MARK\" = kept ] || exit 4;"
      "[ \"$(cat /proc/self/fd/3)\" = first ] || exit 5;"
      "[ \"$(cat /proc/self/fd/4)\" = second ] || exit 6; [ -S \"$NOTIFY_SOCKET\" ] || exit 7";
  EXPECT_EQ(run_shell(script), 0);
  EXPECT_EQ(run_shell(script), 0) << "the second child finds the same";
}

TEST_F(FdStoreServerTest, PlacesDescriptorsThatLieInEachOthersPlaces) {
  // The lowest free numbers of this process are exactly where the child's descriptors must go, in
  // another order.
  const Segment a("a");
  const Segment b("b");
  put("b", {b.fd()});
  put("a", {a.fd()});
  server_->receive();
  EXPECT_EQ(run_shell("[ \"$(cat /proc/self/fd/3)\" = b ] && [ \"$(cat /proc/self/fd/4)\" = a ]"),
            0);
}

TEST_F(FdStoreServerTest, PassesNoVariablesOfDescriptorsWhenThereAreNone) {
  EXPECT_EQ(run_shell("[ -z \"$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES\" ]"), 0);
}

TEST_F(FdStoreServerTest, TellsTheChildTheWatchdogsLimit) {
  options_.watchdog_us = 5'000'000;
  start();
  EXPECT_EQ(run_shell("[ \"$WATCHDOG_USEC\" = 5000000 ]"), 0);
  EXPECT_EQ(run_shell("[ \"$FDSTORE\" = 8 ]"), 0) << "how much is kept for it";
}

TEST_F(FdStoreServerTest, ReplacesAStaleSocketAndKeepsItsOwnPrivate) {
  struct stat state {};
  ASSERT_EQ(stat(options_.socket_path.c_str(), &state), 0);
  EXPECT_EQ(state.st_mode & 0777U, 0600U);
  std::string error;
  const auto second = FdStoreServer::create(options_, error);
  EXPECT_NE(second, nullptr) << error;
}

TEST_F(FdStoreServerTest, NamesThePathWhenItCannotBind) {
  std::string error;
  options_.socket_path = ::testing::TempDir() + "absent/notify";
  EXPECT_EQ(FdStoreServer::create(options_, error), nullptr);
  EXPECT_NE(error.find("absent/notify"), std::string::npos);
  options_.socket_path = "/" + std::string(200, 'x');
  EXPECT_EQ(FdStoreServer::create(options_, error), nullptr);
  EXPECT_NE(error.find("too long"), std::string::npos);
}

}  // namespace
}  // namespace ackbus::tools
