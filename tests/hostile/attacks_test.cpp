// Every attack of attacks.hpp beside honest clients: on another queue, and for producers' and
// strangers' attacks on the same queue too. Nobody honest crashes, hangs, or sees a byte of anybody
// else; the daemon goes on, names the offender, and afterwards holds what it held before.
#include "tests/hostile/attacks.hpp"

#include <filesystem>

#include "tests/hostile/bystanders.hpp"

namespace ackbus::hostile {
namespace {

using process_test::Bus;
using process_test::eventually;
using process_test::Helper;
using process_test::json;
using process_test::milliseconds;
using process_test::ProcessTest;
using process_test::seconds;
using ::testing::HasSubstr;

constexpr std::uint64_t kSeed = 20261123;
constexpr std::uint64_t kMore = 100;  // so many messages each honest client gets through meanwhile
constexpr seconds kUnderAttack{100};

std::size_t open_descriptors(pid_t pid) {
  std::error_code ignored;
  const auto folder =
      std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored);
  return static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
}

class UnderAttack : public ProcessTest, public ::testing::WithParamInterface<const Attack*> {
 protected:
  void SetUp() override {
    process_test::start_watchdog(280);
    std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
    daemon_ = bus_.daemon_pid();
    attacked_ = GetParam()->side == Side::kConsumer ? "attacked" : "gpu0";
    people_.push_back(Bystander::consumer(bus_, "gpu1"));
    people_.push_back(Bystander::producer(bus_, "gpu1", 11));
    if (GetParam()->side != Side::kConsumer) {
      people_.push_back(Bystander::consumer(bus_, "gpu0"));
      people_.push_back(Bystander::producer(bus_, "gpu0", 1));
      people_.push_back(Bystander::producer(bus_, "gpu0", 2));
    }
    wait_until_everybody_gets_on();
    ASSERT_TRUE(eventually([&] { return bus_.status()["links"].size() == links(); }));
    memory_ = bus_.status()["memory"];
    descriptors_ = open_descriptors(daemon_);
  }

  [[nodiscard]] std::size_t links() const { return GetParam()->side == Side::kConsumer ? 1 : 3; }

  void wait_until_everybody_gets_on() {
    std::vector<std::uint64_t> since;
    for (const Bystander& one : people_) {
      since.push_back(one.checked());
    }
    for (std::size_t i = 0; i < people_.size(); ++i) {
      EXPECT_TRUE(eventually([&] { return people_[i].gets_on(since[i], kMore); }, kUnderAttack))
          << people_[i].name() << " got through " << people_[i].checked() - since[i];
    }
  }

  Helper start_attack(const Attack& attack) {
    tally_ = shared_tally();
    return Helper([&, queue = attacked_](const process_test::Channel&) {
      Ground ground{bus_.socket_path(), queue, *tally_, std::mt19937_64(kSeed)};
      attack.run(ground);
      return 0;
    });
  }

  void expect_the_daemon_is_as_before() {
    json memory;
    if (GetParam()->side == Side::kConsumer) {
      // What a consumer published stays for its successor, and goes with the queue.
      EXPECT_FALSE(bus_.ask({{"verb", "remove_queue"}, {"queue", attacked_}}).is_null());
    }
    EXPECT_TRUE(eventually([&] {
      memory = bus_.status()["memory"];
      return memory == memory_;
    })) << memory
        << " instead of " << memory_;
    std::size_t now = 0;
    EXPECT_TRUE(eventually([&] {
      now = open_descriptors(daemon_);
      return now <= descriptors_;
    })) << now
        << " descriptors instead of " << descriptors_;
    EXPECT_EQ(bus_.daemon_pid(), daemon_) << "the daemon was restarted";
  }

  void expect_the_log_names(const Attack& attack, pid_t pid) {
    const std::string log = bus_.program().errors();
    std::string named;
    for (std::size_t at = 0; at < log.size();) {
      const std::size_t end = std::min(log.find('\n', at), log.size());
      const std::string line = log.substr(at, end - at);
      if (line.find(attack.log_says) != std::string::npos &&
          line.find(std::to_string(pid)) != std::string::npos) {
        named = line;
        break;
      }
      at = end + 1;
    }
    EXPECT_NE(named, "") << "no line with '" << attack.log_says << "' and pid " << pid;
  }

  Bus bus_;
  pid_t daemon_ = 0;
  std::string attacked_;
  std::vector<Bystander> people_;
  json memory_;
  std::size_t descriptors_ = 0;
  Tally* tally_ = nullptr;
};

TEST_P(UnderAttack, NobodyElseIsHarmed) {
  const Attack& attack = *GetParam();
  std::vector<Bystander> victims;  // Of a hostile consumer: any outcome will do, hanging will not.
  Helper attacker = start_attack(attack);
  if (attack.side == Side::kConsumer) {
    ASSERT_TRUE(eventually([&] { return tally_->connections.load() > 0; }));
    victims.push_back(Bystander::producer(bus_, "attacked", 21, false));
  }
  EXPECT_TRUE(eventually([&] { return tally_->steps.load() >= attack.steps; }, kUnderAttack))
      << tally_->steps.load() << " steps of " << attack.name;
  wait_until_everybody_gets_on();
  EXPECT_TRUE(attacker.child.running()) << "the attack ended by itself";
  const pid_t offender = attacker.child.pid();
  std::printf("%llu steps, %llu connections\n",
              static_cast<unsigned long long>(tally_->steps.load()),
              static_cast<unsigned long long>(tally_->connections.load()));
  attacker.child.end();
  if (!attack.log_says.empty()) {
    expect_the_log_names(attack, offender);
  }
  for (Bystander& victim : victims) {
    // An honest consumer takes over, and the same producer is served as if nothing had been.
    Bystander next = Bystander::consumer(bus_, "attacked");
    const std::uint64_t since = victim.checked();
    EXPECT_TRUE(eventually([&] { return victim.gets_on(since, kMore); }, kUnderAttack))
        << victim.name() << " got through " << victim.checked() - since;
    victim.finish();
    next.finish();
  }
  wait_until_everybody_gets_on();
  expect_the_daemon_is_as_before();
  for (auto one = people_.rbegin(); one != people_.rend(); ++one) {
    one->finish();
  }
}

std::vector<const Attack*> every_attack() {
  std::vector<const Attack*> attacks;
  for (const Attack& attack : all_attacks()) {
    attacks.push_back(&attack);
  }
  return attacks;
}

INSTANTIATE_TEST_SUITE_P(Attacks, UnderAttack, ::testing::ValuesIn(every_attack()),
                         [](const auto& instance) {
                           std::string name(instance.param->name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace ackbus::hostile
