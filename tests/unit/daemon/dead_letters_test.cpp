// The store of dead letters on a real directory: what is written comes back, limits hold, damage is
// found and set aside.
#include "daemon/dead_letters.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "daemon/dead_letter_file.hpp"

namespace ackbus::daemon {
namespace {

namespace fs = std::filesystem;

LetterId id_of(std::uint8_t number) {
  LetterId id{};
  id.fill(0x5a);
  id[15] = number;
  return id;
}

Letter letter_of(std::uint8_t number, std::uint32_t uid = 1000) {
  Letter letter;
  letter.id = id_of(number);
  letter.bus = "default";
  letter.queue = "gpu0";
  letter.kind_name = "ComputeForces";
  letter.kind_id = 4;
  letter.detail = "no ack in 5000 ms";
  letter.reason = DeathReason::kRetries;
  letter.link_id = 3;
  letter.sequence = 17;
  letter.attempts = 4;
  letter.deaths = 1;
  letter.sender_uid = uid;
  letter.sender_pid = 4242;
  letter.supersede_key = 9;
  letter.timeout_ns = 5'000'000'000;
  letter.max_retries = 3;
  letter.sent = {1, 2};
  letter.first_begun = {3, 4};
  letter.exhausted = {5, 1000U + number};
  letter.attempt_times = {{3, 4}, {30, 40}, {300, 400}};
  letter.history = {{id_of(200), 77, 4, 1}};
  letter.origin_id = id_of(200);
  return letter;
}

std::vector<std::byte> payload_of(std::size_t bytes) {
  std::vector<std::byte> payload(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    payload[i] = static_cast<std::byte>(i * 31 + 7);
  }
  return payload;
}

class DeadLettersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = ::testing::TempDir() + "dead_letters_" + info->name() + "/default/dead";
    fs::remove_all(root());
    open();
  }
  void TearDown() override {
    store_.reset();
    fs::remove_all(root());
  }
  [[nodiscard]] fs::path root() const { return fs::path(directory_).parent_path().parent_path(); }

  /// Opens the store as a new daemon would.
  void open(const DeadLetterLimits& limits = {}) {
    store_.reset();
    auto opened = DeadLetters::open(directory_, limits);
    ASSERT_TRUE(opened.ok()) << opened.error().text;
    store_ = std::move(opened).value();
  }
  [[nodiscard]] std::string path_of(std::uint8_t number) const {
    return directory_ + "/" + to_text(id_of(number)) + ".letter";
  }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  void keep(std::uint8_t number, std::size_t payload_bytes = 10, std::uint32_t uid = 1000) {
    const auto written = store_->write(letter_of(number, uid), payload_of(payload_bytes));
    ASSERT_TRUE(written.ok()) << written.error().text;
  }
  /// Changes one byte of a file.
  static void damage(const std::string& path, std::streamoff offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char old = static_cast<char>(file.get());
    file.seekp(offset);
    file.put(static_cast<char>(old ^ 0x10));
    ASSERT_TRUE(file.good());
  }

  std::string directory_;
  std::unique_ptr<DeadLetters> store_;
};

TEST_F(DeadLettersTest, GivesBackEveryFieldAndThePayloadAfterARestart) {
  const auto payload = payload_of(3'000'000);  // Several pieces.
  ASSERT_TRUE(store_->write(letter_of(1), payload).ok());
  open();
  auto stored = store_->read(id_of(1));
  ASSERT_TRUE(stored.ok()) << stored.error().text;
  EXPECT_EQ(stored.value().payload, payload);
  EXPECT_TRUE(stored.value().letter.payload_stored);
  EXPECT_EQ(stored.value().letter.payload_bytes, payload.size());
  Letter expected = letter_of(1);
  expected.payload_bytes = payload.size();
  expected.payload_stored = true;
  expected.payload_sha256 = stored.value().letter.payload_sha256;
  EXPECT_EQ(stored.value().letter, expected);
}

TEST_F(DeadLettersTest, TheFileIsNamedByTheMessageIdAndOnlyTheOwnerMayReadIt) {
  keep(1);
  EXPECT_EQ(files(), std::vector<std::string>{"5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a01.letter"});
  struct stat state {};
  ASSERT_EQ(stat(path_of(1).c_str(), &state), 0);
  EXPECT_EQ(state.st_mode & 0777U, 0600U);
  ASSERT_EQ(stat(directory_.c_str(), &state), 0);
  EXPECT_EQ(state.st_mode & 0777U, 0700U);
}

