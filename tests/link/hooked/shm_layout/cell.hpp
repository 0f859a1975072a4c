// The door to shared words as the simulator sees it: the same interface and layout as
// shm_layout/cell.hpp, but every access calls a hook first. The hook lets another role run in
// between, or ends the role that is running, so a test can stop any process between any two of its
// accesses. Found before the real header because this folder comes first on the include path of the
// link tests; everything there runs in one thread, so plain accesses suffice.
#pragma once

#include <cstdint>
#include <type_traits>

#define ACKBUS_HD

namespace ackbus::layout {

// Null: nothing happens. May switch to another fiber, and may throw to end the running role. False:
// the store does not happen.
inline bool (*access_hook)(const void* word, bool is_store) = nullptr;
// Null: nothing happens. Called with what is about to be stored, which it may change. False: the
// store does not happen.
inline bool (*store_hook)(void* word, std::uint64_t& value) = nullptr;

template <typename T>
class Cell {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));

 public:
  Cell() = default;
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  [[nodiscard]] T load_acquire() const { return load(); }
  void store_release(T value) { store(value); }
  [[nodiscard]] T load_relaxed() const { return load(); }
  void store_relaxed(T value) { store(value); }

 private:
  T load() const {
    if (access_hook != nullptr) {
      access_hook(&value_, false);
    }
    return value_;
  }
  void store(T value) {
    if (access_hook != nullptr && !access_hook(&value_, true)) {
      return;
    }
    if (store_hook != nullptr) {
      auto changed = static_cast<std::uint64_t>(value);
      if (!store_hook(&value_, changed)) {
        return;
      }
      value = static_cast<T>(changed);
    }
    value_ = value;
  }

  T value_;
};

inline void fence_release() {}
inline void fence_acquire() {}
inline void fence_full() {}
inline void fence_light() {}

}  // namespace ackbus::layout
