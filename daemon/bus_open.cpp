// Building the bus: one daemon a bus, its worker, letters, loop, endpoint, books and listening
// socket.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/bus.hpp"
#include "machine/build.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::size_t kWorkerJobsMax = 4096;
constexpr std::size_t kWheelEntries = 1U << 17;
constexpr std::uint64_t kMillisecondNs = 1'000'000;

// Whom the bus admits is decided at its door; when that is nobody else, the kernel says so already.
mode_t socket_mode(const Config& config) { return config.is_shared() ? 0666 : 0600; }

std::vector<std::string> names_of(const NamedFds& kept) {
  std::vector<std::string> names;
  for (const auto& [name, fds] : kept) {
    names.push_back(name);
  }
  return names;
}

}  // namespace

Result<void> check_layout(const SegmentMap& bus_segment);

// Another layout has other offsets: nothing of what was kept can be read, so nothing is looked at.
Result<void> check_layout(const SegmentMap& bus_segment) {
  const layout::SegmentState state =
      layout::check_segment(bus_segment.base(), layout::BusGeometry::bytes(),
                            {layout::SegmentRole::kBus, layout::BusGeometry::bytes(), 0, 0});
  if (state == layout::SegmentState::kOk) {
    return {};
  }
  const auto& header = *reinterpret_cast<const layout::SegmentHeader*>(bus_segment.base());
  return Error{ErrorCode::kCorrupt,
               std::string("the kept segments are ") + layout::segment_state_name(state) +
                   ": version " + std::to_string(header.layout_version) + " (" +
                   machine::fingerprint_text(header.fingerprint) + "), this daemon's is " +
                   std::to_string(layout::kLayoutVersion) + " (" +
                   machine::fingerprint_text(layout::layout_fingerprint()) +
                   "); what was pending ends Closed (unknown)"};
}

Result<std::unique_ptr<Bus>> Bus::open(BusOptions options, Log& log) {
  NamedFds kept = FdStore::take_all();
  std::unique_ptr<Bus> bus(new Bus(std::move(options), log));
  bus->started_ns = monotonic_ns();
  if (const Result<void> locked = bus->take_lock(); !locked) {
    return locked.error();
  }
  Result<std::unique_ptr<AllocatorWorker>> worker = AllocatorWorker::create(kWorkerJobsMax);
  if (!worker) {
    return worker.error();
  }
  bus->worker = std::move(worker.value());
  Result<std::unique_ptr<DeadLetters>> letters =
      DeadLetters::open(bus->config().dead_letter_directory, bus->config().dead_letter_limits);
  if (!letters) {
    return letters.error();
  }
  bus->letters = std::move(letters.value());
  bus->wheel = std::make_unique<TimingWheel>(kWheelEntries, bus->config().tick_ms * kMillisecondNs,
                                             bus->started_ns);
  if (const Result<void> opened = bus->open_loop(); !opened) {
    return opened.error();
  }
  if (bus->config().metrics != "off") {
    Result<std::unique_ptr<Exporter>> exporter = Exporter::start(bus->config().metrics);
    if (!exporter) {
      return exporter.error();
    }
    bus->exporter = std::move(exporter.value());
    bus->watch(bus->exporter->request_fd(), event_tag(EventKind::kExporter));
  }
  bus->store.adopt(kept);
  const std::vector<std::string> names = names_of(kept);  // whatever becomes of it
  const bool comes_back = kept.contains("ledger") && kept.contains("bus");
  Result<void> ready = comes_back ? bus->recover(kept) : Result<void>();
  if (!ready && ready.error().code == ErrorCode::kCorrupt) {
    log.line(LogLevel::kError, "daemon", "what was kept can't be used; every link starts anew",
             {{"why", ready.error().text}});
    bus->queues.clear();
    bus->links.clear();
    bus->connections.clear();
  }
  const bool fresh = !comes_back || (!ready && ready.error().code == ErrorCode::kCorrupt);
  if (fresh) {
    bus->forget_kept(names);  // Before anything new is kept under the same names.
    ready = bus->start_fresh();
  }
  if (!ready) {  // For want of memory, say: what is kept stays with the manager for the next try.
    return ready.error();
  }
  bus->return_lost_redrives();
  bus->ledger.header().incarnation += 1;
  bus->write_kinds();
  ACKBUS_POINT(kRecovered);
  if (const Result<void> listening = bus->listen(kept); !listening) {
    return listening.error();
  }
  if (!fresh) {  // Else it was forgotten above, and a name may be one of what is kept since.
    bus->forget_kept(names_of(kept));  // Nobody claimed it: it is of nothing that is still there.
  }
  bus->warn_of_limits();
  bus->ring_all();
  return bus;
}

// One daemon a bus: the lock is held as long as this process lives.
Result<void> Bus::take_lock() {
  const std::string& directory = config().runtime_dir;
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return system_error(
        "cannot make the runtime directory " + directory + " (choose another with --runtime-dir)",
        errno);
  }
  const std::string path = directory + "/" + config().name + ".lock";
  lock_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock_.get() < 0) {
    return system_error("cannot open " + path + " (choose another directory with --runtime-dir)",
                        errno);
  }
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error{ErrorCode::kExists,
                 "another daemon serves bus '" + config().name + "' in " + directory +
                     ": end it first, or choose another --bus or --runtime-dir"};
  }
  return {};
}

Result<void> Bus::open_loop() {
  epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    ::sigaddset(&wanted, number);
  }
  ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  signals = UniqueFd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (epoll.get() < 0 || signals.get() < 0) {
    return system_error("cannot make the daemon's event loop", errno);
  }
  watch(signals.get(), event_tag(EventKind::kSignals));
  watch(worker->completion_fd(), event_tag(EventKind::kWorker));
  return {};
}

Result<void> Bus::listen(NamedFds& kept) {
  for (const std::string name : {"listen", "ackbusd.socket", "control"}) {
    if (const auto found = kept.find(name); found != kept.end() && !found->second.empty()) {
      listener = std::move(found->second.front());
      own_socket = name == "listen";
      kept.erase(found);
      break;
    }
  }
  if (listener.get() < 0) {
    const std::string path = config().runtime_dir + "/" + config().name + ".sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
      return Error{ErrorCode::kInvalid, "the socket path " + path +
                                            " is longer than 107 bytes: choose a shorter "
                                            "--runtime-dir"};
    }
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ::unlink(path.c_str());  // The lock says that nobody serves it.
    listener = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (listener.get() < 0 ||
        ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        ::chmod(path.c_str(), socket_mode(config())) != 0 ||
        ::listen(listener.get(), SOMAXCONN) != 0) {
      return system_error("cannot listen on " + path, errno);
    }
    own_socket = true;
    keep("listen", listener.get());
  }
  set_socket_mode();
  ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  watch(listener.get(), event_tag(EventKind::kListener));
  return {};
}

// A socket of the service manager's has the mode that its unit says.
void Bus::set_socket_mode() {
  const std::string path = config().runtime_dir + "/" + config().name + ".sock";
  if (own_socket && ::chmod(path.c_str(), socket_mode(config())) != 0) {
    log.line(LogLevel::kError, "daemon",
             system_error("cannot set the mode of " + path, errno).text);
  }
}

}  // namespace ackbus::daemon
