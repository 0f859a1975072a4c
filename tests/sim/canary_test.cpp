// Canaries in the store path: what the product stores to shared memory is lost or changed on its
// way, one rule at a time (canary.hpp).
#include "tests/sim/canary.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/ledger.hpp"

namespace ackbus::sim {
namespace {

using layout::AckCode;
using layout::AckPlace;
using layout::AckRecord;
using layout::Descriptor;
using layout::Place;
using layout::ProducerCounters;
using layout::RedeliveryPlace;
using layout::SegmentRole;
using layout::SupersedeEntry;
using layout::VerdictPlace;
using layout::VerdictReason;

constexpr std::uint32_t kCodeMask = 0xff;
constexpr std::uint64_t kLastAccesses = 100;

// An answer arrives as another one, in its record and in its place.
Plant answer_arrives_as(AckCode given, AckCode taken) {
  return store_plant([given, taken](Stored& stored) {
    const bool answer =
        stored.record(&AckRecord::code_flags) || stored.ack_place(&AckPlace::code_flags);
    if (answer && (stored.value() & kCodeMask) == static_cast<std::uint64_t>(given)) {
      stored.change((stored.value() & ~std::uint64_t{kCodeMask}) |
                    static_cast<std::uint64_t>(taken));
    }
    return true;
  });
}

// ---- outcomes ----

TEST(Canary, ASuccessThatNoHandlerAnsweredIsCaught) {
  expect_caught(canary_world(), "a success that no handler answered",
                answer_arrives_as(AckCode::kFailed, AckCode::kSuccess));
}

TEST(Canary, AFailureThatNoHandlerAnsweredIsCaught) {
  expect_caught(canary_world(), "a failure that no handler answered",
                answer_arrives_as(AckCode::kSuccess, AckCode::kFailed));
}

TEST(Canary, ACancelledMessageThatRanIsCaught) {
  expect_caught(canary_world(), "it says that it never ran, but it did",
                answer_arrives_as(AckCode::kSuccess, AckCode::kSkippedCancelled));
}

TEST(Canary, ACancellationThatNobodyAskedForIsCaught) {
  expect_caught(canary_world(), "cancelled, and nobody had asked for it",
                answer_arrives_as(AckCode::kSuccess, AckCode::kSkippedCancelledMayHaveRun));
}

TEST(Canary, ASupersededMessageWithoutANewerOneIsCaught) {
  expect_caught(canary_world(), "superseded, and no newer one of its key had succeeded",
                answer_arrives_as(AckCode::kSuccess, AckCode::kSkippedSuperseded));
}

TEST(Canary, UsedUpAttemptsOfWhatNeverRanAreCaught) {
  WorldOptions options = canary_world();
  options.short_wait_permille = 900;
  expect_caught(options, "it says that its attempts are used up, but it never ran",
                store_plant([](Stored& stored) {
                  if (stored.verdict(&VerdictPlace::reason)) {
                    stored.change(static_cast<std::uint64_t>(VerdictReason::kRetries));
                  }
                  return true;
                }));
}

// Nobody is told that the daemon is about to end what nobody began: it is begun all the same.
TEST(Canary, ARunAfterAnUndeliveredVerdictIsCaught) {
  WorldOptions options = canary_world();
  options.short_wait_permille = 900;
  expect_caught(options, "ran after an outcome that says it never did",
                store_plant([](Stored& stored) {
                  return !stored.in(SegmentRole::kTracking) ||
                         !stored.is(&stored.tracking().words().interventions);
                }),
                "it says that it never ran, but it did");
}

TEST(Canary, AnOutcomeThatNeverComesIsCaught) {
  expect_caught(canary_world(), "never settled: a producer still waits for an outcome",
                store_plant([](Stored& stored) {
                  return !stored.ack_place(&AckPlace::number) || stored.value() != 5;
                }));
}

// ---- what runs, and how often ----

// A message goes out with the payload of another one that `chosen` finds by its fate.
Plant sent_as(const std::function<bool(const Journal::Fate&)>& chosen) {
  return [chosen](World& world) {
    store_plant([&world, chosen](Stored& stored) {
      const auto in_words = [&](const auto& row) {
        for (std::size_t i = 0; i < layout::kInlineWords; ++i) {
          if (stored.is(&row.inline_words[i])) {
            return i;
          }
        }
        return layout::kInlineWords;
      };
      std::size_t word = layout::kInlineWords;
      const std::uint64_t slots =
          stored.in(SegmentRole::kSubmission) && stored.by("producer") ? stored.header().slots : 0;
      for (std::uint32_t i = 0; i < slots && word == layout::kInlineWords; ++i) {
        word = std::min(in_words(stored.submission().descriptor(i)),
                        in_words(stored.submission().place(i)));
      }
      const auto& fates = world.journal().fates();
      if (word == layout::kInlineWords) {
        return true;
      }
      const auto own = std::find_if(fates.rbegin(), fates.rend(), [&](const auto& entry) {
        return entry.second.producer == stored.process().pid;
      });
      const auto other = std::find_if(fates.begin(), fates.end(), [&](const auto& entry) {
        return entry.second.bytes == own->second.bytes && chosen(entry.second);
      });
      if (other != fates.end()) {
        std::byte payload[layout::kInlineBytesMax] = {};
        fill_payload(other->first, std::span(payload).first(other->second.bytes));
        std::uint64_t changed = 0;
        std::memcpy(&changed, payload + word * 8, 8);
        stored.change(changed);
      }
      return true;
    })(world);
  };
}

TEST(Canary, ARunOfWhatWasNotSentIsCaught) {
  expect_caught(canary_world(), "ran although send() said that it was not sent",
                sent_as([](const Journal::Fate& fate) { return fate.refused; }));
}

TEST(Canary, ASecondRunInOneLifeIsCaught) {
  expect_caught(canary_world(), "ran twice in one life",
                sent_as([](const Journal::Fate& fate) { return fate.answered && fate.tracked; }));
}

TEST(Canary, AMessageThatNobodySentIsCaught) {
  expect_caught(canary_world(), "delivered what was never sent", store_plant([](Stored& stored) {
                  const bool first = stored.in(SegmentRole::kSubmission) &&
                                     stored.is(&stored.submission().place(3).inline_words[0]);
                  stored.change(stored.value() + (first ? 1'000'000 : 0));
                  return true;
                }));
}

// A consumer that soon dies begins a message, and its word of that is lost.
Plant begin_is_lost(bool tracked) {
  return store_plant([tracked](Stored& stored) {
    if (tracked && stored.process().accesses_to_live > kLastAccesses) {
      return true;
    }
    const auto slot = stored.record(&AckRecord::begun);
    const auto message =
        slot && stored.by("consumer") ? stored.message(*slot, stored.value()) : std::nullopt;
    return !message || message->tracked() != tracked;
  });
}

WorldOptions dying_consumers() {
  WorldOptions options = canary_world();
  options.producers = 1;
  options.consumer_kills = 6;
  options.short_wait_permille = 0;
  return options;
}

TEST(Canary, ASecondRunOfAnUntrackedMessageIsCaught) {
  expect_caught(dying_consumers(), "an untracked message ran twice", begin_is_lost(false));
}

TEST(Canary, ASecondRunThatIsNotToldIsCaught) {
  expect_caught(dying_consumers(), "ran again and was not told so", begin_is_lost(true));
}

TEST(Canary, ARunBesideOthersAfterADeathIsCaught) {
  expect_caught(dying_consumers(), "a consumer died with it, and it is not to run alone",
                store_plant([](Stored& stored) {
                  if (stored.redelivery(&RedeliveryPlace::flags)) {
                    stored.change(stored.value() & ~std::uint64_t{layout::kRedeliverAlone});
                  }
                  return true;
                }));
}

TEST(Canary, ARetryBeforeItsDelayIsCaught) {
  expect_caught(canary_world(), "given again before its delay was over",
                store_plant([](Stored& stored) {
                  if (stored.record(&AckRecord::mark_delay_ms) && stored.value() > 1) {
                    stored.change(1);
                  }
                  return true;
                }));
}

// ---- order ----

TEST(Canary, TwoOfOneKeyAtOnceAreCaught) {
  WorldOptions options = canary_world();
  options.nacks = false;
  expect_caught(options, "two of one superseding key at once", store_plant([](Stored& stored) {
                  if (stored.descriptor(&Descriptor::key)) {
                    stored.change(0);
                  }
                  return true;
                }));
}

TEST(Canary, ARunAfterANewerOneSucceededIsCaught) {
  expect_caught(
      canary_world(), "ran after a newer one of its key had succeeded",
      store_plant([](Stored& stored) { return !stored.supersede(&SupersedeEntry::sequence); }));
}

TEST(Canary, ARunBesideTheOneToFollowIsCaught) {
  expect_caught(canary_world(), "ran while the one it was to follow still ran",
                store_plant([](Stored& stored) {
                  if (stored.descriptor(&Descriptor::after)) {
                    stored.change(0);
                  }
                  return true;
                }));
}

// ---- payloads and slots ----

TEST(Canary, ATornPayloadIsCaught) {
  expect_caught(canary_world(), "the payload is not the one that was sent",
                store_plant([](Stored& stored) {
                  return !stored.in(SegmentRole::kSubmission) ||
                         !stored.is(&stored.submission().place(2).inline_words[2]);
                }));
}

// The acknowledgement of something else ends an untracked message whose handler runs: its producer
// fills its memory anew.
TEST(Canary, APayloadThatChangesUnderItsHandlerIsCaught) {
  WorldOptions options = canary_world();
  options.producers = 1;
  expect_caught(
      options, "the payload changed under its handler",
      [](World& world) {
        // Two places change their contents: the untracked one's comes first, and the other one's
        // when the untracked one is answered.
        struct Ended {
          std::uint64_t sequence = 0;
          std::uint64_t slot = 0;
          std::uint64_t code_flags = 0;
        };
        store_plant(
            [runs = Ended(), other = Ended(), early = false, late = false](Stored& stored) mutable {
              const auto begun = stored.record(&AckRecord::begun);
              if (begun && stored.value() != 0 && runs.sequence == 0) {
                const auto message = stored.message(*begun, stored.value());
                if (message && !message->tracked() && message->in_arena()) {
                  runs = {stored.value(), *begun, 0};
                }
              } else if (stored.ack_place(&AckPlace::sequence) && runs.sequence != 0) {
                late = stored.value() == runs.sequence;
                early = !late && other.sequence == 0;
                other.sequence = early ? stored.value() : other.sequence;
                stored.change(early                         ? runs.sequence
                              : late && other.sequence != 0 ? other.sequence
                                                            : stored.value());
              } else if (stored.ack_place(&AckPlace::slot) && (early || late)) {
                const bool swapped = late && other.sequence != 0;
                other.slot = early ? stored.value() : other.slot;
                stored.change(early ? runs.slot : swapped ? other.slot : stored.value());
              } else if (stored.ack_place(&AckPlace::code_flags) && (early || late)) {
                const bool swapped = late && other.sequence != 0;
                other.code_flags = early ? stored.value() : other.code_flags;
                stored.change(swapped ? other.code_flags : stored.value());
                runs = late ? Ended{} : runs;
                other = late ? Ended{} : other;
                early = late = false;
              }
              return true;
            })(world);
      },
      "closed without a lost store");  // The consumer finds the slot in use first.
}

TEST(Canary, ASlotThatIsNeverFreeIsCaught) {
  WorldOptions options = canary_world();
  options.producers = 1;
  expect_caught(options, "a slot is never free again",
                store_plant([untracked = false](Stored& stored) mutable {
                  if (const auto slot = stored.record(&AckRecord::acked);
                      slot && stored.value() != 0) {
                    const auto message = stored.message(*slot, stored.value());
                    untracked = message && !message->tracked();
                  }
                  if (stored.ack_place(&AckPlace::sequence) && untracked) {
                    stored.change(0);
                  }
                  return true;
                }));
}

// ---- sleep ----

// Whoever goes to sleep says so, and nobody hears it.
TEST(Canary, AConsumerThatSleepsBesideAMessageIsCaught) {
  expect_caught(canary_world(), "a consumer slept while a message waited for it",
                store_plant([](Stored& stored) {
                  return !stored.in(SegmentRole::kAck) ||
                         !stored.is(&stored.ack().words().sleeping);
                }));
}

TEST(Canary, AProducerThatSleepsBesideAnOutcomeIsCaught) {
  expect_caught(canary_world(), "a producer slept while an outcome waited for it",
                store_plant([](Stored& stored) {
                  return !stored.in(SegmentRole::kSubmission) ||
                         !stored.is(&stored.submission().words().sleeping);
                }));
}

// ---- figures ----

// The sums of what has ended lose an ending.
TEST(Canary, ASumThatDoesNotAddUpIsCaught) {
  expect_caught(canary_world(), "is not the sum of the endings", store_plant([](Stored& stored) {
                  auto& header = *reinterpret_cast<daemon::LedgerHeader*>(stored.segment());
                  if (header.magic != daemon::kLedgerMagic || !stored.is(&header.ended_version)) {
                    return true;
                  }
                  constexpr std::uint64_t kCopies =
                      layout::align_up(sizeof(daemon::LedgerHeader), 64);
                  auto* copies = reinterpret_cast<daemon::EndedCopy*>(stored.segment() + kCopies);
                  for (daemon::EndedTotals& kind : copies[stored.value() % 2].kinds) {
                    kind.success -= kind.success > 0 ? 1 : 0;
                  }
                  return true;
                }));
}

TEST(Canary, AnEndingThatIsCountedAsAnotherIsCaught) {
  expect_caught(canary_world(), "the daemon counts", store_plant([](Stored& stored) {
                  const auto kind = stored.sent_counter(&ProducerCounters::success);
                  if (!kind) {
                    return true;
                  }
                  auto& failed = stored.submission().counters(*kind).failed;
                  poke(failed, peek(failed) + 1);
                  return false;
                }));
}

// ---- memory ----

TEST(Canary, AStoreThroughAReadOnlyMappingIsCaught) {
  expect_caught(canary_world(), "stored into memory that it maps read-only",
                store_plant([](Stored& stored) {
                  if (stored.ack_place(&AckPlace::number) && stored.value() == 4) {
                    stored.mapping().writers = 0;
                  }
                  return true;
                }));
}

TEST(Canary, AnAccessToUnmappedMemoryIsCaught) {
  expect_caught(canary_world(), "that it has not mapped", store_plant([](Stored& stored) {
                  if (stored.ack_place(&AckPlace::number) && stored.value() == 4) {
                    stored.unmap();
                  }
                  return true;
                }));
}

}  // namespace
}  // namespace ackbus::sim
