// A daemon died between handing its two books, ledger and bus segment, to the service manager. The
// next one began anew, kept both, and then let the manager forget what it had not claimed: by name,
// so also what it had just kept. When it ended, the bus ended with it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/fd_store.hpp"
#include "tests/process/harness.hpp"
#include "tools/fd_store_server.hpp"

namespace ackbus::process_test {
namespace {

using tools::FdStoreServer;

class BooksKeptByHalves : public ProcessTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    ProcessTest::SetUp();
    std::string error;
    manager_ = FdStoreServer::create({.socket_path = folder_ / "notify"}, error);
    ASSERT_NE(manager_, nullptr) << error;
  }
  // As a daemon that died next. The test plays it.
  void keep_of_a_dead_daemon(const std::string& name) {
    manager_->expect_child(::getpid());
    ::setenv("NOTIFY_SOCKET", (folder_ / "notify").c_str(), 1);
    const daemon::UniqueFd segment(::memfd_create("half", MFD_CLOEXEC));
    daemon::FdStore store;
    const int fd = segment.get();
    ASSERT_TRUE(store.put(name, {&fd, 1}).ok());
    ::unsetenv("NOTIFY_SOCKET");
    ASSERT_EQ(manager_->receive(), 1U);
  }
  Child start_daemon() {
    tools::ChildLaunch launch = manager_->prepare_launch({});
    const std::string path = program_path("ackbusd");
    std::vector<std::string> words = {path,  "--runtime-dir",  folder_ / "run", "--metrics",
                                      "off", "--dead-letters", folder_ / "dead"};
    std::vector<char*> arguments;
    for (std::string& word : words) {
      arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      char** environment = launch.prepare_child_environment();
      if (environment != nullptr) {
        ::execve(path.c_str(), arguments.data(), environment);
      }
      ::_exit(127);
    }
    manager_->expect_child(pid);
    return Child(pid);
  }

  Folder folder_;
  std::unique_ptr<FdStoreServer> manager_;
};

TEST_P(BooksKeptByHalves, AreReplacedAndKept) {
  keep_of_a_dead_daemon(GetParam());
  const Child started = start_daemon();
  ASSERT_TRUE(eventually([&] {
    manager_->receive();
    return manager_->state().ready;
  }));
  EXPECT_EQ(manager_->descriptor_count("ledger"), 1U);
  EXPECT_EQ(manager_->descriptor_count("bus"), 1U);
  EXPECT_EQ(manager_->descriptor_count("listen"), 1U);
}

INSTANTIATE_TEST_SUITE_P(Either, BooksKeptByHalves, ::testing::Values("ledger", "bus"));

}  // namespace
}  // namespace ackbus::process_test
