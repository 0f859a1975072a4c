// The one thread for what takes long: taking and freeing memory by the gigabyte, writing and
// reading dead letters.
//
// Purpose: the bus thread never waits for the kernel to clear pages or for a disk. Data flow: the
// bus thread submits a job with a completion; the worker runs the job, queues the completion and
// makes completion_fd() readable; the bus thread's loop sees it and calls run_completions(), which
// runs the completions on the bus thread, in the order of the jobs. Threads: submit, release,
// run_completions and stop belong to the bus thread; jobs run on the worker thread only, one at a
// time, with all signals blocked. The number of jobs under way, from submit until the completion
// has run, is bounded.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/result.hpp"
#include "daemon/unique_fd.hpp"

namespace ackbus::daemon {

class AllocatorWorker {
 public:
  using Job = std::function<void()>;

  /// `capacity`: jobs under way at most, 1 or more. Fails when the system gives no eventfd.
  static Result<std::unique_ptr<AllocatorWorker>> create(std::size_t capacity);

  /// Runs what is still queued and joins the thread; see stop().
  ~AllocatorWorker();
  AllocatorWorker(const AllocatorWorker&) = delete;
  AllocatorWorker& operator=(const AllocatorWorker&) = delete;

  /// Queues `work` for the worker thread and `done` for the bus thread afterwards (may be empty).
  /// False, and nothing queued, when `capacity` jobs are under way or the worker was stopped: try
  /// again after run_completions().
  [[nodiscard]] bool submit(Job work, Job done);

  /// The same for a job that gives a value: `done` gets what `work` returned. `Value` needs no
  /// copy.
  template <typename Value>
  [[nodiscard]] bool submit_for(std::function<Value()> work, std::function<void(Value)> done) {
    auto value = std::make_shared<std::unique_ptr<Value>>();
    return submit([value, work = std::move(work)] { *value = std::make_unique<Value>(work()); },
                  [value, done = std::move(done)] { done(std::move(**value)); });
  }

  /// Closes descriptors on the worker thread, because giving back the memory of a large segment
  /// takes long. Closes them here when no place is free.
  void release(std::vector<UniqueFd> descriptors);

  /// Readable while completions wait. For epoll; do not read from it.
  [[nodiscard]] int completion_fd() const { return completion_fd_.get(); }

  /// Runs the completions that wait now and returns how many. What they submit is not waited for.
  std::size_t run_completions();

  /// Jobs under way: queued, running, or done with the completion not yet run.
  [[nodiscard]] std::size_t pending() const;

  /// Accepts no more, runs every queued job to its end and joins the thread: no dead letter is lost
  /// at shutdown. The completions stay for run_completions().
  void stop();

 private:
  struct Task {
    Job work;
    Job done;
  };

  AllocatorWorker(std::size_t capacity, UniqueFd completion_fd);
  void run();
  void finish(Job done);

  const std::size_t capacity_;
  const UniqueFd completion_fd_;
  mutable std::mutex mutex_;  // Protects what follows, except the thread.
  std::condition_variable work_waits_;
  std::deque<Task> queue_;
  std::vector<Job> completions_;
  std::size_t pending_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

/// Makes a segment: a memfd of `bytes` (1 or more) whose memory is really there, mode 0600, that
/// can neither shrink nor grow. For the worker thread: about 0.3 s for 1 GiB. `name` is for /proc
/// only, at most 249 characters. Errors: kInvalid, kNoMemory with the bytes needed and free,
/// kSystem.
[[nodiscard]] Result<UniqueFd> allocate_segment(const char* name, std::uint64_t bytes);

}  // namespace ackbus::daemon
