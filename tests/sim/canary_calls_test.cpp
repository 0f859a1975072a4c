// Canaries beside the store path: system calls that are said to be done and were not, a disk that
// changes, outcome words that arrive as others, and roles that are told something else than the
// library said (canary.hpp).
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "daemon/dead_letter_file.hpp"
#include "tests/sim/canary.hpp"

namespace ackbus::sim {
namespace {

using layout::Descriptor;

constexpr std::uint32_t kFirstConsumer = 101;  // The daemon is 100, and nobody dies.
constexpr std::uint64_t kFaultMs = 60;         // after the start, when a run is in full swing

bool is_of_daemon() { return Kernel::current()->process().name == "daemon"; }

// ---- dead letters ----

WorldOptions many_letters() {
  WorldOptions options = canary_world();
  options.short_wait_permille = 900;
  return options;
}

TEST(Canary, ALetterThatIsNotWrittenIsCaught) {
  expect_caught(many_letters(), "Exhausted without a dead letter", [](World& world) {
    world.kernel().call_filter = [](std::string_view call, const File*) {
      return call != "renameat";
    };
  });
}

WorldOptions late_answers() {
  WorldOptions options = canary_world();
  options.lazy_producers = true;
  options.turns = 8000;
  return options;
}

// The outcome that a producer took of a message that has run arrives at the daemon as another.
Plant outcome_arrives_as(OutcomeCode taken, OutcomeCode seen) {
  return [taken, seen](World& world) {
    store_plant([&world, taken, seen](Stored& stored) {
      const auto& fates = world.journal().fates();
      const std::uint64_t sequence = layout::outcome_sequence(stored.value());
      if (stored.descriptor(&Descriptor::outcome) &&
          layout::outcome_code(stored.value()) == static_cast<std::uint8_t>(taken) &&
          std::any_of(fates.begin(), fates.end(), [&](const auto& entry) {
            return entry.second.producer == stored.process().pid && entry.second.runs > 0 &&
                   entry.second.ticket.sequence == sequence;
          })) {
        stored.change(layout::pack_outcome(sequence, static_cast<std::uint8_t>(seen)));
      }
      return true;
    })(world);
  };
}

TEST(Canary, ALetterThatSaysLateSuccessOfNoneIsCaught) {
  expect_caught(late_answers(), "Exhausted, and its dead letter says late success",
                outcome_arrives_as(OutcomeCode::kExhausted, OutcomeCode::kSuccess),
                "a slot is never free again");
}

TEST(Canary, AnUnmarkedLetterOfASuccessIsCaught) {
  expect_caught(late_answers(), "a success with a dead letter that does not say so",
                outcome_arrives_as(OutcomeCode::kSuccess, OutcomeCode::kExhausted));
}

TEST(Canary, ALetterOfWhatEndedByItsAnswerIsCaught) {
  expect_caught(late_answers(), "a dead letter of what ended by its answer",
                outcome_arrives_as(OutcomeCode::kFailed, OutcomeCode::kExhausted));
}

TEST(Canary, ALetterOfWhatWasNeverSentIsCaught) {
  expect_caught(many_letters(), "a dead letter of what was never sent",
                store_plant([](Stored& stored) {
                  if (stored.is_word_of_id()) {
                    stored.change(stored.value() + 1);
                  }
                  return true;
                }));
}

// The directory holds a letter twice when the next daemon reads it.
TEST(Canary, TwoLettersOfOneMessageAreCaught) {
  WorldOptions options = many_letters();
  options.turns = 8000;
  const auto copy_with_another_id = [](World& world) {
    world.kernel().after(kFaultMs * kMs, [&world] {
      const std::filesystem::path directory = world.directory() + "/dead";
      const daemon::UniqueFd opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY));
      for (const auto& file : std::filesystem::directory_iterator(directory)) {
        std::vector<std::byte> payload;
        daemon::Result<daemon::Letter> letter =
            daemon::read_letter_file(opened.get(), file.path().filename(), &payload);
        if (letter) {
          letter.value().id[0] ^= 1;
          ASSERT_TRUE(daemon::write_letter_file(opened.get(), letter.value(), payload, true, {}));
          break;
        }
      }
      world.kernel().kill(*world.daemon_process());
    });
  };
  // Where the copy is read before the letter, its id is noticed first.
  expect_caught(options, "more than one dead letter", copy_with_another_id,
                "a dead letter of what was never sent");
}

// ---- the service manager ----

TEST(Canary, AClosedMessageWithoutALostStoreIsCaught) {
  expect_caught(canary_world(), "closed without a lost store", [](World& world) {
    world.kernel().after(kFaultMs * kMs, [&world] {
      world.kernel().kill(*world.daemon_process());
      world.kernel().kept.clear();
    });
  });
}

