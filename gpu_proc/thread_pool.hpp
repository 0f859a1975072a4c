// The CPU backend's threads: a fixed number, asleep on a condition variable while there is nothing
// to do. One caller at a time splits a loop into numbered chunks; the caller and the threads take
// chunks by number until all are done. Results that depend on the chunk and not on who ran it are
// the same for any number of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace ackbus::gpu {

class ThreadPool {
 public:
  // `threads` counts the caller: 1 starts none. 0 means one per processor.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Runs body(chunk) for every chunk below `chunks` and returns when all have ended. The body must
  // not throw and must not call the pool. From one thread at a time.
  template <typename Body>
  void parallel_for(std::size_t chunks, const Body& body) {
    run(chunks, &call<Body>, &body);
  }

 private:
  using Function = void (*)(const void* body, std::size_t chunk);

  template <typename Body>
  static void call(const void* body, std::size_t chunk) {
    (*static_cast<const Body*>(body))(chunk);
  }

  void run(std::size_t chunks, Function function, const void* body);
  void work();
  void take_chunks(std::size_t chunks, Function function, const void* body);

  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable finished_;
  // Under the mutex: the loop in progress. A new `round_` tells the workers to begin.
  std::uint64_t round_ = 0;
  std::size_t chunks_ = 0;
  Function function_ = nullptr;
  const void* body_ = nullptr;
  unsigned busy_ = 0;
  bool stopping_ = false;
  // The next chunk to take. Relaxed: the mutex orders the loop's data, this only hands out numbers.
  std::atomic<std::size_t> next_{0};
  std::vector<std::thread> workers_;
};

}  // namespace ackbus::gpu
