// What `ackbus queue remove` and `ackbus reload` print.
#include "tools/command_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace ackbus::tools {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(CommandQueue, ARemovalSaysWhatItEnded) {
  EXPECT_EQ(removed_text("batch", {{"links", 3}, {"consumers", 1}}),
            "removed queue batch: closed 3 link(s), sent away 1 consumer(s)\n");
}

TEST(CommandQueue, AReloadNamesWhatWaitsForARestart) {
  EXPECT_EQ(reloaded_text(json::object()), "configuration reloaded\n");
  EXPECT_EQ(reloaded_text({{"waiting_for_restart", json::array()}}), "configuration reloaded\n");
  EXPECT_EQ(reloaded_text({{"waiting_for_restart", {"tick_ms", "metrics", "name"}}}),
            "configuration reloaded\n"
            "only a restart of ackbusd takes what changed in: tick_ms, metrics, name\n");
}

TEST(CommandQueue, AnOddAnswerCannotSteerTheTerminal) {
  EXPECT_THAT(reloaded_text({{"waiting_for_restart", {"a\033[2J", 7, nullptr}}}),
              Not(HasSubstr("\033")));
}

TEST(CommandQueue, NamesAreJudgedAsTheDaemonDoes) {
  for (const char* name : {"gpu0", "A.b_c-9"}) {
    EXPECT_EQ(queue_name_problem(name), "") << name;
  }
  for (const char* name : {"", "two words", "slash/ed", "\033[2J"}) {
    EXPECT_THAT(queue_name_problem(name), HasSubstr("is not 1 to 31 of A-Z")) << name;
  }
  EXPECT_THAT(queue_name_problem("\033[2J"), Not(HasSubstr("\033")));
}

}  // namespace
}  // namespace ackbus::tools
