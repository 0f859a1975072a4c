// The explorer against the classic litmus shapes: what C++11 allows must be found, what it forbids
// must not be. Shapes with two writers of one word (S, R, 2+2W) can't be expressed, as in the
// product.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "shm_layout/cell.hpp"
#include "tests/weak/explorer.hpp"

namespace ackbus::weak {
namespace {

using Word = layout::Cell<std::uint64_t>;
using Outcome = std::vector<std::uint64_t>;

// Words x, y, z, w and a register per load.
struct Shape : Scenario {
  Shape() : words(*new (allocate(4 * sizeof(Word))) std::array<Word, 4>()) {}
  void check() override { outcomes->insert(Outcome(r.begin(), r.begin() + registers)); }

  std::array<Word, 4>& words;
  Word& x = words[0];
  Word& y = words[1];
  Word& z = words[2];
  std::array<std::uint64_t, 6> r{};
  int registers = 2;
  std::set<Outcome>* outcomes = nullptr;
};

using Thread = std::function<void(Shape&)>;

std::set<Outcome> outcomes_of(int registers, const std::vector<Thread>& threads,
                              int foretold_max = 0) {
  std::set<Outcome> outcomes;
  Litmus litmus;
  litmus.options.foretold_max = foretold_max;
  litmus.make = [&] {
    auto shape = std::make_unique<Shape>();
    shape->registers = registers;
    shape->outcomes = &outcomes;
    for (const Thread& thread : threads) {
      shape->threads.emplace_back([&thread, at = shape.get()] { thread(*at); });
    }
    return shape;
  };
  const Exploration result = explore(litmus);
  EXPECT_TRUE(result.complete) << trace_text(result);
  return outcomes;
}

TEST(Classic, StoreBufferingIsAllowedWithReleaseAndAcquire) {
  const auto outcomes = outcomes_of(2, {[](Shape& s) {
                                          s.x.store_release(1);
                                          s.r[0] = s.y.load_acquire();
                                        },
                                        [](Shape& s) {
                                          s.y.store_release(1);
                                          s.r[1] = s.x.load_acquire();
                                        }});
  EXPECT_EQ(outcomes, (std::set<Outcome>{{0, 0}, {0, 1}, {1, 0}, {1, 1}}));
}

TEST(Classic, FullFencesForbidStoreBuffering) {
  const auto half = [](bool fenced) {
    return std::vector<Thread>{[](Shape& s) {
                                 s.x.store_relaxed(1);
                                 layout::fence_full();
                                 s.r[0] = s.y.load_relaxed();
                               },
                               [fenced](Shape& s) {
                                 s.y.store_relaxed(1);
                                 if (fenced) layout::fence_full();
                                 s.r[1] = s.x.load_relaxed();
                               }};
  };
  EXPECT_EQ(outcomes_of(2, half(true)), (std::set<Outcome>{{0, 1}, {1, 0}, {1, 1}}));
  EXPECT_EQ(outcomes_of(2, half(false)).count({0, 0}), 1U) << "one fence is none";
}

TEST(Classic, AMembarrierStandsInForTheOtherSidesFence) {
  const auto threads = [](std::uint32_t registered) {
    return std::vector<Thread>{[](Shape& s) {
                                 s.x.store_relaxed(1);
                                 layout::fence_light();
                                 s.r[0] = s.y.load_relaxed();
                               },
                               [registered](Shape& s) {
                                 s.y.store_relaxed(1);
                                 barrier(registered, {__FILE__, __LINE__, Operation::kBarrier});
                                 s.r[1] = s.x.load_relaxed();
                               }};
  };
  EXPECT_EQ(outcomes_of(2, threads(1)), (std::set<Outcome>{{0, 1}, {1, 0}, {1, 1}}));
  EXPECT_EQ(outcomes_of(2, threads(0)).count({0, 0}), 1U) << "the thread had not registered";
}

TEST(Classic, MessagePassingNeedsReleaseAndAcquire) {
  const auto threads = [](bool release, bool acquire) {
    return std::vector<Thread>{[release](Shape& s) {
                                 s.x.store_relaxed(1);
                                 release ? s.y.store_release(1) : s.y.store_relaxed(1);
                               },
                               [acquire](Shape& s) {
                                 s.r[0] = acquire ? s.y.load_acquire() : s.y.load_relaxed();
                                 s.r[1] = s.x.load_relaxed();
                               }};
  };
  EXPECT_EQ(outcomes_of(2, threads(true, true)), (std::set<Outcome>{{0, 0}, {0, 1}, {1, 1}}));
  EXPECT_EQ(outcomes_of(2, threads(false, true)).count({1, 0}), 1U);
  EXPECT_EQ(outcomes_of(2, threads(true, false)).count({1, 0}), 1U);
}

TEST(Classic, MessagePassingWorksWithFencesToo) {
  const auto threads = [](bool release, bool acquire) {
    return std::vector<Thread>{[release](Shape& s) {
                                 s.x.store_relaxed(1);
                                 if (release) layout::fence_release();
                                 s.y.store_relaxed(1);
                               },
                               [acquire](Shape& s) {
                                 s.r[0] = s.y.load_relaxed();
                                 if (acquire) layout::fence_acquire();
                                 s.r[1] = s.x.load_relaxed();
                               }};
  };
  EXPECT_EQ(outcomes_of(2, threads(true, true)).count({1, 0}), 0U);
  EXPECT_EQ(outcomes_of(2, threads(false, true)).count({1, 0}), 1U);
  EXPECT_EQ(outcomes_of(2, threads(true, false)).count({1, 0}), 1U);
}

TEST(Classic, AReleaseStoreDoesNotOrderWhatFollowsIt) {
  const auto outcomes = outcomes_of(2, {[](Shape& s) {
                                          s.x.store_release(1);
                                          s.y.store_relaxed(1);
                                        },
                                        [](Shape& s) {
                                          s.r[0] = s.y.load_acquire();
                                          s.r[1] = s.x.load_relaxed();
                                        }});
  EXPECT_EQ(outcomes.count({1, 0}), 1U);
}

TEST(Classic, ARelaxedStoreAfterAReleaseStoreCarriesNothing) {
  const auto outcomes = outcomes_of(2, {[](Shape& s) {
                                          s.x.store_relaxed(1);
                                          s.y.store_release(1);
                                          s.y.store_relaxed(2);
                                        },
                                        [](Shape& s) {
                                          s.r[0] = s.y.load_acquire();
                                          s.r[1] = s.x.load_relaxed();
                                        }});
  EXPECT_EQ(outcomes.count({1, 0}), 0U);
  EXPECT_EQ(outcomes.count({2, 0}), 1U) << "C++20 has no release sequence of plain stores";
}

TEST(Classic, TwoReadsOfOneWordNeverGoBackwards) {
  const auto outcomes = outcomes_of(2, {[](Shape& s) {
                                          s.x.store_relaxed(1);
                                          s.x.store_relaxed(2);
                                        },
                                        [](Shape& s) {
                                          s.r[0] = s.x.load_relaxed();
                                          s.r[1] = s.x.load_relaxed();
                                        }});
  EXPECT_EQ(outcomes, (std::set<Outcome>{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}}));
}

TEST(Classic, WhatIsReadIsPassedOn) {  // WRC and ISA2
  const auto threads = [](bool release) {
    return std::vector<Thread>{[](Shape& s) { s.x.store_release(1); },
                               [release](Shape& s) {
                                 s.r[0] = s.x.load_acquire();
                                 release ? s.y.store_release(1) : s.y.store_relaxed(1);
                               },
                               [](Shape& s) {
                                 s.r[1] = s.y.load_acquire();
                                 s.r[2] = s.x.load_relaxed();
                               }};
  };
  EXPECT_EQ(outcomes_of(3, threads(true)).count({1, 1, 0}), 0U);
  EXPECT_EQ(outcomes_of(3, threads(false)).count({1, 1, 0}), 1U);
}

TEST(Classic, ReadersMayDisagreeOnTheOrderOfTwoWriters) {  // IRIW
  const auto threads = [](bool fenced) {
    return std::vector<Thread>{[](Shape& s) { s.x.store_release(1); },
                               [](Shape& s) { s.y.store_release(1); },
                               [fenced](Shape& s) {
                                 s.r[0] = s.x.load_acquire();
                                 if (fenced) layout::fence_full();
                                 s.r[1] = s.y.load_acquire();
                               },
                               [fenced](Shape& s) {
                                 s.r[2] = s.y.load_acquire();
                                 if (fenced) layout::fence_full();
                                 s.r[3] = s.x.load_acquire();
                               }};
  };
  const auto loose = outcomes_of(4, threads(false));
  EXPECT_EQ(loose.count({1, 0, 1, 0}), 1U);
  EXPECT_EQ(loose.size(), 16U);
  const auto fenced = outcomes_of(4, threads(true));
  EXPECT_EQ(fenced.count({1, 0, 1, 0}), 0U);
  EXPECT_EQ(fenced.size(), 15U);
}

TEST(Classic, AReadToWriteChainEndsAtTheFences) {  // RWC
  const auto threads = [](bool fenced) {
    return std::vector<Thread>{[](Shape& s) { s.x.store_release(1); },
                               [fenced](Shape& s) {
                                 s.r[0] = s.x.load_acquire();
                                 if (fenced) layout::fence_full();
                                 s.r[1] = s.y.load_acquire();
                               },
                               [fenced](Shape& s) {
                                 s.y.store_release(1);
                                 if (fenced) layout::fence_full();
                                 s.r[2] = s.x.load_acquire();
                               }};
  };
  EXPECT_EQ(outcomes_of(3, threads(true)).count({1, 0, 0}), 0U);
  EXPECT_EQ(outcomes_of(3, threads(false)).count({1, 0, 0}), 1U);
}

std::vector<Thread> load_buffering(bool release, bool acquire) {
  return {[=](Shape& s) {
            s.r[0] = s.x.load_relaxed();
            release ? s.y.store_release(1) : s.y.store_relaxed(1);
          },
          [=](Shape& s) {
            s.r[1] = acquire ? s.y.load_acquire() : s.y.load_relaxed();
            s.x.store_relaxed(1);
          }};
}

TEST(Classic, LoadBufferingIsFoundWhereItIsAskedFor) {
  EXPECT_EQ(outcomes_of(2, load_buffering(false, false)).count({1, 1}), 0U);
  EXPECT_EQ(outcomes_of(2, load_buffering(false, false), 1).count({1, 1}), 1U);
  EXPECT_EQ(outcomes_of(2, load_buffering(false, true), 1).count({1, 1}), 1U);
  EXPECT_EQ(outcomes_of(2, load_buffering(true, false), 1).count({1, 1}), 1U);
}

TEST(Classic, ReleaseAndAcquireForbidLoadBuffering) {
  EXPECT_EQ(outcomes_of(2, load_buffering(true, true), 2),
            (std::set<Outcome>{{0, 0}, {0, 1}, {1, 0}}));
}

TEST(Classic, NoValueComesOutOfThinAir) {
  const auto outcomes = outcomes_of(2,
                                    {[](Shape& s) {
                                       s.r[0] = s.x.load_relaxed();
                                       s.y.store_relaxed(s.r[0]);
                                     },
                                     [](Shape& s) {
                                       s.r[1] = s.y.load_relaxed();
                                       s.x.store_relaxed(s.r[1]);
                                     }},
                                    2);
  EXPECT_EQ(outcomes, (std::set<Outcome>{{0, 0}}));
}

TEST(Classic, AForetoldReadIsCoherent) {
  const auto outcomes = outcomes_of(2,
                                    {[](Shape& s) {
                                       s.r[0] = s.x.load_relaxed();
                                       s.r[1] = s.x.load_relaxed();
                                       s.y.store_relaxed(1);
                                     },
                                     [](Shape& s) {
                                       if (s.y.load_relaxed() == 1) s.x.store_relaxed(7);
                                     }},
                                    1);
  EXPECT_EQ(outcomes, (std::set<Outcome>{{0, 0}, {0, 7}, {7, 7}}));
}

TEST(Classic, AnUnorderedReadOfPlainBytesIsARace) {
  const auto run = [](bool release) {
    Litmus litmus;
    litmus.make = [release] {
      auto shape = std::make_unique<Shape>();
      Shape* at = shape.get();
      static std::set<Outcome> nowhere;
      shape->outcomes = &nowhere;
      at->threads.emplace_back([at, release] {
        plain_write(&at->z, 8);
        release ? at->x.store_release(1) : at->x.store_relaxed(1);
      });
      at->threads.emplace_back([at] {
        if (at->x.load_acquire() == 1) plain_read(&at->z, 8);
      });
      return shape;
    };
    return explore(litmus);
  };
  EXPECT_FALSE(run(true).failed);
  EXPECT_TRUE(run(false).failed);
}

TEST(Classic, TheEndOfAProcessHandsOverAllItSaw) {
  const auto outcomes = outcomes_of(
      2, {[](Shape& s) { s.x.store_relaxed(1); }, [](Shape& s) { s.r[0] = s.x.load_relaxed(); },
          [](Shape& s) {
            await_end(1);
            s.r[1] = s.x.load_relaxed();
          }});
  EXPECT_EQ(outcomes, (std::set<Outcome>{{0, 0}, {0, 1}, {1, 1}}));
}

TEST(Classic, AWeakenedOrderingFailsWhereTheWholeOneHolds) {
  Litmus litmus;
  litmus.make = [] {
    auto shape = std::make_unique<Shape>();
    static std::set<Outcome> nowhere;
    shape->outcomes = &nowhere;
    Shape* at = shape.get();
    at->threads.emplace_back([at] {
      at->x.store_relaxed(1);
      at->y.store_release(1);
    });
    at->threads.emplace_back([at] {
      if (at->y.load_acquire() == 1) require(at->x.load_relaxed() == 1, "old x");
    });
    return shape;
  };
  const Exploration whole = explore(litmus);
  EXPECT_TRUE(whole.complete && !whole.failed);
  ASSERT_EQ(whole.sites.size(), 2U);
  for (const OrderingSite& site : whole.sites) {
    const Exploration weakened = explore(litmus, {site});
    EXPECT_TRUE(weakened.failed);
    EXPECT_EQ(weakened.what, "old x");
    EXPECT_FALSE(weakened.trace.empty());
  }
}

}  // namespace
}  // namespace ackbus::weak
