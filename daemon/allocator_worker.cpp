#include "daemon/allocator_worker.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "machine/available_memory.hpp"
#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{64} << 20;
constexpr int kMaxInterruptions = 1000;

/// Blocks every signal in the calling thread while it lives, so that a thread started meanwhile
/// never takes one.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ACKBUS_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before_) == 0);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

Error out_of_memory(const char* name, std::uint64_t needed_bytes, std::uint64_t free_bytes) {
  return {ErrorCode::kNoMemory, "segment " + std::string(name) + ": " +
                                    std::to_string(needed_bytes) + " bytes needed, " +
                                    std::to_string(free_bytes) +
                                    " bytes free: ask for a smaller arena or end something else"};
}

/// Takes the memory piece by piece, each only after looking whether it is there, because the kernel
/// would not refuse it.
Result<void> take_memory(int fd, const char* name, std::uint64_t bytes) {
  if (const std::uint64_t free = machine::available_memory_bytes(); free < bytes) {
    return out_of_memory(name, bytes, free);
  }
  for (std::uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
    const std::uint64_t piece = std::min(kPieceBytes, bytes - offset);
    if (const std::uint64_t free = machine::available_memory_bytes(); free < piece) {
      return out_of_memory(name, bytes, offset + free);
    }
    int reason = EINTR;
    for (int attempt = 0; reason == EINTR && attempt < kMaxInterruptions; ++attempt) {
      reason = posix_fallocate(fd, static_cast<off_t>(offset), static_cast<off_t>(piece));
    }
    if (reason == ENOSPC || reason == ENOMEM) {
      return out_of_memory(name, bytes,
                           offset + std::min(piece, machine::available_memory_bytes()));
    }
    if (reason != 0) {
      return system_error("segment " + std::string(name) + ": memory cannot be taken", reason);
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<AllocatorWorker>> AllocatorWorker::create(std::size_t capacity) {
  ACKBUS_ASSERT(capacity >= 1);
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) {
    return system_error("worker thread: no eventfd", errno);
  }
  std::unique_ptr<AllocatorWorker> worker(new AllocatorWorker(capacity, std::move(fd)));
  const SignalsBlocked while_the_thread_starts;
  worker->thread_ = std::thread([raw = worker.get()] { raw->run(); });
  return worker;
}

AllocatorWorker::AllocatorWorker(std::size_t capacity, UniqueFd completion_fd)
    : capacity_(capacity), completion_fd_(std::move(completion_fd)) {}

AllocatorWorker::~AllocatorWorker() { stop(); }

bool AllocatorWorker::submit(Job work, Job done) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || pending_ == capacity_) {
      return false;
    }
    ++pending_;
    queue_.push_back({std::move(work), std::move(done)});
  }
  work_waits_.notify_one();
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
  // EAGAIN only says that nothing waits; the list below decides.
  [[maybe_unused]] const ssize_t got = ::read(completion_fd_.get(), &count, sizeof count);
  std::vector<Job> ready;
  {
    const std::lock_guard lock(mutex_);
    ready.swap(completions_);
    pending_ -= ready.size();
  }
  for (const Job& done : ready) {
    if (done) {
      done();
    }
  }
  return ready.size();
}

std::size_t AllocatorWorker::pending() const {
  const std::lock_guard lock(mutex_);
  return pending_;
}

void AllocatorWorker::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_waits_.notify_one();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void AllocatorWorker::run() {
  for (;;) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      work_waits_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) {
        return;
      }
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task.work();
    task.work = nullptr;  // What the job held goes here, not on the bus thread.
    finish(std::move(task.done));
  }
}

void AllocatorWorker::finish(Job done) {
  {
    const std::lock_guard lock(mutex_);
    completions_.push_back(std::move(done));
  }
  const std::uint64_t one = 1;
  // The eventfd cannot overflow: it counts at most the jobs under way.
  ACKBUS_ASSERT(::write(completion_fd_.get(), &one, sizeof one) == sizeof one);
}

Result<UniqueFd> allocate_segment(const char* name, std::uint64_t bytes) {
  if (bytes == 0 || bytes > static_cast<std::uint64_t>(INT64_MAX)) {
    return {ErrorCode::kInvalid, "segment " + std::string(name) + ": " + std::to_string(bytes) +
                                     " bytes is no size: ask for 1 byte to 8 EiB"};
  }
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) {
    return system_error("segment " + std::string(name) + ": no memfd", errno);
  }
  if (fchmod(fd.get(), 0600) != 0) {
    return system_error("segment " + std::string(name) + ": mode cannot be set", errno);
  }
  if (auto taken = take_memory(fd.get(), name, bytes); !taken) {
    return taken.error();
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return system_error("segment " + std::string(name) + ": cannot be sealed", errno);
  }
  return fd;
}

}  // namespace ackbus::daemon
