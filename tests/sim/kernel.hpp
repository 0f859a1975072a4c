// The simulated machine: processes, their threads, virtual time, and the choice of who runs next.
//
// Purpose: the product's own daemon and library run in it unchanged; their system calls end up here
// (system_calls.cpp, by the linker), and so does every access to shared memory (the hooked Cell).
// Data flow: run() picks a thread by the seed and resumes it; the thread comes back at an access or
// a call, by choice or because it waits; a process is killed, stopped or denied something there.
// The same seed gives the same run. Threads: one, the simulated ones are fibers on it.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/files.hpp"
#include "tests/sim/heap.hpp"

namespace ackbus::sim {

inline constexpr std::uint64_t kNever = UINT64_MAX;
inline constexpr std::uint64_t kMs = 1'000'000;
// Descriptors of the simulated machine begin here; smaller ones are the real machine's (the disk).
inline constexpr int kFirstDescriptor = 1 << 20;

// What a call may be denied; the permille of each is a knob of the run.
enum class Fault : std::uint8_t { kMemory, kDescriptors, kDisk, kRing };
inline constexpr std::size_t kFaults = 4;

struct Process;

// What is about to be stored to a shared word.
struct Store {
  Process& process;
  std::byte* segment = nullptr;
  std::byte* word = nullptr;
  std::uint64_t& value;  // may be changed
};

struct Thread {
  Process* process = nullptr;
  ucontext_t context{};
  void* stack = nullptr;
  std::function<void()> body;
  std::function<bool()> ready;  // while it waits
  std::uint64_t wake_ns = 0;
  bool waits = false;
  bool over = false;
  int error_number = 0;
  // Set when time had to jump to its deadline because nobody could run: Kernel::switches as it is
  // while this thread alone has run since.
  std::uint64_t alone_since = 0;
};

struct Mapping {
  std::shared_ptr<Memory> memory;
  std::uint64_t bytes = 0;
  int readers = 0;  // mappings, not processes
  int writers = 0;
};

struct Process {
  std::uint32_t pid = 0;
  std::string name;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  Heap heap;
  std::vector<std::unique_ptr<Thread>> threads;
  std::map<int, FilePointer> descriptors;
  std::set<int> real_descriptors;
  std::map<const std::byte*, Mapping> mappings;
  std::uint64_t stopped_until_ns = 0;
  std::uint64_t accesses_to_live = kNever;  // dies when they are used up
  bool doomed = false;
  bool stored = false;  // to shared memory, since its first thread last waited
  std::uint64_t turns = 0;
  bool may_be_killed_by_others = true;
  std::function<void()> before_end;  // its memory can still be looked at
  std::function<void(bool killed)> on_end;
};

struct KernelOptions {
  std::uint64_t seed = 1;
  std::uint32_t switch_permille = 50;        // at an access
  std::uint32_t call_switch_permille = 200;  // at a system call
  std::uint32_t stop_permille = 0;           // of switches: the process stands still for a while
  std::uint32_t fault_permille[kFaults] = {};
};

class Kernel {
 public:
  explicit Kernel(const KernelOptions& options);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  [[nodiscard]] static Kernel* current() { return current_; }

  // ---- the simulator's side ----
  Process& start(const std::string& name, std::function<void()> body,
                 std::function<void(bool killed)> on_end = {});
  void kill(Process& process);
  // At `at_ns`, between two turns.
  void at(std::uint64_t at_ns, std::function<void()> action) {
    actions_.emplace(at_ns, std::move(action));
  }
  void after(std::uint64_t ns, std::function<void()> action) { at(now_ns + ns, std::move(action)); }
  // Until `done`, a failure, or `max_turns`; false in the last case.
  bool run(const std::function<bool()>& done, std::uint64_t max_turns);
  void fail(const std::string& what);
  [[nodiscard]] const std::string& failure() const { return failure_; }
  // Who there is and what each does, for a person who looks at a run that does not end.
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] Process* find(std::uint32_t pid);
  [[nodiscard]] bool chance(std::uint32_t permille) { return permille > pick(1000); }
  // 0 to `count` - 1.
  [[nodiscard]] std::uint64_t pick(std::uint64_t count) { return random_() % count; }

  // ---- the side of a process's calls; only while one runs ----
  [[nodiscard]] static bool in_process() { return current_ != nullptr && current_->running_; }
  [[nodiscard]] Process& process() { return *running_->process; }
  [[nodiscard]] Thread& thread() { return *running_; }
  void start_thread(std::function<void()> body);
  // Waits until `ready` or the time; false when it was the time.
  bool wait(std::function<bool()> ready, std::uint64_t wake_ns);
  void pause_until(std::uint64_t wake_ns) {
    wait([] { return false; }, wake_ns);
  }
  // Ends the running process at once, as SIGKILL does.
  [[noreturn]] void die();
  // A point where others may run, or where this process dies.
  void point(std::uint32_t switch_permille);
  void call_point() { point(options.call_switch_permille); }
  [[nodiscard]] bool fault(Fault kind) {
    return faults_on && chance(options.fault_permille[static_cast<std::size_t>(kind)]);
  }
  // True when this call woke by its deadline, nobody could run then and nobody has run since: what
  // it finds now was there while it slept.
  void forget_sleep() { running_->alone_since = kNever; }
  [[nodiscard]] bool slept_alone() const { return running_->alone_since == switches; }

  int open_descriptor(const FilePointer& file);
  [[nodiscard]] FilePointer file(int descriptor);

  KernelOptions options;
  std::uint64_t now_ns = 1'000'000 * kMs;
  std::uint64_t turns = 0;
  std::uint64_t switches = 0;      // turns of another thread than the one before
  std::set<std::uint64_t> alarms;  // when a timer becomes readable
  std::map<std::string, std::weak_ptr<Listener>> listeners;
  std::map<std::string, std::vector<FilePointer>> kept;  // the service manager's store
  bool faults_on = true;
  bool kills_on = true;
  // ---- planted bugs (canary.hpp) ----
  // Asked before a store to shared memory; false: the store is lost.
  std::function<bool(Store&)> store_filter;
  // Asked before some calls; false: the caller is told that it was done, and it was not. The file
  // is null for a call that has none.
  std::function<bool(std::string_view call, const File* file)> call_filter;
  [[nodiscard]] bool lost(std::string_view call, const File* file = nullptr) const {
    return call_filter && !call_filter(call, file);
  }

 private:
  static bool on_access(const void* word, bool is_store);
  static bool on_store(void* word, std::uint64_t& value);
  bool access(const std::byte* word, bool is_store);
  void check_access(Process& process, const std::byte* word, bool is_store);
  static void enter();
  void make_thread(Process& process, std::function<void()> body);
  void switch_away();
  void resume(Thread& thread);
  void finish(Process& process, bool killed);
  bool turn();
  [[nodiscard]] bool can_run(const Thread& thread) const;
  bool let_time_pass();

  inline static Kernel* current_ = nullptr;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::multimap<std::uint64_t, std::function<void()>> actions_;
  ucontext_t scheduler_{};
  Thread* running_ = nullptr;
  std::uint64_t turns_alone_ = 0;  // in a row, of a thread beside which nobody could run
  Thread* last_ = nullptr;         // to run; for comparing only
  std::uint32_t next_pid_ = 100;
  std::string failure_;
};

}  // namespace ackbus::sim
