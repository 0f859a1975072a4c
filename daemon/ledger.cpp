#include "daemon/ledger.hpp"

#include <sys/stat.h>

#include <cstring>
#include <string>

#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {
namespace {

struct Parts {
  std::uint64_t ended = layout::align_up(sizeof(LedgerHeader), 64);
  std::uint64_t own = ended + layout::kKindsMax * sizeof(EndedTotals);
  std::uint64_t queues = own + layout::kKindsMax * sizeof(OwnTotals);
  std::uint64_t links = queues + layout::kQueuesMax * sizeof(QueueRecord);
  std::uint64_t connections = 0;
  std::uint64_t bytes = 0;

  Parts(std::uint64_t max_links, std::uint64_t max_connections) {
    connections = links + max_links * sizeof(LinkRecord);
    bytes = layout::align_up(connections + max_connections * sizeof(ConnectionRecord), 4096);
  }
};

std::uint64_t tail_offset(const LedgerHeader& header) {
  return Parts(header.max_links, header.max_connections).bytes;
}

}  // namespace

std::uint64_t Ledger::bytes_for(std::uint32_t max_links, std::uint32_t max_connections) {
  return Parts(max_links, max_connections).bytes + layout::align_up(sizeof(LedgerTail), 4096);
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
  if (tail_offset(header) > static_cast<std::uint64_t>(status.st_size)) {
    return Error{ErrorCode::kCorrupt, "the kept ledger is shorter than its header says"};
  }
  return ledger;
}

// ---- promises ----

LedgerTail* Ledger::tail() const {
  const std::uint64_t offset = tail_offset(header());
  return offset + sizeof(LedgerTail) <= map_.bytes()
             ? reinterpret_cast<LedgerTail*>(map_.base() + offset)
             : nullptr;
}

void Ledger::promise(std::uint64_t link, std::uint32_t slot, std::uint64_t version,
                     const std::uint64_t& counter) const {
  LedgerTail* const kept = tail();
  if (kept == nullptr) {
    return;
  }
  CounterPromise& made = kept->counter;
  made.armed = 0;
  keep_order();
  made.link = link;
  made.slot = slot;
  made.version = version;
  made.counter =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&counter) - map_.base());
  made.value = counter + 1;
  keep_order();
  made.armed = 1;
  keep_order();
}

void Ledger::keep(std::uint64_t& counter) const {
  keep_order();
  counter += 1;
  keep_order();
  if (LedgerTail* const kept = tail()) {
    kept->counter.armed = 0;
  }
}

void Ledger::keep_promise(std::uint64_t link, std::uint64_t version) const {
  LedgerTail* const kept = tail();
  if (kept == nullptr || kept->counter.armed == 0 || kept->counter.link != link) {
    return;
  }
  const CounterPromise& made = kept->counter;
  if (version >= made.version && made.counter + sizeof(std::uint64_t) <= tail_offset(header())) {
    *reinterpret_cast<std::uint64_t*>(map_.base() + made.counter) = made.value;
  }
  keep_order();
  kept->counter.armed = 0;
}

void Ledger::fold(std::uint64_t link, std::uint64_t epoch,
                  const EndedTotals (&totals)[layout::kKindsMax]) const {
  LedgerTail* const kept = tail();
  if (kept != nullptr) {
    kept->fold.link = link;
    kept->fold.epoch = epoch;
    std::memcpy(kept->fold.totals, totals, sizeof(totals));
    keep_order();
    kept->fold.armed = 1;
    keep_order();
    ACKBUS_POINT(kFoldPromised);
  }
  std::memcpy(&ended(0), totals, sizeof(totals));
  keep_order();
}

void Ledger::folded() const {
  keep_order();
  if (LedgerTail* const kept = tail()) {
    kept->fold.armed = 0;
  }
}

void Ledger::finish_fold() const {
  LedgerTail* const kept = tail();
  if (kept == nullptr || kept->fold.armed == 0) {
    return;
  }
  std::memcpy(&ended(0), kept->fold.totals, sizeof(kept->fold.totals));
  for (std::uint32_t index = 0; index < header().max_links; ++index) {
    LinkRecord& record = link(index);
    if (record.state == RecordState::kFree || record.number != kept->fold.link) {
      continue;
    }
    if (kept->fold.epoch == 0) {
      record.state = RecordState::kFree;
    }
    for (LifeRecord& old : record.old_lives) {
      old.epoch = old.epoch == kept->fold.epoch ? 0 : old.epoch;
    }
  }
  folded();
}

EndedTotals& Ledger::ended(std::uint32_t kind) const {
  return reinterpret_cast<EndedTotals*>(map_.base() + Parts(0, 0).ended)[kind % layout::kKindsMax];
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
