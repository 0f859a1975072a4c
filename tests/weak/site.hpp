// What the instrumented door (hooked/shm_layout/cell.hpp) says to the model: an operation, and the
// place in the sources that asked for it.
#pragma once

#include <cstdint>

namespace ackbus::weak {

enum class Operation : std::uint8_t {
  kReserved = 0,
  kLoadAcquire = 1,
  kLoadRelaxed = 2,
  kStoreRelease = 3,
  kStoreRelaxed = 4,
  kFenceAcquire = 5,
  kFenceRelease = 6,
  kFenceFull = 7,
  kBarrier = 8,     // membarrier, by the daemon
  kFenceLight = 9,  // where a membarrier finds the threads that registered
};

struct Site {
  const char* file = nullptr;
  int line = 0;
  Operation operation = Operation::kReserved;
};

// True while a thread of a litmus test runs; otherwise the door gives plain memory.
inline bool modelled = false;

// `now` is what the word holds in memory, the newest store of all.
std::uint64_t model_load(const void* word, std::uint64_t now, const Site& site);
void model_store(const void* word, std::uint64_t before, std::uint64_t value, const Site& site);
void model_fence(const Site& site);

}  // namespace ackbus::weak
