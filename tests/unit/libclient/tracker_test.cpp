// The in-process tracker, behaviour by behaviour, under a virtual clock. Only the checker's tests
// run in real time; they wait for events, never for a duration.
#include <ackbus/tracker.hpp>
//
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <limits>
#include <random>
#include <thread>
#include <vector>

namespace ackbus {
namespace {

using namespace std::chrono_literals;

constexpr Kind kComputeForces = Kind::kComputeForces;
const MessageTracker::Clock::time_point kStart{1h};

class MessageTrackerTest : public ::testing::Test {
 protected:
  // Tracks a new ComputeForces message, first sent at kStart.
  MessageId track(std::chrono::milliseconds timeout, std::uint32_t max_retries) {
    const MessageId id = MessageId::create();
    EXPECT_EQ(tracker_.track(id, kComputeForces, timeout, max_retries, kStart),
              TrackOutcome::kTracked);
    return id;
  }

  Timeout only_timeout(MessageTracker::Clock::time_point now) {
    const std::vector<Timeout> timeouts = tracker_.check_timeouts(now);
    EXPECT_EQ(timeouts.size(), 1U);
    return timeouts.empty() ? Timeout{} : timeouts.front();
  }

  KindTotals totals() const { return tracker_.metrics().totals(); }

  MessageTracker tracker_;
};

TEST_F(MessageTrackerTest, TracksAMessageUntilItsAck) {
  const MessageId id = track(5s, 3);
  EXPECT_TRUE(tracker_.is_pending(id));
  EXPECT_FALSE(tracker_.is_pending(MessageId::create()));
  EXPECT_EQ(tracker_.pending_count(), 1U);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart + 1ms), AckOutcome::kResolved);
  EXPECT_FALSE(tracker_.is_pending(id));
  EXPECT_EQ(tracker_.pending_count(), 0U);
}

TEST_F(MessageTrackerTest, TracksEveryBuiltInKindWithItsDefaults) {
  for (const Kind kind :
       {Kind::kInitializeGpu, Kind::kUpdateGpuGraphData, Kind::kUploadConstraintsToGpu,
        Kind::kComputeForces, Kind::kUpdateNodePositions, Kind::kSetSharedGpuContext}) {
    const MessageId id = MessageId::create();
    ASSERT_EQ(tracker_.track_default(id, kind, kStart), TrackOutcome::kTracked);
    EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart), AckOutcome::kResolved);
    EXPECT_EQ(tracker_.metrics().of_kind(kind).success, 1U);
  }
  const MessageId id = MessageId::create();
  ASSERT_EQ(tracker_.track_default(id, kComputeForces, kStart), TrackOutcome::kTracked);
  EXPECT_EQ(tracker_.find_pending(id)->timeout, 5s);
  EXPECT_EQ(tracker_.find_pending(id)->max_retries, 3U);
}

TEST_F(MessageTrackerTest, HasNoDefaultsForAKindThatIsNotBuiltIn) {
  EXPECT_EQ(tracker_.track_default(MessageId::create(), Kind::kReserved),
            TrackOutcome::kUnknownKind);
  EXPECT_EQ(tracker_.track_default(MessageId::create(), Kind{7}), TrackOutcome::kUnknownKind);
  EXPECT_EQ(totals().sent, 0U);
}

TEST_F(MessageTrackerTest, EndsASuccessWithItsLatency) {
  tracker_.acknowledge(MessageAck::success(track(5s, 3)), kStart + 20ms);
  EXPECT_EQ(totals(), (KindTotals{1, 1, 0, 0, 20'000'000}));
}

TEST_F(MessageTrackerTest, EndsAPartialSuccessAsASuccessWithItsLatency) {
  tracker_.acknowledge(MessageAck::partial_success(track(5s, 3), "half"), kStart + 30ms);
  EXPECT_EQ(totals(), (KindTotals{1, 1, 0, 0, 30'000'000}));
}

