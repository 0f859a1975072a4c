// Outcomes that wait for the application: a node per message, taken by ticket or oldest first.
#include "libclient/src/outcome_store.hpp"

#include <gtest/gtest.h>

namespace ackbus {
namespace {

void succeed(OutcomeStore& store, std::uint32_t node) {
  store.outcome(node).code = OutcomeCode::kSuccess;
  store.know(node);
}

std::uint32_t reserve(OutcomeStore& store, std::uint32_t slot, std::uint64_t sequence,
                      bool forget = false) {
  return store.reserve(slot, sequence, Kind::kComputeForces, MessageId{}, forget);
}

TEST(OutcomeStore, GivesAnOutcomeOnceAndOnlyWhenItIsKnown) {
  OutcomeStore store(2, 4);
  const std::uint32_t node = reserve(store, 1, 7);
  EXPECT_FALSE(store.take(1, 7));
  EXPECT_FALSE(store.take_oldest());
  succeed(store, node);
  EXPECT_EQ(store.waiting(), 1U);
  const auto taken = store.take(1, 7);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->sequence, 7U);
  EXPECT_EQ(taken->outcome.code, OutcomeCode::kSuccess);
  EXPECT_EQ(taken->kind, Kind::kComputeForces);
  EXPECT_FALSE(store.take(1, 7));
  EXPECT_EQ(store.waiting(), 0U);
}

TEST(OutcomeStore, GivesTheOldestKnownFirst) {
  OutcomeStore store(4, 8);
  const std::uint32_t a = reserve(store, 0, 1);
  const std::uint32_t b = reserve(store, 1, 2);
  const std::uint32_t c = reserve(store, 2, 3);
  succeed(store, c);
  succeed(store, a);
  succeed(store, b);
  EXPECT_TRUE(store.take(0, 1));  // out of the middle of the queue
  EXPECT_EQ(store.take_oldest()->sequence, 3U);
  EXPECT_EQ(store.take_oldest()->sequence, 2U);
  EXPECT_FALSE(store.take_oldest());
}

TEST(OutcomeStore, KeepsSeveralSequencesOfOneSlotApart) {
  OutcomeStore store(1, 4);
  succeed(store, reserve(store, 0, 1));
  succeed(store, reserve(store, 0, 2));
  const std::uint32_t open = reserve(store, 0, 3);
  EXPECT_FALSE(store.take(0, 3));
  EXPECT_EQ(store.take(0, 1)->sequence, 1U);
  EXPECT_EQ(store.take(0, 2)->sequence, 2U);
  succeed(store, open);
  EXPECT_EQ(store.take(0, 3)->sequence, 3U);
}

TEST(OutcomeStore, DropsAtOnceWhatNobodyWants) {
  OutcomeStore store(1, 1);
  succeed(store, reserve(store, 0, 1, true));
  EXPECT_FALSE(store.take(0, 1));
  EXPECT_EQ(store.waiting(), 0U);
  EXPECT_TRUE(store.has_room());
}

TEST(OutcomeStore, CountsItsFreeNodes) {
  OutcomeStore store(2, 3);
  EXPECT_EQ(store.free_nodes(), 3U);
  const std::uint32_t a = reserve(store, 0, 1);
  reserve(store, 1, 2);
  reserve(store, 0, 3);
  EXPECT_EQ(store.free_nodes(), 0U);
  EXPECT_FALSE(store.has_room());
  EXPECT_DEATH(reserve(store, 1, 4), "assertion failed");
  succeed(store, a);
  EXPECT_FALSE(store.has_room()) << "known, but not taken";
  store.take_oldest();
  EXPECT_EQ(store.free_nodes(), 1U);
}

TEST(OutcomeStore, RefusesTicketsThatCannotBe) {
  OutcomeStore store(2, 2);
  EXPECT_FALSE(store.take(2, 1));
  EXPECT_FALSE(store.take(UINT32_MAX, 1));
  EXPECT_FALSE(store.take(0, 0));
}

}  // namespace
}  // namespace ackbus
