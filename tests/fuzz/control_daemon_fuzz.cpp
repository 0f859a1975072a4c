// Control messages as the daemon receives them, from several processes at once, with and without
// descriptors, over real sockets into a real Bus. Data flow: the input drives hostile clients that
// connect, speak in and out of order, fill the segments they are given, hang up and die; the bus
// takes its turns in between, in time that the input moves. Checked: an honest producer, consumer
// and tool are served as before, no descriptor is leaked, no reserved memory is left. The harness's
// thread is the bus thread; the daemon's own worker runs beside it and is waited for.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "daemon/bus.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/records.hpp"
#include "tests/fuzz/hostile_client.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/peers.hpp"

namespace ackbus::daemon {
namespace {

using fuzz::Client;
using fuzz::hear;
using fuzz::Input;
using fuzz::Mapped;
using fuzz::send_all;
using fuzz::sound_hello;
using layout::ControlType;

constexpr int kOperationsMax = 60;
constexpr std::size_t kClientsMax = 12;
constexpr std::size_t kHonestPeer = 0;  // Nobody kills it.
constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr const char* kQueues[] = {"gpu0", "other", "third", "", "bad name", "listed"};
constexpr const char* kVerbs[] = {"status",       "show",         "dead_list",  "dead_show",
                                  "dead_payload", "dead_redrive", "dead_purge", "reload",
                                  "remove_queue", "shutdown",     "nothing"};

const std::string& folder() {
  static const std::string made = [] {
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/ackbus-fuzz-XXXXXX" : "/tmp/ackbus-fuzz-XXXXXX";
    ACKBUS_ASSERT(::mkdtemp(name.data()) != nullptr);
    static const std::string kept = name;
    ::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(kept, ignored);
    });
    return kept;
  }();
  return made;
}

fuzz::Peers& peers() {
  static fuzz::Peers made;
  return made;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    count += 1;
  }
  return count;
}

Config config(std::uint8_t way) {
  Config made = default_config();
  made.runtime_dir = folder();
  made.dead_letter_directory = folder() + "/dead";
  made.metrics = "off";
  made.any_queue = (way & 1) == 0;
  made.limits.max_links = (way & 2) != 0 ? 3 : 64;
  made.limits.default_slots = 4;
  made.limits.default_arena_bytes = 4096;
  made.limits.max_memory_bytes = 32 << 20;
  made.limits.hello_timeout_ms = 1000;
  made.dead_letter_limits.max_letters = (way & 4) != 0 ? 1 : 100;
  for (KindConfig& kind : made.kinds) {
    kind.timeout_ms = 50;
    kind.max_retries = 1;
    kind.max_wait_ms = 200;
  }
  QueueConfig listed;
  listed.name = "listed";
  made.queues.push_back(listed);
  QueueConfig honest;
  honest.name = "honest";
  made.queues.push_back(honest);
  ACKBUS_ASSERT(complete_config(made, Environment::of_this_process()).ok());
  return made;
}

class Scenario {
 public:
  explicit Scenario(Input& input)
      : input_(input),
        log_({LogLevel::kDebug, 1'000'000, [](const LogRecord&) {}, {}}),
        now_ns_(monotonic_ns()) {
    std::error_code ignored;
    std::filesystem::remove_all(folder() + "/dead", ignored);
    BusOptions options;
    options.config = config(input.byte());
    Result<std::unique_ptr<Bus>> opened = Bus::open(std::move(options), log_);
    ACKBUS_ASSERT(opened.ok());
    bus_ = std::move(opened.value());
    begin_honestly();
  }

  void run() {
    for (int operation = 0; operation < kOperationsMax && !input_.empty(); ++operation) {
      step();
      turn();
      if (bus_->stopping) {
        return;  // Somebody who may do so has asked for it.
      }
    }
    end_honestly();
  }

 private:
  // ---- the bus's turns, as its loop takes them ----

