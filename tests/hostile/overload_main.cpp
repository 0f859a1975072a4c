// ackbus-overload: minutes of more than a bus can do, for scripts/overload.sh. Equal producers ask
// ten times the rate that one slow consumer serves, on a bus that others run; then it prints a
// table, a name and a figure a line.
//
// Usage: ackbus-overload RUNTIME_DIR SECONDS PRODUCERS SERVICE_US DAEMON_PID. Exit status 1 when a
// producer was refused by anything but back pressure, or the slowest got less than 0.8 of the
// fastest. Threads: each client is a process.
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ackbus/consumer.hpp>
#include <ackbus/producer.hpp>
#include <ackbus/tool.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

using namespace ackbus;
using std::chrono::steady_clock;

struct Figures {
  std::atomic<std::uint64_t> asked{0};
  std::atomic<std::uint64_t> served{0};
  std::atomic<std::uint64_t> held_back{0};
  std::atomic<std::uint64_t> wrong{0};
};

struct Setup {
  std::string runtime_dir;
  int seconds = 60;
  int producers = 8;
  int service_us = 1000;
  int daemon_pid = 0;
};

template <typename Options>
Options options_for(const Setup& setup) {
  Options options;
  options.runtime_dir = setup.runtime_dir;
  options.client = "overload";
  options.wait = WaitMode::kBlock;
  return options;
}

void pause_us(int duration_us) {
  const timespec pause{duration_us / 1'000'000, duration_us % 1'000'000 * 1000L};
  ::ppoll(nullptr, 0, &pause, nullptr);
}

int consume(const Setup& setup) {
  Result<Consumer> consumer = Consumer::connect(options_for<ConsumerOptions>(setup));
  while (consumer) {
    Result<std::optional<Delivery>> taken =
        consumer->take(steady_clock::now() + std::chrono::seconds(60));
    if (!taken) {
      return 1;
    }
    if (*taken) {
      pause_us(setup.service_us);
      [[maybe_unused]] const auto acked = consumer->ack(**taken);
    }
  }
  return 1;
}

// Asks at ten times its share of what the consumer can do, without waiting longer than that.
int produce(const Setup& setup, Figures& figures) {
  ProducerOptions options = options_for<ProducerOptions>(setup);
  options.slots = 64;
  options.arena_bytes = 1 << 20;
  Result<Producer> producer = Producer::connect(options);
  for (int tries = 0; !producer && tries < 200; ++tries) {
    pause_us(20'000);
    producer = Producer::connect(options);
  }
  const std::chrono::microseconds share(setup.service_us * setup.producers / 10);
  std::vector<Completion> completions;
  const std::vector<std::byte> payload(512);
  for (auto next = steady_clock::now(); producer;) {
    next += share;
    figures.asked.fetch_add(1);
    const Result<Ticket> sent = producer->send(Kind::kComputeForces, payload, next);
    if (!sent) {
      (sent.error().code == ErrorCode::kBackPressured ? figures.held_back : figures.wrong)
          .fetch_add(1);
    }
    completions.clear();
    figures.served.fetch_add(producer->reap(completions));
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(next - steady_clock::now());
    if (left.count() > 0) {
      pause_us(static_cast<int>(left.count()));
    }
  }
  return 1;
}

pid_t start(const std::function<int()>& work) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(::getppid() == parent ? work() : 1);
  }
  return pid;
}

std::uint64_t private_kib(int pid) {
  std::ifstream lines("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("RssAnon:", 0) == 0) {
      return std::strtoull(line.c_str() + 8, nullptr, 10);
    }
  }
  return 0;
}

// One look at the daemon: shared memory by its own figures, and how long it took to answer.
struct Look {
  std::uint64_t shared_bytes = 0;
  double answer_ms = 0;
};

