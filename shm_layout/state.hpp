// The state segment: what the GPU process has acked, so that its successor can go on. Two parts
// with two copies each: the graph (rarely written: ids, masses, flags, edges, constraints) and the
// motion (often written: settings, steps, applied sequences, positions, velocities). Data flow: GPU
// process writes the copies not in use, then stores the commit word; after its death the successor
// copies what the commit word names. Offsets only.
//
// Invariants:
//  1. The commit word is commit << 2 | motion copy << 1 | graph copy, and is stored after both
//  copies that it names are
//     whole. 0: nothing was committed.
//  2. A copy named by the commit word is not written until another commit word is stored.
//  3. A copy's header carries the commit that wrote it, at most the word's, and a sum over
//  everything behind it.
//  4. Both named copies have the same number of nodes.
// Crash table, for the one writer: dead while writing a copy, or before the commit word: the word
// names the older, untouched copies, and the message was not acked. Dead after it: the new copies
// are whole. Threads: one writer. Readers only after the writer's death.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm_layout/cell.hpp"

namespace ackbus::layout {

inline constexpr std::uint64_t kStateMagic = 0x3145544154534241ULL;  // "ABSTATE1"
inline constexpr std::uint32_t kStateVersion = 1;
inline constexpr std::uint64_t kStateMaxNodes = 10'000'000;
inline constexpr std::uint64_t kStateMaxEdges = 100'000'000;
inline constexpr std::uint64_t kStateMaxConstraints = 10'000'000;
inline constexpr std::uint64_t kStateMaxParameters = 64;
inline constexpr std::uint64_t kStateMaxLinks = 1024;

// written by: GPU process of one life. read by: its successor. truth. if the writer dies here: see
// the crash table.
struct StateHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_bytes;
  std::uint64_t node_capacity;  // All offsets follow from the three capacities.
  std::uint64_t edge_capacity;
  std::uint64_t constraint_capacity;
  std::uint64_t total_bytes;
  std::uint64_t reserved[2];
  Cell<std::uint64_t> commit;
  std::uint64_t reserved_commit[7];
};

struct StateGraphHeader {
  std::uint64_t commit;
  std::uint64_t node_count;
  std::uint64_t edge_count;
  std::uint64_t constraint_count;
  std::uint64_t structure_hash;
  std::uint64_t generation;  // Of the frames' node ids.
  std::uint64_t checksum;    // Over this header with checksum 0, then the arrays.
  std::uint64_t reserved;
};

struct StateMotionHeader {
  std::uint64_t commit;
  std::uint64_t node_count;
  std::uint64_t steps;          // Since the simulation began.
  std::uint64_t node_capacity;  // As InitializeGPU asked.
  std::uint64_t edge_capacity;
  std::uint32_t parameter_count;  // 0: never initialised.
  std::uint32_t link_count;
  std::uint64_t checksum;  // As above.
  std::uint64_t reserved;
};

// A settings parameter, as in payloads: number and value.
struct StateParameter {
  std::uint32_t id;
  std::uint32_t bits;
};

// What was applied of one link's UpdateNodePositions and ComputeForces: the highest sequence, and
// for the 64 below it a bit each, bit 0 for sequence - 1.
struct StateLink {
  std::uint64_t link;
  std::uint64_t sequence;
  std::uint64_t window;
  std::uint64_t
      last_use;  // A counter; the link used longest ago makes room when the table is full.
};

struct StateEdge {
  std::uint32_t source;  // Places in the node arrays.
  std::uint32_t target;
  float weight;
};

inline constexpr std::uint64_t kStateConstraintBytes = 64;  // A constraint record as in payloads.

static_assert(sizeof(StateHeader) == 128 && std::is_standard_layout_v<StateHeader>);
static_assert(offsetof(StateHeader, version) == 8 && offsetof(StateHeader, header_bytes) == 12);
static_assert(offsetof(StateHeader, node_capacity) == 16 &&
              offsetof(StateHeader, total_bytes) == 40);
static_assert(offsetof(StateHeader, commit) == 64);
static_assert(sizeof(StateGraphHeader) == 64 && sizeof(StateMotionHeader) == 64);
static_assert(std::has_unique_object_representations_v<StateGraphHeader>);
static_assert(std::has_unique_object_representations_v<StateMotionHeader>);
static_assert(offsetof(StateGraphHeader, structure_hash) == 32);
static_assert(offsetof(StateGraphHeader, generation) == 40 &&
              offsetof(StateGraphHeader, checksum) == 48);
