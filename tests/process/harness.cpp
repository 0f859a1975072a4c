#include "tests/process/harness.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

namespace ackbus::process_test {
namespace {

constexpr milliseconds kLookPause{3};
constexpr std::size_t kTextMax = 4096;

void pause_before_next_look() { ::poll(nullptr, 0, static_cast<int>(kLookPause.count())); }

std::string next_name(const std::string& name) {
  static std::atomic<unsigned> count{0};
  return name + "." + std::to_string(count.fetch_add(1));
}

int remaining_ms(Deadline deadline) {
  const auto left =
      std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()).count();
  return left > 0 ? static_cast<int>(left) + 1 : 0;
}

// The kernel ends this process with the test; the second look covers a test that ended before.
void die_with(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(125);
  }
}

void redirect(const std::string& path, int flags, int to) {
  const int fd = ::open(path.c_str(), flags, 0644);
  if (fd < 0 || ::dup2(fd, to) < 0) {
    ::_exit(126);
  }
}

}  // namespace

// ---- small things ----

bool eventually(const std::function<bool()>& holds, milliseconds wait) {
  const Deadline deadline = soon(wait);
  for (;;) {
    if (holds()) {
      return true;
    }
    if (steady_clock::now() >= deadline) {
      return false;
    }
    pause_before_next_look();
  }
}

std::string program_path(const std::string& name) {
  const char* folder = std::getenv("ACKBUS_BIN");
  return std::string(folder != nullptr ? folder : ACKBUS_BIN_DIR) + "/" + name;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string text_of(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::uint64_t clock_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(now.tv_nsec);
}

void start_watchdog(unsigned patience_s) {
  struct sigaction action {};
  action.sa_handler = [](int) {
    constexpr char kText[] = "the test's watchdog ended it: something never happened\n";
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText, sizeof(kText) - 1);
    ::_exit(124);  // Every child dies with its parent.
  };
  ::sigaction(SIGALRM, &action, nullptr);
  ::alarm(patience_s);
}

Folder::Folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "ackbus-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr || ::chmod(pattern.c_str(), 0755) != 0) {
    ADD_FAILURE() << "cannot make a temporary folder: " << std::strerror(errno);
  }
  path_ = pattern;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

// ---- processes ----

Channel::~Channel() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

Channel::Channel(Channel&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Channel& Channel::operator=(Channel&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

void Channel::say(const std::string& text) const {
  [[maybe_unused]] const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
}

std::optional<std::string> Channel::hear(Deadline deadline) const {
  for (;;) {
    pollfd waiting{fd_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, remaining_ms(deadline));
    if (ready < 0 && errno == EINTR) {
      continue;
    }
    if (ready <= 0) {
      return std::nullopt;
    }
    std::string text(kTextMax, '\0');
    const ssize_t received = ::recv(fd_, text.data(), text.size(), 0);
    if (received <= 0) {
      return std::nullopt;
    }
    text.resize(static_cast<std::size_t>(received));
    return text;
  }
}

Child& Child::operator=(Child&& other) noexcept {
  end();
  pid_ = std::exchange(other.pid_, 0);
  ended_ = std::exchange(other.ended_, std::nullopt);
  return *this;
}

bool Child::running() { return pid_ != 0 && !wait(milliseconds(0)); }

void Child::signal(int number) const {
  ASSERT_NE(pid_, 0);
  EXPECT_EQ(::kill(pid_, number), 0) << std::strerror(errno);
}

void Child::end() {
  if (pid_ != 0 && !ended_) {
    ::kill(pid_, SIGKILL);
    [[maybe_unused]] const auto ended = wait();
  }
}

std::optional<ProcessEnd> Child::wait(milliseconds patience) {
  if (pid_ == 0 || ended_) {
    return ended_;
  }
  int status = 0;
  const bool over = eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, patience);
  if (over) {
    ended_ =
        WIFEXITED(status) ? ProcessEnd{WEXITSTATUS(status), 0} : ProcessEnd{-1, WTERMSIG(status)};
  }
  return ended_;
}

Helper Helper::fork_with(const Body& body) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    ADD_FAILURE() << "socketpair: " << std::strerror(errno);
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    die_with(parent);
    // Whatever the test has open would otherwise stay open in here: sockets that should hang up.
    ::dup2(ends[1], 3);
    ::close_range(4, ~0U, 0);
    ::_exit(body(Channel(3)));
  }
  ::close(ends[1]);
  return Helper(Child(pid), Channel(ends[0]));
}

Helper::Helper(const Body& body) : Helper(fork_with(body)) {}