TEST_F(MessageTrackerTest, EndsAFailureWithoutARetry) {
  const MessageId id = track(5s, 3);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::failure(id, "diverged"), kStart + 1ms),
            AckOutcome::kResolved);
  EXPECT_EQ(totals(), (KindTotals{1, 0, 1, 0, 0}));
  EXPECT_TRUE(tracker_.check_timeouts(kStart + 1h).empty());
}

TEST_F(MessageTrackerTest, KeepsARetryingMessageSetsItsCountAndRestartsItsClock) {
  const MessageId id = track(5s, 3);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::retrying(id, 2), kStart + 4s),
            AckOutcome::kStillPending);
  EXPECT_TRUE(tracker_.is_pending(id));
  EXPECT_EQ(tracker_.find_pending(id)->retry_count, 2U);
  EXPECT_EQ(tracker_.find_pending(id)->attempt, 1U);
  EXPECT_TRUE(tracker_.check_timeouts(kStart + 8s).empty());
  EXPECT_EQ(only_timeout(kStart + 9s).delay, 400ms);
}

TEST_F(MessageTrackerTest, NeverLowersTheRetryCountForRetrying) {
  const MessageId id = track(1s, 5);
  (void)tracker_.check_timeouts(kStart + 1s);
  (void)tracker_.check_timeouts(kStart + 3s);
  tracker_.acknowledge(MessageAck::retrying(id, 1), kStart + 3s);
  EXPECT_EQ(tracker_.find_pending(id)->retry_count, 2U);
}

TEST_F(MessageTrackerTest, BoundsAHostileRetryCountByTheRetriesGranted) {
  const MessageId id = track(1s, 5);
  tracker_.acknowledge(MessageAck::retrying(id, std::numeric_limits<std::uint32_t>::max()), kStart);
  EXPECT_EQ(tracker_.find_pending(id)->retry_count, 5U);
  EXPECT_EQ(only_timeout(kStart + 1s).action, TimeoutAction::kExhaustedRetries);
}

