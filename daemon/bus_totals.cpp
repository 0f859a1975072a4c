// What ended links and lives had counted goes into the ledger, so that no figure goes back, and
// once, whenever a daemon dies (ledger.hpp, promises).
#include <cstring>

#include "daemon/bus.hpp"
#include "daemon/bus_figures.hpp"
#include "daemon/bus_query.hpp"

namespace ackbus::daemon {
namespace {

KindTotals totals_of(const Life& life) {
  return life.mapped ? read_consumer(layout::AckView(life.ack.base(), {life.slots})) : KindTotals{};
}

void fold(const Ledger& ledger, std::uint64_t link, std::uint64_t epoch, const KindTotals& more) {
  EndedTotals totals[layout::kKindsMax];
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    totals[kind] = ledger.ended(kind);
    add_totals(totals[kind], more[kind]);
  }
  ledger.fold(link, epoch, totals);
}

}  // namespace

void Bus::fold_life(const Link& link, const Life& life) {
  fold(ledger, link.number, life.epoch, totals_of(life));
}

void Bus::fold_link(Link& link) {
  KindTotals totals{};
  if (link.tracker) {
    totals = read_ended_link(memory_of(*this, link));
  }
  for (const auto& old : link.old_lives) {
    add_totals(totals, totals_of(*old));
  }
  if (link.life) {
    add_totals(totals, totals_of(*link.life));
  }
  fold(ledger, link.number, 0, totals);
}

// A daemon before this one may have died between the store of an entry and its figure.
void Bus::keep_counter_promise(const Link& link) {
  const LedgerTail* tail = ledger.tail();
  if (tail == nullptr || tail->counter.armed == 0 || tail->counter.link != link.number ||
      tail->counter.slot >= link.slots || link.tracking.base() == nullptr) {
    return;
  }
  const layout::TrackingView table(link.tracking.base(), {link.slots});
  const auto slot = static_cast<std::uint32_t>(tail->counter.slot);
  ledger.keep_promise(link.number, layout::pending_read(table.entry(slot)).version);
}

}  // namespace ackbus::daemon
