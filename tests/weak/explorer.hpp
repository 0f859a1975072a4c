// An explorer of the C++11 memory model: runs a litmus test, a few threads of a few operations on
// shared words, in every way that the model allows, and says which way breaks it.
//
// The model is operational and view-based, as in Kang, Hur, Lahav, Vafeiadis, Dreyer, "A Promising
// Semantics for Relaxed-Memory Concurrency" (POPL 2017), for release, acquire and relaxed accesses
// and the fences, with the seq_cst fences of Lahav et al., "Repairing Sequential Consistency in
// C/C++11" (PLDI 2017), as far as its operational part goes: each word keeps its stores in
// modification order; a thread's view says how old a store it may still read; a release store
// carries its writer's view, an acquire load takes it over, fences do the same for the relaxed
// accesses around them; a full fence merges the view with one that all full fences share.
//
// Where the product's words are simpler than C++ the model is: every word has one writer, which is
// asserted, so its modification order is that thread's own order; there is no read-modify-write.
// Beyond the operational part: a relaxed load may foretell what another thread stores later (load
// buffering), if the test asks for it, see Options. A membarrier is a full fence that pairs with
// the light fences of the threads that registered, as the asymmetric fences of P1202 do. A
// process's end, when a test awaits it, gives its successor all it saw and did. Bytes that are no
// Cells are watched by a race detector over vector clocks: a read that no synchronisation orders
// after the write fails.
//
// Not covered: out-of-thin-air values (a foretold value is one that some execution really stored),
// dependencies (they order nothing here: weaker than any hardware), words of mixed size, consume,
// a foretold load that passes an acquire fence (the fence waits for the store that was foretold).
//
// Every execution once: a load reads the oldest store of each different value that its view allows,
// or waits for a store that comes later and then must read that one; stores and fences run as soon
// as they are reached, because that takes no choice away from anybody; only full fences take turns
// in every order. What is known of the other threads (which words they touch, how often they store)
// prunes waits that nobody could end; it is learnt in rounds until a round teaches nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/weak/site.hpp"

namespace ackbus::weak {

inline constexpr std::size_t kThreadsMax = 4;

// One world of a litmus test, made anew for every execution. Its threads run once each.
class Scenario {
 public:
  Scenario() = default;
  virtual ~Scenario() = default;
  Scenario(const Scenario&) = delete;
  Scenario& operator=(const Scenario&) = delete;
  // After all threads have ended, on plain memory.
  virtual void check() {}

  std::vector<std::function<void()>> threads;
};

struct Options {
  // Relaxed loads that may foretell a later store, in one execution.
  int foretold_max = 0;
  // How often in a row a thread may read the same store of a word while a newer one is there.
  int stale_reads_max = 1000;
  std::uint64_t executions_max = 3'000'000;
};

struct Litmus {
  std::string name;
  std::string edges;  // labels of docs/memory-model.md that it is about, such as "E1 E2"
  std::function<std::unique_ptr<Scenario>()> make;
  Options options;
};

// An ordering in the product, by the place that asks for it.
struct OrderingSite {
  std::string file;  // relative to the root of the sources
  int line = 0;
  Operation operation = Operation::kReserved;

  bool operator==(const OrderingSite&) const = default;
  auto operator<=>(const OrderingSite&) const = default;
};

struct Exploration {
  bool complete = false;  // every execution was looked at
  bool failed = false;
  std::string what;                 // what the failing execution broke
  std::vector<std::string> trace;   // its operations
  std::uint64_t executions = 0;     // that ran to their end, of the last round
  std::uint64_t abandoned = 0;      // that waited for what never came
  std::vector<OrderingSite> sites;  // orderings that were executed
};

// Runs the test with the given orderings weakened: release and acquire to relaxed, fences to
// nothing.
Exploration explore(const Litmus& litmus, const std::vector<OrderingSite>& weakened = {});
std::string trace_text(const Exploration& exploration);
const char* operation_name(Operation operation);

// ---- for scenarios ----

// Zeroed memory that every execution gets at the same addresses. All Cells lie in such memory.
std::byte* allocate(std::size_t bytes);
// For the threads: any of 0 .. count - 1; every choice is explored.
std::size_t choose(std::size_t count);
// For threads and checks: the execution fails unless the condition holds.
void require(bool condition, const std::string& what);
// For the threads: marks plain bytes as written or read here.
void plain_write(const void* bytes, std::size_t count);
void plain_read(const void* bytes, std::size_t count);
// For the threads: waits until that thread has ended, as the daemon does with a consumer's process.
void await_end(std::size_t thread);
// For the threads: a membarrier over the threads whose bits are set.
void barrier(std::uint32_t registered, const Site& site);

}  // namespace ackbus::weak