Look look_at(const Setup& setup) {
  const auto before = steady_clock::now();
  Result<Tool> tool = Tool::connect(options_for<ConnectOptions>(setup));
  const Result<std::string> answer =
      tool ? tool->query("{\"verb\":\"status\"}", before + std::chrono::seconds(10))
           : Result<std::string>(tool.error());
  Look look;
  look.answer_ms = std::chrono::duration<double, std::milli>(steady_clock::now() - before).count();
  if (answer) {
    const nlohmann::json status = nlohmann::json::parse(*answer);
    for (const auto& part : status["memory"]) {
      look.shared_bytes += part.get<std::uint64_t>();
    }
  }
  return look;
}

void say(const char* name, double figure) { std::printf("%-34s %14.3f\n", name, figure); }

int report(const std::vector<Figures*>& all, const std::vector<Look>& looks,
           const std::vector<std::uint64_t>& private_kibs) {
  std::uint64_t asked = 0;
  std::uint64_t served = 0;
  std::uint64_t held_back = 0;
  std::uint64_t wrong = 0;
  std::uint64_t least = UINT64_MAX;
  std::uint64_t most = 0;
  for (const Figures* one : all) {
    asked += one->asked;
    served += one->served;
    held_back += one->held_back;
    wrong += one->wrong;
    least = std::min<std::uint64_t>(least, one->served);
    most = std::max<std::uint64_t>(most, one->served);
  }
  std::vector<double> answers;
  std::uint64_t shared_most = 0;
  for (const Look& look : looks) {
    answers.push_back(look.answer_ms);
    shared_most = std::max(shared_most, look.shared_bytes);
  }
  std::sort(answers.begin(), answers.end());
  const double fair = most == 0 ? 0 : static_cast<double>(least) / static_cast<double>(most);
  const auto figure = [](std::uint64_t value) { return static_cast<double>(value); };
  say("messages asked for", figure(asked));
  say("messages served", figure(served));
  say("asked / served", served == 0 ? 0 : figure(asked) / figure(served));
  say("held back (back-pressured)", figure(held_back));
  say("refused otherwise", figure(wrong));
  say("served, slowest / fastest link", fair);
  say("daemon answers, looks", figure(answers.size()));
  say("daemon answers, p50 ms", answers[answers.size() / 2]);
  say("daemon answers, p99 ms", answers[answers.size() * 99 / 100]);
  say("daemon answers, max ms", answers.back());
  say("shared memory at first, bytes", figure(looks.front().shared_bytes));
  say("shared memory at most, bytes", figure(shared_most));
  say("daemon's own memory at first, KiB", figure(private_kibs.front()));
  say("daemon's own memory at most, KiB",
      figure(*std::max_element(private_kibs.begin(), private_kibs.end())));
  return wrong == 0 && fair >= 0.8 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  if (count != 6) {
    std::fprintf(stderr,
                 "usage: ackbus-overload RUNTIME_DIR SECONDS PRODUCERS SERVICE_US DAEMON_PID\n");
    return 2;
  }
  const Setup setup{words[1], std::atoi(words[2]), std::atoi(words[3]), std::atoi(words[4]),
                    std::atoi(words[5])};
  std::vector<pid_t> children{start([&] { return consume(setup); })};
  std::vector<Figures*> all;
  for (int i = 0; i < setup.producers; ++i) {
    void* page =
        ::mmap(nullptr, sizeof(Figures), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Figures* figures = new (page) Figures;
    all.push_back(figures);
    children.push_back(start([&setup, figures] { return produce(setup, *figures); }));
  }
  pause_us(1'000'000);  // Everybody is in, and everything is full.
  std::vector<Look> looks;
  std::vector<std::uint64_t> private_kibs;
  const auto end = steady_clock::now() + std::chrono::seconds(setup.seconds);
  while (looks.empty() || steady_clock::now() < end) {
    looks.push_back(look_at(setup));
    private_kibs.push_back(private_kib(setup.daemon_pid));
    pause_us(50'000);
  }
  const int status = report(all, looks, private_kibs);
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  return status;
}
