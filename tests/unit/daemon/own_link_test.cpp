// The daemon's own link over which letters are sent again: when a message has ended, how, and what
// a new daemon makes of what it finds. The test stores in the consumer's and the tracker's place.
#include "daemon/own_link.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/link/memory.hpp"

namespace ackbus::daemon {
namespace {

namespace fs = std::filesystem;

using layout::AckCode;
using layout::PendingState;
using layout::VerdictReason;

class OwnLinkTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kSlots = 4;
  static constexpr std::uint64_t kArenaBytes = 4096;
  static constexpr std::uint16_t kKind = 4;

  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = ::testing::TempDir() + "own_link_" + info->name();
    fs::remove_all(directory_);
    auto opened = DeadLetters::open(directory_, {});
    ASSERT_TRUE(opened.ok()) << opened.error().text;
    letters_ = std::move(opened).value();
    start();
    link_->set_life(life_, 1, 1);
  }
  void TearDown() override {
    letters_.reset();
    fs::remove_all(directory_);
  }

  void start() { link_ = std::make_unique<OwnLink>(submission_, tracking_, *letters_); }
  // As after the death of a daemon whose memory was kept.
  void restart() {
    start();
    link_->recover();
    link_->set_life(life_, 1, 1);
  }

  static LetterId old_id(std::uint64_t number) {
    LetterId id{};
    id[0] = 1;
    id[15] = static_cast<std::uint8_t>(number);
    return id;
  }
  static LetterId new_id(std::uint64_t number) {
    LetterId id = old_id(number);
    id[0] = 2;
    return id;
  }
  // A letter taken out and sent; its message is number `number` of the link.
  bool redrive(std::uint64_t number, std::size_t payload_bytes = 10) {
    Letter letter;
    letter.id = old_id(number);
    letter.kind_id = kKind;
    letter.reason = DeathReason::kRetries;
    EXPECT_TRUE(letters_->write(letter, std::vector<std::byte>(payload_bytes)).ok());
    const auto taken = letters_->begin_redrive(letter.id, new_id(number));
    EXPECT_TRUE(taken.ok());
    return link_->send(taken.value().letter, new_id(number), taken.value().payload, 1000);
  }
  void answer(std::uint32_t slot, std::uint64_t sequence, AckCode code = AckCode::kSuccess) {
    const std::uint32_t packed = layout::pack_answer(code, 0, 1);
    layout::answer_publish(life_.record(slot), {sequence, 1000, packed, 1, 0});
    layout::ack_place_publish(life_.place(next_ack_), next_ack_, {sequence, 1000, slot, packed});
    next_ack_ += 1;
  }
  void decide(std::uint32_t slot, std::uint64_t sequence, PendingState state,
              VerdictReason reason = VerdictReason::kReserved) {
    layout::PendingCopyValue value;
    value.version = ++version_;
    value.sequence = sequence;
    value.state = state;
    value.reason = reason;
    value.attempt = 1;
    value.epoch = 1;
    layout::pending_publish(tracking_.entry(slot).copies[version_ % 2], value);
  }
  // What has ended, and the store is told, as the daemon does.
  std::vector<RedriveEnd> ends() {
    link_->reap();
    std::vector<RedriveEnd> ends = link_->take_ends();
    for (const RedriveEnd& end : ends) {
      EXPECT_TRUE(letters_->end_redrive(end.id, end.done).ok());
    }
    link_->reap();
    return ends;
  }
  void expect_one_end(std::uint64_t number, bool done) {
    const std::vector<RedriveEnd> found = ends();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].id, new_id(number));
    EXPECT_EQ(found[0].done, done);
  }

  std::string directory_;
  std::unique_ptr<DeadLetters> letters_;
  test::SegmentMemory submission_memory_{layout::SubmissionGeometry{kSlots, kArenaBytes}.bytes()};
  test::SegmentMemory tracking_memory_{layout::TrackingGeometry{kSlots}.bytes()};
  test::SegmentMemory ack_memory_{layout::AckGeometry{kSlots}.bytes()};
  test::SegmentMemory next_memory_{layout::AckGeometry{kSlots}.bytes()};
  layout::SubmissionView submission_{submission_memory_.base(), {kSlots, kArenaBytes}};
  layout::TrackingView tracking_{tracking_memory_.base(), {kSlots}};
  layout::AckView life_{ack_memory_.base(), {kSlots}};
  layout::AckView next_life_{next_memory_.base(), {kSlots}};
  std::unique_ptr<OwnLink> link_;
  std::uint64_t next_ack_ = 1;
  std::uint64_t version_ = 0;
};

