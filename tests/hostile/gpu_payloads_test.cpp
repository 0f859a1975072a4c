// Payloads for the GPU process that change while it reads them: it validates its own copy, so the
// worst that a producer gets is Failed. The GPU process lives on, and serves the others.
#include <signal.h>

#include <random>
#include <thread>

#include "gpu_proc/payload/build.hpp"
#include "tests/hostile/bystanders.hpp"

namespace ackbus::hostile {
namespace {

using gpu::payload::Bytes;
using process_test::Bus;
using process_test::Channel;
using process_test::eventually;
using process_test::Helper;
using process_test::ProcessTest;
using process_test::soon;

constexpr std::uint64_t kRounds = 300;
constexpr std::uint32_t kNodes = 500;

Bytes sound_graph() {
  std::vector<gpu::payload::NodeRecord> nodes;
  std::vector<gpu::payload::EdgeRecord> edges;
  for (std::uint32_t id = 0; id < kNodes; ++id) {
    const auto at = static_cast<float>(id);
    nodes.push_back({id, {at, 1, 2}, {0, 0, 0}, 1, 0});
    edges.push_back({id, (id * 7 + 1) % kNodes, 1});
  }
  return gpu::payload::make_graph(nodes, edges);
}

// Keeps what it committed under its hands: a thread rewrites single words, to and fro, so that
// sound and unsound contents follow each other as fast as it can.
class Rewriter {
 public:
  explicit Rewriter(std::span<std::byte> bytes) : bytes_(bytes), thread_([this] { run(); }) {}
  ~Rewriter() {
    done_.store(true);
    thread_.join();
  }

 private:
  void run() {
    std::mt19937_64 random(7);
    const std::size_t words = bytes_.size() / 8;
    while (!done_.load()) {
      // The headers, where counts are, more often than the rest.
      const std::size_t index = random() % 2 == 0 ? random() % 8 : random() % words;
      auto* word = reinterpret_cast<std::uint64_t*>(bytes_.data()) + index;
      const std::atomic_ref<std::uint64_t> shared(*word);
      const std::uint64_t before = shared.load();
      shared.store(random() % 2 == 0 ? random() : before ^ (1ULL << random() % 64));
      shared.store(before);
    }
  }
  std::span<std::byte> bytes_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

int attack(const ProducerOptions& options, Watch& watch) {
  Result<Producer> producer = Producer::connect(options);
  const Bytes graph = sound_graph();
  const Kind kinds[] = {Kind::kUpdateGpuGraphData,  Kind::kInitializeGpu,
                        Kind::kComputeForces,       Kind::kUploadConstraintsToGpu,
                        Kind::kUpdateNodePositions, Kind::kSetSharedGpuContext};
  for (std::uint64_t round = 0; producer && !watch.stop.load(); ++round) {
    // The bytes of a graph for each kind: of another kind they are refused, unless they change.
    Result<Loan> loan = producer->loan(kinds[round % 4 == 3 ? round % 6 : 0], graph.size(), soon());
    if (!loan) {
      return 2;
    }
    const std::span<std::byte> bytes = loan->bytes();
    std::copy(graph.begin(), graph.end(), bytes.begin());
    const Rewriter rewriter(bytes);
    const Result<Ticket> ticket = producer->commit(std::move(*loan));
    if (!ticket || !producer->wait(*ticket, soon())) {
      return 3;
    }
    watch.checked.fetch_add(1);
  }
  return producer ? 0 : 1;
}

TEST(GpuPayloads, ThatChangeWhileTheyAreReadHarmNobody) {
  process_test::start_watchdog(250);
  Bus bus({.supervised = true, .gpu = true});
  ASSERT_TRUE(eventually([&] { return !bus.queue()["consumer"].is_null(); }));
  const pid_t gpu = bus.queue()["consumer"]["pid"];
  Watch* watch = shared_watch();
  ProducerOptions options = bus.producer_options();
  Helper attacker([=](const Channel&) { return attack(options, *watch); });
  Producer honest = bus.producer();
  const auto run = [&](Kind kind, const Bytes& payload) {
    const Result<Ticket> ticket = honest.send(kind, payload, soon());
    EXPECT_TRUE(ticket);
    return process_test::outcome_of(honest, *ticket);
  };
  const auto serves = [&] {
    const Outcome made = run(Kind::kInitializeGpu, gpu::payload::make_initialize(-1, 1000, 1000));
    EXPECT_EQ(made.code, OutcomeCode::kSuccess) << made.text();
    const Outcome given = run(Kind::kUpdateGpuGraphData, sound_graph());
    EXPECT_EQ(given.code, OutcomeCode::kSuccess) << given.text();
    const Outcome done = run(Kind::kComputeForces, gpu::payload::make_compute(1));
    EXPECT_EQ(done.code, OutcomeCode::kSuccess) << done.text();
  };
  serves();
  ASSERT_TRUE(
      eventually([&] { return watch->checked.load() >= kRounds; }, std::chrono::seconds(120)))
      << watch->checked.load();
  serves();
  watch->stop.store(true);
  const auto end = attacker.child.wait();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_status, 0);
  serves();
  EXPECT_EQ(bus.queue()["consumer"]["pid"], gpu) << "the GPU process was replaced";
}

}  // namespace
}  // namespace ackbus::hostile
