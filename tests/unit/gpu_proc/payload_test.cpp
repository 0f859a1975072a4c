// Payload builders and checks: what is built is read back, and every hostile payload gets an error
// that names it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "gpu_proc/payload/build.hpp"
#include "gpu_proc/payload/settings.hpp"
#include "gpu_proc/payload/validate.hpp"
#include "tests/unit/gpu_proc/test_support.hpp"

namespace ackbus::gpu::payload {
namespace {

template <typename Value>
void patch(Bytes& bytes, std::size_t offset, Value value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

template <typename Checked>
void expect_error(const Checked& checked, const char* part) {
  EXPECT_FALSE(checked.ok());
  EXPECT_NE(checked.error.find(part), std::string::npos) << checked.error << " lacks: " << part;
}

NodeRecord node(std::uint32_t id) { return {id, {1, 2, 3}, {4, 5, 6}, 1.0F, 0}; }

Bytes small_graph() {
  const std::array nodes = {node(5), node(9)};
  const std::array edges = {EdgeRecord{5, 9, 0.5F}};
  return make_graph(nodes, edges);
}

ConstraintRecord pair_constraint() {
  const std::array<std::int32_t, 2> nodes = {0, 1};
  const std::array<float, 1> params = {10.0F};
  return make_constraint(ConstraintKind::kDistance, nodes, params);
}

TEST(PayloadTest, BuiltPayloadsReadBack) {
  const Bytes bytes = small_graph();
  const auto graph = check_graph(bytes);
  ASSERT_TRUE(graph.ok()) << graph.error;
  EXPECT_EQ(graph.value->nodes[1].id, 9U);
  EXPECT_EQ(graph.value->nodes[0].velocity[2], 6.0F);
  EXPECT_EQ(graph.value->edges[0].weight, 0.5F);

  const std::array parameters = {make_parameter(*find_parameter("gravity"), 0.5),
                                 make_parameter(*find_parameter("warmup_steps"), 7)};
  const Bytes initialize = make_initialize(-1, 17, 23, parameters);
  const auto view = check_initialize(initialize);
  ASSERT_TRUE(view.ok()) << view.error;
  EXPECT_EQ(view.value->device_ordinal, -1);
  EXPECT_EQ(view.value->node_capacity, 17U);
  EXPECT_EQ(view.value->edge_capacity, 23U);
  Settings settings;
  for (const ParameterRecord& record : view.value->parameters) set_parameter(settings, record);
  EXPECT_EQ(settings.gravity, 0.5F);
  EXPECT_EQ(settings.warmup_steps, 7U);

  EXPECT_EQ(make_compute(1).size(), 64U);
  EXPECT_EQ(check_compute(make_compute(3)).value->steps, 3U);
  EXPECT_EQ(check_shared_context(make_shared_context(2, 1000)).value->recipient_uid, 1000U);
  const std::array<MovedNodeRecord, 1> moved = {{{9, {1, 1, 1}, {2, 2, 2}}}};
  const Bytes positions = make_positions(moved);
  EXPECT_EQ(check_positions(positions).value->nodes[0].id, 9U);
  const std::array constraints = {pair_constraint()};
  const Bytes set = make_constraints(constraints);
  EXPECT_EQ(check_constraints(set, 2).value->constraints[0].weight, 0.8F);
}

TEST(PayloadTest, DefaultsAreTheReferenceSystems) {
  const Settings settings;
  EXPECT_EQ(settings.spring_strength, 12.0F);
  EXPECT_EQ(settings.repulsion_strength, 120.0F);
  EXPECT_EQ(settings.rest_length, 50.0F);
  EXPECT_EQ(settings.cutoff, 50.0F);
  EXPECT_EQ(settings.epsilon, 1e-4F);
  EXPECT_EQ(settings.centering, 0.005F);
  EXPECT_EQ(settings.max_force, 150.0F);
  EXPECT_EQ(settings.max_velocity, 100.0F);
  EXPECT_EQ(settings.damping, 0.85F);
  EXPECT_EQ(settings.boundary_damping, 0.5F);
  EXPECT_EQ(settings.time_step, 0.016F);
  EXPECT_EQ(settings.boundary, 1000.0F);
  EXPECT_EQ(settings.warmup_steps, 100U);
  EXPECT_EQ(settings.settled_threshold, 1e-4F);
  EXPECT_EQ(settings.constraint_maximum, 50.0F);
  EXPECT_EQ(settings.constraint_ramp_steps, 60U);
  EXPECT_EQ(settings.seed, 1337U);
}

TEST(PayloadTest, EveryParameterHasItsDefaultInRangeAndSurvivesTheRoundTrip) {
  Settings settings;
  for (const ParameterRecord& record : all_parameters(Settings{})) {
    EXPECT_EQ(parameter_error(record), "");
    EXPECT_EQ(find_parameter(find_parameter(record.id)->name)->id, record.id);
    set_parameter(settings, record);
  }
  EXPECT_EQ(settings, Settings{});
}

TEST(PayloadTest, TruncatedAtEveryLengthIsRefused) {
  const Bytes whole = small_graph();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(check_graph(part).ok()) << length;
  }
  EXPECT_TRUE(check_graph(whole).ok());
}

TEST(PayloadTest, HeaderFieldsAreChecked) {
  Bytes bytes = make_compute(1);
  expect_error(check_compute(std::span(bytes).first(63)), "shorter than its 64-byte header");
  patch(bytes, offsetof(Prefix, magic), std::uint32_t{1});
  expect_error(check_compute(bytes), "magic");
  bytes = make_compute(1);
  patch(bytes, offsetof(Prefix, version), std::uint16_t{2});
  expect_error(check_compute(bytes), "version 2");
  bytes = make_compute(1);
  expect_error(check_positions(bytes), "of kind 4");
  patch(bytes, offsetof(Prefix, total_bytes), std::uint64_t{65});
  expect_error(check_compute(bytes), "header says 65 bytes");
  bytes = make_compute(1);
  patch(bytes, 63, std::uint8_t{1});
  expect_error(check_compute(bytes), "reserved");
}

TEST(PayloadTest, CountsAndOffsetsThatWouldOverflowAreRefused) {
  Bytes bytes = small_graph();
  patch(bytes, offsetof(GraphHeader, node_count), std::uint64_t{10'000'001});
  expect_error(check_graph(bytes), "too many nodes");
  bytes = small_graph();
  patch(bytes, offsetof(GraphHeader, edge_count), std::uint64_t{100'000'001});
  expect_error(check_graph(bytes), "too many edges");
  bytes = small_graph();
  patch(bytes, offsetof(GraphHeader, edge_count), ~std::uint64_t{0});
  expect_error(check_graph(bytes), "too many edges");
  bytes = small_graph();
  patch(bytes, offsetof(GraphHeader, edge_count), std::uint64_t{2});
  expect_error(check_graph(bytes), "beyond the payload's");
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{60}, std::uint64_t{66}, std::uint64_t{1} << 40,
        ~std::uint64_t{3}, ~std::uint64_t{0}}) {
    bytes = small_graph();
    patch(bytes, offsetof(GraphHeader, nodes_offset), offset);
    EXPECT_FALSE(check_graph(bytes).ok()) << offset;
  }
}

