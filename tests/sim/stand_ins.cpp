// What the product takes from elsewhere than from system calls, as the simulated machine has it:
// the daemon's worker is a thread of the simulator, the service manager's store is a table, the
// clock is virtual, and memory is there. Each implements the product's own header; the product's
// source of the same name is not linked.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "daemon/allocator_worker.hpp"
#include "daemon/descriptor_closer.hpp"
#include "daemon/fd_store.hpp"
#include "libclient/src/hot_clock.hpp"
#include "machine/available_memory.hpp"
#include "shm_layout/assert.hpp"
#include "tests/sim/kernel.hpp"

namespace ackbus {

// ---- libclient/src/hot_clock.cpp ----

bool HotClock::counter_is_trusted() { return false; }
std::uint64_t HotClock::ask_system() { return ackbus::now_ns(); }

// ---- machine/available_memory.cpp ----

std::uint64_t machine::available_memory_bytes() { return UINT64_MAX; }

namespace daemon {

// ---- daemon/allocator_worker.cpp ----

Result<std::unique_ptr<AllocatorWorker>> AllocatorWorker::create(std::size_t capacity) {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) {
    return system_error("worker thread: no eventfd", errno);
  }
  std::unique_ptr<AllocatorWorker> worker(new AllocatorWorker(capacity, std::move(fd)));
  sim::Kernel::current()->start_thread([raw = worker.get()] { raw->run(); });
  return worker;
}

AllocatorWorker::AllocatorWorker(std::size_t capacity, UniqueFd completion_fd)
    : capacity_(capacity), completion_fd_(std::move(completion_fd)) {}

AllocatorWorker::~AllocatorWorker() { stop(); }

bool AllocatorWorker::submit(Job work, Job done) {
  if (stopping_ || pending_ == capacity_) {
    return false;
  }
  pending_ += 1;
  queue_.push_back({std::move(work), std::move(done)});
  return true;
}

void AllocatorWorker::release(std::vector<UniqueFd> descriptors) {
  auto held = std::make_shared<std::vector<UniqueFd>>(std::move(descriptors));
  if (!submit([held] { held->clear(); }, nullptr)) {
    held->clear();
  }
}

std::size_t AllocatorWorker::run_completions() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(completion_fd_.get(), &count, sizeof count);
  const std::vector<Job> completions = std::exchange(completions_, {});
  for (const Job& done : completions) {
    pending_ -= 1;
    if (done) {
      done();
    }
  }
  return completions.size();
}

std::size_t AllocatorWorker::pending() const { return pending_; }

// A Bus whose open() failed ends in its own process, with whatever is queued done first.
void AllocatorWorker::stop() {
  stopping_ = true;
  while (!queue_.empty()) {
    Task task = std::move(queue_.front());
    queue_.pop_front();
    task.work();
    finish(std::move(task.done));
  }
}

void AllocatorWorker::run() {
  for (;;) {
    sim::Kernel::current()->wait([this] { return !queue_.empty(); }, sim::kNever);
    Task task = std::move(queue_.front());
    queue_.pop_front();
    task.work();
    finish(std::move(task.done));
  }
}

void AllocatorWorker::finish(Job done) {
  completions_.push_back(std::move(done));
  const std::uint64_t one = 1;
  ACKBUS_ASSERT(::write(completion_fd_.get(), &one, sizeof one) == sizeof one);
}

// ---- daemon/descriptor_closer.cpp: closing never waits here ----

DescriptorCloser::DescriptorCloser() = default;
DescriptorCloser::~DescriptorCloser() = default;
void DescriptorCloser::close(UniqueFd descriptor) { descriptor.reset(); }
void DescriptorCloser::close(std::vector<UniqueFd> descriptors) { descriptors.clear(); }

// ---- daemon/fd_store.cpp: the protocol is systemd's, and tests/process has it ----

FdStore::FdStore() : available_(true) {}

void FdStore::adopt(const NamedFds&) {}

Result<void> FdStore::put(const std::string& name, std::span<const int> fds) {
  sim::Kernel& kernel = *sim::Kernel::current();
  kernel.call_point();
  const sim::SimulatorScope simulator;
  for (const int fd : fds) {
    kernel.kept[name].push_back(kernel.file(fd));
  }
  return {};
}

Result<void> FdStore::remove(const std::string& name) {
  sim::Kernel& kernel = *sim::Kernel::current();
  kernel.call_point();
  const sim::SimulatorScope simulator;
  const auto found = kernel.kept.find(name);
  if (found == kernel.kept.end() || kernel.lost("remove", found->second.front().get())) {
    return {};
  }
  kernel.kept.erase(found);
  return {};
}

NamedFds FdStore::take_all() {
  sim::Kernel& kernel = *sim::Kernel::current();
  NamedFds taken;
  for (const auto& [name, files] : kernel.kept) {
    for (const sim::FilePointer& file : files) {
      taken[name].emplace_back(kernel.open_descriptor(file));
    }
  }
  return taken;
}

}  // namespace daemon
}  // namespace ackbus
