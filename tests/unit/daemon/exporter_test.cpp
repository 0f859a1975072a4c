// The Prometheus endpoint over real sockets on a free port: the bus thread is asked only when
// somebody scrapes.
#include "daemon/exporter.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <string>

namespace ackbus::daemon {
namespace {

enum Row : std::size_t { kSent, kPending, kLatency };
constexpr std::array<MetricDefinition, 3> kTable = {{
    {"ackbus_messages_sent_total", "Messages committed.", MetricType::kCounter, {"queue", "kind"}},
    {"ackbus_pending_messages", "Messages without an outcome.", MetricType::kGauge, {"queue"}},
    {"ackbus_ack_latency_seconds", "From commit to ack.", MetricType::kHistogram, {"kind"}},
}};

std::shared_ptr<const MetricsSnapshot> snapshot_of(double sent) {
  SnapshotBuilder builder(kTable);
  builder.add(kSent, {"gpu0", "ComputeForces"}, sent);
  builder.add(kPending, {"gpu\"0"}, 3);
  const std::array<double, 2> bounds = {0.001, 0.01};
  const std::array<std::uint64_t, 3> counts = {5, 2, 1};
  builder.add_histogram(kLatency, {"ComputeForces"}, bounds, counts, 0.5);
  return builder.finish();
}

bool is_readable(int fd, int timeout_ms) {
  pollfd waiting{fd, POLLIN, 0};
  return poll(&waiting, 1, timeout_ms) == 1;
}

std::string http_get(std::uint16_t port, const std::string& path) {
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return "";
  }
  const std::string request = "GET " + path + " HTTP/1.0\r\nHost: localhost\r\n\r\n";
  EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  std::array<char, 4096> part{};
  for (ssize_t got = 1; got > 0;) {
    got = recv(fd.get(), part.data(), part.size(), 0);
    answer.append(part.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }
  return answer;
}

std::unique_ptr<Exporter> start_on_a_free_port() {
  auto started = Exporter::start("127.0.0.1:0");
  EXPECT_TRUE(started.ok()) << started.error().text;
  return std::move(started).value();
}

/// Scrapes on another thread while this one answers as the daemon's loop does.
std::string scrape(Exporter& exporter, std::shared_ptr<const MetricsSnapshot> snapshot) {
  auto answer =
      std::async(std::launch::async, [&] { return http_get(exporter.port(), "/metrics"); });
  EXPECT_TRUE(is_readable(exporter.request_fd(), 60'000));
  exporter.publish(std::move(snapshot));
  return answer.get();
}

TEST(Exporter, ServesWhatTheBusThreadPublishesForTheScrape) {
  auto exporter = start_on_a_free_port();
  EXPECT_NE(exporter->port(), 0);
  const std::string text = scrape(*exporter, snapshot_of(41));
  for (const char* line :
       {"# HELP ackbus_messages_sent_total Messages committed.\n",
        "# TYPE ackbus_messages_sent_total counter\n",
        "ackbus_messages_sent_total{queue=\"gpu0\",kind=\"ComputeForces\"} 41",
        "ackbus_pending_messages{queue=\"gpu\\\"0\"} 3",
        "ackbus_ack_latency_seconds_count{kind=\"ComputeForces\"} 8\n",
        "ackbus_ack_latency_seconds_sum{kind=\"ComputeForces\"} 0.5",
        "ackbus_ack_latency_seconds_bucket{kind=\"ComputeForces\",le=\"0.001",
        "ackbus_ack_latency_seconds_bucket{kind=\"ComputeForces\",le=\"+Inf\"} 8\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\nin\n" << text;
  }
}

TEST(Exporter, AsksOnlyWhenScrapedAndEachScrapeShowsNewFigures) {
  auto exporter = start_on_a_free_port();
  EXPECT_FALSE(is_readable(exporter->request_fd(), 0));
  EXPECT_NE(scrape(*exporter, snapshot_of(1)).find("\"ComputeForces\"} 1"), std::string::npos);
  EXPECT_FALSE(is_readable(exporter->request_fd(), 0));
  EXPECT_NE(scrape(*exporter, snapshot_of(2)).find("\"ComputeForces\"} 2"), std::string::npos);
}

TEST(Exporter, APortInUseIsAnErrorThatNamesPortAndRemedy) {
  auto first = start_on_a_free_port();
  const std::string address = "127.0.0.1:" + std::to_string(first->port());
  const auto second = Exporter::start(address);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
  EXPECT_NE(second.error().text.find("port " + std::to_string(first->port())), std::string::npos);
  EXPECT_NE(second.error().text.find("--metrics"), std::string::npos);
  EXPECT_EQ(second.error().text.find('\n'), std::string::npos);
}

TEST(Exporter, AnAddressThatIsNoneOfThisMachineIsAnError) {
  for (const char* address : {"nowhere", "127.0.0.1", "127.0.0.1:port", "203.0.113.1:9"}) {
    EXPECT_FALSE(Exporter::start(address).ok()) << address;
  }
}

TEST(Exporter, EndsWhileAScrapeWaits) {
  auto exporter = start_on_a_free_port();
  const std::uint16_t port = exporter->port();
  auto answer = std::async(std::launch::async, [port] { return http_get(port, "/metrics"); });
  ASSERT_TRUE(is_readable(exporter->request_fd(), 60'000));
  exporter.reset();
  EXPECT_NE(answer.get().find("ackbus_scrape_timeouts_total 0"), std::string::npos);
}

TEST(SnapshotSource, ShowsTheLastSnapshotAndCountsWhenNobodyAnswers) {
  auto source = std::move(SnapshotSource::create()).value();
  EXPECT_EQ(source->fetch(0), nullptr);
  const auto snapshot = snapshot_of(1);
  source->publish(snapshot);
  EXPECT_EQ(source->fetch(0), snapshot);
  EXPECT_EQ(source->timeout_count(), 2U);
  EXPECT_TRUE(is_readable(source->request_fd(), 0)) << "the request stays until it is answered";
}

TEST(SnapshotBuilder, LeavesOutFamiliesWithoutSamplesAndStartsAnew) {
  SnapshotBuilder builder(kTable);
  builder.add(kPending, {"gpu0"}, 1);
  const auto first = builder.finish();
  ASSERT_EQ(first->families.size(), 1U);
  EXPECT_STREQ(first->families[0].definition->name, "ackbus_pending_messages");
  EXPECT_TRUE(builder.finish()->families.empty());
}

TEST(SnapshotBuilder, ASampleWithOtherLabelsThanItsFamilysAborts) {
  EXPECT_DEATH(
      {
        SnapshotBuilder builder(kTable);
        builder.add(kPending, {}, 1);
      },
      "assertion failed");
}

}  // namespace
}  // namespace ackbus::daemon
