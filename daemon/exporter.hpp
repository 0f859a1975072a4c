// The Prometheus endpoint: GET /metrics on the configured address.
//
// Purpose: figures for monitoring, at no cost while nobody asks. Data flow: a scrape arrives on a
// thread of the HTTP server, which rings request_fd(); the bus thread's loop sees it, builds a
// snapshot and hands it to publish(); the scrape answers with it. When the bus thread does not
// answer within a second the scrape shows the last snapshot and counts that in
// ackbus_scrape_timeouts_total, so a stuck daemon can still be looked at. Threads: start, publish
// and the destructor belong to the bus thread; the server's two threads only read snapshots.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "daemon/metrics_snapshot.hpp"
#include "daemon/result.hpp"
#include "daemon/unique_fd.hpp"

namespace ackbus::daemon {

/// Where a scrape asks the bus thread for a snapshot and waits for it.
class SnapshotSource {
 public:
  static Result<std::shared_ptr<SnapshotSource>> create();

  /// Readable when a scrape waits for publish(). For epoll; do not read from it.
  [[nodiscard]] int request_fd() const { return request_fd_.get(); }

  /// Bus thread: answers every scrape that waits.
  void publish(std::shared_ptr<const MetricsSnapshot> snapshot);

  /// Scrape thread: asks, waits until publish() or for `timeout_ns`, and gives the latest snapshot;
  /// null before the first.
  [[nodiscard]] std::shared_ptr<const MetricsSnapshot> fetch(std::uint64_t timeout_ns);

  /// Lets every fetch return at once with the latest snapshot, now and from now on.
  void close();

  /// How many fetches were not answered in time.
  [[nodiscard]] std::uint64_t timeout_count() const;

 private:
  explicit SnapshotSource(UniqueFd request_fd) : request_fd_(std::move(request_fd)) {}

  const UniqueFd request_fd_;
  mutable std::mutex mutex_;  // Protects what follows.
  std::condition_variable published_;
  std::shared_ptr<const MetricsSnapshot> latest_;
  std::uint64_t generation_ = 0;
  std::uint64_t timeouts_ = 0;
  bool closed_ = false;
};

class Exporter {
 public:
  /// Serves on `address`, "HOST:PORT" with a numeric host; port 0 takes a free one. kExists when
  /// the port is taken; every error names the address and the remedy.
  static Result<std::unique_ptr<Exporter>> start(const std::string& address);

  /// Ends the server; a scrape under way is answered with the last snapshot.
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  /// The port that is served.
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] int request_fd() const { return source_->request_fd(); }
  void publish(std::shared_ptr<const MetricsSnapshot> snapshot) {
    source_->publish(std::move(snapshot));
  }

 private:
  struct Server;
  Exporter(std::string address, std::shared_ptr<SnapshotSource> source,
           std::unique_ptr<Server> server);

  const std::string address_;
  std::shared_ptr<SnapshotSource> source_;
  std::unique_ptr<Server> server_;
};

}  // namespace ackbus::daemon
