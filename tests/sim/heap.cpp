#include "tests/sim/heap.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "shm_layout/assert.hpp"

namespace ackbus::sim {

// In front of every allocation.
struct alignas(16) HeapBlock {
  HeapBlock* next;
  HeapBlock* previous;
  Heap* heap;
  void* start;  // of the memory that malloc gave

  static void* allocate(std::size_t bytes, std::size_t alignment) {
    const std::size_t room = sizeof(HeapBlock) + (alignment > 16 ? alignment : 0);
    void* start = std::malloc(bytes + room);
    if (start == nullptr) {
      throw std::bad_alloc();
    }
    auto address = reinterpret_cast<std::uintptr_t>(start) + sizeof(HeapBlock);
    address = (address + alignment - 1) / alignment * alignment;
    auto* block = reinterpret_cast<HeapBlock*>(address - sizeof(HeapBlock));
    block->start = start;
    block->heap = heap_in_force;
    block->previous = nullptr;
    block->next = nullptr;
    if (Heap* heap = heap_in_force; heap != nullptr) {
      block->next = static_cast<HeapBlock*>(heap->first_);
      if (block->next != nullptr) {
        block->next->previous = block;
      }
      heap->first_ = block;
    }
    return reinterpret_cast<void*>(address);
  }

  static void free(void* memory) {
    if (memory == nullptr) {
      return;
    }
    auto* block = reinterpret_cast<HeapBlock*>(static_cast<char*>(memory) - sizeof(HeapBlock));
    if (block->heap != nullptr) {
      if (block->previous != nullptr) {
        block->previous->next = block->next;
      } else {
        block->heap->first_ = block->next;
      }
      if (block->next != nullptr) {
        block->next->previous = block->previous;
      }
    }
    std::free(block->start);
  }
};

void Heap::free_all() {
  while (first_ != nullptr) {
    auto* block = static_cast<HeapBlock*>(first_);
    first_ = block->next;
    std::free(block->start);
  }
}

namespace {

constexpr std::size_t kPlain = 16;

}  // namespace
}  // namespace ackbus::sim

using ackbus::sim::HeapBlock;

void* operator new(std::size_t bytes) { return HeapBlock::allocate(bytes, ackbus::sim::kPlain); }
void* operator new[](std::size_t bytes) { return HeapBlock::allocate(bytes, ackbus::sim::kPlain); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return HeapBlock::allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return HeapBlock::allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { HeapBlock::free(memory); }
void operator delete[](void* memory) noexcept { HeapBlock::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { HeapBlock::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { HeapBlock::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { HeapBlock::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { HeapBlock::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  HeapBlock::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  HeapBlock::free(memory);
}
