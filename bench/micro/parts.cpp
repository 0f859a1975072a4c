// What a message needs beside the link's two halves: its id, the time, an answer's text, the place
// of a latency in the histogram, and the checksum of a segment. One thread, no shared memory.
#include <benchmark/benchmark.h>

#include <ackbus/message_id.hpp>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "libclient/src/ack_text.hpp"
#include "libclient/src/clock.hpp"
#include "libclient/src/hot_clock.hpp"
#include "shm_layout/ack.hpp"
#include "shm_layout/checksum.hpp"

namespace ackbus::bench {
namespace {

void create_message_id(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    MessageId id = MessageId::create();
    benchmark::DoNotOptimize(id);
  }
}

void read_hot_clock(benchmark::State& state) {
  HotClock clock;
  for ([[maybe_unused]] auto _ : state) {
    std::uint64_t now = clock.now_ns();
    benchmark::DoNotOptimize(now);
  }
}

void read_system_clock(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    std::uint64_t now = now_ns();
    benchmark::DoNotOptimize(now);
  }
}

// What an answer of the GPU process looks like: a short text and three figures.
const std::string kText = "two edges name unknown nodes and were ignored";
const Metadata kMetadata = {{"nodes", "1138"}, {"edges", "1458"}, {"processing_time_us", "512"}};

void write_answer_text(benchmark::State& state) {
  const auto words = std::make_unique<layout::AckText>();
  for ([[maybe_unused]] auto _ : state) {
    AckTextWritten written = write_ack_text(*words, kText, kMetadata);
    benchmark::DoNotOptimize(written);
    benchmark::ClobberMemory();
  }
}

void read_answer_text(benchmark::State& state) {
  const auto words = std::make_unique<layout::AckText>();
  const AckTextWritten written = write_ack_text(*words, kText, kMetadata);
  for ([[maybe_unused]] auto _ : state) {
    std::string text;  // New each time, as in an outcome.
    Metadata metadata;
    read_ack_text(*words, written.lengths, text, metadata);
    benchmark::DoNotOptimize(text.data());
    benchmark::DoNotOptimize(metadata.data());
  }
}

void find_latency_bucket(benchmark::State& state) {
  constexpr std::size_t kLatencies = 1024;  // a power of two
  std::mt19937_64 random(1);
  std::array<std::uint64_t, kLatencies> latencies{};
  for (std::uint64_t& latency_ns : latencies) {
    latency_ns = random() >> (random() % 60);  // From nanoseconds to years, each magnitude alike.
  }
  std::size_t next = 0;
  for ([[maybe_unused]] auto _ : state) {
    std::size_t bucket = layout::latency_bucket(latencies[next]);
    next = (next + 1) % kLatencies;
    benchmark::DoNotOptimize(bucket);
  }
}

void compute_checksum(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{7});
  for ([[maybe_unused]] auto _ : state) {
    layout::Checksum sum;
    sum.add(bytes.data(), bytes.size());
    std::uint64_t value = sum.value();
    benchmark::DoNotOptimize(value);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

BENCHMARK(create_message_id);
BENCHMARK(read_hot_clock);
BENCHMARK(read_system_clock);
BENCHMARK(write_answer_text);
BENCHMARK(read_answer_text);
BENCHMARK(find_latency_bucket);
BENCHMARK(compute_checksum)->Arg(64)->Arg(4096)->Arg(1 << 20);

}  // namespace
}  // namespace ackbus::bench