TEST_F(MessageTrackerTest, LetsAHealthyLongInitialiseLiveByItsProgress) {
  const MessageId id = MessageId::create();
  ASSERT_EQ(tracker_.track_default(id, Kind::kInitializeGpu, kStart), TrackOutcome::kTracked);
  for (auto elapsed = 5s; elapsed < 30s; elapsed += 5s) {
    EXPECT_TRUE(tracker_.check_timeouts(kStart + elapsed).empty());
    tracker_.acknowledge(MessageAck::retrying(id, 0), kStart + elapsed);
  }
  tracker_.acknowledge(MessageAck::success(id), kStart + 30s);
  EXPECT_EQ(totals(), (KindTotals{1, 1, 0, 0, 30'000'000'000}));
}

TEST_F(MessageTrackerTest, LetsNoProgressKeepAMessageBeyondItsMaximumAge) {
  TrackerOptions options;
  options.max_age = 60s;
  MessageTracker tracker(options);
  const MessageId id = MessageId::create();
  ASSERT_EQ(tracker.track(id, kComputeForces, 10s, 3, kStart), TrackOutcome::kTracked);
  for (auto elapsed = 9s; elapsed < 60s; elapsed += 9s) {
    EXPECT_TRUE(tracker.check_timeouts(kStart + elapsed).empty());
    tracker.acknowledge(MessageAck::retrying(id, 0), kStart + elapsed);
  }
  const std::vector<Timeout> timeouts = tracker.check_timeouts(kStart + 60s);
  ASSERT_EQ(timeouts.size(), 1U);
  EXPECT_EQ(timeouts[0].action, TimeoutAction::kExhaustedAge);
  EXPECT_EQ(tracker.metrics().totals().failure, 1U);
}

TEST_F(MessageTrackerTest, LetsRetryingNeverTakeTimeAway) {
  TrackerOptions options;
  options.max_age = 1s;
  MessageTracker tracker(options);
  const MessageId id = MessageId::create();
  ASSERT_EQ(tracker.track(id, kComputeForces, 10s, 0, kStart), TrackOutcome::kTracked);
  tracker.acknowledge(MessageAck::retrying(id, 0), kStart + 5s);
  EXPECT_TRUE(tracker.check_timeouts(kStart + 10s - 1ns).empty());
  EXPECT_EQ(tracker.check_timeouts(kStart + 10s).size(), 1U);
}

TEST_F(MessageTrackerTest, ReportsEveryRetryToTheCallerSoThatItIsReallySentAgain) {
  const MessageId id = track(1s, 12);
  const std::vector<int> delays_ms = {100,  200,   400,   800,   1600,  3200,
                                      6400, 12800, 25600, 30000, 30000, 30000};
  auto now = kStart + 1s;
  for (std::uint32_t retry = 1; retry <= 12; ++retry) {
    const Timeout timeout = only_timeout(now);
    EXPECT_EQ(timeout.id, id);
    EXPECT_EQ(timeout.kind, kComputeForces);
    EXPECT_TRUE(timeout.is_retry());
    EXPECT_EQ(timeout.attempt, retry + 1);
    EXPECT_EQ(timeout.delay.count(), delays_ms[retry - 1]);
    // The next timeout is the full one after the resend, not earlier.
    now += timeout.delay + 1s;
    EXPECT_TRUE(tracker_.check_timeouts(now - 1ns).empty());
  }
  EXPECT_EQ(only_timeout(now).action, TimeoutAction::kExhaustedRetries);
  EXPECT_FALSE(tracker_.is_pending(id));
  EXPECT_EQ(totals(), (KindTotals{1, 0, 1, 12, 0}));
}

TEST_F(MessageTrackerTest, GivesUpAMessageWithoutRetriesAtItsFirstTimeout) {
  const MessageId id = track(1s, 0);
  const Timeout timeout = only_timeout(kStart + 1s);
  EXPECT_EQ(timeout.id, id);
  EXPECT_EQ(timeout.action, TimeoutAction::kExhaustedRetries);
  EXPECT_EQ(timeout.attempt, 1U);
  EXPECT_TRUE(tracker_.check_timeouts(kStart + 1h).empty());
}

TEST_F(MessageTrackerTest, TakesAnAckWhileARetryWaits) {
  const MessageId id = track(1s, 3);
  EXPECT_TRUE(only_timeout(kStart + 1s).is_retry());
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart + 1s + 50ms),
            AckOutcome::kResolved);
  EXPECT_TRUE(tracker_.check_timeouts(kStart + 1h).empty());
}

TEST_F(MessageTrackerTest, MeasuresLatencyFromTheFirstSend) {
  const MessageId id = track(1s, 3);
  EXPECT_TRUE(only_timeout(kStart + 1s).is_retry());
  EXPECT_TRUE(only_timeout(kStart + 3s).is_retry());
  tracker_.acknowledge(MessageAck::success(id), kStart + 4s);
  EXPECT_DOUBLE_EQ(tracker_.metrics().avg_latency_ms(), 4000.0);
}

TEST_F(MessageTrackerTest, ReportsTimeoutsInTheOrderOfTheirDeadlines) {
  const MessageId later = track(3s, 1);
  const MessageId earlier = track(1s, 1);
  (void)track(5s, 1);
  const std::vector<Timeout> timeouts = tracker_.check_timeouts(kStart + 4s);
  ASSERT_EQ(timeouts.size(), 2U);
  EXPECT_EQ(timeouts[0].id, earlier);
  EXPECT_EQ(timeouts[1].id, later);
}

TEST_F(MessageTrackerTest, KeepsAnAckThatComesBeforeItsMessage) {
  const MessageId id = MessageId::create();
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart - 1ms), AckOutcome::kHeldEarly);
  EXPECT_EQ(tracker_.track(id, kComputeForces, 1s, 0, kStart), TrackOutcome::kEarlySuccess);
  EXPECT_FALSE(tracker_.is_pending(id));
  EXPECT_TRUE(tracker_.check_timeouts(kStart + 1h).empty());
  EXPECT_EQ(totals(), (KindTotals{1, 1, 0, 0, 0}));
  EXPECT_EQ(tracker_.counters().early_acks, 1U);
  EXPECT_EQ(tracker_.counters().unknown_acks, 0U);
}

