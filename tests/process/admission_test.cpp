// Who may come in, and what for: uids and groups at the door, shares of the connections, and the
// time to say hello. What needs a second user is skipped without root.
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "shm_layout/control.hpp"
#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uid_t kStranger = 65534;
constexpr uid_t kOther = 65533;

// A connection that says nothing by itself.
class SilentClient {
 public:
  explicit SilentClient(const Bus& bus) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    bus.socket_path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    const timeval patience{20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  ~SilentClient() { ::close(fd_); }
  SilentClient(const SilentClient&) = delete;
  SilentClient& operator=(const SilentClient&) = delete;
  [[nodiscard]] bool connected() const { return connected_; }

  // The text with which the daemon refuses; empty when it hung up without one.
  [[nodiscard]] std::string refusal() const {
    layout::TextMessage message{};
    const ssize_t got = ::recv(fd_, &message, sizeof(message), 0);
    const bool refused =
        got == static_cast<ssize_t>(sizeof(message)) &&
        message.header.type == static_cast<std::uint16_t>(layout::ControlType::kRefused);
    return refused ? std::string(message.text, std::min<std::size_t>(message.length, 256)) : "";
  }
  [[nodiscard]] bool hung_up() const {
    char byte = 0;
    return ::recv(fd_, &byte, sizeof(byte), 0) == 0;
  }

 private:
  int fd_;
  bool connected_ = false;
};

class Admission : public ProcessTest {
 protected:
  // What `body` gives when `user` runs it, without any group but its own of the same number.
  static std::string as_user(uid_t user, const std::function<std::string()>& body) {
    const Helper helper([&](const Channel& test) {
      const bool changed = ::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 &&
                           ::setresuid(user, user, user) == 0;
      test.say(changed ? body() : "the user cannot be changed");
      return 0;
    });
    return helper.channel.hear().value_or("no answer");
  }

  static Result<Tool> connect(const Bus& bus) {
    ConnectOptions options;
    options.runtime_dir = bus.runtime_dir();
    return Tool::connect(options);
  }

  // "done", or the error with its name.
  static std::string ask(const Bus& bus, const json& query) {
    Result<Tool> tool = connect(bus);
    if (!tool) {
      return std::string(error_name(tool.error().code)) + ": " + tool.error().text;
    }
    const Result<std::string> answer = tool->query(query.dump(), soon());
    return answer ? "done"
                  : std::string(error_name(answer.error().code)) + ": " + answer.error().text;
  }

