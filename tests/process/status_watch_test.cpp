// `ackbus status --watch` on a terminal and without one: it redraws in place, shows the counters of
// now, goes on through a daemon's restart, and leaves the terminal as it found it.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr const char* kRedraw = "\033[H\033[J";
constexpr char kInterrupt = '\003';  // what Ctrl-C sends

// `ackbus status --watch` with this test as its terminal, or as the reader of its pipe.
class Watch {
 public:
  enum class Output { kTerminal, kPipe };

  Watch(const Bus& bus, Output output, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"status", "--watch"});
    arguments = bus.on_this_bus(std::move(arguments));
    const std::string path = program_path("ackbus");
    std::vector<char*> words{const_cast<char*>(path.c_str())};
    for (std::string& argument : arguments) {
      words.push_back(argument.data());
    }
    words.push_back(nullptr);
    const pid_t pid = output == Output::kTerminal ? fork_on_terminal() : fork_on_pipe();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::signal(SIGINT, SIG_DFL);  // A test that runs in the background is born with it ignored.
      ::close_range(3, ~0U, 0);
      ::execv(path.c_str(), words.data());
      ::_exit(127);
    }
    child = Child(pid);
  }
  ~Watch() { hang_up(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  void hang_up() {
    if (fd_ >= 0) {
      ::close(std::exchange(fd_, -1));
    }
  }

  // All it has written, read without waiting; the end of a line is one character.
  const std::string& text() {
    char piece[4096];
    pollfd ready{fd_, POLLIN, 0};
    while (::poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) != 0) {
      const ssize_t got = ::read(fd_, piece, sizeof(piece));
      if (got <= 0) {
        break;
      }
      std::copy_if(piece, piece + got, std::back_inserter(text_),
                   [](char letter) { return letter != '\r'; });
    }
    return text_;
  }

  // Until `check` holds for the latest screen, which is drawn whole.
  bool wait_screen(const std::function<bool(const std::string& screen)>& check) {
    return eventually([&] {
      const std::size_t start = text().rfind(kRedraw);
      const std::string screen =
          start == std::string::npos ? "" : text_.substr(start + std::strlen(kRedraw));
      const bool whole = screen.rfind("waiting for", 0) == 0 ||
                         screen.find("\ndead letters ") != std::string::npos;
      return whole && screen.back() == '\n' && check(screen);
    });
  }

  Child child;

 private:
  pid_t fork_on_terminal() {
    const winsize size{40, 200, 0, 0};
    return ::forkpty(&fd_, nullptr, nullptr, &size);
  }
  pid_t fork_on_pipe() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
    } else {
      ::close(ends[1]);
      fd_ = ends[0];
    }
    return pid;
  }

  int fd_ = -1;
  std::string text_;
};

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    count += 1;
  }
  return count;
}

// The words of the row that begins so; none when there is none.
std::vector<std::string> row_of(const std::string& screen, const std::string& first) {
  std::istringstream lines(screen);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> row;
    for (std::string word; words >> word;) {
      row.push_back(word);
    }
    if (!row.empty() && row[0] == first) {
      return row;
    }
  }
  return {};
}

class StatusWatch : public ProcessTest {
 protected:
  void send_and_wait(int count) {
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(outcome_of(producer_, send(producer_, "x")).code, OutcomeCode::kSuccess);
    }
  }
  // Columns "sent" and "success".
  static bool counts(const std::string& screen, const std::string& messages) {
    const std::vector<std::string> row = row_of(screen, "ComputeForces");
    return row.size() > 2 && row[1] == messages && row[2] == messages;
  }

  Bus bus_;
  Helper consumer_ = Helper::ack_everything(bus_.consumer_options());
  Producer producer_ = bus_.producer();
};

