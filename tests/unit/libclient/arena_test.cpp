// Payload memory: best fit, alignment, coalescing in every order, and a long random run against a
// simple model.
#include "libclient/src/arena.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "shm_layout/limits.hpp"

namespace ackbus {
namespace {

TEST(Arena, OfNoBytesGivesNothing) {
  Arena arena(0);
  EXPECT_FALSE(arena.allocate(1));
  EXPECT_EQ(arena.free_bytes(), 0U);
}

TEST(Arena, GivesNoRangeForZeroBytesOrMoreThanItHas) {
  Arena arena(1024);
  EXPECT_FALSE(arena.allocate(0));
  EXPECT_FALSE(arena.allocate(1025));
  EXPECT_FALSE(arena.allocate(UINT64_MAX));
  EXPECT_EQ(arena.allocate(1024), 0U);
  EXPECT_FALSE(arena.allocate(1));
}

TEST(Arena, AlignsEveryRangeToACacheLine) {
  Arena arena(1024);
  EXPECT_EQ(arena.allocate(1), 0U);
  EXPECT_EQ(arena.allocate(65), 64U);
  EXPECT_EQ(arena.allocate(64), 192U);
  EXPECT_EQ(arena.free_bytes(), 1024U - 256U);
}

TEST(Arena, TakesTheSmallestRangeThatFits) {
  Arena arena(1024);
  const auto a = arena.allocate(256);
  const auto b = arena.allocate(64);
  const auto c = arena.allocate(128);
  const auto d = arena.allocate(64);
  ASSERT_TRUE(a && b && c && d);
  arena.release(*a, 256);
  arena.release(*c, 128);
  EXPECT_EQ(arena.allocate(100), c);
}

TEST(Arena, JoinsNeighboursInWhateverOrderTheyReturn) {
  const std::vector<std::vector<std::size_t>> orders = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                                        {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : orders) {
    Arena arena(192);
    std::vector<std::uint64_t> offsets;
    for (int i = 0; i < 3; ++i) {
      offsets.push_back(*arena.allocate(64));
    }
    for (const std::size_t index : order) {
      arena.release(offsets[index], 64);
    }
    EXPECT_EQ(arena.allocate(192), 0U);
  }
}

TEST(Arena, ReportsARangeThatIsReturnedTwice) {
  Arena arena(256);
  const auto offset = arena.allocate(64);
  arena.release(*offset, 64);
  EXPECT_DEATH(arena.release(*offset, 64), "assertion failed");
}

TEST(Arena, NeverOverlapsAndLosesNothingInARandomRun) {
  constexpr std::uint64_t kBytes = std::uint64_t{64} * 64;
  const std::uint64_t seed = 4711;
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  Arena arena(kBytes);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> held;
  std::vector<int> owner(kBytes / 64, -1);
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      const std::uint64_t bytes = 1 + random() % 600;
      if (const auto offset = arena.allocate(bytes)) {
        ASSERT_EQ(*offset % layout::kArenaAlignBytes, 0U);
        ASSERT_LE(*offset + bytes, kBytes);
        for (std::uint64_t line = *offset / 64; line < (*offset + bytes + 63) / 64; ++line) {
          ASSERT_EQ(owner[line], -1) << "step " << step;
          owner[line] = step;
        }
        held.emplace_back(*offset, bytes);
      }
    } else if (!held.empty()) {
      const std::size_t index = random() % held.size();
      const auto [offset, bytes] = held[index];
      for (std::uint64_t line = offset / 64; line < (offset + bytes + 63) / 64; ++line) {
        owner[line] = -1;
      }
      arena.release(offset, bytes);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }
  for (const auto& [offset, bytes] : held) {
    arena.release(offset, bytes);
  }
  EXPECT_EQ(arena.free_bytes(), kBytes);
  EXPECT_EQ(arena.allocate(kBytes), 0U);
}

}  // namespace
}  // namespace ackbus