TEST_F(MessageTrackerTest, TakesAnEarlyFailureAndAnEarlyRetryingForWhatTheyAre) {
  const MessageId failed = MessageId::create();
  tracker_.acknowledge(MessageAck::failure(failed, "no graph"), kStart);
  EXPECT_EQ(tracker_.track(failed, kComputeForces, 1s, 0, kStart), TrackOutcome::kEarlyFailure);
  const MessageId retrying = MessageId::create();
  tracker_.acknowledge(MessageAck::retrying(retrying, 1), kStart);
  EXPECT_EQ(tracker_.track(retrying, kComputeForces, 1s, 3, kStart), TrackOutcome::kTracked);
  EXPECT_EQ(tracker_.find_pending(retrying)->retry_count, 1U);
}

TEST_F(MessageTrackerTest, LetsAFinalEarlyAckReplaceAnEarlyRetryingOnly) {
  const MessageId id = MessageId::create();
  EXPECT_EQ(tracker_.acknowledge(MessageAck::retrying(id, 1), kStart), AckOutcome::kHeldEarly);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart), AckOutcome::kHeldEarly);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::failure(id, "late"), kStart), AckOutcome::kDuplicate);
  EXPECT_EQ(tracker_.track(id, kComputeForces, 1s, 0, kStart), TrackOutcome::kEarlySuccess);
}

TEST_F(MessageTrackerTest, CountsAnAckForAnUnknownIdWhenNobodyTracksItInTime) {
  const MessageId id = MessageId::create();
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart), AckOutcome::kHeldEarly);
  (void)tracker_.check_timeouts(kStart + 10s);
  EXPECT_EQ(tracker_.counters().unknown_acks, 0U);
  (void)tracker_.check_timeouts(kStart + 10s + 1ns);
  EXPECT_EQ(tracker_.counters().unknown_acks, 1U);
  EXPECT_EQ(tracker_.track(id, kComputeForces, 1s, 0, kStart + 11s), TrackOutcome::kTracked);
}

TEST_F(MessageTrackerTest, KeepsABoundedNumberOfEarlyAcks) {
  TrackerOptions options;
  options.early_acks_max = 2;
  MessageTracker tracker(options);
  const MessageId ids[] = {MessageId::create(), MessageId::create(), MessageId::create()};
  for (const MessageId& id : ids) {
    EXPECT_EQ(tracker.acknowledge(MessageAck::success(id), kStart), AckOutcome::kHeldEarly);
  }
  EXPECT_EQ(tracker.counters().unknown_acks, 1U);
  EXPECT_EQ(tracker.track(ids[0], kComputeForces, 1s, 0, kStart), TrackOutcome::kTracked);
  EXPECT_EQ(tracker.track(ids[1], kComputeForces, 1s, 0, kStart), TrackOutcome::kEarlySuccess);
  EXPECT_EQ(tracker.track(ids[2], kComputeForces, 1s, 0, kStart), TrackOutcome::kEarlySuccess);
}

TEST_F(MessageTrackerTest, NamesAnUnknownIdAtOnceWhereNoEarlyAcksAreKept) {
  TrackerOptions options;
  options.early_acks_max = 0;
  MessageTracker tracker(options);
  EXPECT_EQ(tracker.acknowledge(MessageAck::success(MessageId::create()), kStart),
            AckOutcome::kUnknown);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(MessageId()), kStart), AckOutcome::kUnknown);
  EXPECT_EQ(tracker.counters().unknown_acks, 1U);
}

