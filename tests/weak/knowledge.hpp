// What one round of exploration teaches the next about a litmus test: which words several threads
// touch, how often each is stored and with which values, how many fences each thread executes. Only
// what stands fixed during a round is asked, so that a round can be replayed choice by choice; what
// is learnt meanwhile is for the next one.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tests/weak/explorer.hpp"

namespace ackbus::weak {

struct WordFacts {
  std::uint32_t touched_by = 0;  // a bit per thread
  std::uint32_t stored_by = 0;
  std::uint32_t stores_max = 0;  // in one execution
  std::vector<std::uint64_t> values;

  [[nodiscard]] bool shared() const { return std::popcount(touched_by) > 1 && stored_by != 0; }
};

struct ThreadFacts {
  std::uint32_t full_fences_max = 0;  // membarriers included
  std::uint32_t barriers_max = 0;
  bool registered = false;  // some membarrier reaches it
};

class Knowledge {
 public:
  static constexpr std::size_t kPrivate = SIZE_MAX;

  // Begins a round with everything learnt so far. False when the round before taught nothing.
  bool begin_round() {
    const bool grown = grown_ || rounds_ == 0;
    grown_ = false;
    shares_more_ = false;
    rounds_ += 1;
    fixed_ = learnt_;
    fixed_threads_ = learnt_threads_;
    shared_index_.assign(fixed_.size(), kPrivate);
    shared_count_ = 0;
    for (std::size_t i = 0; i < fixed_.size(); ++i) {
      if (fixed_[i].shared()) {
        shared_index_[i] = shared_count_++;
      }
    }
    return grown;
  }

  // The number of a word; the same in every execution, because memory is laid out the same way.
  std::size_t number_of(const void* address) {
    const auto [place, fresh] = numbers_.try_emplace(address, learnt_.size());
    if (fresh) {
      learnt_.emplace_back();
    }
    return place->second;
  }
  [[nodiscard]] std::size_t shared_index(std::size_t number) const {
    return number < shared_index_.size() ? shared_index_[number] : kPrivate;
  }
  // This round has taught something.
  [[nodiscard]] bool grown() const { return grown_; }
  // This round takes a word for a private one that is not.
  [[nodiscard]] bool shares_more() const { return shares_more_; }
  [[nodiscard]] std::size_t shared_count() const { return shared_count_; }
  [[nodiscard]] const WordFacts& fixed(std::size_t number) const { return fixed_[number]; }
  [[nodiscard]] const ThreadFacts& fixed_thread(std::size_t thread) const {
    return fixed_threads_[thread];
  }

  void learn_touch(std::size_t number, std::size_t thread, bool is_store) {
    WordFacts& facts = learnt_[number];
    const std::uint32_t bit = 1U << thread;
    const bool known = (facts.touched_by & bit) != 0 && (!is_store || (facts.stored_by & bit) != 0);
    if (known) {
      return;
    }
    const bool was_shared = facts.shared();
    facts.touched_by |= bit;
    facts.stored_by |= is_store ? bit : 0;
    if (!was_shared && facts.shared()) {
      grown_ = true;
      shares_more_ = true;
    }
  }
  // The words' stores beyond the first are counted only while they are followed.
  void learn_store(std::size_t number, std::size_t stores, std::uint64_t value) {
    WordFacts& facts = learnt_[number];
    if (stores > facts.stores_max) {
      facts.stores_max = static_cast<std::uint32_t>(stores);
      grown_ = true;
    }
    if (std::find(facts.values.begin(), facts.values.end(), value) == facts.values.end()) {
      facts.values.push_back(value);
      grown_ = true;
    }
  }
  void learn_registered(std::uint32_t threads) {
    for (std::size_t i = 0; i < kThreadsMax; ++i) {
      if ((threads >> i & 1U) != 0 && !learnt_threads_[i].registered) {
        learnt_threads_[i].registered = true;
        grown_ = true;
      }
    }
  }
  void learn_fences(std::size_t thread, std::uint32_t full_fences, std::uint32_t barriers) {
    ThreadFacts& facts = learnt_threads_[thread];
    if (full_fences > facts.full_fences_max || barriers > facts.barriers_max) {
      facts.full_fences_max = std::max(facts.full_fences_max, full_fences);
      facts.barriers_max = std::max(facts.barriers_max, barriers);
      grown_ = true;
    }
  }

 private:
  std::unordered_map<const void*, std::size_t> numbers_;
  std::vector<WordFacts> learnt_;
  std::vector<WordFacts> fixed_;
  std::array<ThreadFacts, kThreadsMax> learnt_threads_{};
  std::array<ThreadFacts, kThreadsMax> fixed_threads_{};
  std::vector<std::size_t> shared_index_;
  std::size_t shared_count_ = 0;
  std::uint64_t rounds_ = 0;
  bool grown_ = false;
  bool shares_more_ = false;
};

}  // namespace ackbus::weak
