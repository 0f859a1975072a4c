// What bad input gets: one clear line that names the thing and the remedy, an exit status, and
// nothing half done. Bad peers on the control socket are in bad_peer_test.cpp.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;

std::string first_error(const Result<Producer>& result) {
  return result ? "" : result.error().text;
}

class BadInput : public ProcessTest {
 protected:
  // ackbusd on a configuration that it must refuse.
  Ran check_config(const std::string& text) const {
    write_file(folder_ / "bad.toml", text);
    return run_program(folder_, "ackbusd", {"--check-config", "--config", folder_ / "bad.toml"});
  }

  Ran daemon_with(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--runtime-dir", folder_ / "run"});
    return run_program(folder_, "ackbusd", std::move(arguments));
  }

  // Connects as somebody who has no right to; the text of the refusal.
  static std::string refusal_of_a_stranger(const ProducerOptions& options) {
    Helper stranger([&](const Channel& test) {
      if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) {
        return 1;
      }
      const Result<Producer> producer = Producer::connect(options);
      test.say(producer
                   ? "connected"
                   : std::string(error_name(producer.error().code)) + ": " + producer.error().text);
      return 0;
    });
    return stranger.channel.hear().value_or("no answer");
  }

  Folder folder_;
};

TEST_F(BadInput, NoDaemonIsNamedWithTheWayToStartOne) {
  const std::string nowhere = folder_ / "nowhere";
  for (const std::vector<std::string>& command : {std::vector<std::string>{"status"},
                                                  {"send", "--kind", "ComputeForces"},
                                                  {"dead", "list"}}) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"--runtime-dir", nowhere});
    expect_one_line(run_program(folder_, "ackbus", arguments), 3, "no daemon at " + nowhere);
  }
  ConsumerOptions consumer;
  consumer.runtime_dir = nowhere;
  const Result<Consumer> refused = Consumer::connect(consumer);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNoDaemon);
}

TEST_F(BadInput, AUserWithoutAccessToTheSocketIsTold) {
  Bus bus;
  if (::geteuid() != 0) {
    ASSERT_EQ(::chmod(bus.socket_path().c_str(), 0), 0);
  }
  EXPECT_THAT(refusal_of_a_stranger(bus.producer_options()),
              AllOf(HasSubstr("permission"), HasSubstr(bus.socket_path())));
}

TEST_F(BadInput, AUserWhomTheQueueDoesNotListIsTold) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can connect as another user";
  }
  // It is listed for something else, so it may connect, and the queue's own list decides.
  Bus bus({.config = "[[queue]]\nname = \"gpu0\"\nproducer_users = [\"daemon\"]\n"
                     "consumer_users = [65534]\n"});
  EXPECT_THAT(refusal_of_a_stranger(bus.producer_options()),
              AllOf(HasSubstr("permission"), HasSubstr("user 65534 may not send to queue 'gpu0'"),
                    HasSubstr("[[queue]]")));
  EXPECT_TRUE(bus.status()["links"].empty());
}

TEST_F(BadInput, AFullBusNamesTheLimit) {
  Bus bus({.config = "[limits]\nmax_links = 1\n"});
  Producer first = bus.producer();
  const Result<Producer> second = Producer::connect(bus.producer_options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kQuota);
  EXPECT_THAT(second.error().text, HasSubstr("[limits] max_links = 1"));
  expect_one_line(bus.ackbus({"send", "--kind", "ComputeForces"}), 12, "max_links = 1");
  ASSERT_TRUE(first.close(soon()));
  ASSERT_TRUE(eventually([&] { return bus.status()["links"].empty(); }));
  EXPECT_EQ(first_error(Producer::connect(bus.producer_options())), "") << "there is room again";
}

TEST_F(BadInput, MemoryAboveTheQuotaNamesTheQuotaAndAllocatesNothing) {
  Bus bus({.config = "[limits]\nmax_arena_bytes = \"1 MiB\"\nmax_slots = 64\ndefault_slots = "
                     "64\ndefault_arena_bytes = \"1 MiB\"\n"});
  ProducerOptions options = bus.producer_options();
  options.arena_bytes = 2 << 20;
  EXPECT_THAT(first_error(Producer::connect(options)), HasSubstr("[limits] max_arena_bytes"));
  options = bus.producer_options();
  options.slots = 128;
  EXPECT_THAT(first_error(Producer::connect(options)), HasSubstr("[limits] max_slots = 64"));
  options.slots = 5;
  const Result<Producer> odd = Producer::connect(options);
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().code, ErrorCode::kInvalid);
  write_file(folder_ / "large", std::string(3 << 20, 'x'));
  expect_one_line(bus.ackbus({"send", "--kind", "ComputeForces", "--file", folder_ / "large"}), 12,
                  "max_arena_bytes");
  EXPECT_EQ(bus.status()["memory"]["submission"], 0);
}

TEST_F(BadInput, APayloadLargerThanTheArenaNamesTheOptionAndTheQuota) {
  Bus bus;
  Producer producer = bus.producer();
  const std::vector<std::byte> payload((1 << 20) + 1);
  const Result<Ticket> refused = producer.send(Kind::kComputeForces, payload, soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().text, AllOf(HasSubstr("ProducerOptions::arena_bytes"),
                                          HasSubstr("[limits] max_arena_bytes"),
                                          HasSubstr("1048576"), HasSubstr("1048577")));
  EXPECT_EQ(producer.statistics().sent, 0U);
  const Result<Loan> loan = producer.loan(Kind::kComputeForces, payload.size(), soon());
  ASSERT_FALSE(loan);
  EXPECT_EQ(loan.error().code, ErrorCode::kInvalid);
}