TEST_F(MessageTrackerTest, CountsADuplicateAckAndChangesNothing) {
  const MessageId id = track(5s, 3);
  tracker_.acknowledge(MessageAck::success(id), kStart + 1ms);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart + 2ms), AckOutcome::kDuplicate);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::failure(id, "no"), kStart + 3ms),
            AckOutcome::kDuplicate);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::retrying(id, 1), kStart + 4ms),
            AckOutcome::kDuplicate);
  EXPECT_EQ(tracker_.counters().duplicate_acks, 3U);
  EXPECT_EQ(totals(), (KindTotals{1, 1, 0, 0, 1'000'000}));
}

TEST_F(MessageTrackerTest, CountsAnAckAfterTheVerdictAndChangesNothing) {
  const MessageId id = track(1s, 0);
  (void)tracker_.check_timeouts(kStart + 1s);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart + 2s), AckOutcome::kAfterVerdict);
  EXPECT_EQ(tracker_.counters().acks_after_verdict, 1U);
  EXPECT_EQ(totals(), (KindTotals{1, 0, 1, 0, 0}));
}

TEST_F(MessageTrackerTest, RemembersABoundedNumberOfEndedMessages) {
  TrackerOptions options;
  options.finished_max = 1;
  options.early_acks_max = 0;
  MessageTracker tracker(options);
  const MessageId ids[] = {MessageId::create(), MessageId::create()};
  for (const MessageId& id : ids) {
    ASSERT_EQ(tracker.track(id, kComputeForces, 1s, 0, kStart), TrackOutcome::kTracked);
    tracker.acknowledge(MessageAck::success(id), kStart);
  }
  EXPECT_EQ(tracker.acknowledge(MessageAck::success(ids[0]), kStart), AckOutcome::kUnknown);
  EXPECT_EQ(tracker.acknowledge(MessageAck::success(ids[1]), kStart), AckOutcome::kDuplicate);
}

TEST_F(MessageTrackerTest, RefusesAnIdASecondTime) {
  const MessageId id = track(5s, 3);
  EXPECT_EQ(tracker_.track(id, kComputeForces, 5s, 3, kStart), TrackOutcome::kAlreadyTracked);
  tracker_.acknowledge(MessageAck::success(id), kStart);
  EXPECT_EQ(tracker_.track(id, kComputeForces, 5s, 3, kStart), TrackOutcome::kAlreadyTracked);
  EXPECT_EQ(totals().sent, 1U);
}

TEST_F(MessageTrackerTest, RefusesTheNilId) {
  EXPECT_EQ(tracker_.track(MessageId(), kComputeForces, 5s, 3, kStart), TrackOutcome::kNilId);
}

TEST_F(MessageTrackerTest, RefusesMoreThanItMayHold) {
  TrackerOptions options;
  options.pending_max = 1;
  MessageTracker tracker(options);
  const MessageId id = MessageId::create();
  EXPECT_EQ(tracker.track(id, kComputeForces, 5s, 3, kStart), TrackOutcome::kTracked);
  EXPECT_EQ(tracker.track(MessageId::create(), kComputeForces, 5s, 3, kStart), TrackOutcome::kFull);
  EXPECT_EQ(tracker.metrics().totals().sent, 1U);
  tracker.acknowledge(MessageAck::success(id), kStart);
  EXPECT_EQ(tracker.track(MessageId::create(), kComputeForces, 5s, 3, kStart),
            TrackOutcome::kTracked);
}

TEST_F(MessageTrackerTest, ClampsHostileTimeoutsAndRetries) {
  const MessageId short_one = track(-5ms, std::numeric_limits<std::uint32_t>::max());
  EXPECT_EQ(tracker_.find_pending(short_one)->timeout, 1ms);
  EXPECT_EQ(tracker_.find_pending(short_one)->max_retries, 1000U);
  const MessageId long_one = track(std::chrono::milliseconds::max(), 0);
  EXPECT_EQ(tracker_.find_pending(long_one)->timeout, 24h);
}

