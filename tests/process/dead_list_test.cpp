// `ackbus dead list` of more letters than one answer of the daemon carries. The letters are made by
// the daemon's own store, in memory, where they cost no disk: the daemon uses a directory that is
// put in the place of its own.
#include <cstdlib>
#include <filesystem>
#include <set>

#include "daemon/dead_letters.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

namespace fs = std::filesystem;
using daemon::DeadLetters;
using ::testing::HasSubstr;

constexpr std::uint32_t kLetters = 1'003;  // an answer has 1,000

class DeadList : public ProcessTest {};

daemon::Letter letter_of(std::uint32_t number) {
  daemon::Letter letter;
  std::memcpy(letter.id.data(), &number, sizeof number);
  letter.queue = "gpu0";
  letter.kind_name = "ComputeForces";
  letter.kind_id = 4;
  letter.reason = daemon::DeathReason::kRetries;
  letter.exhausted = {1, number / 3};  // three at a time
  return letter;
}

void write_letters(const std::string& directory) {
  auto store = DeadLetters::open(directory, {});
  ASSERT_TRUE(store.ok()) << store.error().text;
  for (std::uint32_t number = 1; number <= kLetters; ++number) {
    const daemon::Result<void> written = store.value()->write(letter_of(number), {});
    ASSERT_TRUE(written.ok()) << written.error().text;
  }
}

void give_letters(const Bus& bus) {
  char in_memory[] = "/dev/shm/ackbus-letters-XXXXXX";
  ASSERT_NE(::mkdtemp(in_memory), nullptr);
  write_letters(std::string(in_memory) + "/dead");
  fs::copy(std::string(in_memory) + "/dead", bus.folder() / "made");
  fs::remove_all(in_memory);
  fs::permissions(bus.folder() / "made", fs::perms::owner_all);
  fs::remove_all(bus.dead_letter_dir());
  fs::rename(bus.folder() / "made", bus.dead_letter_dir());
}

TEST_F(DeadList, ShowsEveryLetterOnceHoweverManyThereAre) {
  Bus bus;
  give_letters(bus);

  const Ran all = bus.ackbus({"dead", "list", "--json", "--limit", "5000"});
  ASSERT_EQ(all.status, 0) << all.errors;
  const json listed = json::parse(all.output);
  std::set<std::string> ids;
  for (const json& letter : listed["letters"]) {
    ids.insert(letter["id"].get<std::string>());
  }
  EXPECT_EQ(listed["letters"].size(), kLetters);
  EXPECT_EQ(ids.size(), kLetters);

  const Ran cut = bus.ackbus({"dead", "list", "--limit", "1001"});
  EXPECT_THAT(cut.output, HasSubstr("and 2 older"));
  const Ran others = bus.ackbus({"dead", "list", "--reason", "poison"});
  EXPECT_EQ(others.output, "no dead letters\n");
}

}  // namespace
}  // namespace ackbus::process_test
