// The producer of the GPU process: initialises it, uploads a graph and constraints, then lets it
// compute and moves nodes. What was acked as uploaded must outlive the GPU process, so no later
// message may fail.
#include <array>

#include "gpu_proc/payload/build.hpp"
#include "tests/chaos/producer_handle.hpp"

namespace ackbus::chaos {
namespace {

namespace payload = gpu::payload;

constexpr std::size_t kNodes = 48;

std::vector<payload::NodeRecord> make_nodes() {
  std::vector<payload::NodeRecord> nodes(kNodes);
  for (std::size_t i = 0; i < kNodes; ++i) {
    const auto at = static_cast<float>(i);
    nodes[i] = {static_cast<std::uint32_t>(i), {at, 48.0F - at, at * 0.5F}, {0, 0, 0}, 1.0F, 0};
  }
  return nodes;
}

std::vector<payload::EdgeRecord> make_edges() {
  std::vector<payload::EdgeRecord> edges;
  for (std::uint32_t i = 1; i < kNodes; ++i) {
    edges.push_back({i, i / 2, 1.0F});
  }
  return edges;
}

payload::Bytes make_one_constraint() {
  const std::array<std::int32_t, 2> nodes{0, 1};
  const std::array<float, 1> params{5.0F};
  const std::array<payload::ConstraintRecord, 1> constraints{
      payload::make_constraint(payload::ConstraintKind::kDistance, nodes, params)};
  return payload::make_constraints(constraints);
}

payload::Bytes make_move(std::mt19937_64& random) {
  const auto node = static_cast<std::uint32_t>(random() % kNodes);
  const std::array<payload::MovedNodeRecord, 1> moved{{{node, {1, 2, 3}, {0, 0, 0}}}};
  return payload::make_positions(moved);
}

class GpuProducer {
 public:
  explicit GpuProducer(const RoleArguments& arguments)
      : control_(open_control_page(arguments.folder)),
        producer_(arguments, kGpuQueue),
        random_(arguments.seed + arguments.incarnation) {}

  int run() {
    while (loads()) {
      if (setup_ < 3) {
        set_up();
      } else {
        compute();
      }
    }
    return producer_.finish() ? 0 : 3;
  }

 private:
  [[nodiscard]] bool loads() const {
    return control_.phase == static_cast<std::uint32_t>(Phase::kLoad);
  }

  Ticket send(Kind kind, const payload::Bytes& bytes) {
    Plan plan;
    plan.kind = kind;
    plan.options.key = kind == Kind::kUpdateGpuGraphData ? 1 : 0;
    return producer_.send(plan, bytes, random_() % 2 == 0);
  }

  // One upload after the other, each until it is a success.
  void set_up() {
    const auto nodes = make_nodes();
    const auto edges = make_edges();
    const Ticket ticket =
        setup_ == 0   ? send(Kind::kInitializeGpu, payload::make_initialize(-1, 256, 256))
        : setup_ == 1 ? send(Kind::kUpdateGpuGraphData, payload::make_graph(nodes, edges))
                      : send(Kind::kUploadConstraintsToGpu, make_one_constraint());
    while (loads() && ticket.sequence != 0 && producer_.pending() != 0) {
      producer_.take_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(5));
    }
    const Completion* last = producer_.last_completion();
    if (last != nullptr && last->ticket.sequence == ticket.sequence && last->outcome.is_success()) {
      setup_ += 1;
    }
  }

  void compute() {
    if (random_() % 8 == 0) {
      send(Kind::kUpdateNodePositions, make_move(random_));
    } else if (random_() % 32 == 0) {
      setup_ = 1;  // The graph anew, and its constraints.
      return;
    } else {
      send(Kind::kComputeForces, payload::make_compute(1));
    }
    producer_.take_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
  }

  ControlPage& control_;
  ProducerHandle producer_;
  std::mt19937_64 random_;
  int setup_ = 0;
};

}  // namespace

int run_gpu_producer(const RoleArguments& arguments) { return GpuProducer(arguments).run(); }

}  // namespace ackbus::chaos
