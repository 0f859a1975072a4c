// The rows of the bus segment as seqlocks: the daemon's writing half and the clients' reading half
// on one page, and the counter that tells clients that rows were rewritten. Nothing here trusts a
// value.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm_layout/bus.hpp"
#include "shm_layout/cell.hpp"

namespace ackbus::layout {

// Writer: the daemon, around the fields of a KindRow or QueueRow. Gives what row_end() wants.
inline std::uint64_t row_begin(Cell<std::uint64_t>& number) {
  const std::uint64_t before = number.load_relaxed();  // relaxed because this process wrote it
  number.store_relaxed(0);                             // relaxed because the fence orders it
  fence_release();  // [E20] number 0 before the fields; pairs with [E20] in kind_row_read()
  return before;
}
inline void row_end(Cell<std::uint64_t>& number, std::uint64_t before) {
  number.store_release(before +
                       1);  // [E20] release: the row is whole; pairs with [E20] in kind_row_read()
}

struct KindRowCopy {
  std::uint64_t name[kNameBytesMax / sizeof(std::uint64_t)] = {};
  std::uint64_t min_payload_bytes = 0;
  std::uint64_t max_payload_bytes = 0;
  std::uint32_t flags = 0;
  std::uint32_t timeout_ms = 0;
  std::uint32_t max_wait_ms = 0;
};

// One try. False while the daemon rewrites the row, or when it was never written.
inline bool kind_row_read(const KindRow& row, KindRowCopy& copy) {
  const std::uint64_t number = row.number.load_acquire();  // [E20] acquire: brings the row
  if (number == 0) {
    return false;
  }
  // relaxed because the numbers around bracket the fields
  for (std::size_t i = 0; i < sizeof(copy.name) / sizeof(copy.name[0]); ++i) {
    copy.name[i] = row.name.words[i].load_relaxed();
  }
  copy.flags = row.flags.load_relaxed();
  copy.timeout_ms = row.timeout_ms.load_relaxed();
  copy.max_wait_ms = row.max_wait_ms.load_relaxed();
  copy.min_payload_bytes = row.min_payload_bytes.load_relaxed();
  copy.max_payload_bytes = row.max_payload_bytes.load_relaxed();
  fence_acquire();                             // [E20] fields before the second look
  return row.number.load_relaxed() == number;  // relaxed because the fence orders it
}

// Writer: the daemon, after it has rewritten rows.
inline void announce_kinds(BusWords& words) {
  words.kinds_moved.store_release(
      words.kinds_moved.load_relaxed() +  // relaxed because this process wrote it
      1);  // [E20] release: brings the rows; pairs with [E20] in kinds_announced()
}
// Reader: a client; when it has moved the rows are read again.
inline std::uint64_t kinds_announced(const BusWords& words) {
  return words.kinds_moved.load_acquire();  // [E20] acquire: brings the rows
}

}  // namespace ackbus::layout
