// Private copies of what the daemon writes (pending entries, redelivery and verdict places) and the
// seqlocks that fetch them; the other records are in records.hpp. Nothing here trusts a value: a
// copy is validated by whoever uses it.
#pragma once

#include <cstdint>

#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/test_points.hpp"
#include "shm_layout/tracking.hpp"

namespace ackbus::layout {

struct PendingCopyValue {
  std::uint64_t version = 0;
  std::uint64_t sequence = 0;
  PendingState state = PendingState::kReserved;
  VerdictReason reason = VerdictReason::kReserved;
  std::uint8_t answer = 0;  // Final: the AckCode that an ended life had answered with; 0 none
  std::uint32_t attempt = 0;
  std::uint32_t retries = 0;
  std::uint16_t deaths = 0;
  std::uint16_t sole_deaths = 0;
  std::uint64_t due_ns = 0;
  std::uint64_t epoch = 0;
};

inline void pending_publish(PendingCopy& copy, const PendingCopyValue& value) {
  copy.version.store_release(
      0);           // [E8] release: who finds this copy in the making finds the other one whole
  fence_release();  // [E8] version 0 before the fields; pairs with [E8] in pending_copy_read()
  ACKBUS_POINT(kEntryOpen);
  copy.sequence.store_relaxed(value.sequence);  // relaxed because the version publishes the fields
  copy.state_reason.store_relaxed(static_cast<std::uint32_t>(value.state) |
                                  static_cast<std::uint32_t>(value.reason) << 8 |
                                  static_cast<std::uint32_t>(value.answer) << 16);
  copy.attempt.store_relaxed(value.attempt);
  copy.retries.store_relaxed(value.retries);
  copy.deaths.store_relaxed(static_cast<std::uint32_t>(value.deaths) |
                            static_cast<std::uint32_t>(value.sole_deaths) << 16);
  copy.due_ns.store_relaxed(value.due_ns);
  copy.epoch.store_relaxed(value.epoch);
  ACKBUS_POINT(kEntryFilled);
  copy.version.store_release(
      value.version);  // [E8] release: the entry says this; pairs with [E8] in the readers
  ACKBUS_POINT(kEntryPublished);
}

inline bool pending_copy_read(const PendingCopy& copy, PendingCopyValue& value) {
  const std::uint64_t version = copy.version.load_acquire();  // [E8] acquire: brings the fields
  if (version == 0) {
    return false;
  }
  value.version = version;
  value.sequence =
      copy.sequence.load_relaxed();  // relaxed because the versions around bracket the fields
  const std::uint32_t state_reason = copy.state_reason.load_relaxed();
  value.state = static_cast<PendingState>(state_reason & 0xff);
  value.reason = static_cast<VerdictReason>((state_reason >> 8) & 0xff);
  value.answer = static_cast<std::uint8_t>((state_reason >> 16) & 0xff);
  value.attempt = copy.attempt.load_relaxed();
  value.retries = copy.retries.load_relaxed();
  const std::uint32_t deaths = copy.deaths.load_relaxed();
  value.deaths = static_cast<std::uint16_t>(deaths & 0xffff);
  value.sole_deaths = static_cast<std::uint16_t>(deaths >> 16);
  value.due_ns = copy.due_ns.load_relaxed();
  value.epoch = copy.epoch.load_relaxed();
  fence_acquire();                                // [E8] fields before the second look
  return copy.version.load_relaxed() == version;  // relaxed because the fence orders it
}

// The copy in force. While the daemon rewrites one copy the other is whole, so a few tries always
// end; an entry never written gives state kReserved. Never older than what an earlier call gave:
// when the second copy is being rewritten the first is the newest only if it still says the same
// afterwards.
inline PendingCopyValue pending_read(const PendingEntry& entry) {
  for (int tries = 0; tries < kSeqlockTriesMax; ++tries) {
    PendingCopyValue first;
    PendingCopyValue second;
    const bool has_first = pending_copy_read(entry.copies[0], first);
    const bool has_second = pending_copy_read(entry.copies[1], second);
    if (has_first && has_second) {
      return first.version > second.version ? first : second;
    }
    if (has_second) {
      return second;
    }
    fence_acquire();  // [E8] what was seen of the second copy, before this look at the first
    // relaxed because the fence orders it
    const std::uint64_t version = entry.copies[0].version.load_relaxed();
    if (has_first && version == first.version) {
      return first;
    }
    // relaxed because only emptiness is asked: an entry that was ever written keeps a sequence
    if (version == 0 && entry.copies[0].sequence.load_relaxed() == 0 &&
        entry.copies[1].sequence.load_relaxed() == 0) {
      break;
    }
  }
  return {};
}

struct RedeliveryCopy {
  std::uint64_t sequence = 0;
  std::uint32_t slot = 0;
  std::uint32_t attempt = 0;
  std::uint32_t flags = 0;
};

inline void redelivery_publish(RedeliveryPlace& place, std::uint64_t number,
                               const RedeliveryCopy& copy) {
  place.number.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E9] number 0 before the fields; pairs with [E9] in redelivery_read()
  ACKBUS_POINT(kRedeliveryOpen);
  place.sequence.store_relaxed(copy.sequence);  // relaxed because the number publishes the fields
  place.slot.store_relaxed(copy.slot);
  place.attempt.store_relaxed(copy.attempt);
  place.flags.store_relaxed(copy.flags);
  ACKBUS_POINT(kRedeliveryFilled);
  place.number.store_release(
      number);  // [E9] release: asks the consumer to run it again; pairs with redelivery_read()
  ACKBUS_POINT(kRedeliveryPublished);
}
inline bool redelivery_read(const RedeliveryPlace& place, std::uint64_t expected,
                            RedeliveryCopy& copy) {
  if (place.number.load_acquire() != expected) {  // [E9] acquire: brings the fields
    return false;
  }
  copy.sequence =
      place.sequence.load_relaxed();  // relaxed because the numbers around bracket the fields
  copy.slot = place.slot.load_relaxed();
  copy.attempt = place.attempt.load_relaxed();
  copy.flags = place.flags.load_relaxed();
  fence_acquire();                                 // [E9] fields before the second look
  return place.number.load_relaxed() == expected;  // relaxed because the fence orders it
}

