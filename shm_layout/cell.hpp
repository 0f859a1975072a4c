// The only door to a word that two processes share. A Cell hides its value: no operator reads or
// writes it, so a plain access does not compile, and no read-modify-write exists, so every word has
// one writer and a GPU across PCIe can take part. Compiles for host (g++, clang++) and, under nvcc,
// for device at system scope.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda/atomic>
#define ACKBUS_HD __host__ __device__
#else
#define ACKBUS_HD
#endif

namespace ackbus::layout {

template <typename T>
class Cell {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "a shared word is 4 or 8 bytes, which every side can load and store whole");

 public:
  Cell() = default;
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  // Pairs with a store_release of the same word: what the writer stored before it is visible after
  // this load.
  ACKBUS_HD [[nodiscard]] T load_acquire() const { return load(kAcquire); }
  ACKBUS_HD void store_release(T value) { store(value, kRelease); }
  // No ordering. Each use says "relaxed because".
  ACKBUS_HD [[nodiscard]] T load_relaxed() const { return load(kRelaxed); }
  ACKBUS_HD void store_relaxed(T value) { store(value, kRelaxed); }

 private:
#if defined(__CUDA_ARCH__)
  static constexpr auto kAcquire = ::cuda::std::memory_order_acquire;
  static constexpr auto kRelease = ::cuda::std::memory_order_release;
  static constexpr auto kRelaxed = ::cuda::std::memory_order_relaxed;
  __device__ T load(::cuda::std::memory_order order) const {
    return ::cuda::atomic_ref<T, ::cuda::thread_scope_system>(value_).load(order);
  }
  __device__ void store(T value, ::cuda::std::memory_order order) {
    ::cuda::atomic_ref<T, ::cuda::thread_scope_system>(value_).store(value, order);
  }
#else
  static constexpr std::memory_order kAcquire = std::memory_order_acquire;
  static constexpr std::memory_order kRelease = std::memory_order_release;
  static constexpr std::memory_order kRelaxed = std::memory_order_relaxed;
  ACKBUS_HD T load(std::memory_order order) const { return std::atomic_ref<T>(value_).load(order); }
  ACKBUS_HD void store(T value, std::memory_order order) {
    std::atomic_ref<T>(value_).store(value, order);
  }
  static_assert(std::atomic_ref<T>::is_always_lock_free);
#endif

  mutable T
      value_;  // mutable: atomic_ref wants a mutable object even to load; readers map it read-only.
};

// The seqlock's fences (docs/architecture.md#records-that-are-rewritten): the writer's between
// number 0 and the fields, the reader's between the fields and the second look at the number.
inline void fence_release() { std::atomic_thread_fence(std::memory_order_release); }
inline void fence_acquire() { std::atomic_thread_fence(std::memory_order_acquire); }
// The full fence between publishing and reading the peer's `sleeping`, and between arming and
// looking again (docs/architecture.md#sleeping-and-waking).
inline void fence_full() { std::atomic_thread_fence(std::memory_order_seq_cst); }
// What is left of a full fence where the other side's membarrier does its work: no instruction,
// only the compiler's promise to keep the order.
inline void fence_light() { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace ackbus::layout
