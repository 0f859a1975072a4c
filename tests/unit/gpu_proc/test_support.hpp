// What the GPU process's unit tests share: a printed seed, random graphs, a float64 reference of
// the physics, and heap segments.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "gpu_proc/payload/build.hpp"
#include "gpu_proc/physics/graph.hpp"
#include "gpu_proc/physics/node_arrays.hpp"
#include "gpu_proc/reply.hpp"
#include "gpu_proc/segment_provider.hpp"

namespace ackbus::gpu::test {

// The seed of a random test, printed so that a failure can be repeated with ACKBUS_TEST_SEED.
inline std::uint64_t test_seed() {
  const char* given = std::getenv("ACKBUS_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("ACKBUS_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

class Random {
 public:
  Random() : generator_(test_seed()) {}
  explicit Random(std::uint64_t seed) : generator_(seed) {}
  float between(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(generator_);
  }
  std::uint32_t below(std::uint32_t limit) {
    return std::uniform_int_distribution<std::uint32_t>(0, limit - 1)(generator_);
  }
  std::mt19937_64& generator() { return generator_; }

 private:
  std::mt19937_64 generator_;
};

inline VectorArrays random_positions(Random& random, std::size_t nodes, float radius) {
  VectorArrays positions;
  positions.resize(nodes);
  for (std::size_t node = 0; node < nodes; ++node) {
    const float x = random.between(-radius, radius);
    const float y = random.between(-radius, radius);
    const float z = random.between(-radius, radius);
    positions.set(node, {x, y, z});
  }
  return positions;
}

// An upload with random motion. Ids are 7, 10, 13, ... so that they differ from places.
struct TestGraph {
  std::vector<payload::NodeRecord> nodes;
  std::vector<payload::EdgeRecord> edges;
  [[nodiscard]] payload::Bytes bytes() const { return payload::make_graph(nodes, edges); }
};

inline std::uint32_t id_of(std::size_t place) { return static_cast<std::uint32_t>(7 + 3 * place); }

inline TestGraph random_graph(Random& random, std::size_t nodes, std::size_t edges, float radius) {
  TestGraph graph;
  for (std::size_t place = 0; place < nodes; ++place) {
    payload::NodeRecord node{};
    node.id = id_of(place);
    for (float& value : node.position) value = random.between(-radius, radius);
    for (float& value : node.velocity) value = random.between(-1.0F, 1.0F);
    node.mass = random.between(0.5F, 2.0F);
    graph.nodes.push_back(node);
  }
  const auto limit = static_cast<std::uint32_t>(nodes);
  for (std::size_t edge = 0; edge < edges; ++edge) {
    const std::uint32_t source = random.below(limit);
    const std::uint32_t target = random.below(limit);
    graph.edges.push_back({id_of(source), id_of(target), random.between(0.1F, 2.0F)});
  }
  return graph;
}

// Segments on the heap, aligned to 64; fails a create when told so. Publishing frees the segment
// before, so that the address sanitizer finds whoever still uses it.
class HeapSegments final : public SegmentProvider {
 public:
  struct Freed {
    void operator()(std::byte* memory) const { ::operator delete (memory, std::align_val_t{64}); }
  };
  struct Segment {
    std::unique_ptr<std::byte, Freed> memory;
    std::size_t bytes = 0;
    [[nodiscard]] std::span<std::byte> span() const { return {memory.get(), bytes}; }
  };

  std::span<std::byte> create(SegmentRole role, std::size_t bytes) override {
    ++creates;
    if (fail_role == role) return {};
    Segment& segment = created_[index(role)];
    auto* memory = static_cast<std::byte*>(::operator new (bytes, std::align_val_t{64}));
    std::fill_n(memory, bytes, std::byte{0});
    segment.memory.reset(memory);
    segment.bytes = bytes;
    return segment.span();
  }
  void publish(SegmentRole role) override {
    ++publishes;
    published_[index(role)] = std::move(created_[index(role)]);
    created_[index(role)] = {};
  }
  [[nodiscard]] std::string failure() const override {
    return fail_role == SegmentRole::kReserved ? "" : "quota of the test is used up";
  }

  [[nodiscard]] std::span<std::byte> published(SegmentRole role) const {
    return published_[index(role)].span();
  }
  // A private copy, as a successor sees its dead predecessor's segment.
  [[nodiscard]] std::vector<std::byte> copy(SegmentRole role) const {
    const auto span = published(role);
    return {span.begin(), span.end()};
  }

  SegmentRole fail_role = SegmentRole::kReserved;
  int creates = 0;
  int publishes = 0;

 private:
  static std::size_t index(SegmentRole role) { return static_cast<std::size_t>(role); }
  Segment created_[3];
  Segment published_[3];
};

// The metadata of that name; "" when it is not there.
inline std::string metadata(const Reply& reply, const std::string& key) {
  for (const auto& [name, value] : reply.metadata) {
    if (name == key) return value;
  }
  return "";
}

// float64, written down plainly from the formulas: the reference that the f32 physics is compared
// with.
struct Double3 {
  double x = 0, y = 0, z = 0;
  Double3& operator+=(const Double3& other) {
    x += other.x;
    y += other.y;
    z += other.z;
    return *this;
  }
};
inline Double3 operator-(const Double3& left, const Double3& right) {
  return {left.x - right.x, left.y - right.y, left.z - right.z};
}
inline Double3 operator+(Double3 left, const Double3& right) { return left += right; }
inline Double3 operator*(double scale, const Double3& value) {
  return {scale * value.x, scale * value.y, scale * value.z};
}
inline double norm(const Double3& value) {
  return std::sqrt(value.x * value.x + value.y * value.y + value.z * value.z);
}
inline Double3 wide(const Vector3& value) {
  return {static_cast<double>(value.x), static_cast<double>(value.y), static_cast<double>(value.z)};
}
inline Double3 cap(const Double3& value, double limit) {
  return norm(value) > limit ? (limit / norm(value)) * value : value;
}

// Root of the mean squared error over the root of the mean squared reference.
class RelativeError {
 public:
  void add(const Double3& got, const Double3& wanted) {
    const double error = norm(got - wanted);
    error_ += error * error;
    wanted_ += norm(wanted) * norm(wanted);
  }
  [[nodiscard]] double value() const { return std::sqrt(error_ / wanted_); }

 private:
  double error_ = 0;
  double wanted_ = 0;
};

}  // namespace ackbus::gpu::test