static_assert(offsetof(StateMotionHeader, steps) == 16 &&
              offsetof(StateMotionHeader, checksum) == 48);
static_assert(offsetof(StateMotionHeader, parameter_count) == 40);
static_assert(offsetof(StateMotionHeader, link_count) == 44);
static_assert(sizeof(StateParameter) == 8 && sizeof(StateLink) == 32 && sizeof(StateEdge) == 12);
static_assert(std::has_unique_object_representations_v<StateLink>);
static_assert(offsetof(StateEdge, target) == 4 && offsetof(StateEdge, weight) == 8);

constexpr std::uint64_t state_aligned(std::uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// Offsets within a graph copy, from its counts.
struct StateGraphGeometry {
  std::uint64_t ids;          // u32 per node
  std::uint64_t masses;       // f32 per node
  std::uint64_t flags;        // u32 per node
  std::uint64_t edges;        // StateEdge
  std::uint64_t constraints;  // kStateConstraintBytes each
  std::uint64_t bytes;
};

constexpr StateGraphGeometry state_graph_geometry(std::uint64_t nodes, std::uint64_t edges,
                                                  std::uint64_t constraints) {
  StateGraphGeometry geometry{};
  geometry.ids = sizeof(StateGraphHeader);
  geometry.masses = geometry.ids + state_aligned(nodes * 4);
  geometry.flags = geometry.masses + state_aligned(nodes * 4);
  geometry.edges = geometry.flags + state_aligned(nodes * 4);
  geometry.constraints = geometry.edges + state_aligned(edges * sizeof(StateEdge));
  geometry.bytes = geometry.constraints + constraints * kStateConstraintBytes;
  return geometry;
}

// Offsets within a motion copy; parameters and links always have their full room.
struct StateMotionGeometry {
  std::uint64_t parameters;  // StateParameter
  std::uint64_t links;       // StateLink
  std::uint64_t positions;   // x y z f32 per node
  std::uint64_t velocities;  // x y z f32 per node
  std::uint64_t bytes;
};

constexpr StateMotionGeometry state_motion_geometry(std::uint64_t nodes) {
  StateMotionGeometry geometry{};
  geometry.parameters = sizeof(StateMotionHeader);
  geometry.links = geometry.parameters + kStateMaxParameters * sizeof(StateParameter);
  geometry.positions = geometry.links + kStateMaxLinks * sizeof(StateLink);
  geometry.velocities = geometry.positions + state_aligned(nodes * 12);
  geometry.bytes = geometry.velocities + state_aligned(nodes * 12);
  return geometry;
}

// Offsets of the four copies in the segment, from its capacities.
struct StateGeometry {
  std::uint64_t graph_copy[2];
  std::uint64_t motion_copy[2];
  std::uint64_t total_bytes;
};

// The capacities are at most the limits above.
constexpr StateGeometry state_geometry(std::uint64_t nodes, std::uint64_t edges,
                                       std::uint64_t constraints) {
  const std::uint64_t graph = state_graph_geometry(nodes, edges, constraints).bytes;
  const std::uint64_t motion = state_motion_geometry(nodes).bytes;
  StateGeometry geometry{};
  geometry.graph_copy[0] = sizeof(StateHeader);
  geometry.graph_copy[1] = geometry.graph_copy[0] + graph;
  geometry.motion_copy[0] = geometry.graph_copy[1] + graph;
  geometry.motion_copy[1] = geometry.motion_copy[0] + motion;
  geometry.total_bytes = geometry.motion_copy[1] + motion;
  return geometry;
}

// The commit word's parts.
constexpr std::uint64_t state_commit_word(std::uint64_t commit, std::uint64_t graph_copy,
                                          std::uint64_t motion_copy) {
  return commit << 2 | motion_copy << 1 | graph_copy;
}
constexpr std::uint64_t state_commit_number(std::uint64_t word) { return word >> 2; }
constexpr std::uint64_t state_graph_copy(std::uint64_t word) { return word & 1; }
constexpr std::uint64_t state_motion_copy(std::uint64_t word) { return word >> 1 & 1; }

}  // namespace ackbus::layout
