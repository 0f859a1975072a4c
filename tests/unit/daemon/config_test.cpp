// The configuration: defaults, every key, and one clear line for every mistake.
#include "daemon/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "daemon/config_toml.hpp"
#include "shm_layout/kinds.hpp"

namespace ackbus::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Config parsed(const std::string& text) {
  auto config = parse_config(text, "test.toml");
  EXPECT_TRUE(config.ok()) << (config.ok() ? "" : config.error().text);
  return config.ok() ? config.value() : Config();
}

std::string error_of(const std::string& text) {
  const auto config = parse_config(text, "test.toml");
  EXPECT_FALSE(config.ok()) << text;
  const std::string line = config.ok() ? "" : config.error().text;
  EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  return line;
}

TEST(Config, AnEmptyFileGivesTheDefaultsAndTheSixBuiltInKinds) {
  const Config config = parsed("");
  EXPECT_EQ(config.name, "default");
  EXPECT_EQ(config.metrics, "127.0.0.1:9975");
  EXPECT_EQ(config.tick_ms, 1U);
  EXPECT_TRUE(config.any_queue);
  EXPECT_EQ(config.limits.max_links, 1024U);
  EXPECT_EQ(config.limits.default_slots, 1024U);
  EXPECT_EQ(config.limits.max_slots, 65536U);
  EXPECT_EQ(config.limits.default_arena_bytes, 16U << 20);
  EXPECT_EQ(config.dead_letter_limits, DeadLetterLimits());
  EXPECT_EQ(config.backoff.base_ms, 100U);
  EXPECT_EQ(config.backoff.max_ms, 30'000U);
  EXPECT_EQ(config.backoff.jitter_percent, 0U);
  ASSERT_EQ(config.queues.size(), 1U);
  EXPECT_EQ(config.queues[0].name, "gpu0");
  ASSERT_EQ(config.kinds.size(), layout::kBuiltInKindCount);
  EXPECT_EQ(config.find_kind("ComputeForces")->id, 4U);
  EXPECT_EQ(config.find_kind("ComputeForces")->timeout_ms, 5000U);
  EXPECT_TRUE(config.find_kind(std::uint16_t{2})->supersede);
  EXPECT_EQ(config.find_kind(std::uint16_t{7}), nullptr);
}

TEST(Config, ReadsEveryKey) {
  const Config config = parsed(R"(
name = "lab-1"
runtime_dir = "/tmp/x"
metrics = "off"
tick_ms = 2
any_queue = false
log_level = "warning"
log_records_per_minute = 7
[limits]
max_links = 10
max_links_per_uid = 5
default_slots = 64
max_slots = 128
default_arena_bytes = "64 KiB"
max_arena_bytes = 8589934592
max_memory_bytes = "20 GiB"
max_memory_per_uid_bytes = "10 GiB"
[dead_letters]
directory = "/tmp/dead"
max_letters = 11
max_bytes = "1 MiB"
max_letters_per_uid = 3
max_bytes_per_uid = "512 KiB"
payload_limit_bytes = 0
[backoff]
base_ms = 5
max_ms = 50
jitter_percent = 10
[[queue]]
name = "gpu0"
producer_users = ["root", 1234]
consumer_groups = ["root"]
[[queue]]
name = "gpu1"
[[kind]]
name = "ComputeForces"
timeout_ms = 77
[[kind]]
name = "Render.Frame"
id = 9
timeout_ms = 1
max_retries = 0
max_wait_ms = 2
max_age_ms = 3
supersede = true
clock = "commit"
min_payload_bytes = 1
max_payload_bytes = "6 GiB"
)");
  EXPECT_EQ(config.name, "lab-1");
  EXPECT_EQ(config.metrics, "off");
  EXPECT_FALSE(config.any_queue);
  EXPECT_EQ(config.log_level, LogLevel::kWarning);
  EXPECT_EQ(config.limits.max_arena_bytes, std::uint64_t{8} << 30);
  EXPECT_EQ(config.limits.default_arena_bytes, 65536U);
  EXPECT_EQ(config.dead_letter_limits.max_bytes_per_uid, 512U << 10);
  EXPECT_EQ(config.backoff.jitter_percent, 10U);
  ASSERT_EQ(config.queues.size(), 2U);
  EXPECT_EQ(config.find_queue("gpu0")->producers.users, (std::vector<uid_t>{0, 1234}));
  EXPECT_EQ(config.find_queue("gpu0")->consumers.groups, std::vector<gid_t>{0});
  EXPECT_EQ(config.find_kind("ComputeForces")->timeout_ms, 77U);
  EXPECT_EQ(config.find_kind("ComputeForces")->max_retries, 3U) << "the rest stays built in";
  const KindConfig* kind = config.find_kind(std::uint16_t{9});
  ASSERT_NE(kind, nullptr);
  EXPECT_EQ(kind->clock, ClockStart::kCommit);
  EXPECT_EQ(kind->max_payload_bytes, std::uint64_t{6} << 30);
  EXPECT_EQ(config.kinds.back().id, 9U) << "kinds are in the order of their ids";
}

struct Mistake {
  const char* name;
  const char* text;
  const char* error;
};

class ConfigMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistake, IsOneLineWithPlaceThingAndRemedy) {
  EXPECT_THAT(error_of(GetParam().text), StartsWith(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigMistake,
    ::testing::Values(
        Mistake{"UnknownKey", "nmae = \"x\"", "test.toml:1:1: unknown key nmae: use one of name, "},
        Mistake{"UnknownKeyInSection", "[limits]\n  max_link = 1",
                "test.toml:2:3: unknown key limits.max_link: use one of max_links, "},
        Mistake{"UnknownSection", "[limit]\n", "test.toml:1:2: unknown key limit: use one of"},
        Mistake{"WrongType", "tick_ms = \"1\"",
                "test.toml:1:11: tick_ms is a text: give a whole number"},
        Mistake{"FractionForNumber", "tick_ms = 1.5",
                "test.toml:1:11: tick_ms is a fraction: give"},
        Mistake{"NumberForFlag", "any_queue = 1",
                "test.toml:1:13: any_queue is a whole number: give true"},
        Mistake{"NumberForText", "name = 1", "test.toml:1:8: name is a whole number: give a text"},
        Mistake{"OutOfRange", "[limits]\nmax_links = 0",
                "test.toml:2:13: limits.max_links = 0 is out of range: give 1 to 4096"},
        Mistake{"Negative", "tick_ms = -1",
                "test.toml:1:11: tick_ms = -1 is out of range: give 1 to"},
        Mistake{"NegativeSize", "[limits]\nmax_memory_bytes = -5",
                "test.toml:2:20: limits.max_memory_bytes is no size: give a text"},
        Mistake{"BadSize", "[limits]\nmax_memory_bytes = \"5 MB\"",
                "test.toml:2:20: limits.max_memory_bytes is no size: give a text"},
        Mistake{"SizeAboveTheFormat", "[limits]\nmax_arena_bytes = \"2 TiB\"",
                "test.toml:2:19: limits.max_arena_bytes = 2 TiB is out of range: give 0 to 1 TiB"},
        Mistake{"BadBusName", "name = \"a/b\"",
                "test.toml:1:8: name = \"a/b\" is not valid: give 1 to 31"},
        Mistake{"LongBusName", "name = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
                "test.toml:1:8: name = "},
        Mistake{"RelativePath", "runtime_dir = \"run\"",
                "test.toml:1:15: runtime_dir = \"run\" is not valid: give an absolute path"},
        Mistake{"BadMetrics", "metrics = \"localhost:99999\"", "test.toml:1:11: metrics = "},
        Mistake{"SlotsNotAPower", "[limits]\ndefault_slots = 1000",
                "test.toml:2:17: limits.default_slots = 1000 is no power of two: give 1024"},
        Mistake{"DefaultAboveMaximum", "[limits]\ndefault_slots = 2048\nmax_slots = 1024",
                "test.toml:2:17: limits.default_slots is greater than limits.max_slots: lower it"},
        Mistake{"ArenaNoMultiple", "[limits]\ndefault_arena_bytes = 5000",
                "test.toml:2:23: an arena is no multiple of 4 KiB: round it up"},
        Mistake{
            "MemoryForNoLink", "[limits]\nmax_memory_bytes = \"1 KiB\"",
            "test.toml:2:20: limits.max_memory_bytes = 1024 holds no link: the smallest takes "},
        Mistake{"MemoryForNoUsualLink", "[limits]\nmax_memory_bytes = \"16 MiB\"",
                "test.toml:2:20: limits.max_memory_bytes = 16777216 holds no link: one of "
                "default_slots and default_arena_bytes takes "},
        Mistake{"MemoryOfAUserForNoLink", "[limits]\nmax_memory_per_uid_bytes = 1",
                "test.toml:2:28: limits.max_memory_per_uid_bytes = 1 holds no link: the smallest"},
        Mistake{"BackoffUpsideDown", "[backoff]\nbase_ms = 10\nmax_ms = 5",
                "test.toml:2:11: backoff.base_ms is greater than backoff.max_ms: lower it"},
        Mistake{"KindWithoutId", "[[kind]]\nname = \"New\"",
                "test.toml:1:1: kind New has no id: add id = 7 to 63"},
        Mistake{"KindWithoutName", "[[kind]]\nid = 9",
                "test.toml:1:1: a kind has no name: add name"},
        Mistake{"KindIdOfBuiltIn", "[[kind]]\nname = \"New\"\nid = 4",
                "test.toml:3:6: kind id 4 is already that of ComputeForces: choose a free one of 7 "
                "to 63"},
        Mistake{"BuiltInWithOtherId", "[[kind]]\nname = \"ComputeForces\"\nid = 9",
                "test.toml:3:6: kind ComputeForces is built in with id 4: leave the id out"},
        Mistake{"KindIdBeyond", "[[kind]]\nname = \"New\"\nid = 64",
                "test.toml:3:6: kind.id = 64 is out of range: give 1 to 63"},
        Mistake{"DuplicateKindId", "[[kind]]\nname=\"A\"\nid=9\n[[kind]]\nname=\"B\"\nid=9",
                "test.toml:6:4: kind id 9 is already that of A: choose"},
        Mistake{"DuplicateKindName", "[[kind]]\nname=\"A\"\nid=9\n[[kind]]\nname=\"A\"\nid=10",
                "test.toml:5:6: kind A is given twice: join the two"},
        Mistake{"DuplicateOverride",
                "[[kind]]\nname=\"ComputeForces\"\n[[kind]]\nname=\"ComputeForces\"",
                "test.toml:4:6: kind ComputeForces is given twice: join the two"},
        Mistake{"BadClock", "[[kind]]\nname=\"ComputeForces\"\nclock=\"now\"",
                "test.toml:3:7: kind.clock = \"now\" is not valid: give \"begin\" or \"commit\""},
        Mistake{"AgeBelowTimeout", "[[kind]]\nname=\"ComputeForces\"\nmax_age_ms=10",
                "test.toml:3:12: kind ComputeForces: max_age_ms is less than timeout_ms: raise"},
        Mistake{"QueueWithoutName", "[[queue]]\n", "test.toml:1:1: a queue has no name: add name"},
        Mistake{"DuplicateQueue", "[[queue]]\nname=\"a\"\n[[queue]]\nname=\"a\"",
                "test.toml:4:6: queue \"a\" is given twice: join the two"},
        Mistake{"QueueAsTable", "[queue]\nname=\"a\"",
                "test.toml:1:1: queue is a table: give one or more tables: [[queue]]"},
        Mistake{
            "UnknownUser", "[[queue]]\nname=\"a\"\nproducer_users=[\"no-such-user\"]",
            "test.toml:3:17: queue.producer_users: no user \"no-such-user\": create it or correct"},
        Mistake{
            "BadGroup", "[[queue]]\nname=\"a\"\nconsumer_groups=[-1]",
            "test.toml:3:18: queue.consumer_groups: an entry is no group: give a name or a number"},
        Mistake{"MaximumArenaNoMultiple", "[limits]\nmax_arena_bytes = 67108865",
                "test.toml:2:19: an arena is no multiple of 4 KiB: round it up"},
        Mistake{
            "DefaultArenaAboveMaximum",
            "[limits]\ndefault_arena_bytes = 8192\nmax_arena_bytes = 4096",
            "test.toml:2:23: limits.default_arena_bytes is greater than limits.max_arena_bytes: "
            "lower it"},
        Mistake{"PayloadsUpsideDown",
                "[[kind]]\nname=\"ComputeForces\"\nmin_payload_bytes=9\nmax_payload_bytes=8",
                "test.toml:4:19: kind ComputeForces: max_payload_bytes is less than "
                "min_payload_bytes: raise"},
        Mistake{"ListForNumber", "tick_ms = [1]", "test.toml:1:11: tick_ms is a list: give"},
        Mistake{"DateForNumber", "tick_ms = 1979-05-27",
                "test.toml:1:11: tick_ms is a date or time: give"},
        Mistake{"FlagForSize", "[limits]\nmax_memory_bytes = true",
                "test.toml:2:20: limits.max_memory_bytes is true or false: give a number of bytes"},
        Mistake{"TextForUsers", "[[queue]]\nname=\"a\"\nproducer_users=\"me\"",
                "test.toml:3:16: queue.producer_users is a text: give a list of user names"},
        Mistake{"FlagForGroup", "[[queue]]\nname=\"a\"\nconsumer_groups=[true]",
                "test.toml:3:18: queue.consumer_groups: an entry is no group: give"},
        Mistake{"GroupBeyond", "[[queue]]\nname=\"a\"\nconsumer_groups=[9999999999]",
                "test.toml:3:18: queue.consumer_groups: an entry is no group: give"},
        Mistake{"QueuesOfNumbers", "queue = [1]",
                "test.toml:1:10: queue is a whole number: give tables only: [[queue]]"},
        Mistake{"BrokenToml", "name = \n", "test.toml:1:"},
        Mistake{"DuplicateKey", "tick_ms = 1\ntick_ms = 2", "test.toml:2:"}),
    [](const auto& mistake) { return mistake.param.name; });

TEST(Config, MemoryForOneLinkIsEnough) {
  const std::string smallest = std::to_string(link_bytes(4, 4096));
  const Config config =
      parsed("[limits]\ndefault_slots = 4\ndefault_arena_bytes = 4096\n" +
             ("max_memory_bytes = " + smallest) + "\nmax_memory_per_uid_bytes = " + smallest);
  EXPECT_EQ(std::to_string(config.limits.max_memory_bytes), smallest);
}

TEST(Config, HasSoManyQueuesAndNoMore) {
  std::string text;
  for (std::size_t queue = 0; queue < layout::kQueuesMax; ++queue) {
    text += "[[queue]]\nname = \"queue" + std::to_string(queue) + "\"\n";
  }
  EXPECT_EQ(parsed(text).queues.size(), layout::kQueuesMax);
  EXPECT_THAT(error_of((text + "[[queue]]\nname = \"one-more\"\n").c_str()),
              HasSubstr("too many queues"));
}

TEST(Config, TellsTheFirstMistakeOnly) {
  EXPECT_THAT(error_of("tick_ms = 0\nnmae = 1"), HasSubstr("tick_ms = 0"));
}

TEST(Config, WhatItDumpsItReadsBackToTheSame) {
  Config config = parsed(R"(
name = "lab"
runtime_dir = "/tmp/a \"quoted\" \\ path"
[limits]
default_arena_bytes = 12288
[[queue]]
name = "gpu7"
producer_users = [5, 6]
[[kind]]
name = "New"
id = 63
clock = "commit"
)");
  ASSERT_TRUE(complete_config(config, Environment::of_this_process()).ok());
  const std::string text = dump_config(config);
  EXPECT_EQ(dump_config(parsed(text)), text);
  EXPECT_THAT(text, HasSubstr("default_arena_bytes = \"12 KiB\""));
}

TEST(Config, TheExampleFileSaysTheDefaults) {
  const std::string path = std::string(ACKBUS_SOURCE_DIR) + "/daemon/ackbusd.toml";
  const auto example = load_config(path);
  ASSERT_TRUE(example.ok()) << example.error().text;
  EXPECT_EQ(dump_config(example.value()), dump_config(default_config()));
}

TEST(Config, AFileThatCannotBeReadIsNamed) {
  const auto absent = load_config("/nonexistent/ackbusd.toml");
  ASSERT_FALSE(absent.ok());
  EXPECT_THAT(absent.error().text, HasSubstr("/nonexistent/ackbusd.toml"));
  EXPECT_THAT(absent.error().text, HasSubstr("--config"));
  EXPECT_FALSE(load_config(::testing::TempDir()).ok());
}

TEST(Config, AFileThatIsNoConfigurationIsNotRead) {
  const std::string path = ::testing::TempDir() + "config_large.toml";
  std::ofstream(path) << std::string((1 << 20) + 1, '#');
  const auto large = load_config(path);
  std::filesystem::remove(path);
  ASSERT_FALSE(large.ok());
  EXPECT_THAT(large.error().text, AllOf(StartsWith(path), HasSubstr("larger than 1 MiB")));
}

TEST(Config, ErrorsNameTheFile) {
  const std::string path = ::testing::TempDir() + "config_test.toml";
  std::ofstream(path) << "\n tick_ms = true\n";
  const auto config = load_config(path);
  std::filesystem::remove(path);
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().text, StartsWith(path + ":2:12: tick_ms is true or false: give"));
}

/// A process without variables, of an ordinary user, on a machine of 8 GiB.
Environment bare_environment(std::map<std::string, std::string> variables = {}) {
  Environment environment;
  environment.user = 1000;
  environment.physical_memory_bytes = std::uint64_t{8} << 30;
  environment.variable = [variables](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  environment.directory_exists = [](const std::string&) { return false; };
  return environment;
}

TEST(CompleteConfig, TakesTheRuntimeDirectoryInTheDocumentedOrder) {
  const auto chosen = [](const Environment& environment) {
    Config config = default_config();
    EXPECT_TRUE(complete_config(config, environment).ok());
    return config.runtime_dir;
  };
  EXPECT_EQ(chosen(bare_environment(
                {{"HOME", "/h"}, {"ACKBUS_RUNTIME_DIR", "/a"}, {"XDG_RUNTIME_DIR", "/x"}})),
            "/a");
  EXPECT_EQ(chosen(bare_environment({{"HOME", "/h"}, {"XDG_RUNTIME_DIR", "/x"}})), "/x/ackbus");
  Environment exists = bare_environment({{"HOME", "/h"}});
  exists.directory_exists = [](const std::string& path) { return path == "/run/ackbus"; };
  EXPECT_EQ(chosen(exists), "/run/ackbus");
  Config config = default_config();
  const auto none = complete_config(config, bare_environment({{"HOME", "/h"}}));
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().text, HasSubstr("--runtime-dir"));
}

TEST(CompleteConfig, PutsDeadLettersWhereTheUserMayWrite) {
  const auto chosen = [](std::map<std::string, std::string> variables, uid_t user) {
    variables["XDG_RUNTIME_DIR"] = "/x";
    Environment environment = bare_environment(std::move(variables));
    environment.user = user;
    Config config = default_config();
    config.name = "lab";
    EXPECT_TRUE(complete_config(config, environment).ok());
    return config.dead_letter_directory;
  };
  EXPECT_EQ(chosen({}, 0), "/var/lib/ackbus/lab/dead");
  EXPECT_EQ(chosen({{"XDG_STATE_HOME", "/s"}, {"HOME", "/h"}}, 1000), "/s/ackbus/lab/dead");
  EXPECT_EQ(chosen({{"HOME", "/h"}}, 1000), "/h/.local/state/ackbus/lab/dead");
  EXPECT_EQ(chosen({{"STATE_DIRECTORY", "/var/lib/ackbus:/other"}}, 1000),
            "/var/lib/ackbus/lab/dead");
}

TEST(CompleteConfig, FillsInTheLimitsLeftOpenAndKeepsTheOthers) {
  Config config = default_config();
  config.runtime_dir = "/r";
  config.dead_letter_directory = "/d";
  config.limits.max_links_per_uid = 3;
  ASSERT_TRUE(complete_config(config, bare_environment()).ok());
  EXPECT_EQ(config.runtime_dir, "/r");
  EXPECT_EQ(config.dead_letter_directory, "/d");
  EXPECT_EQ(config.limits.max_links_per_uid, 3U);
  EXPECT_EQ(config.limits.max_connections_per_uid, 3U + kSpareConnections);
  EXPECT_EQ(config.limits.max_memory_bytes, std::uint64_t{4} << 30);
  EXPECT_EQ(config.limits.max_memory_per_uid_bytes, std::uint64_t{4} << 30);
  EXPECT_EQ(config.limits.max_arena_bytes, std::uint64_t{4} << 30);
}

TEST(AccessList, AllowsTheDaemonsUserRootAndWhoIsListed) {
  const std::vector<gid_t> none;
  const std::vector<gid_t> member = {7, 50};
  const AccessList empty;
  EXPECT_TRUE(empty.allows(1000, none, 1000));
  EXPECT_TRUE(empty.allows(0, none, 1000));
  EXPECT_FALSE(empty.allows(1001, member, 1000));
  const AccessList list{{1001}, {50}};
  EXPECT_TRUE(list.allows(1001, none, 1000));
  EXPECT_TRUE(list.allows(1002, member, 1000));
  EXPECT_FALSE(list.allows(1002, none, 1000));
}

TEST(Admission, ReadsItsKeys) {
  const Config config = parsed(R"(
[limits]
max_connections_per_uid = 9
hello_timeout_ms = 250
[tools]
users = [1]
groups = [2]
operator_users = ["root", 3]
operator_groups = [4]
)");
  EXPECT_EQ(config.limits.max_connections_per_uid, 9U);
  EXPECT_EQ(config.limits.hello_timeout_ms, 250U);
  EXPECT_EQ(config.tools.users, std::vector<uid_t>{1});
  EXPECT_EQ(config.tools.groups, std::vector<gid_t>{2});
  EXPECT_EQ(config.operators.users, (std::vector<uid_t>{0, 3}));
  EXPECT_EQ(config.operators.groups, std::vector<gid_t>{4});
  EXPECT_EQ(dump_config(parsed(dump_config(config))), dump_config(config));
  EXPECT_THAT(error_of("[tools]\nuser = [1]"),
              StartsWith("test.toml:2:1: unknown key tools.user: use one of users, groups, "));
  EXPECT_THAT(error_of("[limits]\nhello_timeout_ms = 0"),
              HasSubstr("limits.hello_timeout_ms = 0 is out of range"));
}

TEST(Admission, LetsInWhoeverIsListedAnywhereAndNobodyElse) {
  const std::vector<gid_t> none;
  const std::vector<gid_t> member = {50};
  for (const char* text :
       {"[tools]\nusers = [1001]", "[tools]\ngroups = [50]", "[tools]\noperator_users = [1001]",
        "[tools]\noperator_groups = [50]", "[[queue]]\nname = \"q\"\nproducer_users = [1001]",
        "[[queue]]\nname = \"q\"\nconsumer_groups = [50]"}) {
    const Config config = parsed(text);
    EXPECT_TRUE(config.is_shared()) << text;
    EXPECT_TRUE(config.admits(1001, member, 1000)) << text;
    EXPECT_FALSE(config.admits(1002, none, 1000)) << text;
  }
  const Config alone = parsed("");
  EXPECT_FALSE(alone.is_shared());
  EXPECT_FALSE(alone.admits(1001, member, 1000));
  EXPECT_TRUE(alone.admits(1000, none, 1000)) << "the daemon's own user";
  EXPECT_TRUE(alone.admits(0, none, 1000)) << "root";
}

TEST(Admission, LeavesRoomForOthersWhateverOneUserTakes) {
  Config config = parsed("[limits]\nmax_links = 2");
  config.runtime_dir = "/r";
  config.dead_letter_directory = "/d";
  ASSERT_TRUE(complete_config(config, bare_environment()).ok());
  EXPECT_LT(config.limits.max_connections_per_uid, max_connections(config.limits.max_links));
}

TEST(Reload, NamesTheKeysThatWaitForARestartAndKeepsTheirValues) {
  const Config before = parsed("");
  EXPECT_TRUE(keys_for_restart(before, before).empty());
  Config fresh = parsed(R"(
name = "other"
runtime_dir = "/other"
metrics = "off"
tick_ms = 7
[limits]
max_links = 3
[dead_letters]
directory = "/other"
)");
  EXPECT_EQ(keys_for_restart(before, fresh),
            (std::vector<std::string>{"name", "runtime_dir", "metrics", "tick_ms",
                                      "dead_letters.directory"}));
  keep_restart_keys(before, fresh);
  EXPECT_TRUE(keys_for_restart(before, fresh).empty());
  EXPECT_EQ(fresh.limits.max_links, 3U) << "what can be taken over is";
}

TEST(MetricsAddress, IsANumericHostAndPortOrOff) {
  for (const char* good : {"off", "127.0.0.1:9975", "0.0.0.0:0", "[::1]:65535"}) {
    EXPECT_TRUE(is_valid_metrics_address(good)) << good;
  }
  for (const char* bad : {"", "on", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80",
                          "127.0.0.1:1x", "localhost:80"}) {
    EXPECT_FALSE(is_valid_metrics_address(bad)) << bad;
  }
}

TEST(Sizes, AreReadAndWrittenExactly) {
  EXPECT_EQ(parse_bytes("16 MiB"), 16U << 20);
  EXPECT_EQ(parse_bytes("3GiB"), std::uint64_t{3} << 30);
  EXPECT_EQ(parse_bytes("77"), 77U);
  EXPECT_EQ(parse_bytes("77 B"), 77U);
  for (const char* bad : {"", " 1", "-1", "1 mib", "1  MiB", "1.5 MiB", "99999999 TiB", "MiB"}) {
    EXPECT_FALSE(parse_bytes(bad).has_value()) << bad;
  }
  EXPECT_EQ(bytes_text(16U << 20), "16 MiB");
  EXPECT_EQ(bytes_text(1025), "1025");
  EXPECT_EQ(bytes_text(0), "0");
}

}  // namespace
}  // namespace ackbus::daemon
