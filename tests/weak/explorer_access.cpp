// What an access or a fence of a litmus test may do: the rules are in explorer.hpp.
#include <algorithm>

#include "tests/weak/explorer_core.hpp"

namespace ackbus::weak {

// ---- loads and stores ----

// Stores that this thread may read, newest first; of equal values the oldest, which orders least.
std::vector<std::size_t> Explorer::candidates(std::size_t index, std::size_t from) {
  const Word& word = machine_.word(index);
  const std::size_t oldest = machine_.thread(self_).current.view.at[index];
  const auto& [last, times] = threads_[self_].last_read[index];
  const std::size_t skipped = times >= options_.stale_reads_max ? last : SIZE_MAX;
  std::vector<std::size_t> found;
  for (std::size_t i = word.stores.size(); i-- > from;) {
    bool repeated = i == skipped && i + 1 < word.stores.size();
    for (std::size_t j = oldest; j < i && !repeated; ++j) {
      repeated = word.stores[j].value == word.stores[i].value && j != skipped;
    }
    if (!repeated) {
      found.push_back(i);
    }
  }
  return found;
}

std::vector<std::uint64_t> Explorer::foretellable(std::size_t number, bool acquire) const {
  const WordFacts& facts = knowledge_.fixed(number);
  if (acquire || (facts.stored_by >> self_ & 1U) != 0 ||
      foretold_.size() >= static_cast<std::size_t>(options_.foretold_max)) {
    return {};
  }
  return facts.values;
}

std::size_t Explorer::read_from(std::size_t index, std::size_t number, bool acquire, bool& foretold,
                                std::uint64_t& value) {
  std::size_t from = machine_.thread(self_).current.view.at[index];
  while (true) {
    const std::vector<std::size_t> stores = candidates(index, from);
    const WordFacts& facts = knowledge_.fixed(number);
    const std::size_t there = machine_.word(index).stores.size();
    const bool more_may_come = (facts.stored_by & ~(1U << self_)) != 0 && facts.stores_max >= there;
    const std::vector<std::uint64_t> values =
        more_may_come ? foretellable(number, acquire) : std::vector<std::uint64_t>{};
    const std::size_t count = stores.size() + (more_may_come ? 1 : 0) + values.size();
    if (count == 0) {
      wait(Wait::kStores, index, SIZE_MAX);  // Nothing is left to be read: never resumed.
    }
    const std::size_t chosen = choose(count);
    if (chosen < stores.size()) {
      return stores[chosen];
    }
    if (chosen > stores.size()) {
      foretold = true;
      value = values[chosen - stores.size() - 1];
      return 0;
    }
    from = there;
    wait(Wait::kStores, index, there);
  }
}

std::uint64_t Explorer::load(const void* address, std::uint64_t now, const Site& site) {
  const std::size_t number = knowledge_.number_of(address);
  const bool acquire = site.operation == Operation::kLoadAcquire && in_force(site);
  knowledge_.learn_touch(number, self_, false);
  const std::size_t index = knowledge_.shared_index(number);
  if (index == Knowledge::kPrivate) {
    return now;
  }
  machine_.word(index, now);
  await_redeemed(index);
  bool foretold = false;
  std::uint64_t value = 0;
  const std::size_t store = read_from(index, number, acquire, foretold, value);
  if (foretold) {
    foretold_.push_back({self_, index, value, machine_.tick(self_)});
    note("foretells", site, address, value);
    return value;
  }
  auto& [last, times] = threads_[self_].last_read[index];
  times = store == last ? times + 1 : 1;
  last = store;
  machine_.take_store(self_, index, store, acquire);
  value = machine_.word(index).stores[store].value;
  note("reads", site, address, value);
  return value;
}

void Explorer::store(const void* address, std::uint64_t before, std::uint64_t value,
                     const Site& site) {
  const std::size_t number = knowledge_.number_of(address);
  const bool release = site.operation == Operation::kStoreRelease && in_force(site);
  knowledge_.learn_touch(number, self_, true);
  const std::size_t index = knowledge_.shared_index(number);
  if (index == Knowledge::kPrivate) {
    return;
  }
  Word& word = machine_.word(index, before);
  if (word.writer != -1 && word.writer != static_cast<int>(self_)) {
    fail("a word with two writers");
  }
  if (word.stores.size() > 250) {
    give_up("more stores to one word than the model counts");
  }
  word.writer = static_cast<int>(self_);
  machine_.add_store(self_, index, value, release);
  knowledge_.learn_store(number, word.stores.size() - 1, value);
  note("stores", site, address, value);
  redeem(index, value);
}

// A load that foretold this value read this very store, if it does not happen before the store.
void Explorer::redeem(std::size_t index, std::uint64_t value) {
  for (Foretold& one : foretold_) {
    if (one.redeemed || one.word != index || one.value != value || one.thread == self_ ||
        machine_.thread(self_).current.clock.at[one.thread] >= one.event || choose(2) == 1) {
      continue;
    }
    one.redeemed = true;
    machine_.take_store(one.thread, index, machine_.word(index).stores.size() - 1, false);
  }
}

void Explorer::await_redeemed(std::size_t word) {
  const bool waits = std::any_of(foretold_.begin(), foretold_.end(), [&](const Foretold& one) {
    return one.thread == self_ && !one.redeemed && (word == kAnyWord || one.word == word);
  });
  if (waits) {
    wait(Wait::kRedeemed, word, 0);
  }
}

// ---- fences ----

void Explorer::fence(const Site& site) {
  if (!in_force(site)) {
    return;
  }
  switch (site.operation) {
    case Operation::kFenceAcquire:
      await_redeemed(kAnyWord);
      machine_.fence_acquire(self_);
      break;
    case Operation::kFenceRelease:
      machine_.fence_release(self_);
      break;
    case Operation::kFenceLight:
      await_redeemed(kAnyWord);
      turn_of_barriers();
      machine_.fence_light(self_);
      break;
    default:
      await_redeemed(kAnyWord);
      turn_of_fences();
      machine_.fence_full(self_);
      threads_[self_].fences += 1;
  }
  note("fence", site, nullptr, 0);
}

void Explorer::barrier(std::uint32_t registered, const Site& site) {
  knowledge_.learn_registered(registered);
  if (!in_force(site)) {
    return;
  }
  await_redeemed(kAnyWord);
  turn_of_fences();
  machine_.fence_full(self_);
  machine_.barrier(self_, registered);
  threads_[self_].fences += 1;
  threads_[self_].barriers += 1;
  note("membarrier", site, nullptr, 0);
}

std::uint32_t Explorer::others_fences(bool of_the_past) const {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    if (i != self_) {
      sum += of_the_past ? knowledge_.fixed_thread(i).full_fences_max : threads_[i].fences;
    }
  }
  return sum;
}

// Full fences have one order: this one is next, or another comes first.
void Explorer::turn_of_fences() {
  while (others_fences(false) < others_fences(true) && choose(2) == 1) {
    wait(Wait::kFences, 0, others_fences(false));
  }
}

std::uint32_t Explorer::barriers_done() const {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    sum += threads_[i].barriers;
  }
  return sum;
}

// A light fence comes before or after a membarrier of another thread.
void Explorer::turn_of_barriers() {
  if (!knowledge_.fixed_thread(self_).registered) {
    return;
  }
  const auto expected = [this] {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const std::uint32_t known = knowledge_.fixed_thread(i).barriers_max;
      sum += i != self_ && known > threads_[i].barriers ? known - threads_[i].barriers : 0;
    }
    return sum;
  };
  while (expected() > 0 && choose(2) == 1) {
    wait(Wait::kBarriers, 0, barriers_done());
  }
}

}  // namespace ackbus::weak