TEST_F(DeadLettersTest, KeepsOnlyLengthAndHashOfAPayloadAboveTheLimit) {
  DeadLetterLimits limits;
  limits.payload_limit_bytes = 2;
  open(limits);
  const std::vector<std::byte> payload = {std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
  ASSERT_TRUE(store_->write(letter_of(1), payload).ok());
  EXPECT_EQ(fs::file_size(path_of(1)), sizeof(LetterHeader));
  auto stored = store_->read(id_of(1));
  ASSERT_TRUE(stored.ok());
  EXPECT_FALSE(stored.value().letter.payload_stored);
  EXPECT_EQ(stored.value().letter.payload_bytes, 3U);
  EXPECT_TRUE(stored.value().payload.empty());
  const std::array<std::uint8_t, 4> begin_of_sha256_of_abc = {0xba, 0x78, 0x16, 0xbf};
  EXPECT_TRUE(std::equal(begin_of_sha256_of_abc.begin(), begin_of_sha256_of_abc.end(),
                         stored.value().letter.payload_sha256.begin()));
}

TEST_F(DeadLettersTest, AnEmptyPayloadIsStoredAsSuch) {
  keep(1, 0);
  auto stored = store_->read(id_of(1));
  ASSERT_TRUE(stored.ok());
  EXPECT_TRUE(stored.value().letter.payload_stored);
  EXPECT_TRUE(stored.value().payload.empty());
}

TEST_F(DeadLettersTest, ALetterWithdrawnWhileItIsWrittenLeavesNothing) {
  const auto written = store_->write(letter_of(1), payload_of(5), [] { return false; });
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(files().empty());
  EXPECT_FALSE(store_->exists(id_of(1)));
  EXPECT_TRUE(store_->write(letter_of(1), payload_of(5), [] { return true; }).ok());
}

TEST_F(DeadLettersTest, WritingTheSameIdAgainReplacesItAndCountsOnce) {
  keep(1, 10);
  keep(1, 30);
  EXPECT_EQ(store_->stats().total, (DeadLetterAmount{1, sizeof(LetterHeader) + 30}));
  EXPECT_EQ(store_->read(id_of(1)).value().payload.size(), 30U);
}

TEST_F(DeadLettersTest, RemoveSaysWhetherThereWasOne) {
  keep(1);
  EXPECT_TRUE(store_->exists(id_of(1)));
  EXPECT_TRUE(store_->remove(id_of(1)).value());
  EXPECT_FALSE(store_->remove(id_of(1)).value());
  EXPECT_FALSE(store_->exists(id_of(1)));
  EXPECT_EQ(store_->stats().total, DeadLetterAmount{});
  EXPECT_EQ(store_->read(id_of(1)).error().code, ErrorCode::kNotFound);
}

TEST_F(DeadLettersTest, TheMarkOfALateSuccessSurvivesARestart) {
  keep(1);
  keep(2);
  EXPECT_TRUE(store_->mark_late_success(id_of(1)).value());
  EXPECT_FALSE(store_->mark_late_success(id_of(9)).value());
  open();
  EXPECT_TRUE(store_->read(id_of(1)).value().letter.late_success);
  EXPECT_FALSE(store_->read(id_of(2)).value().letter.late_success);
  EXPECT_EQ(store_->stats().damaged, 0U);
}

TEST_F(DeadLettersTest, ListsNewestFirstByFilterUpToTheLimit) {
  for (std::uint8_t number = 1; number <= 5; ++number) {
    keep(number, 10, number < 3 ? 1000 : 2000);
  }
  DeadLetterFilter filter;
  filter.sender_uid = 2000;
  const auto letters = store_->list(filter, 2);
  ASSERT_EQ(letters.size(), 2U);
  EXPECT_EQ(letters[0].id, id_of(5));
  EXPECT_EQ(letters[1].id, id_of(4));
  filter = {};
  filter.queue = "gpu1";
  EXPECT_TRUE(store_->list(filter, 10).empty());
  filter = {};
  filter.reason = DeathReason::kRetries;
  EXPECT_EQ(store_->list(filter, 10).size(), 5U);
}

TEST_F(DeadLettersTest, AWalkFromPageToPageShowsWhatStaysOnceWhateverComesAndGoes) {
  for (std::uint8_t number = 1; number <= 6; ++number) {
    Letter letter = letter_of(number);
    letter.exhausted.realtime_ns = 1000U + number / 3;  // equal times: by id
    ASSERT_TRUE(store_->write(letter, {}).ok());
  }
  LetterPage page = store_->page({}, 2, {});
  std::vector<LetterId> seen{page.letters[0].id, page.letters[1].id};
  EXPECT_EQ(page.more, 4U);
  ASSERT_TRUE(store_->remove(seen.back()).ok()) << "the page's end goes";
  keep(7);
  while (page.next) {
    page = store_->page({}, 2, page.next);
    for (const Letter& letter : page.letters) {
      seen.push_back(letter.id);
    }
  }
  EXPECT_EQ(seen, (std::vector{id_of(6), id_of(3), id_of(4), id_of(5), id_of(1), id_of(2)}));
  EXPECT_EQ(page.more, 0U);
}

TEST_F(DeadLettersTest, PurgesByAgeByIdAndAll) {
  for (std::uint8_t number = 1; number <= 5; ++number) {
    keep(number);
  }
  DeadLetterFilter older;
  older.older_than_realtime_ns = 1003;
  EXPECT_EQ(store_->purge(older).value(), (DeadLetterAmount{2, 2 * (sizeof(LetterHeader) + 10)}));
  DeadLetterFilter one;
  one.id = id_of(4);
  EXPECT_EQ(store_->purge(one).value().letters, 1U);
  EXPECT_EQ(store_->purge({}).value().letters, 2U);
  EXPECT_TRUE(files().empty());
}

TEST_F(DeadLettersTest, WhenFullItNamesDirectoryBytesAndRemedyAndKeepsWhatItHas) {
  DeadLetterLimits limits;
  limits.max_bytes = 2 * sizeof(LetterHeader) + 20;
  open(limits);
  keep(1);
  keep(2);
  const auto refused = store_->write(letter_of(3), payload_of(10));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kFull);
  for (const std::string& part : {directory_, std::string("2068 of 2068 bytes"),
                                  std::string("needs 1034 bytes"), std::string("dead purge")}) {
    EXPECT_NE(refused.error().text.find(part), std::string::npos) << refused.error().text;
  }
  EXPECT_EQ(files().size(), 2U);
  EXPECT_TRUE(store_->write(letter_of(2), payload_of(10)).ok()) << "a rewrite needs no more room";
}

