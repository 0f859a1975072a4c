#include "daemon/ledger.hpp"

#include <sys/stat.h>

#include <cstring>
#include <string>

#include "daemon/bus_figures.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {
namespace {

struct Parts {
  std::uint64_t ended = layout::align_up(sizeof(LedgerHeader), 64);
  std::uint64_t own = ended + 2 * sizeof(EndedCopy);
  std::uint64_t queues = own + layout::kKindsMax * sizeof(OwnTotals);
  std::uint64_t links = queues + layout::kQueuesMax * sizeof(QueueRecord);
  std::uint64_t connections = 0;
  std::uint64_t bytes = 0;

  Parts(std::uint64_t max_links, std::uint64_t max_connections) {
    connections = links + max_links * sizeof(LinkRecord);
    bytes = layout::align_up(connections + max_connections * sizeof(ConnectionRecord), 4096);
  }
};

std::uint64_t promise_offset(const LedgerHeader& header) {
  return Parts(header.max_links, header.max_connections).bytes;
}

// No other process sees these stores before this one has ended, and then the kernel has ended them
// all: only the compiler may not move one across.
void keep_order() { asm volatile("" ::: "memory"); }

}  // namespace

std::uint64_t Ledger::bytes_for(std::uint32_t max_links, std::uint32_t max_connections) {
  return Parts(max_links, max_connections).bytes + layout::align_up(sizeof(CounterPromise), 4096);
}

Result<Ledger> Ledger::create(int fd, std::uint32_t max_links, std::uint32_t max_connections,
                              const char* bus) {
  Result<SegmentMap> map = SegmentMap::map(fd, bytes_for(max_links, max_connections), true);
  if (!map) {
    return map.error();
  }
  Ledger ledger(std::move(map.value()));
  LedgerHeader& header = ledger.header();
  header.version = kLedgerVersion;
  header.max_links = max_links;
  header.max_connections = max_connections;
  header.next_link = 1;
  header.next_connection = 1;
  std::strncpy(header.bus, bus, sizeof(header.bus) - 1);
  header.magic = kLedgerMagic;
  return ledger;
}

Result<Ledger> Ledger::attach(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) < sizeof(LedgerHeader)) {
    return Error{ErrorCode::kCorrupt, "the kept ledger is too small"};
  }
  Result<SegmentMap> map = SegmentMap::map(fd, static_cast<std::uint64_t>(status.st_size), true);
  if (!map) {
    return map.error();
  }
  Ledger ledger(std::move(map.value()));
  const LedgerHeader& header = ledger.header();
  if (header.magic != kLedgerMagic || header.version != kLedgerVersion) {
    return Error{ErrorCode::kCorrupt, "the kept ledger is of version " +
                                          std::to_string(header.version) + ", this daemon's is " +
                                          std::to_string(kLedgerVersion) +
                                          ": every link starts anew"};
  }
  if (promise_offset(header) > static_cast<std::uint64_t>(status.st_size)) {
    return Error{ErrorCode::kCorrupt, "the kept ledger is shorter than its header says"};
  }
  return ledger;
}

// ---- sums of what has ended ----

EndedCopy& Ledger::ended_copy(std::uint64_t version) const {
  return reinterpret_cast<EndedCopy*>(map_.base() + Parts(0, 0).ended)[version % 2];
}

const EndedTotals& Ledger::ended(std::uint32_t kind) const {
  // relaxed because one process reads and writes it, and the one before has ended
  return ended_copy(header().ended_version.load_relaxed()).kinds[kind % layout::kKindsMax];
}

const Folded& Ledger::folded() const {
  // relaxed because one process reads and writes it, and the one before has ended
  return ended_copy(header().ended_version.load_relaxed()).folded;
}

void Ledger::fold(const std::array<EndedTotals, layout::kKindsMax>& more, const Folded& what) {
  // relaxed because one process reads and writes it, and the one before has ended
  const std::uint64_t version = header().ended_version.load_relaxed();
  EndedCopy& next = ended_copy(version + 1);
  next = ended_copy(version);
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    add_totals(next.kinds[kind], more[kind]);
  }
  next.folded = what;
  keep_order();
  ACKBUS_POINT(kFoldWritten);
  header().ended_version.store_relaxed(version + 1);  // relaxed because keep_order() suffices
}

// ---- promises ----

CounterPromise* Ledger::counter_promise() const {
  const std::uint64_t offset = promise_offset(header());
  return offset + sizeof(CounterPromise) <= map_.bytes()
             ? reinterpret_cast<CounterPromise*>(map_.base() + offset)
             : nullptr;
}

void Ledger::promise(std::uint64_t link, std::uint32_t slot, std::uint64_t version,
                     const std::uint64_t& counter) const {
  CounterPromise* const made = counter_promise();
  if (made == nullptr) {
    return;
  }
  made->armed.store_relaxed(0);  // relaxed because keep_order() suffices, as in all that follows
  keep_order();
  made->link = link;
  made->slot = slot;
  made->version = version;
  made->counter =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&counter) - map_.base());
  made->value = counter + 1;
  keep_order();
  made->armed.store_relaxed(1);
  keep_order();
}

void Ledger::keep(std::uint64_t& counter) const {
  keep_order();
  counter += 1;
  keep_order();
  if (CounterPromise* const made = counter_promise()) {
    made->armed.store_relaxed(0);  // relaxed because keep_order() suffices
  }
}

void Ledger::keep_promise(std::uint64_t link, std::uint64_t version) const {
  CounterPromise* const made = counter_promise();
  // relaxed because its writer has ended
  if (made == nullptr || made->armed.load_relaxed() == 0 || made->link != link) {
    return;
  }
  if (version >= made->version &&
      made->counter + sizeof(std::uint64_t) <= promise_offset(header())) {
    *reinterpret_cast<std::uint64_t*>(map_.base() + made->counter) = made->value;
  }
  keep_order();
  made->armed.store_relaxed(0);  // relaxed because keep_order() suffices
}

OwnTotals& Ledger::own(std::uint32_t kind) const {
  return reinterpret_cast<OwnTotals*>(map_.base() + Parts(0, 0).own)[kind % layout::kKindsMax];
}

QueueRecord& Ledger::queue(std::uint32_t index) const {
  ACKBUS_ASSERT(index < layout::kQueuesMax);
  return reinterpret_cast<QueueRecord*>(map_.base() + Parts(0, 0).queues)[index];
}

LinkRecord& Ledger::link(std::uint32_t index) const {
  ACKBUS_ASSERT(index < header().max_links);
  return reinterpret_cast<LinkRecord*>(map_.base() + Parts(0, 0).links)[index];
}

ConnectionRecord& Ledger::connection(std::uint32_t index) const {
  ACKBUS_ASSERT(index < header().max_connections);
  return reinterpret_cast<ConnectionRecord*>(map_.base() +
                                             Parts(header().max_links, 0).connections)[index];
}

}  // namespace ackbus::daemon
