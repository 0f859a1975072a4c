// The bus as systemd/ runs it: daemon, GPU process and producers are three users, let in by the
// configuration that is shipped. Needs root, to become them.
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr gid_t kBusGroup = 60200;  // the group ackbus
struct User {
  uid_t uid;
  gid_t gid;
};
constexpr User kDaemon{60201, kBusGroup};  // ackbus
constexpr User kGpu{60202, kBusGroup};     // ackbus-gpu
constexpr User kProducer{60203, kBusGroup};
constexpr User kStranger{60204, 60204};

bool become(const User& user) {
  return ::setgroups(1, &user.gid) == 0 && ::setresgid(user.gid, user.gid, user.gid) == 0 &&
         ::setresuid(user.uid, user.uid, user.uid) == 0 &&
         ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;  // another user's process lost it
}

class ServiceUsers : public ProcessTest {
 protected:
  void SetUp() override {
    ProcessTest::SetUp();
    if (::geteuid() != 0) {
      GTEST_SKIP() << "only root can become the units' users";
    }
    if (run_as(kDaemon, "ackbusd", {"--version"}, "version.log").child.wait()->exit_status != 0) {
      GTEST_SKIP() << "other users may not run the programs in " << program_path("");
    }
    for (const char* name : {"run", "dead"}) {
      ASSERT_EQ(::mkdir((folder_ / name).c_str(), 0755), 0);
      ASSERT_EQ(::chown((folder_ / name).c_str(), kDaemon.uid, kDaemon.gid), 0);
    }
    write_file(folder_ / "ackbus.toml", shipped_config());
    daemon_.emplace(run_as(kDaemon, "ackbusd",
                           {"--config", folder_ / "ackbus.toml", "--runtime-dir", folder_ / "run",
                            "--dead-letters", folder_ / "dead", "--metrics", "off"},
                           "ackbusd.log"));
    ASSERT_TRUE(wait_for("ackbusd.log", "serving")) << read_file(folder_ / "ackbusd.log");
  }

  // With numbers for the names, which this machine need not know.
  static std::string shipped_config() {
    std::string text = read_file(std::string(ACKBUS_SOURCE_DIR) + "/systemd/ackbus.toml");
    for (const auto& [name, number] :
         {std::pair{"[\"ackbus\"]", kBusGroup}, std::pair{"[\"ackbus-gpu\"]", kGpu.uid}}) {
      const std::size_t at = text.find(name);
      EXPECT_NE(at, std::string::npos) << name;
      text.replace(at, std::string(name).size(), "[" + std::to_string(number) + "]");
    }
    return text;
  }

  Helper run_as(const User& user, const std::string& program,
                const std::vector<std::string>& arguments, const std::string& log) const {
    const std::string log_path = folder_ / log;
    return Helper([&](const Channel&) {
      const int fd = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
      if (fd < 0 || ::dup2(fd, STDERR_FILENO) < 0 || ::dup2(fd, STDOUT_FILENO) < 0 ||
          !become(user)) {
        return 125;
      }
      const std::string path = program_path(program);
      std::vector<char*> words{const_cast<char*>(path.c_str())};
      for (const std::string& argument : arguments) {
        words.push_back(const_cast<char*>(argument.c_str()));
      }
      words.push_back(nullptr);
      ::execv(path.c_str(), words.data());
      return 126;
    });
  }

  Helper gpu_as(const User& user, const std::string& log) const {
    return run_as(
        user, "ackbus-gpu",
        {"--runtime-dir", folder_ / "run", "--queue", "gpu0", "--backend", "cpu", "--threads", "1"},
        log);
  }

  bool wait_for(const std::string& log, const std::string& part) const {
    return eventually([&] { return read_file(folder_ / log).find(part) != std::string::npos; });
  }

  // What a producer of this user is told: the outcome of one message, or why it may not connect.
  std::string sends(const User& user) const {
    ProducerOptions options;
    options.runtime_dir = folder_ / "run";
    Helper helper([&](const Channel& test) {
      if (!become(user)) {
        return 125;
      }
      Result<Producer> producer = Producer::connect(options);
      if (!producer) {
        test.say(producer.error().text);
        return 1;
      }
      const Ticket ticket = send(*producer, "no simulation was begun");
      test.say(outcome_name(outcome_of(*producer, ticket).code));
      return 0;
    });
    return helper.channel.hear().value_or("no answer");
  }

  Folder folder_;
  std::optional<Helper> daemon_;
};

TEST_F(ServiceUsers, TheShippedConfigurationLetsTheGpuProcessServeAndTheGroupSend) {
  Helper gpu = gpu_as(kGpu, "gpu.log");
  ASSERT_TRUE(wait_for("gpu.log", "serving queue gpu0")) << read_file(folder_ / "gpu.log");
  EXPECT_EQ(sends(kProducer), "Failed") << "it came there and back: the payload is none";
  EXPECT_THAT(sends(kStranger), HasSubstr("user 60204 may not"));
}

TEST_F(ServiceUsers, AGpuProcessThatIsNotAdmittedAsksNotToBeStartedAgain) {
  Helper gpu = gpu_as(kProducer, "gpu.log");
  const std::optional<ProcessEnd> end = gpu.child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_status, 69);
  EXPECT_THAT(read_file(folder_ / "gpu.log"),
              AllOf(HasSubstr("may not consume from queue 'gpu0'"), HasSubstr("[[queue]]")));
}

}  // namespace
}  // namespace ackbus::process_test
