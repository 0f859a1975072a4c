// The CPU backend as a whole: one step against float64, closed forms, independence from the number
// of threads.
#include "gpu_proc/backend_cpu.hpp"

#include <gtest/gtest.h>

#include "gpu_proc/backend_select.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu {
namespace {

using test::Double3;

struct Model {
  std::vector<float> masses;
  std::vector<std::uint32_t> flags;
  std::vector<IndexedEdge> edges;
  std::vector<float> positions;
  std::vector<float> velocities;
  std::vector<payload::ConstraintRecord> constraints;

  void load(Backend& backend) const {
    const Csr csr = make_csr(masses.size(), edges);
    const BackendGraph graph{masses.size(),
                             csr.neighbour.size(),
                             {csr.row.data(), csr.neighbour.data(), csr.weight.data()},
                             masses.data(),
                             flags.data()};
    ASSERT_EQ(backend.upload_graph(graph), BackendStatus::kOk);
    ASSERT_EQ(backend.upload_constraints(constraints.data(), constraints.size()),
              BackendStatus::kOk);
    ASSERT_EQ(backend.write_motion(positions.data(), velocities.data()), BackendStatus::kOk);
  }
};

Model random_model(test::Random& random, std::size_t nodes, std::size_t edges, float radius) {
  Model model;
  for (std::size_t node = 0; node < nodes; ++node) {
    model.masses.push_back(random.between(0.5F, 2.0F));
    model.flags.push_back(node % 17 == 3 ? payload::kNodePinned : 0);
    for (int axis = 0; axis < 3; ++axis) {
      model.positions.push_back(random.between(-radius, radius));
      model.velocities.push_back(random.between(-5.0F, 5.0F));
    }
  }
  const auto limit = static_cast<std::uint32_t>(nodes);
  for (std::size_t edge = 0; edge < edges; ++edge) {
    model.edges.push_back({random.below(limit), random.below(limit), random.between(0.1F, 1.0F)});
  }
  return model;
}

StepReport run(Backend& backend, const Settings& settings, std::uint64_t before,
               std::uint32_t steps) {
  StepReport report{};
  EXPECT_EQ(backend.run({&settings, before, steps, nullptr, nullptr}, report), BackendStatus::kOk);
  return report;
}

std::vector<float> positions_of(Backend& backend, std::size_t nodes) {
  std::vector<float> positions(3 * nodes);
  std::vector<float> velocities(3 * nodes);
  backend.read_motion(positions.data(), velocities.data());
  positions.insert(positions.end(), velocities.begin(), velocities.end());
  return positions;
}

Double3 row(const std::vector<float>& values, std::size_t node) {
  return {static_cast<double>(values[3 * node]), static_cast<double>(values[3 * node + 1]),
          static_cast<double>(values[3 * node + 2])};
}

// One whole step in float64, straight from the formulas.
Double3 reference_step(const Model& model, std::size_t node, const Settings& settings,
                       double warmup) {
  const Double3 own = row(model.positions, node);
  Double3 force = -static_cast<double>(settings.centering) * own;
  for (std::size_t other = 0; other < model.masses.size(); ++other) {
    const Double3 apart = own - row(model.positions, other);
    const double r = test::norm(apart);
    if (other == node) continue;
    const double strength =
        120.0 * static_cast<double>(model.masses[node]) * static_cast<double>(model.masses[other]);
    force += (std::min(strength / (r * r + 1e-4), 150.0) / r) * apart;
  }
  for (const IndexedEdge& edge : model.edges) {
    if (edge.source == edge.target || (edge.source != node && edge.target != node)) continue;
    const Double3 towards =
        row(model.positions, edge.source == node ? edge.target : edge.source) - own;
    const double r = test::norm(towards);
    force += (12.0 * static_cast<double>(edge.weight) * (r - 50.0) / r) * towards;
  }
  const double mass = static_cast<double>(model.masses[node]);
  Double3 velocity =
      row(model.velocities, node) + (0.016 / mass * warmup) * test::cap(force, 150.0);
  velocity = test::cap(0.85 * velocity, 100.0);
  Double3 position = own + 0.016 * velocity;
  for (double* axis : {&position.x, &position.y, &position.z}) {
    *axis = std::clamp(*axis, -1000.0, 1000.0);
  }
  return position;
}

TEST(BackendCpuTest, OneStepMatchesTheReferenceWithinAMillionthOfTheBox) {
  test::Random random;
  const Model model = random_model(random, 300, 600, 200.0F);
  BackendCpu backend(2);
  model.load(backend);
  const Settings settings;
  run(backend, settings, 49, 1);
  const std::vector<float> after = positions_of(backend, 300);
  for (std::size_t node = 0; node < 300; ++node) {
    const Double3 wanted = model.flags[node] == 0 ? reference_step(model, node, settings, 0.5)
                                                  : row(model.positions, node);
    EXPECT_LT(test::norm(row(after, node) - wanted), 2000.0 * 1e-6) << node;
  }
}

// Two nodes and one spring, nothing else: v' = d (v + F dt / m), x' = x + v' dt with F = 2 k w (L0
// - x) for the distance is a linear recurrence, x - L0 = c1 a^n + c2 b^n with a, b the roots of z^2
// - (1 + d - 2 k w d dt^2) z + d = 0.
TEST(BackendCpuTest, TwoNodeSpringFollowsItsClosedForm) {
  Model model;
  model.masses = {1.0F, 1.0F};
  model.flags = {0, 0};
  model.edges = {{0, 1, 1.0F}};
  model.positions = {-30.0F, 0, 0, 30.0F, 0, 0};
  model.velocities.assign(6, 0.0F);
  Settings settings;
  settings.repulsion_strength = 0;
  settings.centering = 0;
  settings.warmup_steps = 0;
  settings.spring_strength = 2.0F;
  BackendCpu backend(1);
  model.load(backend);
  const double d = static_cast<double>(settings.damping);
  const double dt = static_cast<double>(settings.time_step);
  const double trace = 1 + d - 2 * 2.0 * d * dt * dt;
  const double root = std::sqrt(trace * trace - 4 * d);
  const double a = (trace + root) / 2;
  const double b = (trace - root) / 2;
  // x0 - L0 = 10, and x_{-1} = x0 because v0 = 0.
  const double c1 = 10.0 * (1 - 1 / b) / (1 / a - 1 / b);
  const double c2 = 10.0 - c1;
  for (int step = 1; step <= 400; ++step) {
    run(backend, settings, static_cast<std::uint64_t>(step), 1);
    const std::vector<float> after = positions_of(backend, 2);
    const double distance = static_cast<double>(after[3]) - static_cast<double>(after[0]);
    EXPECT_NEAR(distance, 50.0 + c1 * std::pow(a, step) + c2 * std::pow(b, step), 1e-3) << step;
  }
}

struct Field {
  std::size_t nodes;
  std::uint32_t far_field;
};

TEST(BackendCpuTest, ResultsDoNotDependOnTheNumberOfThreads) {
  test::Random random;
  for (const Field field : {Field{400, 1}, Field{3000, 1}, Field{3000, 0}}) {
    Model model = random_model(random, field.nodes, 2 * field.nodes, 300.0F);
    const std::array<std::int32_t, 2> pair = {0, 1};
    const std::array<float, 1> distance = {10.0F};
    model.constraints = {
        payload::make_constraint(payload::ConstraintKind::kDistance, pair, distance)};
    Settings settings;
    settings.far_field = field.far_field;
    std::vector<float> first;
    double energy = 0;
    for (const unsigned threads : {1U, 2U, 3U}) {
      BackendCpu backend(threads);
      model.load(backend);
      const StepReport report = run(backend, settings, 0, 12);
      const std::vector<float> after = positions_of(backend, field.nodes);
      if (threads == 1) {
        first = after;
        energy = report.kinetic_energy;
      }
      EXPECT_EQ(after, first) << threads;
      EXPECT_EQ(report.kinetic_energy, energy);
    }
  }
}

TEST(BackendCpuTest, StepsInOneCallAndOneByOneAreTheSame) {
  test::Random random;
  const Model model = random_model(random, 900, 1500, 300.0F);
  const Settings settings;
  BackendCpu together(1);
  BackendCpu single(1);
  model.load(together);
  model.load(single);
  run(together, settings, 0, 9);
  for (std::uint64_t step = 0; step < 9; ++step) run(single, settings, step, 1);
  EXPECT_EQ(positions_of(together, 900), positions_of(single, 900));
}

TEST(BackendCpuTest, PinnedNodesKeepTheirPlaceAndDoNotCountAsActive) {
  test::Random random;
  Model model = random_model(random, 60, 100, 100.0F);
  BackendCpu backend(1);
  model.load(backend);
  const StepReport report = run(backend, Settings{}, 0, 5);
  const std::vector<float> after = positions_of(backend, 60);
  std::size_t pinned = 0;
  for (std::size_t node = 0; node < 60; ++node) {
    if (model.flags[node] == 0) continue;
    ++pinned;
    EXPECT_EQ(after[3 * node], model.positions[3 * node]);
  }
  EXPECT_EQ(report.active_nodes, 60 - pinned);
}

TEST(BackendCpuTest, DivergedStepIsNotApplied) {
  test::Random random;
  Model model = random_model(random, 700, 100, 100.0F);
  BackendCpu backend(2);
  model.load(backend);
  const std::vector<float> before = positions_of(backend, 700);
  Settings wild;
  wild.time_step = 10.0F;
  wild.max_velocity = 1e9F;
  wild.max_force = 1e9F;
  wild.repulsion_strength = 1e9F;
  wild.warmup_steps = 0;
  const StepReport report = run(backend, wild, 0, 3);
  EXPECT_EQ(report.diverged, 1U);
  EXPECT_EQ(report.steps_done, 0U);
  EXPECT_EQ(positions_of(backend, 700), before);
}

TEST(BackendCpuTest, NodeWithoutAnybodyRestsAtTheOrigin) {
  Model model;
  model.masses = {1.0F};
  model.flags = {0};
  model.positions.assign(3, 0.0F);
  model.velocities.assign(3, 0.0F);
  BackendCpu backend(2);
  model.load(backend);
  const StepReport report = run(backend, Settings{}, 0, 3);
  EXPECT_EQ(report.kinetic_energy, 0.0);
  EXPECT_EQ(report.max_displacement, 0.0);
}

TEST(BackendSelectTest, SaysWhichBackendAndWhy) {
  const BackendChoice automatic = select_backend("auto", 2);
  ASSERT_NE(automatic.backend, nullptr);
  EXPECT_STREQ(automatic.backend->name(), "cpu");
  EXPECT_NE(automatic.reason.find("no CUDA backend"), std::string::npos);
  const BackendChoice cuda = select_backend("cuda", 2);
  EXPECT_EQ(cuda.backend, nullptr);
  EXPECT_NE(cuda.reason.find("use --backend cpu"), std::string::npos);
  EXPECT_EQ(select_backend("opencl", 1).backend, nullptr);
  EXPECT_NE(select_backend("cpu", 1).backend, nullptr);
}

TEST(ThreadPoolTest, RunsEveryChunkOnceWhateverTheThreads) {
  for (const unsigned threads : {1U, 2U, 5U}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::size_t chunks : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
      std::vector<int> ran(chunks, 0);
      for (int round = 0; round < 20; ++round) {
        pool.parallel_for(chunks, [&](std::size_t chunk) { ++ran[chunk]; });
      }
      EXPECT_EQ(std::count(ran.begin(), ran.end(), 20), static_cast<std::ptrdiff_t>(chunks));
    }
  }
}

}  // namespace
}  // namespace ackbus::gpu
