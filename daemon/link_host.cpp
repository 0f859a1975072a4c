// What a link's tracker asks of the daemon: deadlines, the barrier, bells, figures, and the rules
// it decides by. Letters are in bus_letters.cpp.
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/bus.hpp"
#include "shm_layout/assert.hpp"

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

void Link::count_retry(std::uint16_t kind, RetryCause cause) {
  OwnTotals& totals = bus.ledger.own(kind);
  switch (cause) {
    case RetryCause::kTimeout:
      totals.retries_timeout += 1;
      break;
    case RetryCause::kGivenBack:
      totals.retries_given_back += 1;
      break;
    case RetryCause::kDeath:
      totals.retries_death += 1;
      break;
  }
}

void Link::count_dead(std::uint16_t kind, layout::VerdictReason reason) {
  const auto index = static_cast<std::size_t>(reason);
  ACKBUS_ASSERT(index <= layout::kVerdictReasonMax);
  bus.ledger.own(kind).dead[index] += 1;
}

}  // namespace ackbus::daemon
