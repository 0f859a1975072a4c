// The daemon dies before each of its accesses to shared memory in turn, and a new one takes over
// from memory, ledger and disk. Each scenario must end as if nothing had happened.
#include <gtest/gtest.h>

#include <functional>

#include "tests/link/harness.hpp"
#include "tests/link/interrupt.hpp"

namespace ackbus::test {
namespace {

using layout::AckCode;
using layout::PendingState;

// Runs `act` with the daemon's death before its n-th access, for every n that it reaches; `act`
// goes on from any state, so it is what the new daemon does as well. Gives the number of deaths
// tried.
int die_everywhere(const std::function<void(LinkWorld&)>& prepare,
                   const std::function<void(LinkWorld&)>& act,
                   const std::function<void(LinkWorld&, int)>& check) {
  for (int access = 1; access < 100'000; ++access) {
    LinkWorld world{8};
    prepare(world);
    bool died = false;
    {
      Interrupt death(false, access, [] { throw Died{}; });
      try {
        act(world);
      } catch (const Died&) {
        died = true;
      }
    }
    if (died) {
      world.restart_tracker();
      act(world);
    }
    check(world, access);
    if (!died || ::testing::Test::HasFailure()) {
      return access - 1;
    }
  }
  return -1;
}

// The life in force, whether or not the daemon died while it was being made.
void hand_over_if_needed(LinkWorld& world) {
  if (world.lives.empty() || world.lives.back()->ended) {
    world.hand_over();
  } else if (!world.consumer) {
    world.start_consumer();
  }
}

void settle(LinkWorld& world) {
  world.reap();
  while (const auto begun = world.take(true)) {
    world.ack(*begun);
  }
  world.run_for(300 * kMs);
  world.reap();
  world.run_for(300 * kMs);
  world.reap();
}

TEST(Recovery, OfARetryAtAnyAccess) {
  const int deaths = die_everywhere(
      [](LinkWorld& world) {
        world.hand_over();
        world.commit();
        world.run_for(0);
        world.give_back(*world.take());
      },
      [](LinkWorld& world) { world.run_until(1'000 * kMs + 250 * kMs); },
      [](LinkWorld& world, int access) {
        const auto again = world.take();
        ASSERT_TRUE(again) << "access " << access;
        ASSERT_EQ(again->attempt, 2U) << "access " << access;
        ASSERT_FALSE(world.take()) << "access " << access;
        world.ack(*again);
        settle(world);
        ASSERT_EQ(world.outcome({0, 1}).code, OutcomeCode::kSuccess) << "access " << access;
        ASSERT_EQ(world.producer->in_use(), 0U) << "access " << access;
      });
  EXPECT_GT(deaths, 50);
}

TEST(Recovery, OfAVerdictAtAnyAccess) {
  const int deaths = die_everywhere(
      [](LinkWorld& world) {
        world.hand_over();
        Message message;
        message.options.max_retries = 0;
        world.commit(message);
        world.run_for(0);
        world.take();
        world.run_for(99 * kMs);
      },
      [](LinkWorld& world) { world.run_until(1'000 * kMs + 150 * kMs); },
      [](LinkWorld& world, int access) {
        ASSERT_EQ(world.reap_outcome({0, 1}).code, OutcomeCode::kExhausted) << "access " << access;
        ASSERT_NE(world.letter({0, 1}), nullptr) << "access " << access;
        ASSERT_EQ(world.host.letters.size(), 1U);
        world.kill_consumer();
        world.hand_over();
        world.reap();
        ASSERT_EQ(world.producer->in_use(), 0U) << "access " << access;
      });
  EXPECT_GT(deaths, 50);
}

// The ack is taken while the verdict is being given; the daemon dies while it withdraws. The slot
// must come free without anything else happening on the link.
TEST(Recovery, OfAWithdrawnVerdictAtAnyAccess) {
  die_everywhere(
      [](LinkWorld& world) {
        world.hand_over();
        Message message;
        message.options.max_retries = 0;
        world.commit(message);
        world.run_for(0);
        const auto begun = world.take();
        world.letters_run = false;
        world.run_for(100 * kMs);
        world.ack(*begun);
        ASSERT_EQ(world.reap_outcome({0, 1}).code, OutcomeCode::kSuccess);
        ASSERT_EQ(world.producer->in_use(), 1U);
        world.letters_run = true;
      },
      [](LinkWorld& world) { world.run_for(0); },
      [](LinkWorld& world, int access) {
        world.reap();
        ASSERT_EQ(world.producer->in_use(), 0U) << "access " << access;
        ASSERT_EQ(world.letter({0, 1}), nullptr) << "access " << access;
      });
}

TEST(Recovery, OfALateSuccessAtAnyAccess) {
  die_everywhere(
      [](LinkWorld& world) {
        world.hand_over();
        Message message;
        message.options.max_retries = 0;
        world.commit(message);
        world.run_for(0);
        const auto begun = world.take();
        world.run_for(120 * kMs);
        world.ack(*begun);
        ASSERT_EQ(world.reap_outcome({0, 1}).code, OutcomeCode::kSuccess);
      },
      [](LinkWorld& world) { world.run_until(1'000 * kMs + 400 * kMs); },
      [](LinkWorld& world, int access) {
        world.reap();
        ASSERT_EQ(world.producer->in_use(), 0U) << "access " << access;
        ASSERT_NE(world.letter({0, 1}), nullptr) << "access " << access;
        ASSERT_TRUE(world.letter({0, 1})->late_success) << "access " << access;
      });
}

// max_wait ends; the message is begun just before Exhausting is stored; the daemon dies on the way.
// What runs may not end undelivered.
TEST(Recovery, OfAnUndeliveredVerdictThatMetABeginAtAnyAccess) {
  for (int access = 1; access < 400; ++access) {
    LinkWorld world{8};
    world.hand_over();
    Message message;
    message.options.max_wait = std::chrono::milliseconds(50);
    world.commit(message);
    world.run_for(50 * kMs - 1);
    world.now_ns += 1;
    std::optional<Delivery> begun;
    bool died = false;
    try {
      Interrupt begin(true, 1, [&] {
        begun = world.take();
        layout::access_hook = nullptr;
      });
      world.tracker->expire(0, world.now_ns);
    } catch (const Died&) {
    }
    ASSERT_TRUE(begun);
    // The same again, dying before access `access` after the begin: the entry may say Exhausting.
    layout::PendingCopyValue exhausting = world.entry({0, 1});
    exhausting.sequence = 1;
    exhausting.attempt = 1;
    exhausting.version += 1;
    exhausting.state = PendingState::kExhausting;
    exhausting.reason = layout::VerdictReason::kUndelivered;
    exhausting.epoch = 1;
    layout::pending_publish(world.tracking.entry(0).copies[exhausting.version & 1U], exhausting);
    world.restart_tracker();
    {
      Interrupt death(false, access, [] { throw Died{}; });
      try {
        world.run_for(10 * kMs);
      } catch (const Died&) {
        died = true;
      }
    }
    world.restart_tracker();
    world.run_for(10 * kMs);
    ASSERT_EQ(world.reap_outcome({0, 1}).code, OutcomeCode::kReserved) << "access " << access;
    world.ack(*begun);
    world.run_for(10 * kMs);
    ASSERT_EQ(world.reap_outcome({0, 1}).code, OutcomeCode::kSuccess) << "access " << access;
    ASSERT_EQ(world.producer->in_use(), 0U) << "access " << access;
    ASSERT_EQ(world.letter({0, 1}), nullptr) << "access " << access;
    if (!died) {
      return;
    }
  }
}

TEST(Recovery, DeliversAgainWhatWasBegunUnderAnUndeliveredVerdictWhenItsConsumerDiedToo) {
  LinkWorld world{8};
  world.hand_over();
  const Ticket ticket = world.commit();
  world.run_for(0);
  ASSERT_TRUE(world.take());
  layout::PendingCopyValue exhausting;
  exhausting.version = 1;
  exhausting.sequence = ticket.sequence;
  exhausting.attempt = 1;
  exhausting.state = PendingState::kExhausting;
  exhausting.reason = layout::VerdictReason::kUndelivered;
  exhausting.epoch = 1;
  layout::pending_publish(world.tracking.entry(ticket.slot).copies[1], exhausting);
  world.kill_consumer();
  world.restart_tracker();
  world.hand_over();
  const auto again = world.take();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt, 2U);
  world.ack(*again);
  EXPECT_EQ(world.reap_outcome(ticket).code, OutcomeCode::kSuccess);
}

// Begun, finished without a place, given back, unread, untracked and exhausted ones; the daemon
// dies at any access of the hand-over. Deaths are counted once, nothing is lost, nothing runs
// twice.
TEST(Recovery, OfAHandOverAtAnyAccess) {
  const int deaths = die_everywhere(
      [](LinkWorld& world) {
        world.hand_over();
        Message once;
        once.options.max_retries = 0;
        Message untracked;
        untracked.tracked = false;
        world.commit();           // 1: begun
        world.commit();           // 2: acked, never reaped
        world.commit();           // 3: given back
        world.commit(once);       // 4: its verdict stands
        world.commit(untracked);  // 5: begun
        world.commit();           // 6: never read
        std::vector<Delivery> begun;
        for (int i = 0; i < 5; ++i) {
          begun.push_back(*world.take());
        }
        world.run_for(110 * kMs);
        world.ack(begun[1]);
        world.give_back(begun[2]);
        // 1 runs as attempt 2 by now, so its death counts.
        layout::raised_publish(world.lives.back()->ack.record(0), {1, world.now_ns, 2});
        world.kill_consumer();
      },
      hand_over_if_needed,
      [](LinkWorld& world, int access) {
        ASSERT_EQ(world.entry({0, 1}).deaths, 1U) << "access " << access;
        ASSERT_EQ(world.lives.back()->epoch, 2U) << "access " << access;
        std::vector<std::uint64_t> ran;
        while (const auto begun = world.take(true)) {
          ran.push_back(begun->sequence);
          world.ack(*begun);
        }
        ASSERT_EQ(ran, (std::vector<std::uint64_t>{1, 3, 6})) << "access " << access;
        settle(world);
        for (const std::uint64_t sequence : {1U, 2U, 3U, 6U}) {
          const Ticket ticket{static_cast<std::uint32_t>(sequence - 1), sequence};
          ASSERT_EQ(world.outcome(ticket).code, OutcomeCode::kSuccess)
              << "access " << access << " sequence " << sequence;
        }
        ASSERT_EQ(world.outcome({3, 4}).code, OutcomeCode::kExhausted) << "access " << access;
        ASSERT_EQ(world.producer->in_use(), 0U) << "access " << access;
      });
  EXPECT_GT(deaths, 500);
}

TEST(Recovery, OfPoisonAtAnyAccess) {
  die_everywhere(
      [](LinkWorld& world) {
        world.hand_over();
        world.commit();
        world.run_for(0);
        world.take();
        world.kill_consumer();
        world.hand_over();
        world.take();
        world.kill_consumer();
      },
      [](LinkWorld& world) {
        hand_over_if_needed(world);
        world.run_for(10 * kMs);
      },
      [](LinkWorld& world, int access) {
        ASSERT_FALSE(world.take()) << "access " << access;
        ASSERT_EQ(world.reap_outcome({0, 1}).reason, OutcomeReason::kPoison) << access;
        ASSERT_NE(world.letter({0, 1}), nullptr) << "access " << access;
        ASSERT_EQ(world.letter({0, 1})->deaths, 2U) << "access " << access;
        ASSERT_EQ(world.producer->in_use(), 0U) << "access " << access;
      });
}

TEST(Recovery, OfAClosingLinkAtAnyAccess) {
  die_everywhere(
      [](LinkWorld& world) {
        world.hand_over();
        world.commit();
        world.commit();
        world.take();
      },
      [](LinkWorld& world) { world.tracker->close(layout::VerdictReason::kClosedBus); },
      [](LinkWorld& world, int access) {
        world.reap();
        ASSERT_EQ(world.outcome({0, 1}).reason, OutcomeReason::kBusShutDown) << access;
        ASSERT_EQ(world.outcome({1, 2}).reason, OutcomeReason::kBusShutDown) << access;
        ASSERT_EQ(world.producer->closed(), OutcomeReason::kBusShutDown) << access;
      });
}

TEST(Recovery, AnnouncesVerdictsAgainAndMovesInterventionsBeforeAnythingElse) {
  LinkWorld world{8};
  world.hand_over();
  Message message;
  message.options.max_retries = 0;
  const Ticket ticket = world.commit(message);
  world.run_for(0);
  world.take();
  world.run_for(110 * kMs);
  ASSERT_EQ(world.state(ticket), PendingState::kVerdict);
  const std::uint64_t moved = world.tracking.words().interventions.load_acquire();
  const int rings = world.host.producer_rings;
  world.restart_tracker();
  EXPECT_GT(world.tracking.words().interventions.load_acquire(), moved);
  EXPECT_GT(world.host.producer_rings, rings);
  EXPECT_EQ(world.tracking.verdict(2).number.load_acquire(), 2U);
  EXPECT_EQ(world.reap(), 1U);
  world.restart_tracker();
  EXPECT_EQ(world.tracking.verdict(3).number.load_acquire(), 0U) << "it has its outcome";
}

// Consumer and daemon are killed just after the epoch moved: no life of that epoch was ever mapped,
// so the next start is the one beside the epoch.
TEST(Recovery, AfterALifeThatNobodyMappedStartsWhereThatLifeWouldHave) {
  LinkWorld world{4};
  world.hand_over();
  for (int i = 0; i < 9; ++i) {
    world.commit();
    world.ack(*world.take());
    world.reap();
  }
  const Ticket begun = world.commit();
  ASSERT_TRUE(world.take());
  const Ticket unread = world.commit();
  world.kill_consumer();
  world.prepare_hand_over();
  world.lives.back()->mapped = false;
  world.lives.back()->ended = true;
  world.restart_tracker();
  world.hand_over();
  EXPECT_EQ(world.lives.back()->start, unread.sequence);
  const auto first = world.take();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->sequence, begun.sequence);
  EXPECT_EQ(first->attempt, 2U);
  world.ack(*first);
  const auto second = world.take();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->sequence, unread.sequence);
  world.ack(*second);
  EXPECT_FALSE(world.consumer->violated());
  world.reap();
  EXPECT_EQ(world.producer->in_use(), 0U);
}

TEST(Recovery, AfterEveryCallOfALongScenarioChangesNothing) {
  LinkWorld world{4};
  world.restart_tracker();
  world.hand_over();
  std::uint64_t successes = 0;
  for (int turn = 0; turn < 200; ++turn) {
    world.try_commit({});
    world.restart_tracker();
    if (const auto begun = world.take(true)) {
      if (turn % 5 == 0) {
        world.give_back(*begun, 1);
      } else if (turn % 7 == 0) {
        world.kill_consumer();
        world.restart_tracker();
        world.hand_over(false);
      } else {
        world.ack(*begun);
      }
    }
    world.restart_tracker();
    world.run_for(5 * kMs);
    world.restart_tracker();
    world.reap();
    while (const auto node = world.outcomes.take_oldest()) {
      ASSERT_EQ(node->outcome.code, OutcomeCode::kSuccess) << "turn " << turn;
      successes += 1;
    }
  }
  EXPECT_GT(successes, 50U);
  EXPECT_TRUE(world.host.letters.empty());
}

}  // namespace
}  // namespace ackbus::test