TEST_F(MessageTrackerTest, SurvivesOptionsBeyondAnyUse) {
  TrackerOptions options;
  options.early_ack_kept = std::chrono::milliseconds::max();
  options.max_age = std::chrono::milliseconds::max();
  MessageTracker tracker(options);
  const MessageId id = MessageId::create();
  tracker.acknowledge(MessageAck::retrying(id, 0), kStart);
  EXPECT_EQ(tracker.track(id, kComputeForces, 1s, 0, kStart), TrackOutcome::kTracked);
  EXPECT_EQ(tracker.check_timeouts(kStart + 1s).size(), 1U);
}

TEST_F(MessageTrackerTest, CalculatesTheRetryDelayByTheFormula) {
  EXPECT_EQ(MessageTracker::calculate_retry_delay(0), 0ms);
  EXPECT_EQ(MessageTracker::calculate_retry_delay(1), 100ms);
  EXPECT_EQ(MessageTracker::calculate_retry_delay(9), 25'600ms);
  EXPECT_EQ(MessageTracker::calculate_retry_delay(10), 30s);
  EXPECT_EQ(MessageTracker::calculate_retry_delay(std::numeric_limits<std::uint32_t>::max()), 30s);
}

TEST_F(MessageTrackerTest, ShutDownNamesWhatIsPendingAndRefusesTheRest) {
  const MessageId id = track(5s, 3);
  EXPECT_EQ(tracker_.shutdown(), std::vector<MessageId>{id});
  EXPECT_TRUE(tracker_.shutdown().empty());
  EXPECT_EQ(tracker_.pending_count(), 0U);
  EXPECT_EQ(tracker_.counters().closed, 1U);
  EXPECT_EQ(tracker_.track(MessageId::create(), kComputeForces, 5s, 3, kStart),
            TrackOutcome::kShutDown);
  EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id), kStart), AckOutcome::kShutDown);
  EXPECT_TRUE(tracker_.check_timeouts(kStart + 1h).empty());
  EXPECT_FALSE(tracker_.start_checker(1ms, [](const std::vector<Timeout>&) {}));
}

TEST_F(MessageTrackerTest, LeavesAMessageThatNobodyTracksAlone) {
  // Correlation is optional: what is sent without being tracked has no deadline and no count.
  (void)MessageId::create();
  EXPECT_TRUE(tracker_.check_timeouts(kStart + 24h).empty());
  EXPECT_EQ(totals(), KindTotals{});
}

TEST_F(MessageTrackerTest, AccountsForEveryMessageInARandomHistory) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto draw = [&random](std::uint32_t below) {
    return static_cast<std::uint32_t>(random() % below);
  };
  std::vector<MessageId> ids;
  auto now = kStart;
  for (int step = 0; step < 20'000; ++step) {
    now += std::chrono::milliseconds(draw(50));
    const MessageId id = ids.empty() || draw(3) == 0
                             ? MessageId::create()
                             : ids[draw(static_cast<std::uint32_t>(ids.size()))];
    switch (draw(6)) {
      case 0:
        tracker_.acknowledge(MessageAck::success(id), now);
        break;
      case 1:
        tracker_.acknowledge(MessageAck::failure(id, "failed"), now);
        break;
      case 2:
        tracker_.acknowledge(MessageAck::retrying(id, draw(4)), now);
        break;
      case 3:
        (void)tracker_.check_timeouts(now);
        break;
      default:
        ids.push_back(id);
        (void)tracker_.track(id, kComputeForces, std::chrono::milliseconds(draw(500)), draw(3),
                             now);
    }
    const KindTotals sum = totals();
    ASSERT_EQ(sum.sent, sum.success + sum.failure + tracker_.pending_count()) << "step " << step;
  }
}

