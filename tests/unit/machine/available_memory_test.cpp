// The memory that may still be taken, read from stand-ins for /proc and /sys/fs/cgroup.
#include "machine/available_memory.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace ackbus::machine {
namespace {

/// Stand-ins for /proc and /sys/fs/cgroup in a temporary directory.
class AvailableMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = ::testing::TempDir() + "available_memory_" + info->name();
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) const {
    const std::filesystem::path file(root_ + path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] std::uint64_t available() const {
    return available_memory_bytes(root_ + "/proc", root_ + "/group");
  }

 private:
  std::string root_;
};

TEST_F(AvailableMemory, RefusesNothingWhenNothingCanBeRead) { EXPECT_EQ(available(), UINT64_MAX); }

TEST_F(AvailableMemory, IsTheMachinesWithoutALimitOfAGroup) {
  put("/proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    1000 kB\n");
  put("/proc/self/cgroup", "0::/a/b\n");
  put("/group/a/b/memory.max", "max\n");
  EXPECT_EQ(available(), 1000U * 1024);
}

TEST_F(AvailableMemory, IsTheLeastOfTheGroupsAndCountsDroppableCacheAsFree) {
  put("/proc/meminfo", "MemAvailable:    1000000 kB\n");
  put("/proc/self/cgroup", "0::/a/b\n");
  put("/group/a/b/memory.max", "50000\n");
  put("/group/a/b/memory.current", "10000\n");
  put("/group/a/memory.max", "30000\n");
  put("/group/a/memory.current", "20000\n");
  put("/group/a/memory.stat", "anon 15000\ninactive_file 5000\n");
  EXPECT_EQ(available(), 15000U);
}

}  // namespace
}  // namespace ackbus::machine
