#include "daemon/exporter.hpp"

#include <netdb.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <future>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kAnswerTimeoutNs = 1'000'000'000;
constexpr std::size_t kServerThreads = 2;
constexpr int kMaxKnocks = 1000;
constexpr std::chrono::milliseconds kKnockInterval(5);

prometheus::MetricType type_of(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
    case MetricType::kReserved:
      break;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::ClientMetric to_client_metric(const MetricDefinition& definition,
                                          const MetricSample& sample) {
  prometheus::ClientMetric metric;
  for (std::size_t i = 0; i < sample.label_values.size(); ++i) {
    metric.label.push_back({definition.labels[i], sample.label_values[i]});
  }
  metric.counter.value = sample.value;
  metric.gauge.value = sample.value;
  metric.histogram.sample_count = sample.count;
  metric.histogram.sample_sum = sample.sum;
  for (std::size_t i = 0; i < sample.cumulative.size(); ++i) {
    metric.histogram.bucket.push_back({sample.cumulative[i], sample.upper_bounds[i]});
  }
  return metric;
}

prometheus::MetricFamily to_family(const MetricFamily& family) {
  prometheus::MetricFamily out;
  out.name = family.definition->name;
  out.help = family.definition->help;
  out.type = type_of(family.definition->type);
  for (const MetricSample& sample : family.samples) {
    out.metric.push_back(to_client_metric(*family.definition, sample));
  }
  return out;
}

/// What the HTTP server's threads call for each scrape.
class Collector : public prometheus::Collectable {
 public:
  explicit Collector(std::shared_ptr<SnapshotSource> source) : source_(std::move(source)) {}

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<prometheus::MetricFamily> families;
    if (const auto snapshot = source_->fetch(kAnswerTimeoutNs)) {
      for (const MetricFamily& family : snapshot->families) {
        families.push_back(to_family(family));
      }
    }
    families.push_back(timeouts_family());
    return families;
  }

 private:
  [[nodiscard]] prometheus::MetricFamily timeouts_family() const {
    prometheus::MetricFamily family;
    family.name = "ackbus_scrape_timeouts_total";
    family.help = "Scrapes that showed old figures because the daemon's loop did not answer.";
    family.type = prometheus::MetricType::Counter;
    family.metric.emplace_back().counter.value = static_cast<double>(source_->timeout_count());
    return family;
  }

  std::shared_ptr<SnapshotSource> source_;
};

struct SocketAddress {
  sockaddr_storage bytes{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

/// "HOST:PORT" or "[HOST]:PORT", both numeric; nothing for any other text.
std::optional<SocketAddress> parse_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return std::nullopt;
  }
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) {
    return std::nullopt;
  }
  SocketAddress parsed;
  parsed.length = found->ai_addrlen;
  std::memcpy(&parsed.bytes, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return parsed;
}

/// Why the address cannot be served, found by trying it: the HTTP server itself does not say. 0
/// when it can be.
int reason_against(const SocketAddress& address) {
  const UniqueFd fd(socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  const bool is_free = setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                       bind(fd.get(), address.get(), address.length) == 0 &&
                       listen(fd.get(), 1) == 0;
  return is_free ? 0 : errno;
}

/// Connects and hangs up. Whether that succeeds does not matter.
void knock(const SocketAddress& address) {
  const UniqueFd fd(socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  [[maybe_unused]] const int connected = connect(fd.get(), address.get(), address.length);
}

Error cannot_serve(const std::string& address, int reason) {
  constexpr const char* kRemedy = ": choose another with --metrics HOST:PORT, or --metrics off";
  if (reason == EADDRINUSE) {
    const std::string port = address.substr(address.rfind(':') + 1);
    return {ErrorCode::kExists,
            "metrics address " + address + ": port " + port + " is already in use" + kRemedy};
  }
  Error error = system_error("metrics address " + address + " cannot be served", reason);
  error.text += kRemedy;
  return error;
}

}  // namespace

Result<std::shared_ptr<SnapshotSource>> SnapshotSource::create() {
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) {
    return system_error("metrics: no eventfd", errno);
  }
  return std::shared_ptr<SnapshotSource>(new SnapshotSource(std::move(fd)));
}

