#include "daemon/ledger.hpp"

#include <sys/stat.h>

#include <cstring>
#include <string>

#include "daemon/bus_figures.hpp"
#include "shm_layout/assert.hpp"

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

}  // namespace

std::uint64_t Ledger::bytes_for(std::uint32_t max_links, std::uint32_t max_connections) {
  return Parts(max_links, max_connections).bytes;
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
  if (bytes_for(header.max_links, header.max_connections) >
      static_cast<std::uint64_t>(status.st_size)) {
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
  // No other process sees it before this one has ended, and then the kernel has ended all its
  // stores: only the compiler may not move the copy behind the word.
  asm volatile("" ::: "memory");
  header().ended_version.store_relaxed(version + 1);  // relaxed because the line above suffices
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
