// What ended links and lives had counted goes into the ledger, so that no figure goes back, and
// once, whenever a daemon dies (ledger.hpp, promises).
#include "daemon/bus.hpp"
#include "daemon/bus_figures.hpp"
#include "daemon/bus_query.hpp"

namespace ackbus::daemon {
namespace {

void add_life(KindTotals& sum, const Life& life) {
  if (life.mapped) {
    add_totals(sum, read_consumer(layout::AckView(life.ack.base(), {life.slots})));
  }
}

}  // namespace

void Bus::fold_life(const Link& link, const Life& life) {
  KindTotals sum{};
  add_life(sum, life);
  ledger.fold(sum, {link.number, life.epoch});
}

void Bus::fold_link(Link& link) {
  KindTotals sum{};
  if (link.tracker) {
    add_totals(sum, read_ended_link(memory_of(*this, link)));
  }
  for (const auto& old : link.old_lives) {
    add_life(sum, *old);
  }
  if (link.life) {
    add_life(sum, *link.life);
  }
  ledger.fold(sum, {link.number, Folded::kWholeLink});
}

// A daemon before this one may have died between the store of an entry and its figure.
void Bus::keep_counter_promise(const Link& link) {
  const CounterPromise* made = ledger.counter_promise();
  if (made == nullptr || made->link != link.number || made->slot >= link.slots) {
    return;
  }
  const layout::TrackingView table(link.tracking.base(), {link.slots});
  const auto slot = static_cast<std::uint32_t>(made->slot);
  ledger.keep_promise(link.number, layout::pending_read(table.entry(slot)).version);
}

}  // namespace ackbus::daemon
