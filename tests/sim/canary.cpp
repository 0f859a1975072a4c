#include "tests/sim/canary.hpp"

#include <gtest/gtest.h>

#include <iostream>

namespace ackbus::sim {
namespace {

constexpr std::uint64_t kSeedsMax = 60;

std::string run_seed(WorldOptions options, std::uint64_t seed, const Plant& plant) {
  options.kernel.seed = seed;
  World world(options);
  if (plant) {
    plant(world);
  }
  return world.run();
}

}  // namespace

WorldOptions canary_world() {
  WorldOptions options;
  options.daemon_kills = options.consumer_kills = options.producer_kills = 0;
  options.goodbyes = false;
  options.quiet_turns_max = 400'000;
  return options;
}

void expect_caught(const WorldOptions& options, const std::string& rule, const Plant& plant,
                   const std::string& other_rule) {
  for (std::uint64_t seed = 1; seed <= kSeedsMax; ++seed) {
    ASSERT_EQ(run_seed(options, seed, nullptr), "") << "seed " << seed << " without the plant";
    const std::string failure = run_seed(options, seed, plant);
    const bool is_other = !other_rule.empty() && failure.starts_with(other_rule);
    if (!failure.empty() && !is_other) {
      std::cout << "seed " << seed << ": " << failure << "\n";
      EXPECT_NE(failure.find(rule), std::string::npos) << "expected: " << rule;
      return;
    }
  }
  FAIL() << "no seed up to " << kSeedsMax << " noticed: " << rule;
}

bool Stored::is_word_of_id() const {
  for (std::uint32_t slot = 0; in(layout::SegmentRole::kSubmission) && slot < header().slots;
       ++slot) {
    if (is(&submission().descriptor(slot).id[0])) {
      return true;
    }
  }
  return false;
}

std::optional<Stored::Message> Stored::message(std::uint32_t slot, std::uint64_t sequence) const {
  for (const auto& [base, mapping] : store_.process.mappings) {
    const auto& found = *reinterpret_cast<const layout::SegmentHeader*>(base);
    if (found.role != static_cast<std::uint32_t>(layout::SegmentRole::kSubmission)) {
      continue;
    }
    const layout::SubmissionView view(mapping.memory->base(), {found.slots, found.arena_bytes});
    if (peek(view.descriptor(slot).number) == sequence) {
      return Message{mapping.memory, view, view.descriptor(slot)};
    }
  }
  return std::nullopt;
}

}  // namespace ackbus::sim
