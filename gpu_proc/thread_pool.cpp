#include "gpu_proc/thread_pool.hpp"

#include <algorithm>

namespace ackbus::gpu {

ThreadPool::ThreadPool(unsigned threads) {
  const unsigned wanted =
      threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency());
  workers_.reserve(wanted - 1);
  for (unsigned index = 1; index < wanted; ++index) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::take_chunks(std::size_t chunks, Function function, const void* body) {
  while (true) {  // Bounded by the number of chunks: each round takes one.
    // relaxed because the mutex around a round orders what the chunks read and write
    const std::size_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= chunks) return;
    function(body, chunk);
  }
}

void ThreadPool::run(std::size_t chunks, Function function, const void* body) {
  next_.store(0, std::memory_order_relaxed);  // relaxed because the mutex below publishes it
  const bool shared = chunks > 1 && !workers_.empty();
  if (shared) {
    const std::lock_guard lock(mutex_);
    chunks_ = chunks;
    function_ = function;
    body_ = body;
    busy_ = static_cast<unsigned>(workers_.size());
    ++round_;
    start_.notify_all();
  }
  take_chunks(chunks, function, body);
  if (!shared) return;
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return busy_ == 0; });
}

void ThreadPool::work() {
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {  // Until the destructor says stop.
    start_.wait(lock, [&] { return stopping_ || round_ != seen; });
    if (stopping_) return;
    seen = round_;
    const std::size_t chunks = chunks_;
    const Function function = function_;
    const void* body = body_;
    lock.unlock();
    take_chunks(chunks, function, body);
    lock.lock();
    if (--busy_ == 0) finished_.notify_one();
  }
}

}  // namespace ackbus::gpu