TEST(PayloadTest, NodesAndEdgesAreChecked) {
  const std::size_t first = graph_nodes_offset();
  const auto with = [&](std::size_t offset, auto value) {
    Bytes bytes = small_graph();
    patch(bytes, first + offset, value);
    return bytes;
  };
  expect_error(check_graph(make_graph({}, {})), "empty graph");
  Bytes bytes = with(offsetof(NodeRecord, position), NAN);
  expect_error(check_graph(bytes), "node 5: position is not finite");
  bytes = with(offsetof(NodeRecord, position), 2.0e5F);
  expect_error(check_graph(bytes), "beyond 1e5");
  bytes = with(offsetof(NodeRecord, velocity) + 8, INFINITY);
  expect_error(check_graph(bytes), "velocity is not finite");
  bytes = with(offsetof(NodeRecord, mass), 0.0F);
  expect_error(check_graph(bytes), "mass must be");
  bytes = with(offsetof(NodeRecord, mass), NAN);
  expect_error(check_graph(bytes), "mass must be");
  bytes = with(offsetof(NodeRecord, flags), std::uint32_t{2});
  expect_error(check_graph(bytes), "unknown flag bits");
  bytes = small_graph();
  patch(bytes, graph_edges_offset(2) + offsetof(EdgeRecord, weight), NAN);
  expect_error(check_graph(bytes), "edge 5 - 9: weight is not finite");
}

