#include "tests/sim/kernel.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

#include "shm_layout/assert.hpp"
#include "shm_layout/cell.hpp"

// The real one: system_calls.cpp takes the product's.
extern "C" int __real_close(int descriptor);
extern "C" void* __real_mmap(void* address, size_t bytes, int protection, int flags, int descriptor,
                             off_t offset);

namespace ackbus::sim {
namespace {

constexpr std::size_t kStackBytes = 512 * 1024;
constexpr std::uint64_t kTurnNs = 30;
constexpr std::uint64_t kTurnsAloneMax = 10'000;

// Stacks are used again by later threads and runs: making one costs more than a run's turn.
std::vector<void*> free_stacks;

void* take_stack() {
  if (!free_stacks.empty()) {
    void* stack = free_stacks.back();
    free_stacks.pop_back();
    return stack;
  }
  void* stack = __real_mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  ACKBUS_ASSERT(stack != MAP_FAILED);
  ACKBUS_ASSERT(::mprotect(stack, 4096, PROT_NONE) == 0);  // An overflow ends the run, loudly.
  return stack;
}

}  // namespace

Kernel::Kernel(const KernelOptions& kernel_options)
    : options(kernel_options), random_(kernel_options.seed) {
  ACKBUS_ASSERT(current_ == nullptr);
  current_ = this;
  File::made = 0;
  layout::access_hook = &Kernel::on_access;
  layout::store_hook = &Kernel::on_store;
}

Kernel::~Kernel() {
  for (const auto& process : processes_) {
    process->before_end = nullptr;
    process->on_end = nullptr;
    if (*process->alive) {
      finish(*process, true);
    }
  }
  layout::access_hook = nullptr;
  layout::store_hook = nullptr;
  current_ = nullptr;
}

// ---- processes and threads ----

Process& Kernel::start(const std::string& name, std::function<void()> body,
                       std::function<void(bool)> on_end) {
  const SimulatorScope simulator;
  auto process = std::make_unique<Process>();
  process->pid = next_pid_++;
  process->name = name;
  process->on_end = std::move(on_end);
  Process& placed = *processes_.emplace_back(std::move(process));
  make_thread(placed, std::move(body));
  return placed;
}

void Kernel::make_thread(Process& process, std::function<void()> body) {
  auto thread = std::make_unique<Thread>();
  thread->process = &process;
  thread->body = std::move(body);
  thread->stack = take_stack();
  ACKBUS_ASSERT(::getcontext(&thread->context) == 0);
  thread->context.uc_stack.ss_sp = thread->stack;
  thread->context.uc_stack.ss_size = kStackBytes;
  thread->context.uc_link = nullptr;
  ::makecontext(&thread->context, &Kernel::enter, 0);
  process.threads.push_back(std::move(thread));
}

void Kernel::start_thread(std::function<void()> body) {
  const SimulatorScope simulator;
  make_thread(process(), std::move(body));
}

void Kernel::enter() {
  Kernel& kernel = *current_;
  Thread& self = *kernel.running_;
  try {
    self.body();
  } catch (const std::exception& thrown) {
    const SimulatorScope simulator;
    kernel.fail("uncaught in " + self.process->name + ": " + thrown.what());
  }
  heap_in_force = nullptr;
  self.over = true;
  kernel.switch_away();
  ACKBUS_ASSERT(false);
}

void Kernel::switch_away() {
  Thread& self = *running_;
  self.error_number = errno;
  Heap* const heap = std::exchange(heap_in_force, nullptr);
  ::swapcontext(&self.context, &scheduler_);
  heap_in_force = heap;
  errno = self.error_number;
}

void Kernel::resume(Thread& thread) {
  turns += 1;
  switches += last_ == &thread ? 0 : 1;
  thread.process->turns += 1;
  running_ = &thread;
  last_ = &thread;
  // A process's heap is in force unless the thread left inside a SimulatorScope: it restores its
  // own.
  heap_in_force = &thread.process->heap;
  ::swapcontext(&scheduler_, &thread.context);
  heap_in_force = nullptr;
  running_ = nullptr;
  Process& process = *thread.process;
  const bool main_over = process.threads.front()->over;
  if (*process.alive && (process.doomed || main_over)) {
    finish(process, process.doomed);
  }
}

// What the kernel does at a process's end, in its order: nothing of it runs, its memory is gone,
// its descriptors are closed, and then its pidfd says so.
void Kernel::finish(Process& process, bool killed) {
  if (process.before_end) {
    process.before_end();
  }
  for (const auto& thread : process.threads) {
    free_stacks.push_back(thread->stack);
  }
  process.threads.clear();
  process.heap.free_all();
  process.mappings.clear();
  for (const int descriptor : process.real_descriptors) {
    __real_close(descriptor);
  }
  process.real_descriptors.clear();
  auto descriptors = std::exchange(process.descriptors, {});
  descriptors.clear();
  *process.alive = false;
  if (process.on_end) {
    process.on_end(killed);
  }
}

void Kernel::kill(Process& process) {
  if (!*process.alive) {
    return;
  }
  if (running_ != nullptr && running_->process == &process) {
    die();
  }
  finish(process, true);
}

void Kernel::die() {
  running_->process->doomed = true;
  for (;;) {
    switch_away();
  }
}

Process* Kernel::find(std::uint32_t pid) {
  const auto found = std::find_if(processes_.begin(), processes_.end(),
                                  [&](const auto& process) { return process->pid == pid; });
  return found == processes_.end() ? nullptr : found->get();
}

std::string Kernel::describe() const {
  std::string text;
  for (const auto& process : processes_) {
    text += " " + process->name + "(" + std::to_string(process->pid) +
            "): " + std::to_string(process->turns) + " turns";
    for (const auto& thread : process->threads) {
      text += !thread->waits    ? ", runs"
              : thread->ready() ? ", is ready"
              : thread->wake_ns == kNever
                  ? ", waits"
                  : ", waits until " + std::to_string(thread->wake_ns / kMs) + " ms";
    }
    text += ";";
  }
  return text;
}

void Kernel::fail(const std::string& what) {
  const SimulatorScope simulator;
  if (failure_.empty()) {
    failure_ = what;
  }
}

// ---- who runs next ----

bool Kernel::can_run(const Thread& thread) const {
  if (thread.over || thread.process->stopped_until_ns > now_ns) {
    return false;
  }
  return !thread.waits || thread.wake_ns <= now_ns || thread.ready();
}

bool Kernel::run(const std::function<bool()>& done, std::uint64_t max_turns) {
  const std::uint64_t end = turns + max_turns;
  while (failure_.empty() && !done()) {
    if (turns >= end || !turn()) {
      return false;
    }
  }
  return true;
}

bool Kernel::turn() {
  while (!actions_.empty() && actions_.begin()->first <= now_ns) {
    const std::function<void()> action = std::move(actions_.begin()->second);
    actions_.erase(actions_.begin());
    action();
  }
  std::erase_if(processes_, [](const auto& process) { return !*process->alive; });
  std::vector<Thread*> able;
  for (const auto& process : processes_) {
    for (const auto& thread : process->threads) {
      if (can_run(*thread)) {
        able.push_back(thread.get());
      }
    }
  }
  if (able.empty()) {
    return let_time_pass();
  }
  now_ns += kTurnNs;
  Thread& next = *able[pick(able.size())];
  turns_alone_ = able.size() == 1 && &next == last_ ? turns_alone_ + 1 : 0;
  // A turn may be as short as one access.
  if (turns_alone_ > kTurnsAloneMax * (1 + options.switch_permille / 50)) {
    fail(next.process->name + " spins although nobody else does anything:" + describe());
  }
  resume(next);
  return true;
}

// Nobody can run: on to the next deadline, timer or action. False when there is none, ever.
bool Kernel::let_time_pass() {
  alarms.erase(alarms.begin(), alarms.upper_bound(now_ns));
  std::uint64_t next_ns = alarms.empty() ? kNever : *alarms.begin();
  if (!actions_.empty()) {
    next_ns = std::min(next_ns, actions_.begin()->first);
  }
  bool somebody_stands_still = false;
  const auto visit = [&](auto&& look) {
    for (const auto& process : processes_) {
      for (const auto& thread : process->threads) {
        look(*process, *thread);
      }
    }
  };
  visit([&](const Process& process, const Thread& thread) {
    const bool stopped = process.stopped_until_ns > now_ns;
    somebody_stands_still = somebody_stands_still || stopped;
    if (!thread.over && (stopped || thread.waits)) {
      next_ns = std::min(next_ns, stopped ? process.stopped_until_ns : thread.wake_ns);
    }
  });
  if (next_ns == kNever) {
    return false;
  }
  now_ns = std::max(now_ns, next_ns);
  last_ = nullptr;  // Whoever runs next counts as another.
  visit([&](const Process&, Thread& thread) {
    if (!somebody_stands_still && thread.waits && thread.wake_ns <= now_ns && !thread.ready()) {
      thread.alone_since = switches + 1;
    }
  });
  return true;
}

bool Kernel::wait(std::function<bool()> ready, std::uint64_t wake_ns) {
  Thread& self = *running_;
  self.process->stored = self.process->stored && self.process->threads.front().get() != &self;
  {
    const SimulatorScope simulator;
    self.ready = std::move(ready);
  }
  self.wake_ns = wake_ns;
  self.alone_since = kNever;
  self.waits = true;
  switch_away();
  self.waits = false;
  const bool is_ready = self.ready();
  const SimulatorScope simulator;
  self.ready = nullptr;
  return is_ready;
}

void Kernel::point(std::uint32_t switch_permille) {
  Process& self = process();
  if (self.accesses_to_live != kNever && kills_on) {
    if (self.accesses_to_live == 0) {
      die();
    }
    self.accesses_to_live -= 1;
  }
  if (!chance(switch_permille)) {
    return;
  }
  if (faults_on && chance(options.stop_permille)) {
    self.stopped_until_ns = now_ns + (1 + pick(400)) * kMs;
  }
  switch_away();
}

// ---- accesses to shared memory ----

bool Kernel::on_access(const void* word, bool is_store) {
  return current_->running_ == nullptr ||
         current_->access(static_cast<const std::byte*>(word), is_store);
}

bool Kernel::access(const std::byte* word, bool is_store) {
  point(options.switch_permille);
  check_access(process(), word, is_store);
  process().stored = process().stored || is_store;
  return true;
}

bool Kernel::on_store(void* word, std::uint64_t& value) {
  if (current_->running_ == nullptr || !current_->store_filter) {
    return true;
  }
  Process& self = current_->process();
  const auto next = self.mappings.upper_bound(static_cast<const std::byte*>(word));
  if (next == self.mappings.begin()) {
    return true;
  }
  const SimulatorScope simulator;
  Store store{self, std::prev(next)->second.memory->base(), static_cast<std::byte*>(word), value};
  return current_->store_filter(store);
}

// One segment, one writer: who stores has the segment mapped writable, and nobody but the daemon
// that made it does so beside its owner.
void Kernel::check_access(Process& self, const std::byte* word, bool is_store) {
  const auto next = self.mappings.upper_bound(word);
  const bool mapped = next != self.mappings.begin() &&
                      word < std::prev(next)->first + std::prev(next)->second.bytes;
  if (mapped) {
    if (is_store && std::prev(next)->second.writers == 0) {
      fail(self.name + " stored into memory that it maps read-only");
      die();
    }
    return;
  }
  for (const auto& other : processes_) {
    const auto found = other->mappings.upper_bound(word);
    if (found != other->mappings.begin() &&
        word < std::prev(found)->first + std::prev(found)->second.bytes) {
      fail(self.name + " touched memory of " + other->name + " that it has not mapped");
      die();
    }
  }
}

// ---- descriptors ----

int Kernel::open_descriptor(const FilePointer& opened) {
  const SimulatorScope simulator;
  std::map<int, FilePointer>& table = process().descriptors;
  int lowest = kFirstDescriptor;
  for (const auto& [number, file] : table) {
    if (number != lowest) {
      break;
    }
    lowest += 1;
  }
  table.emplace(lowest, opened);
  return lowest;
}

FilePointer Kernel::file(int descriptor) {
  const std::map<int, FilePointer>& table = process().descriptors;
  const auto found = table.find(descriptor);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace ackbus::sim