TEST_F(DeadLettersTest, OneUserCannotFillTheStoreForOthers) {
  DeadLetterLimits limits;
  limits.max_letters_per_uid = 2;
  open(limits);
  keep(1, 10, 1000);
  keep(2, 10, 1000);
  const auto refused = store_->write(letter_of(3, 1000), payload_of(10));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kQuota) << "no trouble of the store";
  EXPECT_NE(refused.error().text.find("user 1000"), std::string::npos);
  keep(4, 10, 2000);
  EXPECT_EQ(store_->stats().by_uid.at(1000).letters, 2U);
  EXPECT_EQ(store_->stats().by_uid.at(2000).letters, 1U);
}

TEST_F(DeadLettersTest, LimitsMayChangeWhileItRuns) {
  DeadLetterLimits limits;
  limits.max_letters = 1;
  store_->set_limits(limits);
  keep(1);
  EXPECT_EQ(store_->write(letter_of(2), payload_of(1)).error().code, ErrorCode::kFull);
  limits.max_letters = 2;
  store_->set_limits(limits);
  keep(2);
}

TEST_F(DeadLettersTest, AHalfWrittenLetterOfADeadDaemonIsCountedAndSetAside) {
  keep(1);
  const std::string leftover = directory_ + "/" + to_text(id_of(2)) + ".letter.tmp";
  std::ofstream(leftover) << "torn";
  open();
  EXPECT_EQ(store_->stats().leftovers, 1U);
  EXPECT_EQ(store_->stats().total.letters, 1U);
  EXPECT_FALSE(store_->exists(id_of(2)));
  EXPECT_TRUE(fs::exists(leftover + ".bad"));
  open();
  EXPECT_EQ(store_->stats().leftovers, 0U) << "what was set aside is not met again";
}