  void turn() {
    for (int round = 0; round < 3; ++round) {
      bus_->accept_connections();
      std::vector<std::uint64_t> numbers;
      for (const auto& [number, connection] : bus_->connections) {
        numbers.push_back(number);
      }
      for (const std::uint64_t number : numbers) {
        serve(number);
      }
      bus_->drop_gone();
      run_worker();
      bus_->do_work(now_ns_);
      run_worker();
      for (Client& client : clients_) {
        hear(client);
      }
    }
  }
  void serve(std::uint64_t number) {
    Connection* connection = bus_->find_connection(number);
    if (connection != nullptr && !connection->hung_up) {
      if (!connection->outgoing.empty()) {
        bus_->flush(*connection);
      }
      pollfd said{connection->socket.get(), POLLIN, 0};
      if (::poll(&said, 1, 0) > 0) {
        bus_->read_connection(number);
      }
      return;
    }
    if (connection != nullptr) {
      pollfd process{connection->pidfd.get(), POLLIN, 0};
      if (process.fd >= 0 && ::poll(&process, 1, 0) > 0) {
        bus_->process_ended(number);
      }
    }
  }
  void run_worker() {
    for (int rounds = 0; rounds < 256 && bus_->worker->pending() > 0; ++rounds) {
      pollfd done{bus_->worker->completion_fd(), POLLIN, 0};
      ::poll(&done, 1, 5000);
      bus_->worker->run_completions();
    }
    ACKBUS_ASSERT(bus_->worker->pending() == 0);
  }

  // ---- the honest three ----

  Client& connect(std::size_t peer) {
    clients_.emplace_back();
    Client& client = clients_.back();
    client.peer = peer;
    client.socket = peers().connect(peer, folder() + "/default.sock");
    return client;
  }
  void begin_honestly() {
    clients_.reserve(kClientsMax + 4);
    Client& tool = connect(kHonestPeer);
    const auto hello = sound_hello(layout::ClientRole::kTool, "");
    send_all(tool.socket.get(), &hello, sizeof(hello), {});
    has_link_ = input_.flag();
    if (has_link_) {
      const auto consumes = sound_hello(layout::ClientRole::kConsumer, "honest");
      send_all(connect(kHonestPeer).socket.get(), &consumes, sizeof(consumes), {});
      const auto produces = sound_hello(layout::ClientRole::kProducer, "honest");
      send_all(connect(kHonestPeer).socket.get(), &produces, sizeof(produces), {});
      turn();
      say_mapped(clients_[2], clients_[2].granted.link, 0);
      turn();
      say_mapped(clients_[1], clients_[1].life.link, clients_[1].life.epoch);
      commit(clients_[2], 0);
    }
    turn();
    honest_ = clients_.size();
    if (input_.below(4) != 0) {
      begin_hostilities();
    }
    ACKBUS_ASSERT(!has_link_ || clients_[1].ack.base() != nullptr);
  }
  // One of each role is in already, with a link that is served: nearly every input starts where
  // things can go wrong.
  void begin_hostilities() {
    constexpr layout::ClientRole kRoles[] = {
        layout::ClientRole::kTool, layout::ClientRole::kConsumer, layout::ClientRole::kProducer};
    for (std::size_t place = 0; place < std::size(kRoles); ++place) {
      const auto hello = sound_hello(kRoles[place], kQueues[input_.below(2)]);
      Client& made = connect(1 + place);
      made.role = kRoles[place];
      send_all(made.socket.get(), &hello, sizeof(hello), {});
    }
    turn();
    Client& consumer = clients_[honest_ + 1];
    Client& producer = clients_[honest_ + 2];
    say_mapped(producer, producer.granted.link, 0);
    turn();
    say_mapped(consumer, consumer.life.link, consumer.life.epoch);
    turn();
  }
  void end_honestly() {
    Client& tool = clients_[0];
    hear(tool);
    const std::uint32_t before = tool.answers;
    tool.answer.clear();
    send_query(tool, "{\"verb\":\"status\"}", {});
    for (int turns = 0; turns < 100 && tool.answers == before && !tool.refused; ++turns) {
      turn();
    }
    ACKBUS_ASSERT(!tool.refused);
    ACKBUS_ASSERT(tool.answers == before + 1);
    ACKBUS_ASSERT(nlohmann::json::parse(tool.answer, nullptr, false).is_object());
    if (has_link_) {
      Link* link = bus_->find_link(clients_[2].granted.link);
      ACKBUS_ASSERT(link != nullptr && !link->closed && link->mapped);
      answer(clients_[1], 0, 1);
      link->tracker->scan_soon();
      turn();
      const auto view = link->tracker->look(0);
      ACKBUS_ASSERT(view.has_value() && view->acked);
    }
    ACKBUS_ASSERT(bus_->reserved_bytes == 0);
  }

