// A whole bus in the test's own process and time: the real sockets, worker, letters and books, with
// its turns taken one by one. Data flow: TestClient -> the bus's socket -> TestBus::turn() ->
// packets and descriptors back. Threads: the test's is the bus thread; the daemon's worker runs
// beside it and is waited for.
//
// Clients are of this very process, and the daemon ends the process of an active consumer that
// hangs up: consumers here say goodbye or outlive the bus.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/bus.hpp"
#include "shm_layout/check.hpp"

namespace ackbus::daemon {

// A packet as a client gets it.
struct Heard {
  layout::ControlType type = layout::ControlType::kReserved;
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> descriptors;
  template <typename Message>
  [[nodiscard]] Message as() const {
    Message message{};
    std::memcpy(&message, bytes.data(), std::min(bytes.size(), sizeof(message)));
    return message;
  }
  // What follows the head of an answer.
  [[nodiscard]] std::string text() const {
    const std::size_t head = std::min(bytes.size(), sizeof(layout::QueryMessage));
    return std::string(reinterpret_cast<const char*>(bytes.data()) + head, bytes.size() - head);
  }
};

class TestBus {
 public:
  explicit TestBus(const std::function<void(BusOptions&)>& change = [](BusOptions&) {}) {
    ::pthread_sigmask(SIG_SETMASK, nullptr, &signals_before_);
    std::string name = ::testing::TempDir() + "ackbus-unit-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    BusOptions options;
    options.config = default_config();
    options.config.runtime_dir = folder_ / "run";
    options.config.dead_letter_directory = folder_ / "dead";
    options.config.metrics = "off";
    options.config.limits.default_slots = 4;
    options.config.limits.default_arena_bytes = 4096;
    change(options);
    EXPECT_TRUE(complete_config(options.config, Environment::of_this_process()).ok());
    Result<std::unique_ptr<Bus>> opened = Bus::open(std::move(options), log_);
    if (opened) {
      bus_ = std::move(opened.value());
    } else {
      error_ = opened.error();
    }
  }
  ~TestBus() {
    bus_.reset();
    ::pthread_sigmask(SIG_SETMASK, &signals_before_, nullptr);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TestBus(const TestBus&) = delete;
  TestBus& operator=(const TestBus&) = delete;

  // False when it could not be opened: error() says why.
  explicit operator bool() const { return bus_ != nullptr; }
  [[nodiscard]] const Error& error() const { return error_; }
  Bus* operator->() { return bus_.get(); }
  Bus& operator*() { return *bus_; }
  [[nodiscard]] std::string path() const { return folder_ / "run" / "default.sock"; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  // Whether the log says this, in the message or in a value.
  [[nodiscard]] bool logged(const std::string& part) const {
    return log_text_->find(part) != std::string::npos;
  }

  // What the loop does when everything is readable.
  void turn(std::uint64_t later_ns = 0) {
    now_ns_ += later_ns;
    for (int round = 0; round < 2; ++round) {
      read_all();
      run_worker();
      bus_->do_work(now_ns_);
    }
  }
  // Without the worker's completions: its jobs stay under way.
  void read_all() {
    bus_->accept_connections();
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, connection] : bus_->connections) {
      numbers.push_back(number);
    }
    for (const std::uint64_t number : numbers) {
      if (Connection* connection = bus_->find_connection(number);
          connection != nullptr && !connection->hung_up) {
        bus_->flush(*connection);
        pollfd said{connection->socket.get(), POLLIN, 0};
        if (::poll(&said, 1, 0) > 0) {
          bus_->read_connection(number);
        }
      }
    }
    bus_->drop_gone();
  }
  void run_worker() {
    while (bus_->worker->pending() > 0) {
      pollfd done{bus_->worker->completion_fd(), POLLIN, 0};
      ::poll(&done, 1, -1);
      bus_->worker->run_completions();
    }
  }

