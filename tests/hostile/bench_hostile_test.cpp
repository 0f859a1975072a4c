// `ackbus bench hostile` runs an attack beside its victims and says what they lost. How much that
// is on this machine decides nothing here.
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

TEST_F(ProcessTest, BenchHostileSaysWhatItsVictimsLost) {
  const Folder folder;
  const Ran ran = run_program(
      folder, "ackbus",
      {"bench", "hostile", "--attack", "garbage", "--attack", "acks", "--windows", "1", "--seconds",
       "0.1", "--json", "--attacker", std::string(ACKBUS_BIN_DIR) + "/ackbus-hostile-peer"});
  ASSERT_EQ(ran.status, 0) << ran.errors;
  const json report = json::parse(ran.output);
  ASSERT_EQ(report["attacks"].size(), 2U);
  for (const json& attack : report["attacks"]) {
    EXPECT_GT(attack["alone"]["messages_per_second"], 0);
    EXPECT_GT(attack["attacked"]["messages_per_second"], 0);
    EXPECT_GT(attack["throughput_ratio"], 0);
    EXPECT_GT(attack["p99_ratio"], 0);
  }
}

TEST_F(ProcessTest, BenchHostileNamesAnAttackThatItDoesNotKnow) {
  const Folder folder;
  const Ran ran = run_program(folder, "ackbus",
                              {"bench", "hostile", "--attack", "none-such", "--attacker",
                               std::string(ACKBUS_BIN_DIR) + "/ackbus-hostile-peer"});
  EXPECT_NE(ran.status, 0);
  EXPECT_THAT(ran.errors, ::testing::HasSubstr("knows no attack 'none-such'"));
}

}  // namespace
}  // namespace ackbus::process_test
