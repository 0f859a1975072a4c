// Ends rounds and sums them up: what the verifier found, which counters differ, what leaked, who
// was killed and stopped; and prints the table that a run is judged by. Threads: one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/chaos/figures.hpp"
#include "tests/chaos/schedule.hpp"
#include "tests/chaos/stage.hpp"
#include "tests/chaos/verifier.hpp"

namespace ackbus::chaos {

class Report {
 public:
  Report(Stage& stage, const Schedule& schedule) : stage_(stage), schedule_(schedule) {}

  // Everybody drains and leaves, and the round is judged. False: the run cannot go on.
  [[nodiscard]] bool end_round();
  void take_baseline() { baseline_ = read_holdings(stage_); }
  void compare_holdings();

  // Nothing wrong so far.
  [[nodiscard]] bool is_clean() const;
  void print_progress(std::uint64_t past_s) const;
  // The table; the exit status.
  [[nodiscard]] int print();

 private:
  [[nodiscard]] nlohmann::json list_letters();
  void purge_letters();
  void count_events();
  [[nodiscard]] std::vector<std::string> print_kills() const;
  void print_findings() const;
  void print_lines() const;

  Stage& stage_;
  const Schedule& schedule_;
  Verifier verifier_;
  std::optional<Holdings> baseline_;
  std::array<std::uint64_t, kVictims> kills_{};
  std::array<std::uint64_t, kVictims> stops_{};
  std::uint64_t rounds_ = 0;
  std::uint64_t leaked_descriptors_ = 0;
  std::uint64_t leaked_bytes_ = 0;
  std::uint64_t leaked_files_ = 0;
  std::uint64_t compared_ = 0;
  std::vector<std::string> differing_;
};

}  // namespace ackbus::chaos
