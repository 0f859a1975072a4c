// What a layout asks of the GPU process before its first step: where nodes start, how heavy they
// and their edges are, which parameters the simulation takes, and how much memory the payloads
// need. Data flow: a graph and a seed -> records in the payload formats. Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gpu_proc/payload/format.hpp"
#include "tools/graph.hpp"

namespace ackbus::tools {

// Where the nodes start: evenly distributed in a ball around the origin whose radius grows with the
// cube root of their number. The same count and seed give the same places on every machine.
[[nodiscard]] std::vector<Position> initial_positions(std::uint32_t node_count, std::uint64_t seed);

// The simulation's parameters for a picture of this graph. All but the named ones keep their
// defaults; docs/commands.md gives the values with their reasons.
[[nodiscard]] std::vector<gpu::payload::ParameterRecord> layout_parameters(const Graph& graph,
                                                                           bool far_field,
                                                                           std::uint64_t seed);

// Bytes of the UpdateGPUGraphData payload.
[[nodiscard]] std::size_t graph_payload_bytes(const Graph& graph);

// Fills that payload in place: node i has id i. `positions` has one entry for each node and `out`
// graph_payload_bytes() bytes (both asserted). It need not be aligned.
void fill_graph_payload(const Graph& graph, std::span<const Position> positions,
                        std::span<std::byte> out);

// A few nodes, chosen and placed at random by `seed`, for UpdateNodePositions.
[[nodiscard]] std::vector<gpu::payload::MovedNodeRecord> nudged_nodes(std::uint32_t node_count,
                                                                      std::uint64_t seed);

// The arena that a link needs for the graph and what goes beside it.
[[nodiscard]] std::uint64_t layout_arena_bytes(const Graph& graph);

}  // namespace ackbus::tools
