// Memory by process: whatever a simulated process allocates is freed when it is killed, without a
// destructor running, as the kernel frees a real one's. Allocations of the simulator itself, and
// everything before the first process runs, belong to nobody and live as usual. One thread.
#pragma once

namespace ackbus::sim {

class Heap {
 public:
  Heap() = default;
  ~Heap() { free_all(); }
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Everything that was allocated while this heap was in force and is still there.
  void free_all();

 private:
  friend struct HeapBlock;
  void* first_ = nullptr;
};

// The heap that operator new uses now; null: nobody's.
inline Heap* heap_in_force = nullptr;

// The simulator's own work inside a call of a process.
class SimulatorScope {
 public:
  SimulatorScope() : before_(heap_in_force) { heap_in_force = nullptr; }
  ~SimulatorScope() { heap_in_force = before_; }
  SimulatorScope(const SimulatorScope&) = delete;
  SimulatorScope& operator=(const SimulatorScope&) = delete;

 private:
  Heap* before_;
};

}  // namespace ackbus::sim