TEST_F(StatusWatch, ATerminalIsRedrawnInPlaceWithTheCountersOfNow) {
  Watch watch(bus_, Watch::Output::kTerminal);
  ASSERT_TRUE(watch.wait_screen([](const std::string& screen) {
    return screen.find("nothing was sent yet") != std::string::npos;
  }));
  EXPECT_EQ(watch.text().rfind(kRedraw, 0), 0U) << "the first screen too begins at the top";
  send_and_wait(3);
  ASSERT_TRUE(watch.wait_screen([](const std::string& screen) { return counts(screen, "3"); }));
  send_and_wait(4);
  std::string last;
  ASSERT_TRUE(watch.wait_screen([&](const std::string& screen) {
    last = screen;
    return counts(screen, "7") && row_of(screen, "ComputeForces").back() != "-";
  })) << "messages done a second, from two looks";
  EXPECT_GE(count_of(watch.text(), kRedraw), 3U);
  EXPECT_EQ(count_of(last, "dead letters"), 1U) << "one status a screen";
}

TEST_F(StatusWatch, CtrlCEndsItAndLeavesTheTerminalAsItWas) {
  Watch watch(bus_, Watch::Output::kTerminal);
  termios before{};
  ASSERT_EQ(::tcgetattr(watch.fd(), &before), 0);
  ASSERT_TRUE(watch.wait_screen(
      [](const std::string& screen) { return screen.find("dead letters") != std::string::npos; }));
  ASSERT_EQ(::write(watch.fd(), &kInterrupt, 1), 1);
  const std::optional<ProcessEnd> end = watch.child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->signal_number, SIGINT) << "a shell's loop around it ends too";
  termios after{};
  ASSERT_EQ(::tcgetattr(watch.fd(), &after), 0);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  // Whatever it hid or switched to, it gave back: the cursor, the screen.
  const std::string& text = watch.text();
  EXPECT_THAT(text, HasSubstr("^C"));
  EXPECT_EQ(count_of(text, "\033[?25l"), count_of(text, "\033[?25h"));
  EXPECT_EQ(count_of(text, "\033[?1049h"), count_of(text, "\033[?1049l"));
}

TEST_F(StatusWatch, ItGoesOnThroughADaemonsRestart) {
  Watch watch(bus_, Watch::Output::kTerminal);
  const std::string pid = "pid " + std::to_string(bus_.daemon_pid());
  ASSERT_TRUE(watch.wait_screen(
      [&](const std::string& screen) { return screen.find(pid) != std::string::npos; }));
  bus_.program().child.end();
  ASSERT_TRUE(watch.wait_screen([](const std::string& screen) {
    return screen.rfind("waiting for the daemon: ", 0) == 0 && count_of(screen, "\n") == 1;
  })) << "one line, and why";
  bus_.start();
  const std::string next = "pid " + std::to_string(bus_.daemon_pid());
  ASSERT_TRUE(watch.wait_screen(
      [&](const std::string& screen) { return screen.find(next) != std::string::npos; }));
}

TEST_F(StatusWatch, WithoutATerminalItWritesPlainBlocksUntilNobodyReads) {
  Watch watch(bus_, Watch::Output::kPipe);
  send_and_wait(2);
  ASSERT_TRUE(eventually([&] {
    return count_of(watch.text(), "\ndead letters ") >= 2 &&
           watch.text().substr(watch.text().size() - 2) == "\n\n";
  }));
  EXPECT_EQ(watch.text().find('\033'), std::string::npos) << "no terminal, no escapes";
  EXPECT_GE(count_of(watch.text(), "\n\nbus default: "), 1U) << "an empty line between them";
  watch.hang_up();
  const std::optional<ProcessEnd> end = watch.child.wait();
  ASSERT_TRUE(end) << "it writes for nobody";
  // 0 when it noticed while it waited; 14 when it noticed by a write that failed.
  EXPECT_THAT(end->exit_status, AnyOf(0, 14));
}

TEST_F(StatusWatch, JsonIsOneDocumentAfterTheOtherOnATerminalToo) {
  for (const Watch::Output output : {Watch::Output::kPipe, Watch::Output::kTerminal}) {
    Watch watch(bus_, output, {"--json"});
    ASSERT_TRUE(eventually([&] { return count_of(watch.text(), "\n}\n\n") >= 2; })) << watch.text();
    EXPECT_EQ(watch.text().find('\033'), std::string::npos);
    std::istringstream documents(watch.text());
    for (int i = 0; i < 2; ++i) {
      json status;
      documents >> status;
      EXPECT_EQ(status["bus"], "default");
    }
  }
}

}  // namespace
}  // namespace ackbus::process_test