  // ---- what a peer may do with its memory ----

  void commit(Client& client, std::uint32_t slot) {
    const layout::SubmissionGeometry place{client.granted.slots, client.granted.arena_bytes};
    if (client.submission.base() == nullptr) {
      return;
    }
    const layout::SubmissionView view(client.submission.base(), place);
    layout::DescriptorCopy copy;
    copy.number = ++client.sent;
    copy.id[0] = copy.number + client.granted.link * 1000;
    copy.length = 8;
    copy.sent_ns = now_ns_;
    copy.kind_flags = layout::pack_kind(4, layout::kFlagTracked | layout::kFlagInline);
    copy.max_wait_ms = &client < clients_.data() + honest_ ? 86'400'000 : 0;
    layout::descriptor_publish(view.descriptor(slot), copy);
    layout::place_publish(view.place(copy.number),
                          {copy.number, copy.length, now_ns_, slot, copy.kind_flags});
    view.words().committed.store_release(copy.number);
  }
  static void answer(Client& client, std::uint32_t slot, std::uint64_t sequence) {
    if (client.ack.base() == nullptr) {
      return;
    }
    const layout::AckView view(client.ack.base(), layout::AckGeometry{client.life.slots});
    view.words().cursor.store_release(sequence + 1);
    layout::begun_publish(view.record(slot), {sequence, 1, 1});
    layout::answer_publish(
        view.record(slot),
        {sequence, 2, layout::pack_answer(layout::AckCode::kSuccess, 0, 1), 1, 0});
  }
  // Begins a message, and answers it, reports on it, gives it back or does nothing more.
  void consume(Client& client) {
    if (client.ack.base() == nullptr) {
      return;
    }
    const auto slot = static_cast<std::uint32_t>(input_.below(4));
    const std::uint64_t sequence = 1 + input_.below(6);
    const auto attempt = static_cast<std::uint32_t>(1 + input_.below(3));
    const layout::AckView view(client.ack.base(), layout::AckGeometry{client.life.slots});
    view.words().cursor.store_release(sequence + 1);
    layout::begun_publish(view.record(slot), {sequence, now_ns_, attempt});
    switch (input_.below(4)) {
      case 0:
        answer(client, slot, sequence);
        break;
      case 1:
        layout::mark_publish(view.record(slot),
                             {sequence, now_ns_, layout::MarkKind::kProgress, attempt, 0});
        break;
      case 2:
        layout::mark_publish(view.record(slot),
                             {sequence, now_ns_, layout::MarkKind::kGivenBack, attempt, 10});
        break;
      default:
        break;
    }
  }
  void scribble(const Mapped& memory) {
    if (memory.base() == nullptr) {
      return;
    }
    const std::uint64_t width = input_.flag() ? 8 : 4;
    const std::uint64_t at = input_.below(memory.bytes() / width) * width;
    const std::uint64_t value = input_.word(3);
    std::memcpy(memory.base() + at, &value, width);
  }

  // ---- what a peer may say ----

