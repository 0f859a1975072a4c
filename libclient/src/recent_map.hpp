// RecentMap: the latest entries by key, at most so many; the oldest makes room. The tracker keeps
// early acks and ended ids in it. Not synchronised: its owner holds the lock.
#pragma once

#include <chrono>
#include <cstddef>
#include <iterator>
#include <list>
#include <unordered_map>
#include <utility>

namespace ackbus {

template <typename Key, typename Value>
class RecentMap {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit RecentMap(std::size_t size_max) : size_max_(size_max) {}

  // The value of this key, or null. Valid until the next change.
  [[nodiscard]] Value* find(const Key& key) {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &found->second->value;
  }

  // Adds a key that is not there yet. Returns how many entries were lost for it: 1 when the oldest,
  // or with a maximum of 0 the new one, found no room.
  std::size_t insert(const Key& key, Value value, TimePoint now) {
    if (size_max_ == 0) {
      return 1;
    }
    const bool full = entries_.size() == size_max_;
    if (full) {
      drop_oldest();
    }
    entries_.push_back({key, std::move(value), now});
    index_.emplace(key, std::prev(entries_.end()));
    return full ? 1 : 0;
  }

  void erase(const Key& key) {
    const auto found = index_.find(key);
    if (found != index_.end()) {
      entries_.erase(found->second);
      index_.erase(found);
    }
  }

  // Drops the entries that were inserted before `limit`, oldest first. Returns how many.
  std::size_t drop_before(TimePoint limit) {
    std::size_t dropped = 0;
    while (!entries_.empty() && entries_.front().inserted_at < limit) {
      drop_oldest();
      ++dropped;
    }
    return dropped;
  }

  std::size_t clear() {
    index_.clear();
    return std::exchange(entries_, {}).size();
  }

 private:
  struct Entry {
    Key key;
    Value value;
    TimePoint inserted_at;
  };

  void drop_oldest() {
    index_.erase(entries_.front().key);
    entries_.pop_front();
  }

  std::size_t size_max_;
  std::list<Entry> entries_;  // oldest first
  std::unordered_map<Key, typename std::list<Entry>::iterator> index_;
};

}  // namespace ackbus
