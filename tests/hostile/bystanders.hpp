// Honest clients beside an attack: producers and consumers that check every byte of every payload
// and of every outcome, and count what they have checked.
//
// Data flow: each payload carries its producer's mark, its number and bytes that follow from both
// and from a secret that only honest clients share; the consumer recomputes them and answers with
// their sum; the producer compares. So a payload or an answer of anybody else, or a torn one, is
// noticed wherever it turns up. Threads: each is a process of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/process/harness.hpp"

namespace ackbus::hostile {

// Shared between a bystander's process and the test.
struct Watch {
  std::atomic<std::uint64_t> checked{0};   // payloads that a consumer found whole, or outcomes
  std::atomic<std::uint64_t> foreign{0};   // deliveries of nobody we know
  std::atomic<std::uint64_t> failures{0};  // anything that must not be
  std::atomic<std::uint64_t> mistakes{0};  // what the test allows, such as a closed link
  std::atomic<bool> stop{false};
  char why[256] = {};  // of the first failure
};

// A Watch in memory that a forked child shares; it lives as long as the test's process.
[[nodiscard]] Watch* shared_watch();

class Bystander {
 public:
  // Sends, waits for outcomes and checks them. `strict`: every outcome must be Success with the
  // right answer; otherwise any outcome will do, and a closed link is connected anew.
  [[nodiscard]] static Bystander producer(const process_test::Bus& bus, const std::string& queue,
                                          std::uint64_t mark, bool strict = true);
  // Answers with the sum of what it got. `pause_us` is its work for each message.
  [[nodiscard]] static Bystander consumer(const process_test::Bus& bus, const std::string& queue,
                                          unsigned pause_us = 0);

  [[nodiscard]] Watch& watch() const { return *watch_; }
  [[nodiscard]] std::uint64_t checked() const { return watch_->checked.load(); }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Whether it got on since: checked so many more.
  [[nodiscard]] bool gets_on(std::uint64_t since, std::uint64_t more) const {
    return watch_->failures.load() != 0 || checked() >= since + more;
  }
  // Ends it in order and expects that it never saw anything wrong.
  void finish();
  [[nodiscard]] process_test::Child& child() { return helper_.child; }

 private:
  Bystander(std::string name, Watch* watch, process_test::Helper helper)
      : name_(std::move(name)), watch_(watch), helper_(std::move(helper)) {}
  std::string name_;
  Watch* watch_;  // Of a shared page that lives as long as the test's process.
  process_test::Helper helper_;
};

// What a bystander's payload holds: 32 bytes of head, then bytes that follow from it.
inline constexpr std::size_t kHeadBytes = 32;
[[nodiscard]] std::vector<std::byte> honest_payload(std::uint64_t mark, std::uint64_t number,
                                                    std::size_t bytes);
// The answer to it; empty when it is none of ours; "torn" when it is, and not as it was sent.
[[nodiscard]] std::string honest_answer(std::span<const std::byte> payload);

}  // namespace ackbus::hostile
