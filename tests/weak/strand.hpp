// A thread of a litmus test: a stack of its own, resumed by the explorer until it waits, fails or
// ends. Not a thread of the system: one runs at a time, so an execution can be replayed exactly.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ACKBUS_WEAK_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ACKBUS_WEAK_ASAN 1
#endif
#if defined(ACKBUS_WEAK_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace ackbus::weak {

// Unwinds a thread whose execution is over: failed, or waiting for what never comes.
struct Abandoned {};

class Strand {
 public:
  Strand() : stack_(kStackBytes) {}
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;

  void start(std::function<void()> body) {
    body_ = std::move(body);
    started_ = false;
    over_ = false;
    cancelled_ = false;
    if (getcontext(&context_) != 0) {
      std::abort();
    }
    context_.uc_stack.ss_sp = stack_.data();
    context_.uc_stack.ss_size = stack_.size();
    context_.uc_link = nullptr;
    makecontext(&context_, &Strand::enter, 0);
  }
  void resume() {
    running_ = this;
    started_ = true;
    switch_to(context_, scheduler_, stack_.data(), stack_.size(), &scheduler_shadow_);
    running_ = nullptr;
  }
  // Back to the explorer; returns when resumed.
  void pause() {
    switch_to(scheduler_, context_, scheduler_stack_, scheduler_bytes_, &shadow_);
    if (cancelled_) {
      throw Abandoned{};
    }
  }
  void cancel() {
    if (started_ && !over_) {
      cancelled_ = true;
      resume();
    }
    over_ = true;
  }
  [[nodiscard]] bool over() const { return over_; }

 private:
  static constexpr std::size_t kStackBytes = 256 * 1024;

  static void switch_to(ucontext_t& to, ucontext_t& from, [[maybe_unused]] const void* stack,
                        [[maybe_unused]] std::size_t bytes, [[maybe_unused]] void** shadow) {
#if defined(ACKBUS_WEAK_ASAN)
    __sanitizer_start_switch_fiber(shadow, stack, bytes);
    swapcontext(&from, &to);
    __sanitizer_finish_switch_fiber(*shadow, nullptr, nullptr);
#else
    swapcontext(&from, &to);
#endif
  }
  static void enter() {
    Strand* self = running_;
#if defined(ACKBUS_WEAK_ASAN)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack_, &scheduler_bytes_);
#endif
    try {
      self->body_();
    } catch (const Abandoned&) {
    }
    self->over_ = true;
#if defined(ACKBUS_WEAK_ASAN)
    __sanitizer_start_switch_fiber(nullptr, scheduler_stack_, scheduler_bytes_);
#endif
    swapcontext(&self->context_, &scheduler_);
  }

  inline static Strand* running_ = nullptr;
  inline static ucontext_t scheduler_{};
  inline static void* scheduler_shadow_ = nullptr;
  inline static const void* scheduler_stack_ = nullptr;
  inline static std::size_t scheduler_bytes_ = 0;
  std::function<void()> body_;
  std::vector<std::byte> stack_;
  ucontext_t context_{};
  void* shadow_ = nullptr;
  bool started_ = false;
  bool over_ = false;
  bool cancelled_ = false;
};

}  // namespace ackbus::weak
