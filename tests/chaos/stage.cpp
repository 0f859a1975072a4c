#include "tests/chaos/stage.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ackbus/tool.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "gpu_proc/worker.hpp"
#include "shm_layout/assert.hpp"
#include "tests/chaos/journal.hpp"
#include "tests/chaos/message.hpp"
#include "tests/chaos/net.hpp"

namespace ackbus::chaos {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kQuietPatienceNs = 120'000'000'000;  // only what hangs takes so long
constexpr int kTickMs = 2;
constexpr int kFiringWaitsMax = 200;

template <typename Page>
Page* make_page(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ACKBUS_ASSERT(fd >= 0 && ::ftruncate(fd, sizeof(Page)) == 0);
  void* base = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ACKBUS_ASSERT(base != MAP_FAILED);
  ::close(fd);
  return static_cast<Page*>(base);
}

std::string end_text(int status) {
  return WIFSIGNALED(status) ? std::string("signal ") + strsignal(WTERMSIG(status))
                             : "exit status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

Stage::Stage(StageOptions options) : options_(std::move(options)), random_(options_.seed) {
  make_folder();
  write_config();
  control_ = make_page<ControlPage>(options_.folder + "/control");
  page_ = make_page<PointsPage>(options_.folder + "/points");
  ::setenv(kPageVariable, (options_.folder + "/points").c_str(), 1);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  metrics_port_ = free_port();
  tools::ChildSpecification daemon;
  daemon.name = "ackbusd";
  daemon.notify_path = options_.folder + "/run/default.notify";
  daemon.max_descriptors = 4096;
  daemon.arguments = {options_.programs + "/ackbusd",
                      "--runtime-dir",
                      options_.folder + "/run",
                      "--metrics",
                      "127.0.0.1:" + std::to_string(metrics_port_),
                      "--dead-letters",
                      dead_letter_dir(),
                      "--config",
                      options_.folder + "/ackbusd.toml"};
  std::string error;
  daemon_ = tools::SupervisedChild::create(std::move(daemon), error);
  if (!daemon_) {
    std::printf("chaos: %s\n", error.c_str());
    std::exit(2);
  }
  start_daemon();
}

Stage::~Stage() {
  for (const Client& client : clients_) {
    if (client.pid != 0) {
      ::kill(client.pid, SIGKILL);
      ::waitpid(client.pid, nullptr, 0);
    }
  }
}

void Stage::make_folder() {
  for (const char* part : {"", "/run", "/dead", "/journal"}) {
    ::mkdir((options_.folder + part).c_str(), 0700);
  }
}

void Stage::write_config() const {
  std::ofstream config(options_.folder + "/ackbusd.toml");
  config << "log_records_per_minute = 1000000\n"
         << "[backoff]\nbase_ms = " << kBackoffMs << "\nmax_ms = 50\n"
         << "[[queue]]\nname = \"" << kWorkQueue << "\"\n"
         << "[[queue]]\nname = \"" << kGpuQueue << "\"\n";
  const auto kind = [&](Kind id, const char* name, std::uint32_t timeout_ms, std::uint32_t retries,
                        bool supersede) {
    config << "[[kind]]\nid = " << static_cast<int>(id) << "\nname = \"" << name
           << "\"\ntimeout_ms = " << timeout_ms << "\nmax_retries = " << retries
           << "\nsupersede = " << (supersede ? "true" : "false") << "\n";
  };
  kind(kWork, "Work", 60'000, 5, false);
  kind(kState, "State", 60'000, 100, true);
  kind(kQuick, "Quick", kQuickTimeoutMs, kQuickRetries, false);
  kind(kAgain, "Again", 60'000, 1000, false);
}

std::uint64_t Stage::now_ns() const { return clock_ns(); }

// ---- starting ----

void Stage::start_daemon() {
  ::setenv(kRoleVariable, kRoleNames[static_cast<std::size_t>(Role::kDaemon)], 1);
  std::string error;
  daemon_killed_ = false;
  daemon_continue_ns_ = 0;
  note(Event::What::kDaemonStart, Victim::kDaemon, now_ns(), nullptr);
  if (!daemon_->start(now_ns(), error)) {
    troubles_.push_back(error);
  }
}

void Stage::start_client(Client& client) {
  client.arguments.incarnation += 1;
  client.killed = false;
  client.continue_ns = 0;
  const RoleArguments& arguments = client.arguments;
  std::vector<std::string> words{options_.self,
                                 "--role",
                                 arguments.role,
                                 "--folder",
                                 options_.folder,
                                 "--index",
                                 std::to_string(arguments.index),
                                 "--incarnation",
                                 std::to_string(arguments.incarnation),
                                 "--seed",
                                 std::to_string(options_.seed),
                                 "--rate",
                                 std::to_string(options_.rate)};
  std::string role = arguments.role == "consumer" ? "consumer" : "producer";
  if (arguments.role == "gpu") {
    role = "gpu";
    words = {options_.programs + "/ackbus-gpu",
             "--runtime-dir",
             options_.folder + "/run",
             "--queue",
             kGpuQueue,
             "--backend",
             "cpu",
             "--threads",
             "1"};
  }
  std::vector<char*> pointers;
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  ::setenv(kRoleVariable, role.c_str(), 1);
  const pid_t parent = ::getpid();
  client.pid = ::fork();
  if (client.pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() == parent) {
      ::close_range(3, ~0U, 0);
      ::execv(pointers[0], pointers.data());
    }
    ::_exit(127);
  }
}

void Stage::start_clients() {
  control_->phase = static_cast<std::uint32_t>(Phase::kLoad);
  if (clients_.empty()) {
    const auto add = [this](const std::string& role, std::uint32_t first, std::uint32_t count) {
      for (std::uint32_t index = first; index < first + count; ++index) {
        Client client;
        client.arguments.role = role;
        client.arguments.index = index;
        clients_.push_back(std::move(client));
      }
    };
    add("consumer", 0, options_.consumers);
    add("producer", 1, options_.producers);
    add("gpu", 0, 1);
    add("gpu-producer", kGpuProducerFirst, 1);
  }
  for (Client& client : clients_) {
    start_client(client);
  }
}

// ---- what happens ----

void Stage::tick() {
  std::vector<pollfd> waiting{{daemon_->notify_descriptor(), POLLIN, 0},
                              {daemon_->pid_descriptor(), POLLIN, 0}};
  ::poll(waiting.data(), waiting.size(), kTickMs);
  daemon_->take_notifications(now_ns());
  take_firings();
  take_daemon_end();
  take_client_ends();
  continue_stopped();
}

void Stage::take_daemon_end() {
  const std::optional<tools::ChildEnd> end = daemon_->take_end();
  if (!end) {
    return;
  }
  take_firings();  // It may have fired after they were looked at.
  if (!daemon_killed_) {
    troubles_.push_back("the daemon ended by itself: " + end->text());
  }
  start_daemon();
}

void Stage::take_client_ends() {
  for (Client& client : clients_) {
    int status = 0;
    if (client.pid == 0 || ::waitpid(client.pid, &status, WNOHANG) != client.pid) {
      continue;
    }
    take_firings();
    const bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const bool loads = control_->phase == static_cast<std::uint32_t>(Phase::kLoad);
    // The GPU process's own way to lose a life: its service manager starts it again.
    const bool asks_for_restart = client.arguments.role == "gpu" && WIFEXITED(status) &&
                                  WEXITSTATUS(status) == gpu::kExitRestart;
    gpu_restarts_ += asks_for_restart ? 1 : 0;
    if (!client.killed && !asks_for_restart && (!clean || loads)) {
      troubles_.push_back(client.arguments.role + " " + std::to_string(client.arguments.index) +
                          "." + std::to_string(client.arguments.incarnation) +
                          " ended by itself: " + end_text(status));
    }
    const bool serves = client.arguments.role == "consumer" || client.arguments.role == "gpu";
    const bool again = (client.killed || asks_for_restart) && (loads || serves);
    client.pid = 0;
    if (again) {
      start_client(client);
    }
  }
}

void Stage::take_firings() {
  for (; firings_taken_ < page_->firing_count.load(); ++firings_taken_) {
    Firing& firing = page_->firings[firings_taken_ % kFirings];
    const std::uint64_t time_ns = firing.time_ns.load();
    if (time_ns == 0 && ++firing_waits_ < kFiringWaitsMax) {
      return;  // Its process is just writing it.
    }
    firing_waits_ = 0;
    if (time_ns == 0) {
      continue;  // Somebody else killed it while it wrote.
    }
    const auto pid = static_cast<pid_t>(firing.pid.load());
    const auto action = static_cast<Action>(firing.action.load());
    fired_.push_back({static_cast<layout::Point>(firing.point.load()),
                      static_cast<Role>(firing.role.load()), action, firing.word.load()});
    firing.time_ns = 0;
    Client* client = find_client(pid);
    const Victim victim = victim_of(pid).value_or(Victim::kDaemon);
    const bool kills = action == Action::kKill;
    note(kills ? Event::What::kKill : Event::What::kStop, victim, time_ns, client);
    const std::uint64_t until_ns = now_ns() + point_stop_ms_ * kMillisecondNs;
    if (client != nullptr) {
      client->killed = client->killed || kills;
      client->continue_ns = kills ? client->continue_ns : until_ns;
    } else {
      daemon_killed_ = daemon_killed_ || kills;
      daemon_continue_ns_ = kills ? daemon_continue_ns_ : until_ns;
    }
  }
}

void Stage::continue_stopped() {
  const std::uint64_t now = now_ns();
  for (Client& client : clients_) {
    if (client.continue_ns != 0 && client.continue_ns <= now && client.pid != 0) {
      client.continue_ns = 0;
      note(Event::What::kContinue, victim_of(client.pid).value_or(Victim::kProducer), now, nullptr);
      ::kill(client.pid, SIGCONT);
    }
  }
  if (daemon_continue_ns_ != 0 && daemon_continue_ns_ <= now && daemon_->pid() != 0) {
    daemon_continue_ns_ = 0;
    note(Event::What::kContinue, Victim::kDaemon, now, nullptr);
    ::kill(daemon_->pid(), SIGCONT);
  }
}

void Stage::hold_daemon(std::uint32_t for_ms) {
  if (daemon_continue_ns_ != 0) {
    daemon_continue_ns_ = now_ns() + for_ms * kMillisecondNs;
  }
}

void Stage::continue_everybody() {
  for (Client& client : clients_) {
    if (client.pid != 0) {
      client.continue_ns = 0;
      ::kill(client.pid, SIGCONT);
    }
  }
  daemon_continue_ns_ = 0;
  if (daemon_->pid() != 0) {
    ::kill(daemon_->pid(), SIGCONT);
  }
}

// ---- victims ----

Client* Stage::find_client(pid_t pid) {
  const auto found = std::find_if(clients_.begin(), clients_.end(),
                                  [&](const Client& client) { return client.pid == pid; });
  return found == clients_.end() ? nullptr : &*found;
}

std::optional<Victim> Stage::victim_of(pid_t pid) const {
  for (const Client& client : clients_) {
    if (client.pid != pid || pid == 0) {
      continue;
    }
    if (client.arguments.role == "consumer") {
      return static_cast<std::uint32_t>(pid) == control_->active_consumer ? Victim::kConsumer
                                                                          : Victim::kStandby;
    }
    return client.arguments.role == "gpu" ? Victim::kGpu : Victim::kProducer;
  }
  return std::nullopt;
}

Client* Stage::choose(Victim victim) {
  std::vector<Client*> candidates;
  for (Client& client : clients_) {
    if (client.pid != 0 && !client.killed && victim_of(client.pid) == victim) {
      candidates.push_back(&client);
    }
  }
  return candidates.empty() ? nullptr : candidates[random_() % candidates.size()];
}

void Stage::note(Event::What what, Victim victim, std::uint64_t time_ns, const Client* client) {
  const bool has_journal = client != nullptr && client->arguments.role != "gpu";
  RoleArguments arguments = client != nullptr ? client->arguments : RoleArguments{};
  arguments.folder = options_.folder;
  events_.push_back({what, victim, time_ns, has_journal ? journal_path(arguments) : ""});
}

bool Stage::kill_victim(Victim victim) {
  if (victim == Victim::kDaemon) {
    if (!daemon_->ready() || daemon_killed_) {
      return false;
    }
    daemon_killed_ = true;
    note(Event::What::kKill, victim, now_ns(), nullptr);
    daemon_->kill();
    return true;
  }
  Client* client = choose(victim);
  if (client == nullptr) {
    return false;
  }
  client->killed = true;
  note(Event::What::kKill, victim, now_ns(), client);
  ::kill(client->pid, SIGKILL);
  return true;
}

bool Stage::stop_victim(Victim victim, std::uint32_t for_ms) {
  const std::uint64_t until_ns = now_ns() + for_ms * kMillisecondNs;
  if (victim == Victim::kDaemon) {
    if (!daemon_->ready() || daemon_killed_ || daemon_continue_ns_ != 0) {
      return false;
    }
    daemon_continue_ns_ = until_ns;
    note(Event::What::kStop, victim, now_ns(), nullptr);
    ::kill(daemon_->pid(), SIGSTOP);
    return true;
  }
  Client* client = choose(victim);
  if (client == nullptr || client->continue_ns != 0) {
    return false;
  }
  client->continue_ns = until_ns;
  note(Event::What::kStop, victim, now_ns(), client);
  ::kill(client->pid, SIGSTOP);
  return true;
}

void Stage::arm(Role role, std::size_t place, layout::Point point, Action action,
                std::uint32_t countdown, std::uint32_t word) {
  Arm& arm = page_->arms[static_cast<std::size_t>(role)][place];
  arm.point = 0;
  arm.action = static_cast<std::uint32_t>(action);
  arm.countdown = countdown;
  arm.word = word;
  arm.point = static_cast<std::uint32_t>(point) + 1;
}

void Stage::disarm(Role role) {
  for (Arm& arm : page_->arms[static_cast<std::size_t>(role)]) {
    arm.point = 0;
  }
}

void Stage::disarm_all() {
  for (const Role role : {Role::kProducer, Role::kConsumer, Role::kDaemon, Role::kGpu}) {
    disarm(role);
  }
}

std::optional<Stage::Fired> Stage::take_fired() {
  if (fired_.empty()) {
    return std::nullopt;
  }
  const Fired first = fired_.front();
  fired_.erase(fired_.begin());
  return first;
}

// ---- quiet ----

bool Stage::wait_for(const char* what, const std::function<bool()>& holds) {
  const std::uint64_t deadline_ns = now_ns() + kQuietPatienceNs;
  while (!holds()) {
    tick();
    if (now_ns() > deadline_ns) {
      troubles_.push_back(std::string("never happened: ") + what + ": " +
                          ask({{"verb", "status"}}).dump());
      return false;
    }
  }
  return true;
}

bool Stage::no_client_of(const std::string& role) const {
  return std::none_of(clients_.begin(), clients_.end(), [&](const Client& client) {
    return client.arguments.role == role && client.pid != 0;
  });
}

// No links, no consumers, and nothing under way.
bool Stage::bus_is_empty() const {
  const json status = ask({{"verb", "status"}});
  if (status.is_null() || !status["links"].empty() || status["daemon"]["backlog"] != 0) {
    return false;
  }
  return std::all_of(status["queues"].begin(), status["queues"].end(), [](const json& queue) {
    return queue["consumer"].is_null() && queue["standbys"] == 0;
  });
}

bool Stage::quiesce() {
  disarm_all();
  continue_everybody();
  control_->phase = static_cast<std::uint32_t>(Phase::kDrain);
  if (!wait_for("producers take what is outstanding",
                [&] { return no_client_of("producer") && no_client_of("gpu-producer"); }) ||
      !wait_for("links of killed producers end", [&] {
        const json status = ask({{"verb", "status"}});
        return !status.is_null() && status["links"].empty();
      })) {
    return false;
  }
  control_->phase = static_cast<std::uint32_t>(Phase::kGoodbye);
  for (const Client& client : clients_) {
    if (client.arguments.role == "gpu" && client.pid != 0) {
      ::kill(client.pid, SIGTERM);
    }
  }
  return wait_for("consumers leave",
                  [&] { return no_client_of("consumer") && no_client_of("gpu"); }) &&
         wait_for("the bus is empty", [&] { return bus_is_empty(); });
}

void Stage::restart_daemon() {
  while (!kill_victim(Victim::kDaemon)) {
    tick();
  }
  do {
    tick();
  } while (!daemon_->ready() || ask({{"verb", "status"}}).is_null());
}

void Stage::forget_round() {
  events_.clear();
  std::error_code ignored;
  for (const auto& file :
       std::filesystem::directory_iterator(options_.folder + "/journal", ignored)) {
    std::filesystem::remove(file.path(), ignored);
  }
}

json Stage::ask(const json& query) const {
  ConnectOptions connect;
  connect.runtime_dir = options_.folder + "/run";
  connect.connect_timeout = std::chrono::milliseconds(500);
  Result<Tool> tool = Tool::connect(connect);
  if (!tool) {
    return nullptr;
  }
  const Result<std::string> answer =
      tool->query(query.dump(), std::chrono::steady_clock::now() + std::chrono::seconds(5));
  return answer ? json::parse(*answer) : json(nullptr);
}

std::string Stage::metrics_page() const { return http_get("/metrics", metrics_port_); }

}  // namespace ackbus::chaos
