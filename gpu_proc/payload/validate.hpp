// Checks of payload bytes: from hostile bytes in a private copy to a typed view of that copy, or to
// an error that names the thing and the remedy. Data flow: copied payload -> view -> handler. Pure
// functions, any thread. Call them on a copy only: the producer can still write the original, and
// the view refers to the bytes given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "gpu_proc/payload/format.hpp"

namespace ackbus::gpu::payload {

// Either a value or the reason why there is none.
template <typename T>
struct Checked {
  std::optional<T> value;
  std::string error;
  [[nodiscard]] bool ok() const { return value.has_value(); }
};

struct InitializeView {
  std::int32_t device_ordinal;
  std::uint64_t node_capacity;
  std::uint64_t edge_capacity;
  std::span<const ParameterRecord> parameters;  // Known ids, values in range.
};
struct GraphView {
  std::span<const NodeRecord>
      nodes;  // Not empty, finite, masses above 0, known flags. Ids not yet compared.
  std::span<const EdgeRecord> edges;  // Finite weights. End points not yet looked up.
};
struct ConstraintsView {
  std::span<const ConstraintRecord> constraints;
};
struct ComputeView {
  std::uint32_t steps;
  std::span<const ParameterRecord> parameters;
};
struct PositionsView {
  std::span<const MovedNodeRecord> nodes;  // Finite. Ids not yet looked up.
};
struct SharedContextView {
  std::uint32_t buffers;
  std::uint32_t recipient_uid;
};

// `bytes` must start at a multiple of 8 (what operator new gives). Ids, which need an index, are
// checked by IdIndex.
Checked<InitializeView> check_initialize(std::span<const std::byte> bytes);
Checked<GraphView> check_graph(std::span<const std::byte> bytes);
// `graph_nodes` is the number of nodes of the graph in use: constraints name nodes by place.
Checked<ConstraintsView> check_constraints(std::span<const std::byte> bytes,
                                           std::uint64_t graph_nodes);
Checked<ComputeView> check_compute(std::span<const std::byte> bytes);
Checked<PositionsView> check_positions(std::span<const std::byte> bytes);
Checked<SharedContextView> check_shared_context(std::span<const std::byte> bytes);

// One record's own rules, used by check_constraints and by the restore of a state segment. Empty
// text: it is good.
std::string constraint_error(const ConstraintRecord& record, std::uint64_t graph_nodes);
// The same for one parameter.
std::string parameter_error(const ParameterRecord& record);

}  // namespace ackbus::gpu::payload
