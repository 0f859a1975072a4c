// The store and the name of its directory: what an operator removes, moves or makes again while the
// daemon runs.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "daemon/dead_letters.hpp"

namespace ackbus::daemon {
namespace {

namespace fs = std::filesystem;

LetterId id_of(std::uint8_t number) {
  LetterId id{};
  id.fill(0x5a);
  id[15] = number;
  return id;
}

class DeadLettersDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = ::testing::TempDir() + "dead_letters_directory_" + info->name();
    fs::remove_all(root_);
    directory_ = root_ + "/dead";
    fs::create_directory(root_);
    auto opened = DeadLetters::open(directory_, {});
    ASSERT_TRUE(opened.ok()) << opened.error().text;
    store_ = std::move(opened).value();
  }
  void TearDown() override { fs::remove_all(root_); }

  Result<void> write(std::uint8_t number) {
    Letter letter;
    letter.id = id_of(number);
    letter.reason = DeathReason::kRetries;
    return store_->write(letter, std::vector<std::byte>(10));
  }
  void keep(std::uint8_t number) {
    const auto written = write(number);
    ASSERT_TRUE(written.ok()) << written.error().text;
  }
  [[nodiscard]] std::string path_of(const std::string& folder, std::uint8_t number) const {
    return folder + "/" + to_text(id_of(number)) + ".letter";
  }

  std::string root_;
  std::string directory_;
  std::unique_ptr<DeadLetters> store_;
};

// Once the descriptor of the directory that was removed was used until the next daemon.
TEST_F(DeadLettersDirectory, ADirectoryThatIsMadeAgainIsUsedFromThenOn) {
  keep(1);
  fs::remove_all(directory_);
  const auto refused = write(2);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
  EXPECT_NE(refused.error().text.find(directory_), std::string::npos);
  ASSERT_TRUE(fs::create_directory(directory_));
  fs::permissions(directory_, fs::perms::all);
  EXPECT_EQ(write(2).error().code, ErrorCode::kPermission) << "others may write into it";
  fs::permissions(directory_, fs::perms::owner_all);
  keep(2);
  EXPECT_TRUE(fs::exists(path_of(directory_, 2)));
  EXPECT_FALSE(store_->exists(id_of(1))) << "it went with its directory";
  EXPECT_EQ(store_->stats().total.letters, 1U);
  EXPECT_EQ(DeadLetters::open(directory_, {}).error().code, ErrorCode::kBusy)
      << "its lock was taken too";
}

TEST_F(DeadLettersDirectory, ADirectoryOfAnotherUserIsRefusedByName) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can give a directory away";
  }
  const std::string foreign = root_ + "/foreign";
  ASSERT_TRUE(fs::create_directory(foreign));
  ASSERT_EQ(::chown(foreign.c_str(), 4711, 4711), 0);
  const auto refused = DeadLetters::open(foreign, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kPermission);
  EXPECT_NE(refused.error().text.find(foreign), std::string::npos);
  EXPECT_NE(refused.error().text.find("chown it to the daemon"), std::string::npos);
}

TEST_F(DeadLettersDirectory, ADirectoryThatWasMovedTakesNoLetterAndItsLettersAreBackWithIt) {
  keep(1);
  fs::rename(directory_, directory_ + ".moved");
  EXPECT_FALSE(write(2).ok());
  EXPECT_FALSE(store_->read(id_of(1)).ok());
  EXPECT_FALSE(store_->purge({}).ok());
  EXPECT_TRUE(store_->list({}, 10).empty());
  fs::copy(directory_ + ".moved", directory_);
  fs::permissions(directory_, fs::perms::owner_all);
  fs::remove(path_of(directory_ + ".moved", 1));
  EXPECT_EQ(store_->list({}, 10).size(), 1U);
  EXPECT_TRUE(store_->read(id_of(1)).ok());
}

}  // namespace
}  // namespace ackbus::daemon