Helper Helper::consume(const ConsumerOptions& options,
                       const std::function<int(Consumer& consumer, const Channel& test)>& body) {
  Helper helper([&](const Channel& test) {
    Result<Consumer> consumer = Consumer::connect(options);
    test.say(consumer ? "connected" : consumer.error().text);
    return consumer ? body(*consumer, test) : 1;
  });
  EXPECT_EQ(helper.channel.hear(), "connected");
  return helper;
}

Helper Helper::ack_everything(const ConsumerOptions& options) {
  return consume(options, [](Consumer& consumer, const Channel&) {
    for (;;) {
      Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
      if (!taken || !*taken) {
        return taken ? 0 : 2;
      }
      if (const Result<void> acked = consumer.ack(**taken); !acked) {
        return 3;
      }
    }
  });
}

Metronome::Metronome() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof(allowed), &allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || sleepers_.size() >= 16) {
      continue;
    }
    sleepers_.emplace_back([cpu](const Channel& test) {
      cpu_set_t mine;
      CPU_ZERO(&mine);
      CPU_SET(cpu, &mine);
      ::sched_setaffinity(0, sizeof(mine), &mine);
      constexpr std::uint64_t kBeatNs = 2'000'000;
      std::uint64_t worst_ns = 0;
      for (;;) {
        const std::uint64_t before = clock_ns();
        const timespec beat{0, kBeatNs};
        ::ppoll(nullptr, 0, &beat, nullptr);
        worst_ns = std::max(worst_ns, clock_ns() - before - kBeatNs);
        if (test.heard()) {
          test.say(std::to_string(worst_ns));
        }
      }
      return 0;
    });
  }
}

double Metronome::worst_ms() {
  double worst = 0;
  for (const Helper& sleeper : sleepers_) {
    sleeper.channel.say("how late?");
    worst = std::max(worst, std::stod(sleeper.channel.hear().value_or("0")) / 1e6);
  }
  return worst;
}