TEST(PayloadTest, ConstraintsAreChecked) {
  const auto error_of = [](auto change) {
    ConstraintRecord record = pair_constraint();
    change(record);
    const Bytes bytes = make_constraints({&record, 1});
    return check_constraints(bytes, 2).error;
  };
  const auto has = [](const std::string& error, const char* part) {
    return error.find(part) != std::string::npos;
  };
  EXPECT_EQ(error_of([](ConstraintRecord&) {}), "");
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.kind = 10; }), "unknown kind 10"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.kind = -1; }), "unknown kind -1"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.count = 0; }), "count 0 is wrong"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.count = 1; }), "use 2 to 4"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.count = 5; }), "count 5 is wrong"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.node[1] = 2; }), "node 2 is out of range"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.node[0] = -1; }), "node -1 is out of"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.params[6] = NAN; }), "not finite"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.weight = INFINITY; }), "weight"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.weight = -1; }), "weight"));
  EXPECT_TRUE(has(error_of([](ConstraintRecord& r) { r.kind = 6; }), "minimum is above"));
  Bytes bytes = make_constraints({});
  patch(bytes, offsetof(ConstraintsHeader, constraint_count), std::uint64_t{1});
  expect_error(check_constraints(bytes, 2), "beyond the payload's");
}

TEST(PayloadTest, StepsAndParametersAreChecked) {
  expect_error(check_compute(make_compute(0)), "steps 0");
  expect_error(check_compute(make_compute(kMaxSteps + 1)), "steps 100001");
  const std::array unknown = {ParameterRecord{99, 0}};
  expect_error(check_compute(make_compute(1, unknown)), "unknown parameter 99");
  const std::array negative = {make_parameter(*find_parameter("damping"), -1)};
  expect_error(check_compute(make_compute(1, negative)), "parameter damping");
  const std::array not_a_number = {make_parameter(*find_parameter("cutoff"), NAN)};
  expect_error(check_initialize(make_initialize(-1, 1, 1, not_a_number)), "parameter cutoff");
  const std::vector<ParameterRecord> many(kMaxParameters + 1);
  expect_error(check_compute(make_compute(1, many)), "too many parameters");
}

TEST(PayloadTest, InitializeAndPositionsAndSharingAreChecked) {
  expect_error(check_initialize(make_initialize(-1, kMaxNodes + 1, 0)),
               "capacity of 10000001 nodes");
  expect_error(check_initialize(make_initialize(-1, 0, kMaxEdges + 1)), "edges");
  expect_error(check_initialize(make_initialize(-2, 0, 0)), "device -2");
  const std::array<MovedNodeRecord, 1> moved = {{{9, {1, NAN, 1}, {2, 2, 2}}}};
  expect_error(check_positions(make_positions(moved)), "node 9");
  expect_error(check_shared_context(make_shared_context(4)), "buffers 4");
}

TEST(PayloadTest, RandomBytesNeverGetThroughUncheckedAndNeverCrash) {
  test::Random random;
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = small_graph();
    const std::uint32_t changes = 1 + random.below(4);
    for (std::uint32_t change = 0; change < changes; ++change) {
      bytes[random.below(static_cast<std::uint32_t>(bytes.size()))] =
          static_cast<std::byte>(random.below(256));
    }
    const auto checked = check_graph(bytes);
    EXPECT_NE(checked.ok(), !checked.error.empty());
    if (!checked.ok()) continue;
    const std::byte* end = bytes.data() + bytes.size();
    const auto& view = *checked.value;
    EXPECT_LE(reinterpret_cast<const std::byte*>(view.nodes.data() + view.nodes.size()), end);
    EXPECT_LE(reinterpret_cast<const std::byte*>(view.edges.data() + view.edges.size()), end);
  }
}

TEST(KindsTest, NamesAndNumbersBelongTogether) {
  for (const Kind kind : kAllKinds) EXPECT_EQ(kind_from_name(kind_name(kind)), kind);
  EXPECT_FALSE(kind_from_name("computeforces").has_value());
  EXPECT_EQ(kind_name(static_cast<Kind>(7)), "unknown");
}

}  // namespace
}  // namespace ackbus::gpu::payload