template <typename Type>
Plant call_is_lost(const char* call) {
  return [call](World& world) {
    world.kernel().call_filter = [call](std::string_view asked, const File* file) {
      return asked != call || !is_of_daemon() || dynamic_cast<const Type*>(file) == nullptr;
    };
  };
}

TEST(Canary, ADescriptorThatStaysOpenIsCaught) {
  expect_caught(canary_world(), "the daemon holds", call_is_lost<PipeFile>("close"));
}

TEST(Canary, ADescriptorThatStaysKeptIsCaught) {
  expect_caught(canary_world(), "the service manager keeps more than it should",
                call_is_lost<ProcessFile>("remove"));
}

TEST(Canary, ASegmentThatStaysMappedIsCaught) {
  expect_caught(canary_world(), "segments are left", [](World& world) {
    world.kernel().call_filter = [](std::string_view call, const File*) {
      return call != "munmap" || !is_of_daemon();
    };
  });
}

// A ring is never taken out of its pipe, so whoever waits for it never sleeps again. Two who spin
// at once are each somebody else who does something: they are noticed as the run's want of an end.
TEST(Canary, AProcessThatSpinsIsCaught) {
  const auto rings_stay = [](World& world) {
    world.kernel().call_filter = [](std::string_view call, const File* file) {
      return call != "read" || is_of_daemon() || dynamic_cast<const PipeFile*>(file) == nullptr;
    };
  };
  expect_caught(canary_world(), "spins although nobody else does anything", rings_stay,
                "never settled");
}

// ---- what a library says ----

Plant completions_change(
    const std::function<void(World&, Producer&, std::vector<Completion>&)>& change) {
  return [change](World& world) {
    world.between_taken = [&world, change](Producer& producer,
                                           std::vector<Completion>& completions) {
      change(world, producer, completions);
    };
  };
}

TEST(Canary, ASecondOutcomeIsCaught) {
  expect_caught(canary_world(), "a second outcome",
                completions_change([](World&, Producer&, std::vector<Completion>& completions) {
                  if (!completions.empty()) {
                    completions.push_back(completions.front());
                  }
                }));
}

TEST(Canary, AnOutcomeOfWhatWasNotSentIsCaught) {
  expect_caught(canary_world(), "an outcome of a message that was not sent",
                completions_change([](World&, Producer&, std::vector<Completion>& completions) {
                  if (!completions.empty()) {
                    completions.back().ticket.sequence += 1'000'000;
                  }
                }));
}

TEST(Canary, AnOutcomeThatIsNotGivenIsCaught) {
  expect_caught(canary_world(), "no outcome",
                completions_change([](World&, Producer&, std::vector<Completion>& completions) {
                  if (!completions.empty()) {
                    completions.pop_back();
                  }
                }));
}

TEST(Canary, AMessageThatIsPendingAtTheEndIsCaught) {
  expect_caught(canary_world(), "a producer that had drained has messages pending",
                completions_change([](World& world, Producer& producer, std::vector<Completion>&) {
                  const std::byte payload[kPayloadMin] = {};
                  if (world.closing()) {
                    for (const std::uint32_t consumer : {kFirstConsumer, kFirstConsumer + 1}) {
                      world.kernel().find(consumer)->stopped_until_ns = kNever;
                    }
                    [[maybe_unused]] const Result<Ticket> sent =
                        producer.send(Kind::kComputeForces, payload, Deadline{});
                  }
                }));
}

TEST(Canary, AnExceptionIsCaught) {
  expect_caught(canary_world(), "uncaught in producer",
                completions_change([](World&, Producer&, std::vector<Completion>& completions) {
                  if (!completions.empty()) {
                    throw std::runtime_error("planted");
                  }
                }));
}

// A consumer answers what its handler never saw.
TEST(Canary, AMessageThatIsNeverDeliveredIsCaught) {
  expect_caught(canary_world(), "it was never delivered", [](World& world) {
    world.between_delivered = [](Consumer& consumer, std::optional<Delivery>& delivery) {
      if (delivery && !delivery->tracked) {
        [[maybe_unused]] const Result<void> answered = consumer.ack(*delivery);
        delivery.reset();
      }
    };
  });
}

TEST(Canary, AMessageThatMustRunAloneAndDoesNotIsCaught) {
  expect_caught(canary_world(), "a message that must run alone runs beside another",
                [](World& world) {
                  world.between_delivered = [](Consumer&, std::optional<Delivery>& delivery) {
                    if (delivery) {
                      delivery->alone = true;
                    }
                  };
                });
}

}  // namespace
}  // namespace ackbus::sim
