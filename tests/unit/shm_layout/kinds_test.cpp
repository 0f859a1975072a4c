// The table of built-in kinds, against the table of docs/protocol.md.
#include "shm_layout/kinds.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>

#include "shm_layout/limits.hpp"

namespace ackbus::layout {
namespace {

void expect_kind(BuiltInKind id, std::string_view name, std::uint32_t timeout_ms,
                 std::uint32_t max_retries, bool supersede) {
  SCOPED_TRACE(name);
  const KindPolicy* kind = find_built_in_kind(static_cast<std::uint16_t>(id));
  ASSERT_NE(kind, nullptr);
  EXPECT_EQ(kind, find_built_in_kind(name));
  EXPECT_EQ(kind->name, name);
  EXPECT_EQ(kind->timeout_ms, timeout_ms);
  EXPECT_EQ(kind->max_retries, max_retries);
  EXPECT_EQ(kind->supersede, supersede);
  EXPECT_EQ(kind->max_wait_ms, 60'000U);
  EXPECT_EQ(kind->max_age_ms, 600'000U);
}

TEST(BuiltInKinds, HaveTheTimeoutsAndRetriesOfTheDesign) {
  expect_kind(BuiltInKind::kUpdateGPUGraphData, "UpdateGPUGraphData", 2'000, 5, true);
  expect_kind(BuiltInKind::kUploadConstraintsToGPU, "UploadConstraintsToGPU", 3'000, 3, true);
  expect_kind(BuiltInKind::kComputeForces, "ComputeForces", 5'000, 3, false);
  expect_kind(BuiltInKind::kInitializeGPU, "InitializeGPU", 10'000, 5, false);
  expect_kind(BuiltInKind::kUpdateNodePositions, "UpdateNodePositions", 1'000, 2, false);
  expect_kind(BuiltInKind::kSetSharedGPUContext, "SetSharedGPUContext", 10'000, 5, false);
}

TEST(BuiltInKinds, OfANumberFromAPeerAreLookedUpWithinTheTable) {
  EXPECT_EQ(find_built_in_kind(std::uint16_t{0}), nullptr);
  EXPECT_EQ(find_built_in_kind(std::uint16_t{7}), nullptr);
  EXPECT_EQ(find_built_in_kind(std::uint16_t{0xFFFF}), nullptr);
}

TEST(BuiltInKinds, AreFoundByTheirExactNameOnly) {
  EXPECT_EQ(find_built_in_kind(""), nullptr);
  EXPECT_EQ(find_built_in_kind("computeforces"), nullptr);
  EXPECT_EQ(find_built_in_kind("ComputeForces "), nullptr);
}

TEST(BuiltInKinds, FitTheFormat) {
  for (const KindPolicy& kind : kBuiltInKinds) {
    EXPECT_LT(kind.id, kKindsMax);
    EXPECT_LT(kind.name.size(), kNameBytesMax);
  }
}

}  // namespace
}  // namespace ackbus::layout
