// The promises of the ledger: what a daemon that died had begun to count is counted once by the
// next one, whether it died before or after the store that the figure goes with.
#include "daemon/ledger.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

namespace ackbus::daemon {
namespace {

constexpr std::uint32_t kLinks = 4;
constexpr std::uint32_t kKind = 7;
constexpr std::uint64_t kLink = 11;

class LedgerPromises : public ::testing::Test {
 protected:
  LedgerPromises() : fd_(::memfd_create("ackbus-ledger-test", MFD_CLOEXEC)) {
    const auto bytes = static_cast<off_t>(Ledger::bytes_for(kLinks, kLinks));
    EXPECT_EQ(::ftruncate(fd_, bytes), 0);
    Result<Ledger> made = Ledger::create(fd_, kLinks, kLinks, "test");
    EXPECT_TRUE(made);
    ledger_ = std::move(made.value());
    ledger_.link(2).state = RecordState::kDraining;
    ledger_.link(2).number = kLink;
  }
  ~LedgerPromises() override { ::close(fd_); }

  // The books as the next daemon has them.
  [[nodiscard]] Ledger next_daemon() const {
    Result<Ledger> kept = Ledger::attach(fd_);
    EXPECT_TRUE(kept);
    return std::move(kept.value());
  }
  [[nodiscard]] std::uint64_t& counter() const { return ledger_.own(kKind).retries_timeout; }

  int fd_;
  Ledger ledger_;
};

TEST_F(LedgerPromises, ACounterIsCountedWhenTheStoreHappenedAndItsDaemonDiedAfterIt) {
  ledger_.promise(kLink, 3, 5, counter());
  const Ledger next = next_daemon();
  next.keep_promise(kLink, 5);
  EXPECT_EQ(next.own(kKind).retries_timeout, 1U);
  next.keep_promise(kLink, 5);
  EXPECT_EQ(next.own(kKind).retries_timeout, 1U) << "a promise is kept once";
}

TEST_F(LedgerPromises, ACounterIsNotCountedWhenTheStoreNeverHappened) {
  ledger_.promise(kLink, 3, 5, counter());
  const Ledger next = next_daemon();
  next.keep_promise(kLink, 4);
  EXPECT_EQ(next.own(kKind).retries_timeout, 0U);
}

TEST_F(LedgerPromises, ACounterThatWasCountedIsNotCountedAgain) {
  ledger_.promise(kLink, 3, 5, counter());
  counter() += 1;  // Its daemon dies before it takes the promise back.
  const Ledger next = next_daemon();
  next.keep_promise(kLink, 5);
  EXPECT_EQ(next.own(kKind).retries_timeout, 1U);
}

TEST_F(LedgerPromises, AKeptPromiseIsOver) {
  ledger_.promise(kLink, 3, 5, counter());
  ledger_.keep(counter());
  const Ledger next = next_daemon();
  next.keep_promise(kLink, 5);
  EXPECT_EQ(next.own(kKind).retries_timeout, 1U);
}

TEST_F(LedgerPromises, APromiseOfAnotherLinkIsLeftAlone) {
  ledger_.promise(kLink, 3, 5, counter());
  const Ledger next = next_daemon();
  next.keep_promise(kLink + 1, 5);
  EXPECT_EQ(next.own(kKind).retries_timeout, 0U);
  next.keep_promise(kLink, 5);
  EXPECT_EQ(next.own(kKind).retries_timeout, 1U);
}

TEST_F(LedgerPromises, WhatIsFoldedIsInTheSumsWithWhatItWasOf) {
  std::array<EndedTotals, layout::kKindsMax> more{};
  more[kKind].begun = 3;
  ledger_.fold(more, {kLink, 6});
  ledger_.fold(more, {kLink, Folded::kWholeLink});
  const Ledger next = next_daemon();
  EXPECT_EQ(next.ended(kKind).begun, 6U);
  EXPECT_EQ(next.folded(), (Folded{kLink, Folded::kWholeLink}));
}

}  // namespace
}  // namespace ackbus::daemon
