// Runs something in the middle of a call: just before its n-th access to shared memory. The
// something may be another role's whole call, or a throw, which is the death of the caller.
#pragma once

#include <functional>
#include <utility>

#include "shm_layout/cell.hpp"

namespace ackbus::test {

struct Died {};

// From construction to destruction. Accesses are counted from 1; inside `action` nothing is
// counted.
class Interrupt {
 public:
  Interrupt(bool stores_only, int number, std::function<void()> action)
      : stores_only_(stores_only), number_(number), action_(std::move(action)) {
    current_ = this;
    layout::access_hook = &Interrupt::on_access;
  }
  ~Interrupt() {
    layout::access_hook = nullptr;
    current_ = nullptr;
  }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  [[nodiscard]] bool happened() const { return happened_; }

 private:
  static bool on_access(const void*, bool is_store) {
    Interrupt& self = *current_;
    if (self.happened_ || (self.stores_only_ && !is_store)) {
      return true;
    }
    self.count_ += 1;
    if (self.count_ == self.number_) {
      self.happened_ = true;
      self.action_();
    }
    return true;
  }

  inline static Interrupt* current_ = nullptr;
  bool stores_only_;
  int number_;
  int count_ = 0;
  bool happened_ = false;
  std::function<void()> action_;
};

}  // namespace ackbus::test
