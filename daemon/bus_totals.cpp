// What ended links and lives had counted goes into the ledger, so that no figure goes back.
#include "daemon/bus.hpp"
#include "daemon/bus_figures.hpp"
#include "daemon/bus_query.hpp"

namespace ackbus::daemon {
namespace {

void fold(Ledger& ledger, const KindTotals& totals) {
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    add_totals(ledger.ended(kind), totals[kind]);
  }
}

}  // namespace

void Bus::fold_life(const Life& life) {
  if (life.mapped) {
    fold(ledger, read_consumer(layout::AckView(life.ack.base(), {life.slots})));
  }
}

void Bus::fold_link(Link& link) {
  if (link.tracker) {
    fold(ledger, read_ended_link(memory_of(*this, link)));
  }
  for (const auto& old : link.old_lives) {
    fold_life(*old);
  }
  if (link.life) {
    fold_life(*link.life);
  }
}

}  // namespace ackbus::daemon