struct VerdictCopy {
  std::uint64_t sequence = 0;
  std::uint32_t slot = 0;
  VerdictReason reason = VerdictReason::kReserved;
};

inline void verdict_publish(VerdictPlace& place, std::uint64_t number, const VerdictCopy& copy) {
  place.number.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E10] number 0 before the fields; pairs with [E10] in verdict_read()
  ACKBUS_POINT(kVerdictOpen);
  place.sequence.store_relaxed(copy.sequence);  // relaxed because the number publishes the fields
  place.slot.store_relaxed(copy.slot);
  place.reason.store_relaxed(static_cast<std::uint32_t>(copy.reason));
  ACKBUS_POINT(kVerdictFilled);
  place.number.store_release(
      number);  // [E10] release: announces the verdict; pairs with [E10] in verdict_read()
  ACKBUS_POINT(kVerdictPublished);
}
inline bool verdict_read(const VerdictPlace& place, std::uint64_t expected, VerdictCopy& copy) {
  if (place.number.load_acquire() != expected) {  // [E10] acquire: brings the fields
    return false;
  }
  copy.sequence =
      place.sequence.load_relaxed();  // relaxed because the numbers around bracket the fields
  copy.slot = place.slot.load_relaxed();
  copy.reason = static_cast<VerdictReason>(place.reason.load_relaxed() & 0xff);
  fence_acquire();                                 // [E10] fields before the second look
  return place.number.load_relaxed() == expected;  // relaxed because the fence orders it
}

}  // namespace ackbus::layout
