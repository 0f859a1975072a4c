// The six payload formats, byte for byte as FORMAT.md describes them: a 64-byte header, then the
// arrays that its offsets name. Little-endian, natural alignment, no hidden padding. Data flow: a
// producer fills them (build.hpp), the GPU process copies and checks them (validate.hpp). Plain
// data, no verbs, depends on nothing else of the GPU process.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "gpu_proc/payload/kinds.hpp"

namespace ackbus::gpu::payload {

static_assert(std::endian::native == std::endian::little, "payloads are little-endian in memory");

inline constexpr std::uint32_t kMagic = 0x4C504241;  // The bytes 'A' 'B' 'P' 'L'.
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kHeaderBytes = 64;
inline constexpr std::size_t kArrayAlignment = 4;  // Every array offset is a multiple of this.

// Limits. What exceeds them is refused before anything is allocated.
inline constexpr std::uint64_t kMaxNodes = 10'000'000;
inline constexpr std::uint64_t kMaxEdges = 100'000'000;
inline constexpr std::uint64_t kMaxConstraints = 10'000'000;
inline constexpr std::uint32_t kMaxParameters = 64;
inline constexpr std::uint32_t kMaxSteps = 100'000;
inline constexpr float kMaxPosition = 1.0e5F;   // |p| beyond it counts as diverged.
inline constexpr float kMaxVelocity = 1000.0F;  // |v| beyond it counts as diverged.

// The first 16 bytes of every header.
struct Prefix {
  std::uint32_t magic;        // kMagic
  std::uint16_t version;      // kVersion
  std::uint16_t kind;         // Kind
  std::uint64_t total_bytes;  // Header and arrays: the payload's whole length.
};

// A parameter by number: an f32 or a u32 in `bits`, as settings.hpp's table says.
struct ParameterRecord {
  std::uint32_t id;
  std::uint32_t bits;
};

struct InitializeHeader {
  Prefix prefix;
  std::int32_t device_ordinal;  // -1: whichever there is.
  std::uint32_t parameter_count;
  std::uint64_t node_capacity;
  std::uint64_t edge_capacity;
  std::uint64_t
      parameters_offset;  // ParameterRecord[parameter_count]; what is not named takes its default.
  std::uint8_t reserved[16];  // 0
};

inline constexpr std::uint32_t kNodePinned = 1;  // Flag bit 0: the node keeps its position.

struct NodeRecord {
  std::uint32_t id;
  float position[3];
  float velocity[3];
  float mass;  // Above 0.
  std::uint32_t flags;
};

// An undirected edge between two node ids. A self-loop is accepted and pulls nowhere.
struct EdgeRecord {
  std::uint32_t source;
  std::uint32_t target;
  float weight;
};

struct GraphHeader {
  Prefix prefix;
  std::uint64_t node_count;
  std::uint64_t edge_count;
  std::uint64_t nodes_offset;  // NodeRecord[node_count]
  std::uint64_t edges_offset;  // EdgeRecord[edge_count]
  std::uint8_t reserved[16];   // 0
};

enum class ConstraintKind : std::int32_t {
  kFixedPosition =
      0,  // The one enumeration where 0 is valid: the numbers are the reference system's.
  kSeparation = 1,
  kAlignmentX = 2,
  kAlignmentY = 3,
  kAlignmentZ = 4,
  kClustering = 5,
  kBoundary = 6,
  kDistance = 7,
  kRadialDistance = 8,
  kLayerDepth = 9,
};
inline constexpr std::int32_t kConstraintKinds = 10;
inline constexpr std::int32_t kConstraintNodes = 4;
inline constexpr std::size_t kGroupParameter =
    7;  // Clustering: a group number above 0 joins records.

struct ConstraintRecord {
  std::int32_t kind;
  std::int32_t count;                   // How many of node[] are used, 1 to 4.
  std::int32_t node[kConstraintNodes];  // Places in the uploaded node array, 0 to n - 1.
  float params[8];
  float weight;
  std::int32_t activation_frame;  // The step from which the constraint ramps up.
};

// The weight that a constraint of this kind has unless its producer chooses another.
constexpr float default_weight(ConstraintKind kind) {
  constexpr float kWeights[kConstraintKinds] = {1.0F, 0.8F, 0.6F, 0.6F, 0.6F,
                                                0.7F, 0.9F, 0.8F, 0.6F, 0.6F};
  return kWeights[static_cast<std::size_t>(kind)];
}

struct ConstraintsHeader {
  Prefix prefix;
  std::uint64_t constraint_count;    // 0 clears the set.
  std::uint64_t constraints_offset;  // ConstraintRecord[constraint_count]
  std::uint8_t reserved[32];         // 0
};

struct ComputeHeader {
  Prefix prefix;
  std::uint32_t steps;  // 1 to kMaxSteps
  std::uint32_t parameter_count;
  std::uint64_t parameters_offset;  // ParameterRecord[parameter_count]: changes, kept from then on.
  std::uint8_t reserved[32];        // 0
};

struct MovedNodeRecord {
  std::uint32_t id;
  float position[3];
  float velocity[3];
};

struct PositionsHeader {
  Prefix prefix;
  std::uint64_t node_count;
  std::uint64_t nodes_offset;  // MovedNodeRecord[node_count]
  std::uint8_t reserved[32];   // 0
};

inline constexpr std::uint32_t kSharePositions = 1;
inline constexpr std::uint32_t kShareVelocities = 2;
inline constexpr std::uint32_t kAnyUid = 0xFFFFFFFF;

struct SharedContextHeader {
  Prefix prefix;
  std::uint32_t buffers;        // kSharePositions, kShareVelocities or both.
  std::uint32_t recipient_uid;  // For whom; kAnyUid for whoever may attach to the bus.
  std::uint8_t reserved[40];    // 0
};

// Layout block: sizes and offsets are the format.
template <typename T, std::size_t kBytes>
inline constexpr bool kIsFormat =
    sizeof(T) == kBytes&& std::is_standard_layout_v<T>&& std::is_trivially_copyable_v<T>;
static_assert(kIsFormat<Prefix, 16> && alignof(Prefix) == 8);
static_assert(std::has_unique_object_representations_v<Prefix>);
static_assert(offsetof(Prefix, version) == 4 && offsetof(Prefix, kind) == 6);
static_assert(offsetof(Prefix, total_bytes) == 8);
static_assert(kIsFormat<ParameterRecord, 8> && offsetof(ParameterRecord, bits) == 4);
static_assert(kIsFormat<InitializeHeader, kHeaderBytes>);
static_assert(std::has_unique_object_representations_v<InitializeHeader>);
static_assert(offsetof(InitializeHeader, device_ordinal) == 16);
static_assert(offsetof(InitializeHeader, parameter_count) == 20);
static_assert(offsetof(InitializeHeader, node_capacity) == 24);
static_assert(offsetof(InitializeHeader, edge_capacity) == 32);
static_assert(offsetof(InitializeHeader, parameters_offset) == 40);
static_assert(offsetof(InitializeHeader, reserved) == 48);
static_assert(kIsFormat<GraphHeader, kHeaderBytes>);
static_assert(std::has_unique_object_representations_v<GraphHeader>);
static_assert(offsetof(GraphHeader, node_count) == 16 && offsetof(GraphHeader, edge_count) == 24);
static_assert(offsetof(GraphHeader, nodes_offset) == 32);
static_assert(offsetof(GraphHeader, edges_offset) == 40 && offsetof(GraphHeader, reserved) == 48);
static_assert(kIsFormat<NodeRecord, 36> && alignof(NodeRecord) == 4);
static_assert(offsetof(NodeRecord, position) == 4 && offsetof(NodeRecord, velocity) == 16);
static_assert(offsetof(NodeRecord, mass) == 28 && offsetof(NodeRecord, flags) == 32);
static_assert(kIsFormat<EdgeRecord, 12> && offsetof(EdgeRecord, target) == 4);
static_assert(offsetof(EdgeRecord, weight) == 8);
static_assert(kIsFormat<ConstraintsHeader, kHeaderBytes>);
static_assert(std::has_unique_object_representations_v<ConstraintsHeader>);
static_assert(offsetof(ConstraintsHeader, constraint_count) == 16);
static_assert(offsetof(ConstraintsHeader, constraints_offset) == 24);
static_assert(offsetof(ConstraintsHeader, reserved) == 32);
static_assert(kIsFormat<ConstraintRecord, 64> && alignof(ConstraintRecord) == 4);
static_assert(offsetof(ConstraintRecord, count) == 4 && offsetof(ConstraintRecord, node) == 8);
static_assert(offsetof(ConstraintRecord, params) == 24 && offsetof(ConstraintRecord, weight) == 56);
static_assert(offsetof(ConstraintRecord, activation_frame) == 60);
static_assert(kIsFormat<ComputeHeader, kHeaderBytes>);
static_assert(std::has_unique_object_representations_v<ComputeHeader>);
static_assert(offsetof(ComputeHeader, steps) == 16 &&
              offsetof(ComputeHeader, parameter_count) == 20);
static_assert(offsetof(ComputeHeader, parameters_offset) == 24);
static_assert(offsetof(ComputeHeader, reserved) == 32);
static_assert(kIsFormat<PositionsHeader, kHeaderBytes>);
static_assert(std::has_unique_object_representations_v<PositionsHeader>);
static_assert(offsetof(PositionsHeader, node_count) == 16);
static_assert(offsetof(PositionsHeader, nodes_offset) == 24);
static_assert(offsetof(PositionsHeader, reserved) == 32);
static_assert(kIsFormat<MovedNodeRecord, 28> && alignof(MovedNodeRecord) == 4);
static_assert(offsetof(MovedNodeRecord, position) == 4 &&
              offsetof(MovedNodeRecord, velocity) == 16);
static_assert(kIsFormat<SharedContextHeader, kHeaderBytes>);
static_assert(std::has_unique_object_representations_v<SharedContextHeader>);
static_assert(offsetof(SharedContextHeader, buffers) == 16);
static_assert(offsetof(SharedContextHeader, recipient_uid) == 20);
static_assert(offsetof(SharedContextHeader, reserved) == 24);

}  // namespace ackbus::gpu::payload
