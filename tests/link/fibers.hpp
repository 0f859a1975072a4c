// Roles that run in turns: each has a stack of its own and is switched at accesses to shared memory
// (hooked/shm_layout/cell.hpp), by a seeded choice. A role can be ended at any access, which
// unwinds its stack like the death of its process. One thread.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "shm_layout/assert.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::test {

// Thrown inside a role that is killed.
struct RoleKilled {};

class Fiber {
 public:
  // `step` is called again and again; each call is one operation of the role.
  explicit Fiber(std::function<void()> step) : step_(std::move(step)), stack_(kStackBytes) {
    ACKBUS_ASSERT(getcontext(&context_) == 0);
    context_.uc_stack.ss_sp = stack_.data();
    context_.uc_stack.ss_size = stack_.size();
    context_.uc_link = nullptr;
    makecontext(&context_, &Fiber::enter, 0);
  }
  ~Fiber() {
    if (started_ && !over_) {
      kill();
    }
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs until the role stops at an access or has finished an operation.
  void resume() {
    ACKBUS_ASSERT(running_ == nullptr && !over_);
    running_ = this;
    started_ = true;
    swapcontext(&scheduler_, &context_);
    running_ = nullptr;
  }
  // Ends it where it stopped; a role that has not begun ends without a step.
  void kill() {
    killed_ = true;
    resume();
    ACKBUS_ASSERT(over_);
  }
  // True between two operations.
  [[nodiscard]] bool idle() const { return idle_; }

  // Called by the running role: lets the scheduler choose anew.
  static void yield() {
    Fiber* self = running_;
    swapcontext(&self->context_, &scheduler_);
    if (self->killed_) {
      throw RoleKilled{};
    }
  }
  // The role that runs now, null in the scheduler itself.
  static Fiber* running() { return running_; }

 private:
  static constexpr std::size_t kStackBytes = 256 * 1024;

  static void enter() {
    Fiber* self = running_;
    try {
      while (!self->killed_) {
        self->idle_ = false;
        self->step_();
        self->idle_ = true;
        yield();
      }
    } catch (const RoleKilled&) {
    }
    self->over_ = true;
    swapcontext(&self->context_, &scheduler_);
  }

  inline static Fiber* running_ = nullptr;
  inline static ucontext_t scheduler_{};
  std::function<void()> step_;
  std::vector<std::byte> stack_;
  ucontext_t context_{};
  bool started_ = false;
  bool killed_ = false;
  bool over_ = false;
  bool idle_ = true;
};

}  // namespace ackbus::test