TEST_F(MessageTrackerTest, MayBeUsedFromSeveralThreads) {
  constexpr int kThreads = 4;
  constexpr std::uint64_t kMessages = 2000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([this] {
      for (std::uint64_t message = 0; message < kMessages; ++message) {
        const MessageId id = MessageId::create();
        EXPECT_EQ(tracker_.track(id, kComputeForces, 1h, 0), TrackOutcome::kTracked);
        EXPECT_TRUE(tracker_.check_timeouts().empty());
        EXPECT_EQ(tracker_.acknowledge(MessageAck::success(id)), AckOutcome::kResolved);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(totals().success, kThreads * kMessages);
  EXPECT_EQ(tracker_.pending_count(), 0U);
}

TEST_F(MessageTrackerTest, CheckerReportsATimeoutToItsCallback) {
  const MessageId id = MessageId::create();
  ASSERT_EQ(tracker_.track(id, kComputeForces, 1ms, 0), TrackOutcome::kTracked);
  std::promise<std::vector<Timeout>> reported;
  ASSERT_TRUE(tracker_.start_checker(
      1ms, [&reported](const std::vector<Timeout>& timeouts) { reported.set_value(timeouts); }));
  const std::vector<Timeout> timeouts = reported.get_future().get();
  ASSERT_EQ(timeouts.size(), 1U);
  EXPECT_EQ(timeouts[0].id, id);
  EXPECT_EQ(timeouts[0].action, TimeoutAction::kExhaustedRetries);
}

TEST_F(MessageTrackerTest, CheckerStopsWithoutWaitingForItsInterval) {
  // With an interval of a day this test ends only because a stop wakes the checker.
  ASSERT_TRUE(tracker_.start_checker(24h, [](const std::vector<Timeout>&) {}));
  tracker_.stop_checker();
}

TEST_F(MessageTrackerTest, CheckerRunsOnceMayBeStoppedTwiceAndStartedAgain) {
  tracker_.stop_checker();
  ASSERT_TRUE(tracker_.start_checker(24h, [](const std::vector<Timeout>&) {}));
  EXPECT_FALSE(tracker_.start_checker(24h, [](const std::vector<Timeout>&) {}));
  tracker_.stop_checker();
  tracker_.stop_checker();
  EXPECT_TRUE(tracker_.start_checker(24h, [](const std::vector<Timeout>&) {}));
}

TEST_F(MessageTrackerTest, CheckersCallbackMayUseTheTracker) {
  const MessageId first = MessageId::create();
  const MessageId second = MessageId::create();
  ASSERT_EQ(tracker_.track(first, kComputeForces, 1ms, 0), TrackOutcome::kTracked);
  std::promise<void> second_timed_out;
  ASSERT_TRUE(tracker_.start_checker(1ms, [&](const std::vector<Timeout>& timeouts) {
    if (timeouts.front().id == first) {
      EXPECT_EQ(tracker_.track(second, kComputeForces, 1ms, 0), TrackOutcome::kTracked);
    } else {
      second_timed_out.set_value();
    }
  }));
  second_timed_out.get_future().get();
  EXPECT_EQ(totals().failure, 2U);
}

TEST_F(MessageTrackerTest, DestructionEndsARunningChecker) {
  auto tracker = std::make_unique<MessageTracker>();
  ASSERT_TRUE(tracker->start_checker(24h, [](const std::vector<Timeout>&) {}));
  tracker.reset();
}

TEST(MessageTrackerDeathTest, AssertsThatTheCallbackDoesNotStopItsOwnChecker) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        MessageTracker tracker;
        (void)tracker.track(MessageId::create(), kComputeForces, 1ms, 0);
        tracker.start_checker(1ms, [&](const std::vector<Timeout>&) { tracker.stop_checker(); });
        std::promise<void>().get_future().wait();  // Never comes; the checker's thread aborts.
      },
      "assertion failed");
}

}  // namespace
}  // namespace ackbus
