// A hierarchical timing wheel: the deadlines of pending messages, as many as 100,000, armed and
// cancelled in constant time.
//
// Purpose: the tracker arms one entry per pending message, under a key of its own choosing (link
// index and slot), and is called back when the deadline has passed. Data flow: arm() and cancel()
// from the tracker; the loop sleeps until next_deadline_ns() and then calls advance(). Threads: the
// bus thread only; there is no lock and no clock inside, so a simulator drives it with virtual
// time.
//
// Shape: eleven levels of 64 slots; a slot of level n spans 64^n ticks. An entry lies at the level
// of the highest base-64 digit in which its tick differs from the wheel's, so an occupied slot
// never lies behind the wheel, the lowest occupied level always comes first, and one 64-bit word
// per level finds its first slot. Memory is taken once, in the constructor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace ackbus::daemon {

class TimingWheel {
 public:
  /// Called with the key and the deadline in nanoseconds as it was armed. It may arm and cancel any
  /// key.
  using Callback = std::function<void(std::uint64_t key, std::uint64_t deadline_ns)>;

  /// `capacity` entries at most (1 to 2^30), ticks of `tick_ns` (1 or more), starting at `now_ns`.
  TimingWheel(std::size_t capacity, std::uint64_t tick_ns, std::uint64_t now_ns);

  /// Arms `key` for `deadline_ns`, replacing an earlier deadline of the same key. A deadline in the
  /// past fires at the next advance(). False, and nothing changed, when the key is new and the
  /// wheel is full.
  [[nodiscard]] bool arm(std::uint64_t key, std::uint64_t deadline_ns);

  /// Forgets `key`. False when it was not armed.
  bool cancel(std::uint64_t key);

  /// The armed deadline of `key`, or nothing.
  [[nodiscard]] std::optional<std::uint64_t> deadline_of(std::uint64_t key) const;

  /// Fires everything whose deadline, rounded up to a tick, is not after `now_ns`; returns how
  /// many. No entry fires before its deadline, none more than one tick after it (given a call in
  /// that tick). What a callback arms fires at the next tick or later, so the call ends. A `now_ns`
  /// before an earlier one counts as that earlier one.
  std::size_t advance(std::uint64_t now_ns, const Callback& callback);

  /// When advance() should be called next: never later than the earliest deadline rounded up to a
  /// tick, and earlier than it only when the entry it was taken from has been cancelled or moved.
  /// Nothing when no entry is armed.
  [[nodiscard]] std::optional<std::uint64_t> next_deadline_ns() const;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return entries_.size(); }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr unsigned kDigitBits = 6;
  static constexpr unsigned kSlots = 1U << kDigitBits;
  static constexpr unsigned kLevels = 11;  // 11 * 6 bits cover every 64-bit tick.
  static constexpr std::uint32_t kDueList = kLevels * kSlots;  // What advance() is firing now.

  struct Entry {
    std::uint64_t key = 0;
    std::uint64_t deadline_ns = 0;
    std::uint64_t tick = 0;
    std::uint32_t next = kNone;      // In its list, or in the list of free entries.
    std::uint32_t previous = kNone;  // In its list.
    std::uint32_t list = kNone;      // level * kSlots + slot, or kDueList.
  };

  [[nodiscard]] std::uint64_t tick_of_deadline(std::uint64_t deadline_ns) const;
  void place(std::uint32_t index);
  void link(std::uint32_t index, std::uint32_t list);
  void unlink(std::uint32_t index);
  [[nodiscard]] std::optional<std::uint32_t> first_list() const;
  [[nodiscard]] std::uint64_t start_of(std::uint32_t list) const;
  void cascade(std::uint32_t list);
  std::size_t fire(std::uint32_t list, const Callback& callback);

  [[nodiscard]] std::size_t bucket_of(std::uint64_t key) const;
  [[nodiscard]] std::size_t find_bucket(std::uint64_t key) const;
  void erase_bucket(std::size_t bucket);

  std::uint64_t tick_ns_;
  std::uint64_t tick_;           // Everything before this tick has fired.
  std::uint64_t earliest_tick_;  // New entries are not placed before it; ahead of tick_ only while
                                 // advance() runs.
  std::size_t size_ = 0;
  std::uint32_t free_ = 0;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> buckets_;  // Open addressing: entry index or kNone; at most half full.
  std::array<std::uint32_t, kDueList + 1> heads_;
  std::array<std::uint64_t, kDueList + 1> earliest_;  // A lower bound of the ticks in the list.
  std::array<std::uint64_t, kLevels> occupied_{};     // One bit per slot of the level.
};

}  // namespace ackbus::daemon
