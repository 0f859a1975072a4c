// What every process test stands on: a folder of its own, child processes that cannot outlive the
// test, and a bus made of the real programs.
//
// Purpose: tests start real daemons, producers and consumers, kill them, and look at what is left.
// Data flow: a test makes a Bus (bare ackbusd, or `ackbus run`), forks Helpers that use the public
// API and speak with the test over a socket pair, and asks the daemon as a tool. Threads: a test is
// one thread, so that it may fork at any time. Nothing here sleeps for an effect: waits are on
// events, or on conditions that are looked at again until a generous deadline.
//
// A consumer's process is killed by the daemon when its socket hangs up (docs/architecture.md,
// consumer lives), so consumers never live in the test's own process.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>

#include <ackbus/consumer.hpp>
#include <ackbus/producer.hpp>
#include <ackbus/tool.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ackbus::process_test {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

inline constexpr seconds kPatience{30};  // a deadline that only a broken system misses

[[nodiscard]] inline Deadline soon(milliseconds wait = kPatience) {
  return steady_clock::now() + wait;
}

// Looks at the condition again and again until it holds; false when it never did.
[[nodiscard]] bool eventually(const std::function<bool()>& holds, milliseconds wait = kPatience);

[[nodiscard]] std::string program_path(const std::string& name);
[[nodiscard]] std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);
[[nodiscard]] std::span<const std::byte> bytes_of(std::string_view text);
[[nodiscard]] std::string text_of(std::span<const std::byte> bytes);
// CLOCK_MONOTONIC in nanoseconds.
[[nodiscard]] std::uint64_t clock_ns();

// Ends the whole test process after so many seconds, and with it every child.
void start_watchdog(unsigned patience_s);

// A temporary folder that other users may enter, removed with everything in it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct ProcessEnd {
  int exit_status = -1;  // -1: ended by a signal
  int signal_number = 0;
};

// One end of a conversation between a test and a helper: short texts, in order.
class Channel {
 public:
  explicit Channel(int fd) : fd_(fd) {}
  ~Channel();
  Channel(Channel&& other) noexcept;
  Channel& operator=(Channel&& other) noexcept;
  void say(const std::string& text) const;
  // The next text; nothing when the deadline passed or the other end is gone.
  [[nodiscard]] std::optional<std::string> hear(Deadline deadline = soon()) const;
  // Without waiting.
  [[nodiscard]] std::optional<std::string> heard() const { return hear(steady_clock::now()); }

 private:
  int fd_;
};

// A child process; killed and reaped when it goes out of scope, and by the kernel when the test
// ends.
class Child {
 public:
  Child() = default;
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() { end(); }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&& other) noexcept;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool running();
  void signal(int number) const;
  // Kills it and waits for its end.
  void end();
  [[nodiscard]] std::optional<ProcessEnd> wait(milliseconds patience = kPatience);

 private:
  pid_t pid_ = 0;
  std::optional<ProcessEnd> ended_;
};

// A function of this test in a process of its own. What it returns is the exit status.
class Helper {
 public:
  using Body = std::function<int(const Channel& test)>;
  explicit Helper(const Body& body);
  // A consumer that is connected when this returns; `body` has its handle.
  [[nodiscard]] static Helper consume(
      const ConsumerOptions& options,
      const std::function<int(Consumer& consumer, const Channel& test)>& body);
  // A consumer that acks everything it gets, and says nothing.
  [[nodiscard]] static Helper ack_everything(const ConsumerOptions& options);

  Child child;
  Channel channel;

 private:
  Helper(Child made, Channel end) : child(std::move(made)), channel(std::move(end)) {}
  static Helper fork_with(const Body& body);
};

// A program of ours, its output in two files. `descriptors` limits its open files; 0: as the
// test's.
class Program {
 public:
  Program(const Folder& folder, const std::string& name, std::vector<std::string> arguments,
          const std::vector<std::string>& environment = {}, std::uint64_t descriptors = 0);
  Child child;
  [[nodiscard]] std::string output() const { return read_file(output_path_); }
  [[nodiscard]] std::string errors() const { return read_file(error_path_); }
  [[nodiscard]] bool wait_output(const std::string& part, milliseconds wait = kPatience);

