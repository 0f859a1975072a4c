#include "bench/floor.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "bench/clock.hpp"
#include "bench/process.hpp"

namespace ackbus::bench {
namespace {

constexpr std::uint64_t kSilenceMaxNs = 10'000'000'000;
constexpr std::uint64_t kSpinsPerClock = 1 << 16;
constexpr std::uint64_t kSendsPerTurn = 64;
constexpr std::uint64_t kTurnsPerClock = 16;
constexpr std::uint64_t kTripsPerLook = 1024;
constexpr std::uint64_t kGoesOn = 1;
constexpr std::uint64_t kEnds = 2;

// Spins until `ready`; false after ten seconds or when the user interrupts.
template <typename Ready>
bool spin_until(FloorSpin spin, Ready ready) {
  std::uint64_t started = 0;
  for (std::uint64_t round = 1; !ready(); ++round) {
    if (spin.yields) {
      sched_yield();
    }
    if (round % kSpinsPerClock == 0) {
      const std::uint64_t now = clock_ns();
      started = started == 0 ? now : started;
      if (now - started > kSilenceMaxNs || interrupted()) {
        return false;
      }
    }
  }
  return true;
}

void fill(FloorCell& cell, std::uint64_t number, std::uint64_t word) {
  for (auto& one : cell.words) {
    one.store_relaxed(word);  // relaxed because the number publishes the words
  }
  cell.number.store_release(number);  // pairs with the acquire in the other half
}

}  // namespace

FloorMapping::FloorMapping(FloorMemory* memory)
    : memory_(memory, [](FloorMemory* mapped) { munmap(mapped, sizeof(FloorMemory)); }) {}

Result<FloorMapping> FloorMapping::create() {
  void* mapped = mmap(nullptr, sizeof(FloorMemory), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (mapped == MAP_FAILED) {
    return Error{ErrorCode::kMemory,
                 std::string("cannot map memory for the floor: ") + std::strerror(errno)};
  }
  return FloorMapping(new (mapped) FloorMemory());
}

// ---- round trip ----

bool line_near(FloorMemory& memory, std::uint64_t first, std::uint64_t trips, std::uint64_t warm_up,
               FloorSpin spin, Samples& samples) {
  std::uint64_t before = clock_ns();
  for (std::uint64_t trip = 0; trip < trips; ++trip) {
    const std::uint64_t number = first + trip;
    if (number % kTripsPerLook == 0 && interrupted()) {
      return false;
    }
    memory.to_peer.number.store_release(number);  // pairs with the acquire in line_far()
    if (!spin_until(spin, [&] { return memory.to_producer.number.load_acquire() == number; })) {
      return false;
    }
    const std::uint64_t now = clock_ns();
    if (trip >= warm_up) {
      samples.add(now - before);
    }
    before = now;
  }
  return true;
}

bool line_far(FloorMemory& memory, std::uint64_t first, std::uint64_t trips, FloorSpin spin) {
  for (std::uint64_t trip = 0; trip < trips; ++trip) {
    const std::uint64_t number = first + trip;
    if (!spin_until(spin, [&] { return memory.to_peer.number.load_acquire() == number; })) {
      return false;
    }
    memory.to_producer.number.store_release(number);  // pairs with the acquire in line_near()
  }
  return true;
}

bool pipe_near(const FloorPipes& pipes, std::uint64_t trips, std::uint64_t warm_up,
               Samples& samples) {
  char byte = 1;
  std::uint64_t before = clock_ns();
  for (std::uint64_t trip = 0; trip < trips; ++trip) {
    if (interrupted() || write(pipes.to_peer[1], &byte, 1) != 1 ||
        read(pipes.to_producer[0], &byte, 1) != 1) {
      return false;
    }
    const std::uint64_t now = clock_ns();
    if (trip >= warm_up) {
      samples.add(now - before);
    }
    before = now;
  }
  return true;
}

bool pipe_far(const FloorPipes& pipes, std::uint64_t trips) {
  char byte = 0;
  for (std::uint64_t trip = 0; trip < trips; ++trip) {
    if (read(pipes.to_peer[0], &byte, 1) != 1 || write(pipes.to_producer[1], &byte, 1) != 1) {
      return false;
    }
  }
  return true;
}

// ---- throughput ----

FloorFlow flow_near(FloorMemory& memory, std::uint64_t first, std::uint64_t window, double seconds,
                    FloorSpin spin) {
  const auto until = static_cast<std::uint64_t>(seconds * 1e9);
  const std::uint64_t started = clock_ns();
  std::uint64_t sent = first;
  std::uint64_t taken = first;
  const auto take = [&] {
    const std::uint64_t before = taken;
    // pairs with the release in flow_far()
    while (taken < sent && memory.acks[taken % kFloorCells].number.load_acquire() == taken) {
      taken += 1;
    }
    return taken != before;
  };
  for (std::uint64_t turn = 1;
       turn % kTurnsPerClock != 0 || (clock_ns() - started < until && !interrupted()); ++turn) {
    for (std::uint64_t i = 0; i < kSendsPerTurn && sent - taken < window; ++i, ++sent) {
      fill(memory.messages[sent % kFloorCells], sent, kGoesOn);
    }
    if (!take() && sent - taken == window && !spin_until(spin, take)) {
      return {};
    }
  }
  if (interrupted() || !spin_until(spin, [&] { return take(), taken == sent; })) {
    return {};
  }
  const double took = static_cast<double>(clock_ns() - started) / 1e9;
  fill(memory.messages[sent % kFloorCells], sent, kEnds);
  return {sent + 1, sent - first, took};
}

std::uint64_t flow_far(FloorMemory& memory, std::uint64_t first, FloorSpin spin) {
  for (std::uint64_t number = first;; ++number) {  // Ends with the near half's last cell.
    const FloorCell& cell = memory.messages[number % kFloorCells];
    // pairs with the release in fill()
    if (!spin_until(spin, [&] { return cell.number.load_acquire() == number; })) {
      return 0;
    }
    std::uint64_t all = 0;
    for (const auto& word : cell.words) {
      all |= word.load_relaxed();  // relaxed because the number brought the words
    }
    if (all == kEnds) {
      return number + 1;
    }
    fill(memory.acks[number % kFloorCells], number, all);
  }
}

std::uint64_t clock_cost_ns() {
  constexpr std::size_t kPairs = 10'000;
  Samples samples(kPairs);
  std::uint64_t before = clock_ns();
  for (std::size_t i = 0; i < kPairs; ++i) {
    const std::uint64_t now = clock_ns();
    samples.add(now - before);
    before = now;
  }
  return samples.percentiles().p50_ns;
}

}  // namespace ackbus::bench
