#include "daemon/allocator_worker.hpp"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

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

}  // namespace ackbus::daemon