  static void say_mapped(Client& client, std::uint64_t link, std::uint64_t epoch) {
    layout::LinkMessage mapped{};
    mapped.header = layout::control_header<layout::LinkMessage>(ControlType::kMapped);
    mapped.link = link;
    mapped.epoch = epoch;
    send_all(client.socket.get(), &mapped, sizeof(mapped), {});
  }
  void send_query(Client& client, const std::string& text, const std::vector<int>& with) {
    layout::QueryMessage head{};
    head.header = layout::control_header<layout::QueryMessage>(ControlType::kQuery, ++request_);
    head.header.bytes += static_cast<std::uint32_t>(text.size());
    std::vector<std::byte> bytes(head.header.bytes);
    std::memcpy(bytes.data(), &head, sizeof(head));
    std::memcpy(bytes.data() + sizeof(head), text.data(), text.size());
    send_all(client.socket.get(), bytes.data(), bytes.size(), with);
  }
  // Mostly none; else of right and of wrong objects.
  std::vector<int> descriptors() {
    std::vector<int> made;
    if (input_.below(8) == 0) {
      const int some[] = {0, client().socket.get(), bus_->worker->completion_fd(), cwd_.get()};
      for (std::uint64_t left = input_.below(18); left > 0; --left) {
        const int fd = some[input_.below(4)];
        if (fd >= 0) made.push_back(fd);
      }
    }
    return made;
  }
  Client& client() {
    if (clients_.size() == honest_) {
      return clients_[0];
    }
    return clients_[honest_ + input_.below(clients_.size() - honest_)];
  }
  // Mostly one that may say such a thing.
  Client& client(layout::ClientRole role) {
    Client& any = client();
    if (input_.below(8) == 0) {
      return any;
    }
    for (std::size_t place = honest_; place < clients_.size(); ++place) {
      if (clients_[place].role == role && clients_[place].socket.valid()) {
        return clients_[place];
      }
    }
    return any;
  }
  void hello(Client& to) {
    layout::HelloMessage message =
        sound_hello(static_cast<layout::ClientRole>(1 + input_.below(3)),
                    kQueues[input_.below(8) < 5 ? 0 : input_.below(std::size(kQueues))]);
    const std::uint64_t changes = input_.below(4) == 0 ? 1 + input_.below(2) : 0;
    for (std::uint64_t change = 0; change < changes; ++change) {
      const std::uint64_t value = input_.word(to.granted.link);
      const std::size_t at = input_.below(sizeof(message) / 4) * 4;
      std::memcpy(reinterpret_cast<std::byte*>(&message) + at, &value, 4);
    }
    if (input_.below(8) == 0) {  // Comes back for a link, its own or another's.
      const Client& known = clients_[input_.below(clients_.size())];
      message.link = known.granted.link;
      message.token[0] = known.granted.token[0];
      // A token of the honest ones is not to be guessed.
      message.token[1] = &known < clients_.data() + honest_ ? 0 : known.granted.token[1];
    }
    to.role = static_cast<layout::ClientRole>(message.role);
    send_all(to.socket.get(), &message, sizeof(message), descriptors());
  }
  void link_message(Client& from) {
    constexpr ControlType kTypes[] = {ControlType::kMapped,  ControlType::kMapped,
                                      ControlType::kDrained, ControlType::kBell,
                                      ControlType::kBye,     ControlType::kRemoveLink};
    layout::LinkMessage message{};
    message.header =
        layout::control_header<layout::LinkMessage>(kTypes[input_.below(std::size(kTypes))]);
    const Client& speaks_of = input_.below(4) == 0 ? clients_[input_.below(clients_.size())] : from;
    message.link = speaks_of.granted.link != 0 ? speaks_of.granted.link : speaks_of.life.link;
    message.epoch = from.activated ? from.life.epoch : 0;
    if (input_.below(4) == 0) message.epoch = input_.word(from.epoch);
    if (input_.below(8) == 0) message.link = input_.word(message.link);
    send_all(from.socket.get(), &message, sizeof(message), descriptors());
  }
  void segment_message(Client& from) {
    constexpr ControlType kTypes[] = {ControlType::kCreateSegment, ControlType::kPublishSegment,
                                      ControlType::kOpenSegment};
    layout::SegmentMessage message{};
    message.header = layout::control_header<layout::SegmentMessage>(
        kTypes[input_.below(std::size(kTypes))], static_cast<std::uint32_t>(input_.below(3)));
    message.role = static_cast<std::uint32_t>(4 + input_.below(3));
    message.bytes = input_.below(4) == 0 ? input_.word(4096) : 4096;
    message.epoch = from.epoch;
    std::string(kQueues[input_.below(3)]).copy(message.queue, sizeof(message.queue) - 1);
    send_all(from.socket.get(), &message, sizeof(message), descriptors());
  }
  void query(Client& from) {
    if (input_.below(6) == 0) {
      const std::string text = input_.text(200);
      send_query(from, text, descriptors());
      return;
    }
    const std::uint64_t verb = input_.below(std::size(kVerbs));
    nlohmann::json text{{"verb", kVerbs[verb]}};
    LetterId id{};
    const std::uint64_t word = 1 + input_.below(4) + 1000 * (1 + input_.below(4));
    std::memcpy(id.data(), &word, sizeof(word));
    text["id"] = input_.below(8) == 0 ? "all" : to_text(id);
    text["queue"] = kQueues[input_.below(std::size(kQueues))];
    if (input_.below(4) == 0) text["limit"] = input_.word(10);
    if (input_.below(4) == 0) text["older_than_seconds"] = input_.word(1);
    if (input_.below(4) == 0) text["all"] = input_.flag();
    send_query(from, text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
               descriptors());
  }
  void raw(Client& from) {
    const auto bytes = input_.bytes(input_.below(200));
    std::vector<std::byte> packet(bytes.begin(), bytes.end());
    if (packet.size() >= sizeof(layout::ControlHeader) && input_.flag()) {
      layout::ControlHeader head{layout::kControlMagic, layout::kControlVersion,
                                 static_cast<std::uint16_t>(input_.below(40)),
                                 static_cast<std::uint32_t>(packet.size()), input_.byte()};
      std::memcpy(packet.data(), &head, sizeof(head));
    }
    send_all(from.socket.get(), packet.data(), packet.size(), descriptors());
  }
  void new_client() {
    if (clients_.size() < honest_ + kClientsMax) {
      const Client& made = connect(1 + input_.below(fuzz::Peers::kCount - 1));
      if (made.socket.valid() && input_.below(8) != 0) {
        hello(clients_.back());
      }
    }
  }
  void leave() {
    if (clients_.size() == honest_) {
      return;
    }
    Client& gone = client();
    if (input_.flag()) {
      peers().kill(gone.peer);
    }
    ::shutdown(gone.socket.get(), input_.below(4) == 0 ? SHUT_WR : SHUT_RDWR);
    if (input_.below(4) != 0) {
      gone = Client{};
    }
  }

