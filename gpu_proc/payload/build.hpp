// Builders of the six payloads, for producers: each *_bytes() gives the size to loan, each
// build_*() fills a span of exactly that size in place (so a loaned arena payload is written once),
// and each make_*() returns a vector. Data flow: producer's arrays -> payload bytes. Pure
// functions, any thread. Depends only on format.hpp and settings.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "gpu_proc/payload/format.hpp"
#include "shm_layout/assert.hpp"

namespace ackbus::gpu::payload {

inline Prefix make_prefix(Kind kind, std::size_t total_bytes) {
  return {kMagic, kVersion, static_cast<std::uint16_t>(kind), total_bytes};
}

template <typename Header>
void put_header(std::span<std::byte> out, const Header& header) {
  std::memcpy(out.data(), &header, sizeof(header));
}

template <typename Record>
void put_array(std::span<std::byte> out, std::size_t offset, std::span<const Record> records) {
  if (records.empty()) return;
  std::memcpy(out.data() + offset, records.data(), records.size_bytes());
}

constexpr std::size_t initialize_bytes(std::size_t parameters) {
  return kHeaderBytes + parameters * sizeof(ParameterRecord);
}
constexpr std::size_t graph_bytes(std::size_t nodes, std::size_t edges) {
  return kHeaderBytes + nodes * sizeof(NodeRecord) + edges * sizeof(EdgeRecord);
}
constexpr std::size_t constraints_bytes(std::size_t constraints) {
  return kHeaderBytes + constraints * sizeof(ConstraintRecord);
}
// Without parameter changes exactly 64 bytes, which travel inside the descriptor.
constexpr std::size_t compute_bytes(std::size_t parameters) {
  return kHeaderBytes + parameters * sizeof(ParameterRecord);
}
constexpr std::size_t positions_bytes(std::size_t nodes) {
  return kHeaderBytes + nodes * sizeof(MovedNodeRecord);
}
constexpr std::size_t shared_context_bytes() { return kHeaderBytes; }

// InitializeGPU. `device_ordinal` -1 takes whichever device there is. Parameters that are not named
// take their default. `out` must have initialize_bytes(parameters.size()) bytes; another size is a
// programmer's error and aborts.
inline void build_initialize(std::span<std::byte> out, std::int32_t device_ordinal,
                             std::uint64_t node_capacity, std::uint64_t edge_capacity,
                             std::span<const ParameterRecord> parameters) {
  ACKBUS_ASSERT(out.size() == initialize_bytes(parameters.size()));
  InitializeHeader header{};
  header.prefix = make_prefix(Kind::kInitializeGpu, out.size());
  header.device_ordinal = device_ordinal;
  header.parameter_count = static_cast<std::uint32_t>(parameters.size());
  header.node_capacity = node_capacity;
  header.edge_capacity = edge_capacity;
  header.parameters_offset = kHeaderBytes;
  put_header(out, header);
  put_array(out, kHeaderBytes, parameters);
}

// Where the arrays of a graph payload lie, so that a producer with a loan can fill them in place
// after the header.
constexpr std::size_t graph_nodes_offset() { return kHeaderBytes; }
constexpr std::size_t graph_edges_offset(std::size_t nodes) {
  return kHeaderBytes + nodes * sizeof(NodeRecord);
}

// The header of UpdateGPUGraphData alone; `out` has graph_bytes(nodes, edges) bytes.
inline void build_graph_header(std::span<std::byte> out, std::size_t nodes, std::size_t edges) {
  ACKBUS_ASSERT(out.size() == graph_bytes(nodes, edges));
  GraphHeader header{};
  header.prefix = make_prefix(Kind::kUpdateGpuGraphData, out.size());
  header.node_count = nodes;
  header.edge_count = edges;
  header.nodes_offset = graph_nodes_offset();
  header.edges_offset = graph_edges_offset(nodes);
  put_header(out, header);
}

// UpdateGPUGraphData, whole.
inline void build_graph(std::span<std::byte> out, std::span<const NodeRecord> nodes,
                        std::span<const EdgeRecord> edges) {
  build_graph_header(out, nodes.size(), edges.size());
  put_array(out, graph_nodes_offset(), nodes);
  put_array(out, graph_edges_offset(nodes.size()), edges);
}

// UploadConstraintsToGPU: replaces the whole set; none clears it.
inline void build_constraints(std::span<std::byte> out,
                              std::span<const ConstraintRecord> constraints) {
  ACKBUS_ASSERT(out.size() == constraints_bytes(constraints.size()));
  ConstraintsHeader header{};
  header.prefix = make_prefix(Kind::kUploadConstraintsToGpu, out.size());
  header.constraint_count = constraints.size();
  header.constraints_offset = kHeaderBytes;
  put_header(out, header);
  put_array(out, kHeaderBytes, constraints);
}

// ComputeForces: 1 to kMaxSteps steps, after the parameter changes, which are kept from then on.
inline void build_compute(std::span<std::byte> out, std::uint32_t steps,
                          std::span<const ParameterRecord> parameters) {
  ACKBUS_ASSERT(out.size() == compute_bytes(parameters.size()));
  ComputeHeader header{};
  header.prefix = make_prefix(Kind::kComputeForces, out.size());
  header.steps = steps;
  header.parameter_count = static_cast<std::uint32_t>(parameters.size());
  header.parameters_offset = kHeaderBytes;
  put_header(out, header);
  put_array(out, kHeaderBytes, parameters);
}

// UpdateNodePositions: only the named nodes move.
inline void build_positions(std::span<std::byte> out, std::span<const MovedNodeRecord> nodes) {
  ACKBUS_ASSERT(out.size() == positions_bytes(nodes.size()));
  PositionsHeader header{};
  header.prefix = make_prefix(Kind::kUpdateNodePositions, out.size());
  header.node_count = nodes.size();
  header.nodes_offset = kHeaderBytes;
  put_header(out, header);
  put_array(out, kHeaderBytes, nodes);
}

// SetSharedGPUContext: which buffers (kSharePositions, kShareVelocities), for which user id or
// kAnyUid.
inline void build_shared_context(std::span<std::byte> out, std::uint32_t buffers,
                                 std::uint32_t recipient_uid) {
  ACKBUS_ASSERT(out.size() == shared_context_bytes());
  SharedContextHeader header{};
  header.prefix = make_prefix(Kind::kSetSharedGpuContext, out.size());
  header.buffers = buffers;
  header.recipient_uid = recipient_uid;
  put_header(out, header);
}

using Bytes = std::vector<std::byte>;

inline Bytes make_initialize(std::int32_t device_ordinal, std::uint64_t node_capacity,
                             std::uint64_t edge_capacity,
                             std::span<const ParameterRecord> parameters = {}) {
  Bytes out(initialize_bytes(parameters.size()));
  build_initialize(out, device_ordinal, node_capacity, edge_capacity, parameters);
  return out;
}

inline Bytes make_graph(std::span<const NodeRecord> nodes, std::span<const EdgeRecord> edges) {
  Bytes out(graph_bytes(nodes.size(), edges.size()));
  build_graph(out, nodes, edges);
  return out;
}

inline Bytes make_constraints(std::span<const ConstraintRecord> constraints) {
  Bytes out(constraints_bytes(constraints.size()));
  build_constraints(out, constraints);
  return out;
}

inline Bytes make_compute(std::uint32_t steps, std::span<const ParameterRecord> parameters = {}) {
  Bytes out(compute_bytes(parameters.size()));
  build_compute(out, steps, parameters);
  return out;
}

inline Bytes make_positions(std::span<const MovedNodeRecord> nodes) {
  Bytes out(positions_bytes(nodes.size()));
  build_positions(out, nodes);
  return out;
}

inline Bytes make_shared_context(std::uint32_t buffers, std::uint32_t recipient_uid = kAnyUid) {
  Bytes out(shared_context_bytes());
  build_shared_context(out, buffers, recipient_uid);
  return out;
}

// A constraint with its kind's default weight, active from the first step. At most four nodes.
inline ConstraintRecord make_constraint(ConstraintKind kind, std::span<const std::int32_t> nodes,
                                        std::span<const float> params) {
  ConstraintRecord record{};
  ACKBUS_ASSERT(nodes.size() <= std::size(record.node) &&
                params.size() <= std::size(record.params));
  record.kind = static_cast<std::int32_t>(kind);
  record.count = static_cast<std::int32_t>(nodes.size());
  for (std::size_t place = 0; place < nodes.size(); ++place) record.node[place] = nodes[place];
  for (std::size_t place = 0; place < params.size(); ++place) record.params[place] = params[place];
  record.weight = default_weight(kind);
  return record;
}

}  // namespace ackbus::gpu::payload
