// Implementation of the payload checks. Every count is compared with its limit before it is
// multiplied, every offset with the payload's length before it is used, so no arithmetic here can
// overflow.
#include "gpu_proc/payload/validate.hpp"

#include <cmath>
#include <cstring>

#include "gpu_proc/payload/settings.hpp"
#include "shm_layout/assert.hpp"

namespace ackbus::gpu::payload {
namespace {

std::string text(std::uint64_t value) { return std::to_string(value); }

std::string prefix_error(std::span<const std::byte> bytes, Kind kind) {
  const std::string name(kind_name(kind));
  if (bytes.size() < kHeaderBytes) {
    return name + ": payload of " + text(bytes.size()) +
           " bytes is shorter than its 64-byte header";
  }
  ACKBUS_ASSERT(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(Prefix) == 0);
  Prefix prefix;
  std::memcpy(&prefix, bytes.data(), sizeof(prefix));
  if (prefix.magic != kMagic) {
    return name +
           ": payload does not start with the magic ABPL; build it with gpu_proc/payload/build.hpp";
  }
  if (prefix.version != kVersion) {
    return name + ": payload version " + text(prefix.version) + ", this program reads version " +
           text(kVersion) + "; use a producer of the same release";
  }
  if (prefix.kind != static_cast<std::uint16_t>(kind)) {
    return name + ": payload is of kind " + text(prefix.kind) + "; send it under its own kind";
  }
  if (prefix.total_bytes != bytes.size()) {
    return name + ": header says " + text(prefix.total_bytes) + " bytes, " + text(bytes.size()) +
           " arrived; send the whole payload";
  }
  return {};
}

template <std::size_t kBytes>
bool all_zero(const std::uint8_t (&reserved)[kBytes]) {
  for (const std::uint8_t byte : reserved) {
    if (byte != 0) return false;
  }
  return true;
}

// Prefix and reserved bytes good: the header, copied.
template <typename Header>
std::string read_header(std::span<const std::byte> bytes, Kind kind, Header& header) {
  std::string error = prefix_error(bytes, kind);
  if (!error.empty()) return error;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (!all_zero(header.reserved)) {
    return std::string(kind_name(kind)) + ": reserved header bytes are not zero; clear them";
  }
  return {};
}

// The array of `count` records at `offset`, or an error that calls it `name`.
template <typename Record>
std::string read_array(std::span<const std::byte> bytes, const char* name, std::uint64_t count,
                       std::uint64_t limit, std::uint64_t offset, std::span<const Record>& out) {
  if (count > limit) {
    return std::string("too many ") + name + ": " + text(count) + ", at most " + text(limit);
  }
  if (count == 0) return {};
  if (offset % kArrayAlignment != 0 || offset < kHeaderBytes) {
    return std::string("offset of the ") + name + ", " + text(offset) +
           ", is inside the header or no multiple of 4";
  }
  if (offset > bytes.size() || count > (bytes.size() - offset) / sizeof(Record)) {
    return text(count) + " " + name + " at offset " + text(offset) + " need " +
           text(count * sizeof(Record)) + " bytes, beyond the payload's " + text(bytes.size());
  }
  out = {reinterpret_cast<const Record*>(bytes.data() + offset), static_cast<std::size_t>(count)};
  return {};
}

bool within(const float (&values)[3], float limit) {
  float square = 0.0F;
  for (const float value : values) {
    if (!std::isfinite(value)) return false;
    square += value * value;
  }
  return square <= limit * limit;
}

// Shared by uploads and moves: a vector that is finite and not already diverged.
std::string motion_error(std::uint32_t id, const float (&position)[3], const float (&velocity)[3]) {
  if (!within(position, kMaxPosition)) {
    return "node " + text(id) + ": position is not finite or beyond 1e5";
  }
  if (!within(velocity, kMaxVelocity)) {
    return "node " + text(id) + ": velocity is not finite or beyond 1000";
  }
  return {};
}

std::string node_error(const NodeRecord& node) {
  std::string error = motion_error(node.id, node.position, node.velocity);
  if (!error.empty()) return error;
  if (!std::isfinite(node.mass) || node.mass <= 0.0F) {
    return "node " + text(node.id) + ": mass must be finite and above 0";
  }
  if ((node.flags & ~kNodePinned) != 0) {
    return "node " + text(node.id) + ": unknown flag bits; only bit 0 (pinned) is defined";
  }
  return {};
}

std::string parameters_error(std::span<const ParameterRecord> parameters) {
  for (const ParameterRecord& record : parameters) {
    std::string error = parameter_error(record);
    if (!error.empty()) return error;
  }
  return {};
}

template <typename View>
Checked<View> refuse(std::string error) {
  return {std::nullopt, std::move(error)};
}

std::uint32_t smallest_count(ConstraintKind kind) {
  return kind == ConstraintKind::kSeparation || kind == ConstraintKind::kDistance ? 2 : 1;
}

}  // namespace

std::string parameter_error(const ParameterRecord& record) {
  const ParameterInfo* info = find_parameter(record.id);
  if (info == nullptr) return "unknown parameter " + text(record.id);
  if (parameter_in_range(*info, record.bits)) return {};
  return "parameter " + std::string(info->name) + " = " +
         std::to_string(parameter_value(*info, record.bits)) + " is not between " +
         std::to_string(info->minimum) + " and " + std::to_string(info->maximum);
}

std::string constraint_error(const ConstraintRecord& record, std::uint64_t graph_nodes) {
  if (record.kind < 0 || record.kind >= kConstraintKinds) {
    return "unknown kind " + std::to_string(record.kind) + ", use 0 to 9";
  }
  const auto kind = static_cast<ConstraintKind>(record.kind);
  if (record.count < static_cast<std::int32_t>(smallest_count(kind)) ||
      record.count > kConstraintNodes) {
    return "count " + std::to_string(record.count) + " is wrong, use " +
           text(smallest_count(kind)) + " to 4 nodes";
  }
  for (std::int32_t place = 0; place < record.count; ++place) {
    const std::int32_t node = record.node[place];
    if (node < 0 || static_cast<std::uint64_t>(node) >= graph_nodes) {
      return "node " + std::to_string(node) + " is out of range, the graph has " +
             text(graph_nodes) + " nodes; upload the graph first";
    }
  }
  for (const float param : record.params) {
    if (!std::isfinite(param)) return "a parameter is not finite";
  }
  for (std::size_t low = 0; kind == ConstraintKind::kBoundary && low < 6; low += 2) {
    if (record.params[low] > record.params[low + 1]) {
      return "boundary's minimum is above its maximum; order is min x, max x, min y, max y, min z, "
             "max z";
    }
  }
  if (!std::isfinite(record.weight) || record.weight < 0.0F) {
    return "weight must be finite and not negative";
  }
  return {};
}

Checked<InitializeView> check_initialize(std::span<const std::byte> bytes) {
  InitializeHeader header{};
  std::string error = read_header(bytes, Kind::kInitializeGpu, header);
  InitializeView view{header.device_ordinal, header.node_capacity, header.edge_capacity, {}};
  if (error.empty() && header.node_capacity > kMaxNodes) {
    error = "capacity of " + text(header.node_capacity) + " nodes, at most " + text(kMaxNodes);
  }
  if (error.empty() && header.edge_capacity > kMaxEdges) {
    error = "capacity of " + text(header.edge_capacity) + " edges, at most " + text(kMaxEdges);
  }
  if (error.empty() && header.device_ordinal < -1) {
    error = "device " + std::to_string(header.device_ordinal) + ": use -1 or a device's number";
  }
  if (error.empty()) {
    error = read_array(bytes, "parameters", header.parameter_count, kMaxParameters,
                       header.parameters_offset, view.parameters);
  }
  if (error.empty()) error = parameters_error(view.parameters);
  if (!error.empty()) return refuse<InitializeView>(std::move(error));
  return {view, {}};
}

Checked<GraphView> check_graph(std::span<const std::byte> bytes) {
  GraphHeader header{};
  GraphView view{};
  std::string error = read_header(bytes, Kind::kUpdateGpuGraphData, header);
  if (error.empty() && header.node_count == 0) error = "empty graph: send at least one node";
  if (error.empty()) {
    error =
        read_array(bytes, "nodes", header.node_count, kMaxNodes, header.nodes_offset, view.nodes);
  }
  if (error.empty()) {
    error =
        read_array(bytes, "edges", header.edge_count, kMaxEdges, header.edges_offset, view.edges);
  }
  if (!error.empty()) return refuse<GraphView>(std::move(error));
  for (const NodeRecord& node : view.nodes) {
    error = node_error(node);
    if (!error.empty()) return refuse<GraphView>(std::move(error));
  }
  for (const EdgeRecord& edge : view.edges) {
    if (std::isfinite(edge.weight)) continue;
    return refuse<GraphView>("edge " + text(edge.source) + " - " + text(edge.target) +
                             ": weight is not finite");
  }
  return {view, {}};
}

Checked<ConstraintsView> check_constraints(std::span<const std::byte> bytes,
                                           std::uint64_t graph_nodes) {
  ConstraintsHeader header{};
  ConstraintsView view{};
  std::string error = read_header(bytes, Kind::kUploadConstraintsToGpu, header);
  if (error.empty()) {
    error = read_array(bytes, "constraints", header.constraint_count, kMaxConstraints,
                       header.constraints_offset, view.constraints);
  }
  if (!error.empty()) return refuse<ConstraintsView>(std::move(error));
  for (std::size_t row = 0; row < view.constraints.size(); ++row) {
    error = constraint_error(view.constraints[row], graph_nodes);
    if (!error.empty()) return refuse<ConstraintsView>("constraint " + text(row) + ": " + error);
  }
  return {view, {}};
}

Checked<ComputeView> check_compute(std::span<const std::byte> bytes) {
  ComputeHeader header{};
  std::string error = read_header(bytes, Kind::kComputeForces, header);
  ComputeView view{header.steps, {}};
  if (error.empty() && (header.steps == 0 || header.steps > kMaxSteps)) {
    error = "steps " + text(header.steps) + ": use 1 to " + text(kMaxSteps);
  }
  if (error.empty()) {
    error = read_array(bytes, "parameters", header.parameter_count, kMaxParameters,
                       header.parameters_offset, view.parameters);
  }
  if (error.empty()) error = parameters_error(view.parameters);
  if (!error.empty()) return refuse<ComputeView>(std::move(error));
  return {view, {}};
}

Checked<PositionsView> check_positions(std::span<const std::byte> bytes) {
  PositionsHeader header{};
  PositionsView view{};
  std::string error = read_header(bytes, Kind::kUpdateNodePositions, header);
  if (error.empty()) {
    error =
        read_array(bytes, "nodes", header.node_count, kMaxNodes, header.nodes_offset, view.nodes);
  }
  if (!error.empty()) return refuse<PositionsView>(std::move(error));
  for (const MovedNodeRecord& node : view.nodes) {
    error = motion_error(node.id, node.position, node.velocity);
    if (!error.empty()) return refuse<PositionsView>(std::move(error));
  }
  return {view, {}};
}

Checked<SharedContextView> check_shared_context(std::span<const std::byte> bytes) {
  SharedContextHeader header{};
  std::string error = read_header(bytes, Kind::kSetSharedGpuContext, header);
  constexpr std::uint32_t kKnown = kSharePositions | kShareVelocities;
  if (error.empty() && (header.buffers == 0 || (header.buffers & ~kKnown) != 0)) {
    error = "buffers " + text(header.buffers) + ": use 1 (positions), 2 (velocities) or 3 (both)";
  }
  if (!error.empty()) return refuse<SharedContextView>(std::move(error));
  return {SharedContextView{header.buffers, header.recipient_uid}, {}};
}

}  // namespace ackbus::gpu::payload