  void step() {
    const std::uint64_t choice = input_.below(16);
    if (clients_.size() == honest_ && choice > 2) {
      new_client();
      return;
    }
    switch (choice) {
      case 0:
      case 1:
      case 2:
        new_client();
        break;
      case 3:
        hello(client());
        break;
      case 4:
      case 5:
      case 6:
        link_message(client());
        break;
      case 7:
        segment_message(client(layout::ClientRole::kConsumer));
        break;
      case 8:
        query(client(layout::ClientRole::kTool));
        break;
      case 9:
        raw(client());
        break;
      case 10:
        leave();
        break;
      case 11: {
        constexpr std::uint64_t kSpansMs[] = {1, 30, 300, 2'000};
        now_ns_ += kSpansMs[input_.below(4)] * kMillisecondNs;
        break;
      }
      case 12:
        scribble(input_.flag() ? client(layout::ClientRole::kProducer).submission
                               : client(layout::ClientRole::kConsumer).ack);
        break;
      case 13:
        consume(client(layout::ClientRole::kConsumer));
        break;
      default:
        commit(client(layout::ClientRole::kProducer), static_cast<std::uint32_t>(input_.below(4)));
    }
  }

  Input& input_;
  Log log_;
  std::uint64_t now_ns_;
  UniqueFd cwd_{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  std::unique_ptr<Bus> bus_;
  std::vector<Client> clients_;
  std::size_t honest_ = 0;
  bool has_link_ = false;
  std::uint32_t request_ = 0;
};

}  // namespace
}  // namespace ackbus::daemon

// The first child is made while this process is small.
extern "C" int LLVMFuzzerInitialize(int* /*argument_count*/, char*** /*arguments*/) {
  ackbus::daemon::peers();
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ackbus::daemon;  // NOLINT(google-build-using-namespace)
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  for (std::size_t peer = 0; peer < ackbus::fuzz::Peers::kCount; ++peer) {
    peers().connect(peer, folder() + "/none.sock");  // Each runs, so what is open is even.
  }
  const std::size_t open_before = open_descriptors();
  {
    ackbus::fuzz::Input input(data, size);
    Scenario scenario(input);
    scenario.run();
  }
  for (std::size_t peer = 0; peer < ackbus::fuzz::Peers::kCount; ++peer) {
    peers().connect(peer, folder() + "/none.sock");
  }
  // What clients sent, and their sockets, are closed on a thread of the daemon's.
  for (int looks = 0; looks < 5000 && open_descriptors() != open_before; ++looks) {
    ::poll(nullptr, 0, 1);
  }
  ACKBUS_ASSERT(open_descriptors() == open_before);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);  // The bus takes signals for itself.
  return 0;
}