  static std::string open_frames(const Bus& bus) {
    Result<Tool> tool = connect(bus);
    if (!tool) {
      return tool.error().text;
    }
    const auto segment = tool->open_segment("gpu0", SegmentKind::kFrames, soon());
    if (!segment) {
      return std::string(error_name(segment.error().code)) + ": " + segment.error().text;
    }
    return *segment ? "opened" : "there is none";
  }
};

class AdmissionOfUsers : public Admission {
 protected:
  void SetUp() override {
    Admission::SetUp();
    if (::geteuid() != 0) {
      GTEST_SKIP() << "only root can run a client as another user";
    }
  }
};

TEST_F(AdmissionOfUsers, AUserWhoIsListedNowhereGetsNothing) {
  const Bus bus({.config = "[[queue]]\nname = \"gpu0\"\nproducer_users = [" +
                           std::to_string(kOther) + "]\n"});
  for (const char* verb : {"status", "dead_list", "dead_purge"}) {
    EXPECT_THAT(as_user(kStranger,
                        [&] {
                          return ask(bus, {{"verb", verb}});
                        }),
                AllOf(HasSubstr("permission"), HasSubstr("user 65534 may not use bus 'default'"),
                      HasSubstr("[[queue]] or [tools]")))
        << verb;
  }
  EXPECT_EQ(as_user(kOther, [&] { return ask(bus, {{"verb", "status"}}); }), "done");
  EXPECT_EQ(ask(bus, {{"verb", "status"}}), "done") << "root";
}

TEST_F(AdmissionOfUsers, WhoMayLookMayNotChange) {
  const Bus bus({.config = "[tools]\nusers = [" + std::to_string(kStranger) + "]\n"});
  EXPECT_EQ(as_user(kStranger, [&] { return ask(bus, {{"verb", "status"}}); }), "done");
  for (const char* verb :
       {"dead_redrive", "dead_purge", "dead_payload", "remove_queue", "reload", "shutdown"}) {
    EXPECT_THAT(
        as_user(kStranger,
                [&] {
                  return ask(bus, {{"verb", verb}});
                }),
        AllOf(HasSubstr("permission"), HasSubstr(verb), HasSubstr("[tools] as an operator")))
        << verb;
  }
  EXPECT_EQ(ask(bus, {{"verb", "status"}}), "done") << "it still serves";
}

TEST_F(AdmissionOfUsers, AnOperatorMayChangeWithoutBeingTheDaemonsUser) {
  const Bus bus({.config = "[tools]\noperator_groups = [" + std::to_string(kStranger) + "]\n"});
  EXPECT_EQ(as_user(kStranger, [&] { return ask(bus, {{"verb", "reload"}}); }), "done");
  EXPECT_EQ(as_user(kStranger, [&] { return ask(bus, {{"verb", "status"}}); }), "done");
}

TEST_F(AdmissionOfUsers, SegmentsAreReadByWhomTheirQueueListsOnly) {
  const Bus bus({.config = "[tools]\nusers = [" + std::to_string(kStranger) +
                           "]\n[[queue]]\nname = \"gpu0\"\nproducer_users = [" +
                           std::to_string(kOther) + "]\n"});
  const Helper consumer =
      Helper::consume(bus.consumer_options(), [](Consumer& mine, const Channel& test) {
        const bool made = mine.create_segment(SegmentKind::kFrames, 4096, soon()).ok() &&
                          mine.publish_segment(SegmentKind::kFrames, soon()).ok();
        test.say(made ? "published" : "not published");
        [[maybe_unused]] const auto forever = test.hear(soon(seconds(3600)));
        return 0;
      });
  ASSERT_EQ(consumer.channel.hear(), "published");
  ASSERT_TRUE(eventually([&] { return open_frames(bus) == "opened"; }));
  EXPECT_EQ(as_user(kOther, [&] { return open_frames(bus); }), "opened");
  EXPECT_THAT(as_user(kStranger, [&] { return open_frames(bus); }),
              AllOf(HasSubstr("permission"), HasSubstr("segments of queue 'gpu0'"),
                    HasSubstr("[[queue]]")));
}

TEST_F(AdmissionOfUsers, AUserWhomAReloadListsMayConnect) {
  const Bus bus;
  EXPECT_THAT(as_user(kStranger,
                      [&] {
                        return ask(bus, {{"verb", "status"}});
                      }),
              HasSubstr("permission"));
  write_file(bus.config_path(), "[tools]\nusers = [" + std::to_string(kStranger) + "]\n");
  ASSERT_EQ(ask(bus, {{"verb", "reload"}}), "done");
  EXPECT_EQ(as_user(kStranger, [&] { return ask(bus, {{"verb", "status"}}); }), "done");
  write_file(bus.config_path(), "");
  ASSERT_EQ(ask(bus, {{"verb", "reload"}}), "done");
  EXPECT_THAT(as_user(kStranger,
                      [&] {
                        return ask(bus, {{"verb", "status"}});
                      }),
              HasSubstr("permission"));
}

TEST_F(AdmissionOfUsers, IdleConnectionsOfOneUserShutNobodyElseOut) {
  const Bus bus({.config = "[limits]\nmax_links = 2\n[tools]\nusers = [" +
                           std::to_string(kStranger) + "]\n"});
  const Helper crowd([&](const Channel& test) {
    std::vector<std::unique_ptr<SilentClient>> clients;
    const bool changed = ::setresgid(kStranger, kStranger, kStranger) == 0 &&
                         ::setresuid(kStranger, kStranger, kStranger) == 0;
    for (int i = 0; changed && i < 80; ++i) {
      clients.push_back(std::make_unique<SilentClient>(bus));
    }
    test.say(changed && clients.back()->connected() ? clients.back()->refusal() : "no crowd");
    [[maybe_unused]] const auto until_told = test.hear(soon(seconds(3600)));
    return 0;
  });
  EXPECT_THAT(crowd.channel.hear().value_or("silence"),
              AllOf(HasSubstr("user 65534 has [limits] max_connections_per_uid = 34"),
                    HasSubstr("raise it")));
  EXPECT_EQ(ask(bus, {{"verb", "status"}}), "done");
  EXPECT_THAT(as_user(kStranger,
                      [&] {
                        return ask(bus, {{"verb", "status"}});
                      }),
              AllOf(HasSubstr("quota"), HasSubstr("max_connections_per_uid")));
  const Producer producer = bus.producer();
  EXPECT_NE(producer.link(), 0U);
}

TEST_F(Admission, WhoDoesNotSayHelloInTimeIsSentAwayWithTheLimit) {
  const Bus bus({.config = "[limits]\nhello_timeout_ms = 50\n"});
  const SilentClient client(bus);
  EXPECT_THAT(client.refusal(), HasSubstr("no hello came within [limits] hello_timeout_ms = 50"));
  EXPECT_TRUE(client.hung_up());
  EXPECT_EQ(ask(bus, {{"verb", "status"}}), "done");
}

TEST_F(Admission, AConnectionThatSaidHelloMayBeSilentForEver) {
  const Bus bus({.config = "[limits]\nhello_timeout_ms = 50\n"});
  Result<Tool> tool = connect(bus);
  ASSERT_TRUE(tool);
  const SilentClient later(bus);
  ASSERT_NE(later.refusal(), "") << "the deadline of a later one has passed";
  EXPECT_TRUE(tool->query(json({{"verb", "status"}}).dump(), soon()));
}

TEST_F(Admission, RefusedProducersLeaveNoConnectionBehind) {
  const Bus bus({.config = "[limits]\nmax_links = 1\n"});
  const Producer first = bus.producer();
  for (int i = 0; i < 60; ++i) {  // More than the user's share of the connections.
    const Result<Producer> refused = Producer::connect(bus.producer_options());
    ASSERT_FALSE(refused);
    ASSERT_THAT(refused.error().text, HasSubstr("[limits] max_links = 1")) << i;
  }
}

}  // namespace
}  // namespace ackbus::process_test
