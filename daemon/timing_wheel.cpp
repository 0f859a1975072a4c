#include "daemon/timing_wheel.hpp"

#include <algorithm>
#include <bit>

#include "shm_layout/assert.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::size_t kMaxCapacity = std::size_t{1} << 30;

/// The finalizer of splitmix64: neighbouring keys (slots of one link) spread over the whole table.
std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

}  // namespace

TimingWheel::TimingWheel(std::size_t capacity, std::uint64_t tick_ns, std::uint64_t now_ns)
    : tick_ns_(tick_ns) {
  ACKBUS_ASSERT(capacity >= 1);
  ACKBUS_ASSERT(capacity <= kMaxCapacity);
  ACKBUS_ASSERT(tick_ns >= 1);
  tick_ = now_ns / tick_ns;
  earliest_tick_ = tick_;
  heads_.fill(kNone);
  earliest_.fill(UINT64_MAX);
  entries_.resize(capacity);
  for (std::size_t i = 0; i < capacity; ++i) {
    entries_[i].next = i + 1 < capacity ? static_cast<std::uint32_t>(i + 1) : kNone;
  }
  buckets_.assign(std::bit_ceil(capacity * 2), kNone);
}

bool TimingWheel::arm(std::uint64_t key, std::uint64_t deadline_ns) {
  const std::size_t bucket = find_bucket(key);
  std::uint32_t index = buckets_[bucket];
  if (index != kNone) {
    unlink(index);
  } else {
    if (free_ == kNone) {
      return false;
    }
    index = free_;
    free_ = entries_[index].next;
    buckets_[bucket] = index;
    entries_[index].key = key;
    ++size_;
  }
  entries_[index].deadline_ns = deadline_ns;
  entries_[index].tick = std::max(tick_of_deadline(deadline_ns), earliest_tick_);
  place(index);
  return true;
}

bool TimingWheel::cancel(std::uint64_t key) {
  const std::size_t bucket = find_bucket(key);
  const std::uint32_t index = buckets_[bucket];
  if (index == kNone) {
    return false;
  }
  unlink(index);
  erase_bucket(bucket);
  entries_[index].next = free_;
  free_ = index;
  --size_;
  return true;
}

std::optional<std::uint64_t> TimingWheel::deadline_of(std::uint64_t key) const {
  const std::uint32_t index = buckets_[find_bucket(key)];
  return index == kNone ? std::nullopt : std::optional(entries_[index].deadline_ns);
}

std::size_t TimingWheel::advance(std::uint64_t now_ns, const Callback& callback) {
  const std::uint64_t now_tick = std::max(now_ns / tick_ns_, tick_);
  earliest_tick_ = now_tick + 1;
  std::size_t fired = 0;
  for (auto list = first_list(); list && start_of(*list) <= now_tick; list = first_list()) {
    tick_ = std::max(tick_, start_of(*list));
    if (*list < kSlots) {
      fired += fire(*list, callback);
    } else {
      cascade(*list);
    }
  }
  tick_ = now_tick;
  earliest_tick_ = now_tick;
  return fired;
}

std::optional<std::uint64_t> TimingWheel::next_deadline_ns() const {
  const auto list = first_list();
  if (!list) {
    return std::nullopt;
  }
  const std::uint64_t tick = earliest_[*list];
  // The last tick of the clock may begin beyond 2^64 - 1 ns.
  return tick > UINT64_MAX / tick_ns_ ? UINT64_MAX : tick * tick_ns_;
}

std::uint64_t TimingWheel::tick_of_deadline(std::uint64_t deadline_ns) const {
  return deadline_ns / tick_ns_ + (deadline_ns % tick_ns_ != 0 ? 1 : 0);
}

/// Puts an entry where its tick belongs as seen from the wheel's present tick.
void TimingWheel::place(std::uint32_t index) {
  const std::uint64_t tick = entries_[index].tick;
  ACKBUS_ASSERT(tick >= tick_);
  const unsigned highest_bit = 63U - static_cast<unsigned>(std::countl_zero((tick ^ tick_) | 1U));
  const unsigned level = highest_bit / kDigitBits;
  const auto slot = static_cast<std::uint32_t>((tick >> (level * kDigitBits)) & (kSlots - 1));
  link(index, level * kSlots + slot);
}