void SnapshotSource::publish(std::shared_ptr<const MetricsSnapshot> snapshot) {
  {
    const std::lock_guard lock(mutex_);
    std::uint64_t requests = 0;
    // Under the lock, so that no request made after this snapshot is taken for answered.
    [[maybe_unused]] const ssize_t got = ::read(request_fd_.get(), &requests, sizeof requests);
    latest_ = std::move(snapshot);
    ++generation_;
  }
  published_.notify_all();
}

std::shared_ptr<const MetricsSnapshot> SnapshotSource::fetch(std::uint64_t timeout_ns) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
  std::unique_lock lock(mutex_);
  const std::uint64_t asked_at = generation_;
  const std::uint64_t one = 1;
  ACKBUS_ASSERT(::write(request_fd_.get(), &one, sizeof one) == sizeof one);
  const bool answered =
      published_.wait_until(lock, deadline, [&] { return closed_ || generation_ != asked_at; });
  timeouts_ += answered ? 0 : 1;
  return latest_;
}

void SnapshotSource::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  published_.notify_all();
}

std::uint64_t SnapshotSource::timeout_count() const {
  const std::lock_guard lock(mutex_);
  return timeouts_;
}

struct Exporter::Server {
  std::shared_ptr<Collector> collector;
  prometheus::Exposer exposer;

  Server(const std::string& address, std::shared_ptr<SnapshotSource> source)
      : collector(std::make_shared<Collector>(std::move(source))),
        exposer(address, kServerThreads) {
    exposer.RegisterCollectable(collector);
  }
};

Exporter::Exporter(std::string address, std::shared_ptr<SnapshotSource> source,
                   std::unique_ptr<Server> server)
    : address_(std::move(address)), source_(std::move(source)), server_(std::move(server)) {}

Result<std::unique_ptr<Exporter>> Exporter::start(const std::string& address) {
  Result<std::shared_ptr<SnapshotSource>> source = SnapshotSource::create();
  if (!source) {
    return source.error();
  }
  const std::optional<SocketAddress> parsed = parse_address(address);
  if (const int reason = parsed ? reason_against(*parsed) : EINVAL; reason != 0) {
    return cannot_serve(address, reason);
  }
  // The server's threads inherit this mask: signals are the bus thread's.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::unique_ptr<Server> server;
  try {
    server = std::make_unique<Server>(address, source.value());
  } catch (const std::exception&) {
    server = nullptr;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!server) {
    const int reason = reason_against(*parsed);
    return cannot_serve(address, reason != 0 ? reason : EADDRINUSE);
  }
  return std::unique_ptr<Exporter>(
      new Exporter(address, std::move(source).value(), std::move(server)));
}

/// The server's own stop waits until its accepting thread looks up, which it does every two
/// seconds. A knock makes it look at once, so a daemon that ends or restarts does not wait for it.
Exporter::~Exporter() {
  source_->close();
  const std::string host = address_.substr(0, address_.rfind(':'));
  const auto door = parse_address(host + ':' + std::to_string(port()));
  std::promise<void> stopped;
  std::thread stops([&] {
    server_.reset();
    stopped.set_value();
  });
  const auto is_stopped = stopped.get_future();
  for (int i = 0; i < kMaxKnocks && door; ++i) {
    knock(*door);
    if (is_stopped.wait_for(kKnockInterval) == std::future_status::ready) {
      break;
    }
  }
  stops.join();
}

std::uint16_t Exporter::port() const {
  return static_cast<std::uint16_t>(server_->exposer.GetListeningPorts().at(0));
}

}  // namespace ackbus::daemon