 private:
  sigset_t signals_before_{};
  std::filesystem::path folder_;
  std::shared_ptr<std::string> log_text_ = std::make_shared<std::string>();
  Log log_{{LogLevel::kDebug,
            1'000'000,
            [text = log_text_](const LogRecord& record) { *text += to_logfmt(record) + "\n"; },
            {}}};
  std::uint64_t now_ns_ = monotonic_ns();
  Error error_{};
  std::unique_ptr<Bus> bus_;
};

[[nodiscard]] inline layout::HelloMessage hello_of(layout::ClientRole role,
                                                   const std::string& queue = "gpu0") {
  layout::HelloMessage hello{};
  hello.header = layout::control_header<layout::HelloMessage>(layout::ControlType::kHello);
  hello.layout_version = layout::kLayoutVersion;
  hello.role = static_cast<std::uint32_t>(role);
  hello.fingerprint = layout::layout_fingerprint();
  queue.copy(hello.queue, sizeof(hello.queue) - 1);
  std::string("unit").copy(hello.client, sizeof(hello.client) - 1);
  hello.first_sequence = 1;
  return hello;
}

class TestClient {
 public:
  explicit TestClient(TestBus& bus) : bus_(&bus) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    bus.path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(
        ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  TestClient(TestBus& bus, layout::ClientRole role, const std::string& queue = "gpu0")
      : TestClient(bus) {
    say(hello_of(role, queue));
    bus.turn();
  }

  template <typename Message>
  void say(const Message& message) const {
    say_bytes(&message, sizeof(message));
  }
  void say_bytes(const void* bytes, std::size_t count) const {
    EXPECT_EQ(::send(socket_.get(), bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL),
              static_cast<ssize_t>(count));
  }
  void say_of_link(layout::ControlType type, std::uint64_t link, std::uint64_t epoch) const {
    say(layout::LinkMessage{layout::control_header<layout::LinkMessage>(type), link, epoch});
  }
  void query(const nlohmann::json& what, std::uint32_t request = 1) const {
    const std::string text = what.dump();
    layout::QueryMessage head{};
    head.header =
        layout::control_header<layout::QueryMessage>(layout::ControlType::kQuery, request);
    head.header.bytes += static_cast<std::uint32_t>(text.size());
    std::string packet(reinterpret_cast<const char*>(&head), sizeof(head));
    packet += text;
    say_bytes(packet.data(), packet.size());
  }

  // The next packet that has come, if any.
  std::optional<Heard> hear() const {
    std::vector<std::byte> buffer(layout::kControlBytesMax);
    iovec part{buffer.data(), buffer.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got <= 0) {
      return std::nullopt;
    }
    Heard heard;
    heard.bytes.assign(buffer.begin(), buffer.begin() + got);
    heard.type = static_cast<layout::ControlType>(heard.as<layout::ControlHeader>().type);
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr;
         item = CMSG_NXTHDR(&header, item)) {
      for (std::size_t at = 0; at + sizeof(int) <= item->cmsg_len - CMSG_LEN(0);
           at += sizeof(int)) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(item) + at, sizeof(int));
        heard.descriptors.emplace_back(fd);
      }
    }
    return heard;
  }
  // The next one of this type; others before it are passed over.
  std::optional<Heard> hear(layout::ControlType type) const {
    for (std::optional<Heard> heard = hear(); heard; heard = hear()) {
      if (heard->type == type) {
        return heard;
      }
    }
    return std::nullopt;
  }
  // "CODE TEXT" of a refusal that has come; "no refusal" when none has.
  [[nodiscard]] std::string refusal() const {
    const std::optional<Heard> heard = hear(layout::ControlType::kRefused);
    if (!heard) {
      return "no refusal";
    }
    const auto message = heard->as<layout::TextMessage>();
    return std::to_string(message.code) + " " + std::string(message.text, message.length);
  }
  // Asks, lets the bus answer, and gives "CODE TEXT" of the answer.
  [[nodiscard]] std::string ask(const nlohmann::json& what) const {
    query(what);
    bus_->turn();
    return answer();
  }
  [[nodiscard]] std::string answer() const {
    const std::optional<Heard> heard = hear(layout::ControlType::kAnswer);
    return heard ? std::to_string(heard->as<layout::QueryMessage>().code) + " " + heard->text()
                 : "no answer";
  }
  [[nodiscard]] bool is_hung_up_on() const {
    char byte = 0;
    return ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
  }
  void leave() { socket_.reset(); }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  TestBus* bus_;
  UniqueFd socket_{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
};

}  // namespace ackbus::daemon
