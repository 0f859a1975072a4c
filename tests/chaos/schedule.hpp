// What is done to whom, and when: random kills and stops, and the named points one after the other,
// all from one seed.
//
// Each role has a list of points in a shuffled order and one of them armed. A point that the load
// alone does not reach is provoked: by the death or the stop of somebody, or by stopping the
// process at an earlier point for a while, so that what it waits for happens meanwhile. Threads:
// one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "tests/chaos/stage.hpp"

namespace ackbus::chaos {

struct PointInfo {
  const char* name;
  Role role;
  const char* where;
};
[[nodiscard]] const std::array<PointInfo, layout::kPointCount>& all_points();

class Schedule {
 public:
  // `with_points`: by role; a role whose program has no points is only killed at random.
  Schedule(Stage& stage, std::uint64_t seed, std::array<bool, kRoles> with_points);

  // Called after each tick of the stage.
  void act(bool random_actions);
  // No point is armed any more; what was armed comes first in the next round.
  void pause();
  // Every point killed at least once, and every victim killed and stopped at random.
  [[nodiscard]] bool complete() const;

  [[nodiscard]] std::uint64_t kills_at(std::size_t point) const { return kills_[point]; }
  [[nodiscard]] std::size_t points_hit() const;
  [[nodiscard]] std::size_t points_wanted() const;
  // What is armed now, for a progress line.
  [[nodiscard]] std::string armed_text() const;
  [[nodiscard]] std::array<std::uint64_t, kVictims> random_kills() const { return random_kills_; }
  [[nodiscard]] std::array<std::uint64_t, kVictims> random_stops() const { return random_stops_; }

 private:
  struct Track {
    std::vector<std::size_t> queue;  // points still to come, the last one first
    std::optional<std::size_t> armed;
    std::uint64_t armed_ns = 0;
    std::uint64_t provoked_ns = 0;
  };
  void take_fired();
  void follow(const Stage::Fired& fired);
  void arm_next(Role role);
  void provoke(Role role);
  void act_at_random();

  Stage& stage_;
  std::mt19937_64 random_;
  std::array<bool, kRoles> with_points_;
  std::array<Track, kRoles> tracks_;
  std::array<std::uint64_t, layout::kPointCount> kills_{};
  std::array<std::uint64_t, kVictims> random_kills_{};
  std::array<std::uint64_t, kVictims> random_stops_{};
  std::uint64_t next_random_ns_ = 0;
};

}  // namespace ackbus::chaos