 private:
  std::string output_path_;
  std::string error_path_;
};

struct Ran {
  int status = -1;
  std::string output;
  std::string errors;
};

// How long this machine lets a ready process wait, while it lives: one sleeper for each processor.
// What is timed on a busy machine is judged by it.
class Metronome {
 public:
  Metronome();
  // The worst lateness of any sleeper so far.
  [[nodiscard]] double worst_ms();

 private:
  std::vector<Helper> sleepers_;
};

// A mistake's answer: this exit status and one line with this part on standard error, nothing else.
void expect_one_line(const Ran& ran, int status, const std::string& part);

// Clock ticks that a process has used, user and system.
[[nodiscard]] std::uint64_t ticks_of(pid_t pid);
// What a scraper gets from the daemon's endpoint on this port.
[[nodiscard]] std::string metrics_page(std::uint16_t port);

struct BusOptions {
  bool supervised = false;        // `ackbus run`: the daemon's memory outlives the daemon
  bool gpu = false;               // with ackbus-gpu; supervised only
  std::string config = {};        // TOML; empty: the defaults
  std::string metrics = "off";    // HOST:PORT or off
  std::uint64_t descriptors = 0;  // limit of open files; 0: as the test's
};

// A bus of its own: its runtime directory, its dead letters, its daemon.
class Bus {
 public:
  explicit Bus(BusOptions options = {});
  ~Bus();

  // Starts the daemon (again) and waits until it answers.
  void start();
  [[nodiscard]] Program& program() { return *program_; }
  [[nodiscard]] const Folder& folder() const { return folder_; }
  [[nodiscard]] std::string runtime_dir() const { return folder_ / "run"; }
  [[nodiscard]] std::string dead_letter_dir() const { return folder_ / "dead"; }
  [[nodiscard]] std::string config_path() const { return folder_ / "ackbusd.toml"; }
  [[nodiscard]] std::string socket_path() const { return runtime_dir() + "/default.sock"; }

  // Asks the daemon; null when it does not answer now.
  [[nodiscard]] json ask(const json& query) const;
  [[nodiscard]] json status() const { return ask({{"verb", "status"}}); }
  [[nodiscard]] pid_t daemon_pid() const;
  [[nodiscard]] std::uint64_t incarnation() const;
  [[nodiscard]] json queue(const std::string& name = "gpu0") const;
  [[nodiscard]] json kind(const std::string& name) const;
  // kill -9 to the daemon of a supervised bus, then waits until its successor serves.
  void kill_daemon_and_wait();
  [[nodiscard]] bool wait_incarnation_after(std::uint64_t before) const;

  // The ackbus command on this bus.
  [[nodiscard]] Ran ackbus(std::vector<std::string> arguments, const std::string& input = "") const;
  [[nodiscard]] std::vector<std::string> on_this_bus(std::vector<std::string> arguments) const;

  [[nodiscard]] ProducerOptions producer_options() const;
  [[nodiscard]] ConsumerOptions consumer_options() const;
  [[nodiscard]] Producer producer() const { return producer(producer_options()); }
  [[nodiscard]] Producer producer(const ProducerOptions& options) const;

 private:
  BusOptions options_;
  Folder folder_;
  std::unique_ptr<Program> program_;
};

// The program run to its end.
[[nodiscard]] Ran run_program(const Folder& folder, const std::string& name,
                              std::vector<std::string> arguments, const std::string& input = "");

// Waits for the outcome and expects that there is one.
[[nodiscard]] Outcome outcome_of(Producer& producer, const Ticket& ticket);
Ticket send(Producer& producer, std::string_view payload, const SendOptions& options = {},
            Kind kind = Kind::kComputeForces);

// The fixture of all process tests.
class ProcessTest : public ::testing::Test {
 protected:
  void SetUp() override { start_watchdog(150); }
};

}  // namespace ackbus::process_test
