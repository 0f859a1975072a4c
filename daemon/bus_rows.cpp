// The rows of the bus segment: kinds and queues as every client reads them. Seqlocks, rewritten by
// this process alone.
#include <algorithm>
#include <cstring>

#include "daemon/bus.hpp"
#include "shm_layout/bus_records.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

namespace {

void write_name(layout::NameWords& words, const std::string& name) {
  char text[layout::kNameBytesMax] = {};
  name.copy(text, sizeof(text) - 1);
  for (std::size_t i = 0; i < sizeof(text) / sizeof(std::uint64_t); ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, text + i * sizeof(word), sizeof(word));
    words.words[i].store_relaxed(word);  // relaxed because the row's number publishes it
  }
}

}  // namespace

void Bus::write_kinds() {
  const layout::BusView view(bus_map.base());
  write_name(view.words().name, config().name);
  view.words().incarnation.store_relaxed(
      ledger.header().incarnation);  // relaxed because it is for people
  view.words().started_ns.store_relaxed(realtime_ns());
  for (std::uint32_t number = 1; number < layout::kKindsMax; ++number) {
    const KindConfig* kind = config().find_kind(static_cast<std::uint16_t>(number));
    layout::KindRow& row = view.kind(number);
    const std::uint64_t before = layout::row_begin(row.number);
    ACKBUS_POINT(kKindRowOpen);
    write_name(row.name, kind == nullptr ? "" : kind->name);
    std::uint32_t flags = kind == nullptr ? 0U : static_cast<std::uint32_t>(layout::kKindDefined);
    flags |= kind != nullptr && kind->supersede ? layout::kKindSupersede : 0U;
    flags |= kind != nullptr && kind->clock == ClockStart::kCommit ? layout::kKindClockCommit : 0U;
    row.flags.store_relaxed(flags);  // relaxed because the number publishes the fields
    row.timeout_ms.store_relaxed(kind == nullptr ? 0 : kind->timeout_ms);
    row.max_retries.store_relaxed(kind == nullptr ? 0 : kind->max_retries);
    row.max_wait_ms.store_relaxed(kind == nullptr ? 0 : kind->max_wait_ms);
    row.max_age_ms.store_relaxed(kind == nullptr ? 0 : kind->max_age_ms);
    row.min_payload_bytes.store_relaxed(kind == nullptr ? 0 : kind->min_payload_bytes);
    row.max_payload_bytes.store_relaxed(kind == nullptr ? 0 : kind->max_payload_bytes);
    layout::row_end(row.number, before);
    ACKBUS_POINT(kKindRowPublished);
  }
  layout::announce_kinds(view.words());
}

void Bus::write_queue_row(const Queue& queue) {
  layout::QueueRow& row = layout::BusView(bus_map.base()).queue(queue.index);
  const std::uint64_t before = layout::row_begin(row.number);
  ACKBUS_POINT(kQueueRowOpen);
  write_name(row.name, queue.name);
  row.epoch.store_relaxed(queue.epoch);  // relaxed because the number publishes the fields
  row.consumers.store_relaxed(static_cast<std::uint32_t>(queue.standbys.size()) +
                              (queue.active != 0 ? 1U : 0U));
  row.links.store_relaxed(
      static_cast<std::uint32_t>(std::count_if(links.begin(), links.end(), [&](const auto& entry) {
        return entry.second->queue == queue.index;
      })));
  layout::row_end(row.number, before);
  ACKBUS_POINT(kQueueRowPublished);
}

}  // namespace ackbus::daemon
