// The door to shared words as the memory-model explorer sees it: the same interface and layout as
// shm_layout/cell.hpp, but inside a litmus test every access and fence goes to the model, which
// decides what a load reads, and every ordering is known by the file and line that asked for it.
// Outside of one (setup, final checks) accesses are plain. Found before the real header because
// this folder comes first on the include path of the litmus tests. One thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/weak/site.hpp"

#define ACKBUS_HD

namespace ackbus::layout {

template <typename T>
class Cell {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));

 public:
  Cell() = default;
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  [[nodiscard]] T load_acquire(const char* file = __builtin_FILE(),
                               int line = __builtin_LINE()) const {
    return load({file, line, weak::Operation::kLoadAcquire});
  }
  void store_release(T value, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    store(value, {file, line, weak::Operation::kStoreRelease});
  }
  [[nodiscard]] T load_relaxed(const char* file = __builtin_FILE(),
                               int line = __builtin_LINE()) const {
    return load({file, line, weak::Operation::kLoadRelaxed});
  }
  void store_relaxed(T value, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    store(value, {file, line, weak::Operation::kStoreRelaxed});
  }

 private:
  T load(const weak::Site& site) const {
    if (!weak::modelled) {
      return value_;
    }
    const std::uint64_t bits = weak::model_load(this, to_bits(value_), site);
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
  }
  void store(T value, const weak::Site& site) {
    if (weak::modelled) {
      weak::model_store(this, to_bits(value_), to_bits(value), site);
    }
    value_ = value;
  }
  static std::uint64_t to_bits(T value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
  }

  T value_;
};

inline void fence_release(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  weak::model_fence({file, line, weak::Operation::kFenceRelease});
}
inline void fence_acquire(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  weak::model_fence({file, line, weak::Operation::kFenceAcquire});
}
inline void fence_full(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  weak::model_fence({file, line, weak::Operation::kFenceFull});
}

inline void fence_light(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  weak::model_fence({file, line, weak::Operation::kFenceLight});
}

}  // namespace ackbus::layout