TEST_F(OwnLinkTest, AnAnsweredMessageHasEndedAndItsSlotIsFreeOnceItsLetterIsGone) {
  ASSERT_TRUE(redrive(1));
  EXPECT_TRUE(ends().empty());
  answer(0, 1);
  link_->reap();
  EXPECT_EQ(link_->in_use(), 1U) << "its letter still waits for it";
  expect_one_end(1, true);
  EXPECT_EQ(link_->in_use(), 0U);
  EXPECT_TRUE(letters_->redriven().empty());
  EXPECT_FALSE(letters_->exists(old_id(1)));
  EXPECT_TRUE(ends().empty()) << "told once";
}

TEST_F(OwnLinkTest, EveryAnswerIsCountedAsWhatItIs) {
  const std::pair<AckCode, layout::Cell<std::uint64_t> layout::ProducerCounters::*> answers[] = {
      {AckCode::kSuccess, &layout::ProducerCounters::success},
      {AckCode::kPartialSuccess, &layout::ProducerCounters::partial_success},
      {AckCode::kFailed, &layout::ProducerCounters::failed},
      {AckCode::kSkippedSuperseded, &layout::ProducerCounters::superseded},
  };
  std::uint64_t number = 0;
  for (const auto& [code, counter] : answers) {
    number += 1;
    ASSERT_TRUE(redrive(number));
    answer(0, number, code);
    if (code == AckCode::kSkippedSuperseded) {
      decide(0, number, PendingState::kFinal);
    }
    expect_one_end(number, true);
    EXPECT_EQ((submission_.counters(kKind).*counter).load_relaxed(), 1U) << number;
    EXPECT_FALSE(letters_->exists(old_id(number)));
  }
}

TEST_F(OwnLinkTest, AnAnswerCountsOnlyWhenNoVerdictIsBeingGivenAgainstIt) {
  ASSERT_TRUE(redrive(1));
  decide(0, 1, PendingState::kExhausting, VerdictReason::kRetries);
  answer(0, 1);
  EXPECT_TRUE(ends().empty());
  decide(0, 1, PendingState::kFinal, VerdictReason::kRetries);
  expect_one_end(1, true);
}

TEST_F(OwnLinkTest, ASkippedMessageHasEndedWhenItsVerdictStands) {
  ASSERT_TRUE(redrive(1));
  answer(0, 1, AckCode::kSkippedVerdict);
  EXPECT_TRUE(ends().empty()) << "its own letter is not written yet";
  EXPECT_EQ(link_->in_use(), 1U);
  decide(0, 1, PendingState::kExhausting, VerdictReason::kUndelivered);
  EXPECT_TRUE(ends().empty());
  decide(0, 1, PendingState::kVerdict, VerdictReason::kUndelivered);
  expect_one_end(1, true);
}

TEST_F(OwnLinkTest, AClosedMessageIsNotDone) {
  ASSERT_TRUE(redrive(1));
  decide(0, 1, PendingState::kVerdict, VerdictReason::kClosedQueue);
  expect_one_end(1, false);
  EXPECT_TRUE(letters_->exists(old_id(1)));
}

TEST_F(OwnLinkTest, ALinkThatGoesTellsOfEveryMessageThatItHolds) {
  ASSERT_TRUE(redrive(1));
  ASSERT_TRUE(redrive(2));
  answer(0, 1);
  link_->reap();
  const std::vector<RedriveEnd> left = link_->take_all();
  ASSERT_EQ(left.size(), 2U);
  EXPECT_TRUE(left[0].done);
  EXPECT_EQ(left[1].id, new_id(2));
  EXPECT_FALSE(left[1].done);
}

// ---- a new daemon ----

TEST_F(OwnLinkTest, ANewDaemonHoldsWhatIsUnderWay) {
  ASSERT_TRUE(redrive(1));
  restart();
  EXPECT_TRUE(link_->holds(new_id(1)));
  EXPECT_FALSE(link_->holds(new_id(2)));
  EXPECT_TRUE(ends().empty());
  answer(0, 1);
  expect_one_end(1, true);
}