void TimingWheel::link(std::uint32_t index, std::uint32_t list) {
  Entry& entry = entries_[index];
  entry.list = list;
  entry.previous = kNone;
  entry.next = heads_[list];
  if (entry.next != kNone) {
    entries_[entry.next].previous = index;
  }
  heads_[list] = index;
  earliest_[list] = std::min(earliest_[list], entry.tick);
  if (list != kDueList) {
    occupied_[list / kSlots] |= std::uint64_t{1} << (list % kSlots);
  }
}

void TimingWheel::unlink(std::uint32_t index) {
  const Entry& entry = entries_[index];
  if (entry.next != kNone) {
    entries_[entry.next].previous = entry.previous;
  }
  if (entry.previous != kNone) {
    entries_[entry.previous].next = entry.next;
    return;
  }
  heads_[entry.list] = entry.next;
  if (entry.next == kNone) {
    earliest_[entry.list] = UINT64_MAX;
    if (entry.list != kDueList) {
      occupied_[entry.list / kSlots] &= ~(std::uint64_t{1} << (entry.list % kSlots));
    }
  }
}

/// The occupied list that comes first in time: all of a lower level lies before all of a higher
/// one.
std::optional<std::uint32_t> TimingWheel::first_list() const {
  for (std::uint32_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] != 0) {
      return level * kSlots + static_cast<std::uint32_t>(std::countr_zero(occupied_[level]));
    }
  }
  return std::nullopt;
}

/// The first tick of a list's slot, given that the slot is not behind the wheel.
std::uint64_t TimingWheel::start_of(std::uint32_t list) const {
  const unsigned shift = (list / kSlots) * kDigitBits;
  const std::uint64_t digit = static_cast<std::uint64_t>(list % kSlots) << shift;
  const unsigned above = shift + kDigitBits;
  const std::uint64_t higher_digits = above >= 64 ? 0 : (tick_ >> above) << above;
  return higher_digits | digit;
}

/// Spreads a slot that the wheel has reached over the lower levels. Each entry comes by at most
/// kLevels times.
void TimingWheel::cascade(std::uint32_t list) {
  while (heads_[list] != kNone) {
    const std::uint32_t index = heads_[list];
    unlink(index);
    place(index);
  }
}

/// Fires one slot of level 0. The slot is moved aside first: a callback may cancel what is still to
/// fire.
std::size_t TimingWheel::fire(std::uint32_t list, const Callback& callback) {
  while (heads_[list] != kNone) {
    const std::uint32_t index = heads_[list];
    unlink(index);
    link(index, kDueList);
  }
  std::size_t fired = 0;
  while (heads_[kDueList] != kNone) {
    const Entry due = entries_[heads_[kDueList]];
    cancel(due.key);
    callback(due.key, due.deadline_ns);
    ++fired;
  }
  return fired;
}

std::size_t TimingWheel::bucket_of(std::uint64_t key) const {
  return static_cast<std::size_t>(mix(key)) & (buckets_.size() - 1);
}

/// The bucket that holds the key, or the empty one where it would go. The table is at most half
/// full, so this ends.
std::size_t TimingWheel::find_bucket(std::uint64_t key) const {
  std::size_t bucket = bucket_of(key);
  while (buckets_[bucket] != kNone && entries_[buckets_[bucket]].key != key) {
    bucket = (bucket + 1) & (buckets_.size() - 1);
  }
  return bucket;
}

/// Empties a bucket and closes the gap, so that no probe sequence is cut and no tombstones gather.
void TimingWheel::erase_bucket(std::size_t bucket) {
  const std::size_t mask = buckets_.size() - 1;
  std::size_t gap = bucket;
  for (std::size_t next = (gap + 1) & mask; buckets_[next] != kNone; next = (next + 1) & mask) {
    const std::size_t home = bucket_of(entries_[buckets_[next]].key);
    const bool may_move = ((next - home) & mask) >= ((next - gap) & mask);
    if (may_move) {
      buckets_[gap] = buckets_[next];
      gap = next;
    }
  }
  buckets_[gap] = kNone;
}

}  // namespace ackbus::daemon
