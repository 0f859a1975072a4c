// What a link's tracker asks of the daemon: deadlines, the barrier, bells, figures, and the rules
// it decides by. Letters are in bus_letters.cpp.
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/bus.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

TrackerRules Bus::rules_of(const Link& link) const {
  TrackerRules rules;
  for (const KindConfig& kind : config().kinds) {
    KindRule& rule = rules.kinds[kind.id % layout::kKindsMax];
    rule.timeout_ms = kind.timeout_ms;
    rule.max_retries = kind.max_retries;
    rule.max_wait_ms = kind.max_wait_ms;
    rule.max_age_ms = kind.max_age_ms;
    rule.supersede = kind.supersede;
    rule.clock_from_commit = kind.clock == ClockStart::kCommit;
  }
  rules.backoff = config().backoff;
  rules.min_timeout_ms = ledger.link(link.record).min_timeout_ms;
  return rules;
}

void Link::arm(std::uint32_t slot, std::uint64_t due_ns) {
  if (tracker && due_ns >= tracker->next_scan_ns() && tracker->next_scan_ns() != 0) {
    return;  // The scan comes first.
  }
  const std::uint64_t key = static_cast<std::uint64_t>(record) << 32 | slot;
  if (!bus.wheel->arm(key, due_ns)) {
    tracker->scan_soon();  // A full wheel costs precision, never a deadline.
  }
}

void Link::barrier() { ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0); }

void Link::ring_producer() { bus.wake(connection); }

void Link::ring_consumer() { bus.wake(bus.queues[queue]->active); }

namespace {

std::uint64_t& retries_of(OwnTotals& totals, RetryCause cause) {
  switch (cause) {
    case RetryCause::kTimeout:
      return totals.retries_timeout;
    case RetryCause::kGivenBack:
      return totals.retries_given_back;
    case RetryCause::kDeath:
      break;
  }
  return totals.retries_death;
}

std::uint64_t& dead_of(OwnTotals& totals, layout::VerdictReason reason) {
  const auto index = static_cast<std::size_t>(reason);
  ACKBUS_ASSERT(index <= layout::kVerdictReasonMax);
  return totals.dead[index];
}

}  // namespace

void Link::will_count_retry(std::uint32_t slot, std::uint64_t version, std::uint16_t kind,
                            RetryCause cause) {
  bus.ledger.promise(number, slot, version, retries_of(bus.ledger.own(kind), cause));
  ACKBUS_POINT(kCounterPromised);
}

void Link::will_count_dead(std::uint32_t slot, std::uint64_t version, std::uint16_t kind,
                           layout::VerdictReason reason) {
  bus.ledger.promise(number, slot, version, dead_of(bus.ledger.own(kind), reason));
}

void Link::will_count_late(std::uint32_t slot, std::uint64_t version, std::uint16_t kind) {
  bus.ledger.promise(number, slot, version, bus.ledger.own(kind).late_success);
}

void Link::count_retry(std::uint16_t kind, RetryCause cause) {
  bus.ledger.keep(retries_of(bus.ledger.own(kind), cause));
}

void Link::count_dead(std::uint16_t kind, layout::VerdictReason reason) {
  bus.ledger.keep(dead_of(bus.ledger.own(kind), reason));
}

void Link::count_late(std::uint16_t kind) { bus.ledger.keep(bus.ledger.own(kind).late_success); }

}  // namespace ackbus::daemon