Program::Program(const Folder& folder, const std::string& name, std::vector<std::string> arguments,
                 const std::vector<std::string>& environment, std::uint64_t descriptors)
    : output_path_(folder / next_name(name + ".out")),
      error_path_(folder / next_name(name + ".err")) {
  const std::string path = program_path(name);
  std::vector<char*> words{const_cast<char*>(path.c_str())};
  for (std::string& argument : arguments) {
    words.push_back(argument.data());
  }
  words.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    die_with(parent);
    for (const std::string& variable : environment) {
      ::putenv(const_cast<char*>(variable.c_str()));
    }
    redirect(output_path_, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(error_path_, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    ::close_range(3, ~0U, 0);
    if (const rlimit limit{descriptors, descriptors}; descriptors != 0) {
      ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    ::execv(path.c_str(), words.data());
    ::_exit(127);
  }
  child = Child(pid);
}

bool Program::wait_output(const std::string& part, milliseconds wait) {
  return eventually([&] { return output().find(part) != std::string::npos || !child.running(); },
                    wait) &&
         output().find(part) != std::string::npos;
}

Ran run_program(const Folder& folder, const std::string& name, std::vector<std::string> arguments,
                const std::string& input) {
  // The child inherits standard input, so it is put in place around the fork.
  const std::string input_path = folder / next_name("input");
  write_file(input_path, input);
  const int before = ::dup(STDIN_FILENO);
  const int from = ::open(input_path.c_str(), O_RDONLY | O_CLOEXEC);
  ::dup2(from, STDIN_FILENO);
  ::close(from);
  Program program(folder, name, std::move(arguments));
  ::dup2(before, STDIN_FILENO);
  ::close(before);
  const std::optional<ProcessEnd> end = program.child.wait(seconds(100));
  EXPECT_TRUE(end) << name << " did not end";
  return {end ? end->exit_status : -1, program.output(), program.errors()};
}

// ---- the bus ----

Bus::Bus(BusOptions options) : options_(std::move(options)) {
  write_file(config_path(), options_.config);
  start();
}

Bus::~Bus() {
  if (::testing::Test::HasFailure() && program_) {
    std::fprintf(stderr, "---- log of the bus ----\n%s----\n", program_->errors().c_str());
  }
}

void Bus::start() {
  std::vector<std::string> arguments;
  if (options_.supervised) {
    arguments = {"run", "--backend", "cpu", "--threads", "2"};
    if (!options_.gpu) {
      arguments.emplace_back("--no-gpu");
    }
  }
  for (const std::string& word :
       {std::string("--runtime-dir"), runtime_dir(), std::string("--metrics"), options_.metrics,
        std::string("--dead-letters"), dead_letter_dir(), std::string("--config"), config_path()}) {
    arguments.push_back(word);
  }
  program_ = std::make_unique<Program>(folder_, options_.supervised ? "ackbus" : "ackbusd",
                                       std::move(arguments), std::vector<std::string>(),
                                       options_.descriptors);
  if (options_.supervised) {
    EXPECT_TRUE(program_->wait_output("ready")) << program_->errors();
  }
  EXPECT_TRUE(eventually([&] { return !status().is_null() || !program_->child.running(); }));
  EXPECT_FALSE(status().is_null()) << program_->errors();
}

json Bus::ask(const json& query) const {
  ConnectOptions connect;
  connect.runtime_dir = runtime_dir();
  Result<Tool> tool = Tool::connect(connect);
  if (!tool) {
    return nullptr;
  }
  const Result<std::string> answer = tool->query(query.dump(), soon(seconds(5)));
  return answer ? json::parse(*answer) : json(nullptr);
}

pid_t Bus::daemon_pid() const {
  const json now = status();
  return now.is_null() ? 0 : now["daemon"]["pid"].get<pid_t>();
}

std::uint64_t Bus::incarnation() const {
  const json now = status();
  return now.is_null() ? 0 : now["incarnation"].get<std::uint64_t>();
}

json Bus::queue(const std::string& name) const {
  const json now = status();
  for (const json& entry : now.is_null() ? json::array() : now["queues"]) {
    if (entry["name"] == name) {
      return entry;
    }
  }
  return nullptr;
}

json Bus::kind(const std::string& name) const {
  const json now = status();
  for (const json& entry : now.is_null() ? json::array() : now["kinds"]) {
    if (entry["name"] == name) {
      return entry;
    }
  }
  return nullptr;
}

bool Bus::wait_incarnation_after(std::uint64_t before) const {
  return eventually([&] { return incarnation() > before; });
}

void Bus::kill_daemon_and_wait() {
  const std::uint64_t before = incarnation();
  const pid_t victim = daemon_pid();
  ASSERT_NE(victim, 0);
  ASSERT_EQ(::kill(victim, SIGKILL), 0) << "the daemon was not alive";
  ASSERT_TRUE(wait_incarnation_after(before));
}

std::vector<std::string> Bus::on_this_bus(std::vector<std::string> arguments) const {
  arguments.insert(arguments.end(), {"--runtime-dir", runtime_dir()});
  return arguments;
}

Ran Bus::ackbus(std::vector<std::string> arguments, const std::string& input) const {
  return run_program(folder_, "ackbus", on_this_bus(std::move(arguments)), input);
}

ProducerOptions Bus::producer_options() const {
  ProducerOptions options;
  options.runtime_dir = runtime_dir();
  options.client = "test-producer";
  options.slots = 64;
  options.arena_bytes = 1 << 20;
  return options;
}

ConsumerOptions Bus::consumer_options() const {
  ConsumerOptions options;
  options.runtime_dir = runtime_dir();
  options.client = "test-consumer";
  return options;
}

Producer Bus::producer(const ProducerOptions& options) const {
  Result<Producer> made = Producer::connect(options);
  if (!made) {
    ADD_FAILURE() << made.error().text;
    std::abort();
  }
  return std::move(made).value();
}

// ---- messages ----

Outcome outcome_of(Producer& producer, const Ticket& ticket) {
  Result<Outcome> outcome = producer.wait(ticket, soon());
  EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error().text);
  return outcome ? std::move(outcome).value() : Outcome{};
}

Ticket send(Producer& producer, std::string_view payload, const SendOptions& options, Kind kind) {
  const Result<Ticket> ticket = producer.send(kind, bytes_of(payload), soon(), options);
  EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().text);
  return ticket ? *ticket : Ticket{};
}

void expect_one_line(const Ran& ran, int status, const std::string& part) {
  EXPECT_EQ(ran.status, status) << ran.errors;
  EXPECT_THAT(ran.errors, ::testing::HasSubstr(part));
  EXPECT_EQ(std::count(ran.errors.begin(), ran.errors.end(), '\n'), 1) << ran.errors;
  EXPECT_EQ(ran.output, "");
}

std::uint64_t ticks_of(pid_t pid) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) {
    fields >> skipped;
  }
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  fields >> user >> system;
  return user + system;
}

std::string metrics_page(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  EXPECT_GT(::send(fd, request.data(), request.size(), MSG_NOSIGNAL), 0);
  std::string page;
  char piece[4096];
  for (ssize_t got = 0; (got = ::recv(fd, piece, sizeof(piece), 0)) > 0;) {
    page.append(piece, static_cast<std::size_t>(got));
  }
  ::close(fd);
  return page;
}

}  // namespace ackbus::process_test