TEST_F(BadInput, UnknownKindsAndQueuesAreNamed) {
  Bus bus({.config = "any_queue = false\n"});
  Producer producer = bus.producer();
  const Result<Ticket> refused = producer.send(static_cast<Kind>(40), {}, soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().text, AllOf(HasSubstr("kind 40"), HasSubstr("[[kind]]")));
  expect_one_line(bus.ackbus({"send", "--kind", "Compute"}), 2, "unknown kind 'Compute'");
  ProducerOptions options = bus.producer_options();
  options.queue = "gpu7";
  const Result<Producer> nowhere = Producer::connect(options);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(nowhere.error().text, AllOf(HasSubstr("no queue 'gpu7'"), HasSubstr("any_queue")));
  expect_one_line(bus.ackbus({"send", "--kind", "ComputeForces", "--queue", "gpu7"}), 9,
                  "no queue 'gpu7'");
}

TEST_F(BadInput, GraphFilesAreRefusedWithFileAndLine) {
  Bus bus;
  const std::string head = "%%MatrixMarket matrix coordinate pattern symmetric\n";
  const std::vector<std::pair<std::string, std::string>> files = {
      {"not-a-matrix", "hello\n"},
      {"truncated", head + "3 3 3\n2 1\n"},
      {"out-of-range", head + "3 3 1\n4 1\n"},
      {"index-zero", head + "3 3 1\n0 1\n"},
      {"empty-graph", head + "0 0 0\n"},
      {"empty-file", ""},
  };
  for (const auto& [name, text] : files) {
    const std::string path = folder_ / (name + ".mtx");
    write_file(path, text);
    const Ran ran = bus.ackbus({"layout", path, "--steps", "1", "--report", folder_ / "r.json"});
    expect_one_line(ran, 8, path);
    EXPECT_NE(::access((folder_ / "r.json").c_str(), F_OK), 0) << "no half-written report";
  }
  expect_one_line(bus.ackbus({"layout", folder_ / "absent.mtx", "--steps", "1"}), 8, "absent.mtx");
  EXPECT_EQ(bus.kind("InitializeGPU")["sent"], 0) << "nothing was sent";
}

TEST_F(BadInput, ABrokenConfigurationNamesFileLineAndThing) {
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"max_link = 3\n", "max_link"},
      {"[limits]\nmax_links = \"many\"\n", "max_links"},
      {"[limits]\nmax_links = -1\n", "max_links"},
      {"tick_ms = 0\n", "tick_ms"},
      {"[[kind]]\nid = 9\nname = \"A\"\n[[kind]]\nid = 9\nname = \"B\"\n", "9"},
      {"[[kind]]\nid = 64\nname = \"A\"\n", "64"},
      {"[[queue]]\nname = \"a b\"\n", "a b"},
      {"name = \n", "bad.toml"},
  };
  for (const auto& [text, thing] : texts) {
    const Ran ran = check_config(text);
    EXPECT_EQ(ran.status, 1) << text;
    EXPECT_THAT(ran.errors, AllOf(HasSubstr(folder_ / "bad.toml:"), HasSubstr(thing))) << text;
    EXPECT_EQ(std::count(ran.errors.begin(), ran.errors.end(), '\n'), 1) << ran.errors;
  }
  EXPECT_EQ(check_config("tick_ms = 1\n").status, 0);
}

TEST_F(BadInput, APortInUseIsNamed) {
  const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(::bind(taken, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(taken, 1), 0);
  ASSERT_EQ(::getsockname(taken, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const std::string port = std::to_string(ntohs(address.sin_port));
  expect_one_line(daemon_with({"--metrics", "127.0.0.1:" + port, "--dead-letters", folder_ / "d"}),
                  1, "port " + port + " is already in use");
  EXPECT_NE(::access((folder_ / "run/default.sock").c_str(), F_OK), 0);
  ::close(taken);
}

TEST_F(BadInput, ADeadLetterDirectoryThatCannotBeWrittenIsNamed) {
  write_file(folder_ / "file", "not a directory");
  for (const std::string& path :
       {folder_ / "file", folder_ / "file/below", std::string("/proc/ackbus-dead-letters")}) {
    expect_one_line(daemon_with({"--metrics", "off", "--dead-letters", path}), 1, path);
    EXPECT_NE(::access((folder_ / "run/default.sock").c_str(), F_OK), 0);
  }
}

TEST_F(BadInput, ASecondDaemonOnTheSameBusIsRefused) {
  Bus bus;
  const Ran second = run_program(
      folder_, "ackbusd",
      {"--metrics", "off", "--dead-letters", folder_ / "d", "--runtime-dir", bus.runtime_dir()});
  expect_one_line(second, 1, "another daemon serves bus 'default'");
  EXPECT_FALSE(bus.status().is_null()) << "the first one goes on";
}

TEST_F(BadInput, OptionsOutOfRangeAreNamedAndNothingIsSent) {
  Bus bus;
  Producer producer = bus.producer();
  const auto expect_refused = [&](const SendOptions& options, const std::string& name) {
    const Result<Ticket> refused = producer.send(Kind::kComputeForces, {}, soon(), options);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(refused.error().text, HasSubstr(name));
  };
  SendOptions options;
  options.max_retries = 1001;
  expect_refused(options, "max_retries");
  options = {};
  options.timeout = std::chrono::hours(25);
  expect_refused(options, "timeout");
  options = {};
  options.max_wait = milliseconds(-1);
  expect_refused(options, "max_wait");
  options = {};
  options.after_sequence = 1;
  expect_refused(options, "after_sequence");
  EXPECT_EQ(producer.statistics().sent, 0U);
}

}  // namespace
}  // namespace ackbus::process_test
