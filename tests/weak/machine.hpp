// The state of one execution of a litmus test: what each thread may still see, and which stores
// each shared word has had. Pure state and the rules of the model; who runs and what a load reads
// is decided by the explorer (explorer.cpp).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/weak/explorer.hpp"

namespace ackbus::weak {

inline constexpr std::size_t kWordsMax = 192;  // shared by two threads and stored by one

// Per word, the oldest store that may still be read.
struct View {
  std::array<std::uint8_t, kWordsMax> at{};
  void join(const View& other) {
    for (std::size_t i = 0; i < kWordsMax; ++i) {
      at[i] = std::max(at[i], other.at[i]);
    }
  }
};

// Per thread, the last of its events that happens before.
struct Clock {
  std::array<std::uint32_t, kThreadsMax> at{};
  void join(const Clock& other) {
    for (std::size_t i = 0; i < kThreadsMax; ++i) {
      at[i] = std::max(at[i], other.at[i]);
    }
  }
};

// What a synchronisation hands over.
struct Sight {
  View view;
  Clock clock;
  void join(const Sight& other) {
    view.join(other.view);
    clock.join(other.clock);
  }
};

struct Store {
  std::uint64_t value = 0;
  Sight carried;  // for who acquires it
};

struct Word {
  std::vector<Store> stores;  // in modification order; the first is what was there before
  int writer = -1;
};

struct ThreadState {
  Sight current;
  Sight acquired;       // what an acquire fence would make visible
  Sight released;       // what a release fence has made ready to be carried by relaxed stores
  View at_light_fence;  // seen at the last light fence: for the membarriers to come
  View barriers;        // what membarriers that reach this thread have seen
};

struct PlainAccess {
  const std::byte* begin;
  const std::byte* end;
  std::size_t thread;
  std::uint32_t event;
  bool is_write;
};

class Machine {
 public:
  void reset(std::size_t threads, std::size_t words) {
    threads_.assign(threads, ThreadState{});
    words_.resize(std::max(words_.size(), words));
    for (Word& word : words_) {
      word.stores.clear();
      word.writer = -1;
    }
    plain_.clear();
    full_ = View{};
  }
  [[nodiscard]] ThreadState& thread(std::size_t index) { return threads_[index]; }
  // A word with its first value, which every thread has seen.
  Word& word(std::size_t index, std::uint64_t initial) {
    Word& word = words_[index];
    if (word.stores.empty()) {
      word.stores.push_back({initial, {}});
    }
    return word;
  }
  [[nodiscard]] Word& word(std::size_t index) { return words_[index]; }

  std::uint32_t tick(std::size_t thread) { return threads_[thread].current.clock.at[thread] += 1; }
  void take_store(std::size_t thread, std::size_t word, std::size_t store, bool acquire) {
    ThreadState& self = threads_[thread];
    const auto stamp = static_cast<std::uint8_t>(store);
    self.current.view.at[word] = std::max(self.current.view.at[word], stamp);
    const Sight& carried = words_[word].stores[store].carried;
    self.acquired.join(carried);
    if (acquire) {
      self.current.join(carried);
    }
  }
  void add_store(std::size_t thread, std::size_t word, std::uint64_t value, bool release) {
    ThreadState& self = threads_[thread];
    Word& target = words_[word];
    self.current.view.at[word] = static_cast<std::uint8_t>(target.stores.size());
    target.stores.push_back({value, release ? self.current : self.released});
  }
  void fence_acquire(std::size_t thread) {
    threads_[thread].current.join(threads_[thread].acquired);
  }
  void fence_release(std::size_t thread) { threads_[thread].released = threads_[thread].current; }
  void fence_full(std::size_t thread) {
    fence_acquire(thread);
    full_.join(threads_[thread].current.view);
    threads_[thread].current.view = full_;
    fence_release(thread);
  }
  // A light fence is a full one as far as membarriers go, and none among its like: what it had seen
  // is for the barriers to come, what barriers had seen is its own from here on.
  void fence_light(std::size_t thread) {
    ThreadState& self = threads_[thread];
    self.current.view.join(self.barriers);
    self.at_light_fence = self.current.view;
    self.at_light_fence.join(self.acquired.view);
  }
  // To be called between two full fences of the caller, or after one.
  void barrier(std::size_t thread, std::uint32_t registered) {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if ((registered >> i & 1U) != 0) {
        threads_[thread].current.view.join(threads_[i].at_light_fence);
      }
    }
    fence_full(thread);
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if ((registered >> i & 1U) != 0) {
        threads_[i].barriers.join(threads_[thread].current.view);
      }
    }
  }
  void join_thread(std::size_t thread, std::size_t ended) {
    threads_[ended].current.join(threads_[ended].acquired);
    threads_[thread].current.join(threads_[ended].current);
  }

  // The access that races with this one, if any; records it.
  const PlainAccess* plain(std::size_t thread, const std::byte* begin, std::size_t bytes,
                           bool is_write) {
    const std::byte* end = begin + bytes;
    for (const PlainAccess& other : plain_) {
      const bool overlap = other.begin < end && begin < other.end;
      if (overlap && other.thread != thread && (is_write || other.is_write) &&
          threads_[thread].current.clock.at[other.thread] < other.event) {
        return &other;
      }
    }
    plain_.push_back({begin, end, thread, tick(thread), is_write});
    return nullptr;
  }

 private:
  std::vector<ThreadState> threads_;
  std::vector<Word> words_;
  std::vector<PlainAccess> plain_;
  View full_;
};

}  // namespace ackbus::weak
