// Processes and folders that a measurement leaves nothing of.
#include "bench/process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace ackbus::bench {
namespace {

TEST(ChildProcess, IsKilledWhenItGoesOutOfScope) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  {
    const Result<ChildProcess> child = ChildProcess::fork_off([&] {
      close(ends[0]);
      return pause();
    });
    ASSERT_TRUE(child);
    close(ends[1]);
    EXPECT_TRUE(child->running());
  }
  char byte = 0;
  EXPECT_EQ(read(ends[0], &byte, 1), 0) << "nobody holds the other end any more";
  close(ends[0]);
}

TEST(ChildProcess, IsSeenToHaveEnded) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Result<ChildProcess> child = ChildProcess::fork_off([] { return 3; });
  ASSERT_TRUE(child);
  close(ends[1]);
  char byte = 0;
  EXPECT_EQ(read(ends[0], &byte, 1), 0);
  while (child->running()) {  // Its descriptors close a moment before it counts as ended.
  }
  EXPECT_FALSE(child->running()) << "and asking again changes nothing";
  close(ends[0]);
}

TEST(TemporaryFolder, GoesWithEverythingInIt) {
  std::string path;
  {
    const Result<TemporaryFolder> folder = TemporaryFolder::create();
    ASSERT_TRUE(folder);
    path = folder->path();
    ASSERT_EQ(mkdir((path + "/inner").c_str(), 0700), 0);
    std::ofstream(path + "/inner/file") << "text";
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(PrivateBus, NamesWhatCannotBeStarted) {
  const Result<PrivateBus> none = PrivateBus::start("");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().text.find("ackbusd"), std::string::npos);
  const Result<PrivateBus> missing = PrivateBus::start("/nowhere/ackbusd");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().text.find("/nowhere/ackbusd ended at once"), std::string::npos);
  const Result<PrivateBus> other = PrivateBus::start("/bin/false");
  ASSERT_FALSE(other);
}

}  // namespace
}  // namespace ackbus::bench