TEST_F(OwnLinkTest, ANewDaemonFinishesWhatTheOneBeforeHadTakenWithoutDealingWithTheLetter) {
  ASSERT_TRUE(redrive(1));
  answer(0, 1);
  link_->reap();  // The outcome is taken, and then the daemon dies.
  restart();
  EXPECT_TRUE(link_->holds(new_id(1)));
  expect_one_end(1, true);
  EXPECT_EQ(link_->in_use(), 0U);
}

TEST_F(OwnLinkTest, ASendThatADeathCutShortWasNoSendAndLeavesNoHoleInTheRing) {
  ASSERT_TRUE(redrive(1));
  ASSERT_TRUE(redrive(2));
  layout::place_begin(submission_.place(2));  // The descriptor was written, the place was not.
  restart();
  EXPECT_TRUE(link_->holds(new_id(1)));
  EXPECT_FALSE(link_->holds(new_id(2)));
  ASSERT_TRUE(redrive(3));
  EXPECT_EQ(submission_.place(2).number.load_acquire(), 2U);
  EXPECT_TRUE(link_->holds(new_id(3)));
}

TEST_F(OwnLinkTest, ANewDaemonFindsItsPlaceInARingOfAcksThatHasGoneRound) {
  for (std::uint64_t number = 1; number <= 2 * kSlots + 1; ++number) {
    ASSERT_TRUE(redrive(number));
    answer(0, number);
    expect_one_end(number, true);
  }
  const std::uint64_t last = 2 * kSlots + 2;
  ASSERT_TRUE(redrive(last));
  answer(0, last);
  restart();
  bool told = false;
  for (const RedriveEnd& end : ends()) {
    told = told || (end.id == new_id(last) && end.done);
  }
  EXPECT_TRUE(told);
  EXPECT_EQ(link_->in_use(), 0U);
}

TEST_F(OwnLinkTest, ANewDaemonLeavesASlotToTheConsumerThatHasNotReadItsPlace) {
  ASSERT_TRUE(redrive(1));
  decide(0, 1, PendingState::kVerdict, VerdictReason::kUndelivered);
  expect_one_end(1, true);
  restart();
  link_->reap();
  EXPECT_EQ(link_->in_use(), 1U);
  answer(0, 1, AckCode::kSkippedVerdict);
  link_->reap();
  EXPECT_EQ(link_->in_use(), 0U);
}

TEST_F(OwnLinkTest, ANewDaemonTakesTheAcksOfALifeThatEndedBeforeIt) {
  ASSERT_TRUE(redrive(1));
  answer(0, 1);
  decide(0, 1, PendingState::kFinal);  // The hand-over has begun.
  start();
  link_->recover();
  link_->set_life(life_, 1, 1);
  link_->set_life(next_life_, 2, 2);
  expect_one_end(1, true);
}

TEST_F(OwnLinkTest, ANewDaemonFreesWhatWasAnsweredInALifeThatIsGone) {
  ASSERT_TRUE(redrive(1));
  answer(0, 1);
  link_->reap();  // The outcome is taken; then the life ends, its memory goes, and the daemon dies.
  start();
  link_->recover();
  link_->set_life(next_life_, 2, 2);
  expect_one_end(1, true);
  EXPECT_EQ(link_->in_use(), 0U);
}

TEST_F(OwnLinkTest, ANewDaemonFreesWhatWasSkippedLongBeforeInTheSameLife) {
  ASSERT_TRUE(redrive(1));
  ASSERT_TRUE(redrive(2));
  answer(1, 2, AckCode::kSkippedVerdict);
  decide(1, 2, PendingState::kVerdict, VerdictReason::kUndelivered);
  expect_one_end(2, true);
  answer(0, 1);
  expect_one_end(1, true);
  for (std::uint64_t number = 3; number <= 2 * kSlots; ++number) {
    ASSERT_TRUE(redrive(number));
    answer(0, number);
    expect_one_end(number, true);
  }
  restart();
  link_->reap();
  EXPECT_EQ(link_->in_use(), 0U);
}

TEST_F(OwnLinkTest, APayloadThatHasTheWholeArenaKeepsItOverARestart) {
  ASSERT_TRUE(redrive(1, kArenaBytes / 2));
  restart();
  EXPECT_FALSE(redrive(2, kArenaBytes / kSlots));
  answer(0, 1);
  expect_one_end(1, true);
  EXPECT_TRUE(redrive(3, kArenaBytes / kSlots));
}

}  // namespace
}  // namespace ackbus::daemon