TEST_F(DeadLettersTest, EveryTornLengthIsFoundAndSetAsideWithoutACrash) {
  keep(1, 100);
  const std::string whole = path_of(1);
  const std::string copy = directory_ + "/whole";
  fs::copy_file(whole, copy);
  for (const std::uintmax_t length : {0U, 1U, 8U, 1023U, 1024U, 1025U, 1123U, 1125U}) {
    fs::copy_file(copy, whole, fs::copy_options::overwrite_existing);
    fs::resize_file(whole, length);
    open();
    EXPECT_EQ(store_->stats().damaged, 1U) << length;
    EXPECT_FALSE(store_->exists(id_of(1))) << length;
    EXPECT_TRUE(fs::exists(whole + ".bad")) << length;
    fs::remove(whole + ".bad");
  }
}

TEST_F(DeadLettersTest, ADamagedByteAnywhereIsFound) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200; ++i) {
    keep(1, 100);
    const auto offset = static_cast<std::streamoff>(random() % (sizeof(LetterHeader) + 100));
    damage(path_of(1), offset);
    open();
    EXPECT_EQ(store_->stats().damaged, 1U) << "offset " << offset;
    EXPECT_FALSE(store_->exists(id_of(1)));
  }
}

TEST_F(DeadLettersTest, ALetterDamagedWhileTheDaemonRunsIsSetAsideWhenRead) {
  keep(1, 100);
  damage(path_of(1), 1050);
  const auto stored = store_->read(id_of(1));
  ASSERT_FALSE(stored.ok());
  EXPECT_EQ(stored.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(store_->stats().damaged, 1U);
  EXPECT_EQ(store_->stats().total.letters, 0U);
  keep(1, 100);
}

TEST_F(DeadLettersTest, ALetterUnderAnotherNameALinkAndADirectoryAreNotLetters) {
  keep(1);
  fs::rename(path_of(1), path_of(2));
  fs::create_symlink("/etc/passwd", path_of(3));
  fs::create_directory(path_of(4));
  open();
  EXPECT_EQ(store_->stats().damaged, 3U);
  EXPECT_EQ(store_->stats().total.letters, 0U);
}

TEST_F(DeadLettersTest, PurgingAllAlsoRemovesWhatWasSetAside) {
  std::ofstream(path_of(1)) << "junk";
  open();
  ASSERT_EQ(files().size(), 1U);
  ASSERT_TRUE(store_->purge({}).ok());
  EXPECT_TRUE(files().empty());
}

TEST_F(DeadLettersTest, AWriteThatFailsHalfWayLeavesTheOldLetterAndNothingElse) {
  keep(1, 10);
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 4096, before.rlim_max };
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto failed = store_->write(letter_of(1), payload_of(100'000));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().text.find(directory_), std::string::npos);
  EXPECT_EQ(files().size(), 1U);
  EXPECT_EQ(store_->read(id_of(1)).value().payload.size(), 10U);
}

TEST_F(DeadLettersTest, ASecondDaemonIsRefused) {
  const auto second = DeadLetters::open(directory_, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  EXPECT_NE(second.error().text.find(directory_), std::string::npos);
}

TEST_F(DeadLettersTest, ADirectoryThatCannotBeMadeOrThatOthersMayWriteIsRefused) {
  const std::string file = root() / "file";
  std::ofstream(file) << "x";
  const auto below_a_file = DeadLetters::open(file + "/dead", {});
  ASSERT_FALSE(below_a_file.ok());
  EXPECT_NE(below_a_file.error().text.find("dead_letters.directory"), std::string::npos);
  const std::string open_to_all = root() / "open";
  fs::create_directory(open_to_all);
  ASSERT_EQ(chmod(open_to_all.c_str(), 0777), 0);
  const auto writable = DeadLetters::open(open_to_all, {});
  ASSERT_FALSE(writable.ok());
  EXPECT_EQ(writable.error().code, ErrorCode::kPermission);
}

// ---- redrive ----

TEST_F(DeadLettersTest, ALetterTakenOutForARedriveIsNoDeadLetterButStaysOnDisk) {
  keep(1);
  const Letter before = store_->read(id_of(1)).value().letter;
  const auto taken = store_->begin_redrive(id_of(1), id_of(2));
  ASSERT_TRUE(taken.ok()) << taken.error().text;
  EXPECT_EQ(taken.value().letter, before);
  EXPECT_EQ(taken.value().payload, payload_of(10));
  EXPECT_FALSE(store_->exists(id_of(1)));
  EXPECT_TRUE(store_->list({}, 10).empty());
  EXPECT_EQ(store_->stats().total, DeadLetterAmount{});
  EXPECT_EQ(store_->begin_redrive(id_of(1), id_of(3)).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->purge({}).value().letters, 0U);
  EXPECT_TRUE(store_->is_redriven(id_of(2)));
  EXPECT_EQ(files().size(), 1U);
  ASSERT_TRUE(store_->end_redrive(id_of(2), false).ok());
  EXPECT_EQ(store_->read(id_of(1)).value().letter, before);
  EXPECT_EQ(store_->stats().total, (DeadLetterAmount{1, sizeof(LetterHeader) + 10}));
  EXPECT_FALSE(store_->is_redriven(id_of(2)));
}

TEST_F(DeadLettersTest, ANewDaemonFindsWhichLettersWaitForWhichMessages) {
  keep(1);
  keep(2);
  keep(3);
  ASSERT_TRUE(store_->begin_redrive(id_of(1), id_of(11)).ok());
  ASSERT_TRUE(store_->begin_redrive(id_of(2), id_of(12)).ok());
  open();
  EXPECT_EQ(store_->redriven(), (std::vector<LetterId>{id_of(11), id_of(12)}));
  EXPECT_EQ(store_->stats().total.letters, 1U);
  ASSERT_TRUE(store_->end_redrive(id_of(11), true).ok());
  ASSERT_TRUE(store_->end_redrive(id_of(12), false).ok());
  ASSERT_TRUE(store_->end_redrive(id_of(12), true).ok()) << "twice is once";
  EXPECT_FALSE(store_->exists(id_of(1)));
  EXPECT_TRUE(store_->exists(id_of(2)));
  EXPECT_EQ(files().size(), 2U);
  open();
  EXPECT_TRUE(store_->redriven().empty());
  EXPECT_EQ(store_->stats().total.letters, 2U);
}

TEST_F(DeadLettersTest, TheNextLetterOfARedrivenMessageContinuesItsHistory) {
  keep(1);
  ASSERT_TRUE(store_->begin_redrive(id_of(1), id_of(2)).ok());
  open();
  Letter next = letter_of(2, 0);
  next.sender_pid = 1;
  next.sent = {7, 8};
  next.origin_id = {};
  next.history = {};
  next.attempts = 6;
  ASSERT_TRUE(store_->write(next, payload_of(10)).ok());
  const Letter written = store_->read(id_of(2)).value().letter;
  EXPECT_EQ(written.origin_id, id_of(200));
  ASSERT_EQ(written.history.size(), 2U);
  EXPECT_EQ(written.history[0], (PreviousDeath{id_of(200), 77, 4, 1}));
  EXPECT_EQ(written.history[1], (PreviousDeath{id_of(1), 1001, 4, 1}));
  EXPECT_EQ(written.sender_uid, 1000U);
  EXPECT_EQ(written.sender_pid, 4242U);
  EXPECT_EQ(written.sent, letter_of(1).sent);
  EXPECT_EQ(written.attempts, 6U);
  EXPECT_EQ(store_->stats().by_uid.at(1000).letters, 1U)
      << "its producer's quota, not the daemon's";
}

TEST_F(DeadLettersTest, ALetterWithASuccessorDoesNotComeBack) {
  keep(1);
  ASSERT_TRUE(store_->begin_redrive(id_of(1), id_of(2)).ok());
  keep(2);
  // The successor is redriven in its turn before anybody looked: still one letter at the end.
  ASSERT_TRUE(store_->begin_redrive(id_of(2), id_of(3)).ok());
  open();
  for (const LetterId& id : store_->redriven()) {
    ASSERT_TRUE(store_->end_redrive(id, false).ok());
  }
  EXPECT_EQ(files(), std::vector<std::string>{to_text(id_of(2)) + ".letter"});
  EXPECT_EQ(store_->stats().total.letters, 1U);
}

TEST_F(DeadLettersTest, ALetterTakenOutKeepsItsRoomForItsSuccessor) {
  DeadLetterLimits limits;
  limits.max_letters = 2;
  open(limits);
  keep(1);
  keep(2);
  ASSERT_TRUE(store_->begin_redrive(id_of(1), id_of(3)).ok());
  EXPECT_EQ(store_->write(letter_of(4), payload_of(10)).error().code, ErrorCode::kFull);
  keep(3);
  EXPECT_EQ(store_->stats().total.letters, 2U);
  ASSERT_TRUE(store_->end_redrive(id_of(3), true).ok());
  EXPECT_EQ(files().size(), 2U);
}

TEST_F(DeadLettersTest, ALetterWithoutItsPayloadIsNotTakenOut) {
  DeadLetterLimits limits;
  limits.payload_limit_bytes = 5;
  open(limits);
  keep(1, 10);
  EXPECT_EQ(store_->begin_redrive(id_of(1), id_of(2)).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(store_->exists(id_of(1)));
  EXPECT_FALSE(store_->is_redriven(id_of(2)));
}

TEST_F(DeadLettersTest, AMarkedLetterThatIsDamagedOrMisnamedIsSetAside) {
  for (std::uint8_t number = 1; number <= 3; ++number) {
    keep(number, 100);
    const auto new_id = static_cast<std::uint8_t>(number + 10);
    ASSERT_TRUE(store_->begin_redrive(id_of(number), id_of(new_id)).ok());
  }
  const auto marked = [&](std::uint8_t number, std::uint8_t new_id) {
    return directory_ + "/" + redriven_file_name(id_of(number), id_of(new_id));
  };
  damage(marked(1, 11), 1050);
  fs::rename(marked(2, 12), marked(4, 12));
  fs::rename(marked(3, 13), path_of(3) + ".no-id.redriven");
  open();
  EXPECT_EQ(store_->stats().damaged, 3U);
  EXPECT_TRUE(store_->redriven().empty());
}

TEST(LetterFormat, CutsWhatIsTooLongAndKeepsTheLatestHistory) {
  Letter letter = letter_of(1);
  letter.detail.assign(500, 'd');
  letter.attempt_times.assign(40, {1, 1});
  letter.history.clear();
  for (std::uint32_t i = 0; i < 20; ++i) {
    letter.history.push_back({id_of(1), i, 1, 1});
  }
  const LetterHeader header = pack_letter(letter);
  EXPECT_EQ(header.attempt_time_count, kLetterAttemptTimes);
  EXPECT_EQ(header.history_count, kLetterHistory);
  EXPECT_EQ(header.history.front().exhausted_realtime_ns, 12U);
  EXPECT_EQ(header.history.back().exhausted_realtime_ns, 19U);
  EXPECT_EQ(header.detail.back(), 'd');
}

TEST(LetterFormat, TakesRandomBytesForNoLetter) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  for (int i = 0; i < 2000; ++i) {
    LetterHeader header = pack_letter(letter_of(1));
    auto bytes = std::as_writable_bytes(std::span(&header, 1));
    for (int change = 0; change < 5; ++change) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    EXPECT_FALSE(unpack_letter(header).ok());  // Its checksum was never set.
  }
}

TEST(LetterId, TextAndBytesAgreeAndMalformedTextIsRefused) {
  const LetterId id = id_of(0xc3);
  EXPECT_EQ(parse_letter_id(to_text(id)), id);
  EXPECT_EQ(parse_letter_id("5A5A5A5A-5A5A-5A5A-5A5A-5A5A5A5A5AC3"), id);
  for (const char* text :
       {"", "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5ac", "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5ac33",
        "5a5a5a5a55a5a-5a5a-5a5a-5a5a5a5a5ac3", "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5ag3"}) {
    EXPECT_FALSE(parse_letter_id(text).has_value()) << text;
  }
}

TEST(DeathReason, TextAndNumberAgree) {
  for (std::uint32_t number = 1; number <= 5; ++number) {
    const auto reason = static_cast<DeathReason>(number);
    EXPECT_EQ(parse_death_reason(to_text(reason)), reason);
  }
  EXPECT_STREQ(to_text(static_cast<DeathReason>(6)), "unknown");
  EXPECT_FALSE(parse_death_reason("unknown").has_value());
}

TEST(DeathReason, EveryVerdictThatLeavesALetterHasItsReason) {
  using layout::VerdictReason;
  EXPECT_EQ(death_reason_of(VerdictReason::kRetries), DeathReason::kRetries);
  EXPECT_EQ(death_reason_of(VerdictReason::kUndelivered), DeathReason::kUndelivered);
  EXPECT_EQ(death_reason_of(VerdictReason::kMaxAge), DeathReason::kMaxAge);
  EXPECT_EQ(death_reason_of(VerdictReason::kPoison), DeathReason::kPoison);
  EXPECT_EQ(death_reason_of(VerdictReason::kClosedBus), DeathReason::kClosed);
  EXPECT_EQ(death_reason_of(VerdictReason::kGone), DeathReason::kReserved);
}

}  // namespace
}  // namespace ackbus::daemon
