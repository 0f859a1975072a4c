// Private copies of shared records and the seqlock that fetches them: number, fields, number again.
// A copy is validated by whoever uses it; nothing here trusts a value. Writers' halves are here
// too, so both sides of each edge are on one page. Used by producer, consumer and daemon.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "shm_layout/ack.hpp"
#include "shm_layout/cell.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/submission.hpp"
#include "shm_layout/test_points.hpp"
#include "shm_layout/tracking.hpp"
#include "shm_layout/tracking_records.hpp"

namespace ackbus::layout {

// ---- inline payloads ----

// Writer: the producer, for a descriptor and a place, between begin and publish. At most
// kInlineBytesMax bytes; the last word is filled up with zeros.
inline void inline_store(Cell<std::uint64_t> (&words)[kInlineWords],
                         std::span<const std::byte> payload) {
  const std::size_t whole = payload.size() / 8;
  const auto store = [&](std::size_t i) {
    std::uint64_t word;
    std::memcpy(&word, payload.data() + i * 8, 8);
    words[i].store_relaxed(word);  // relaxed because the number publishes it
  };
  if (whole == kInlineWords) {  // A number of words known here is cheap.
    for (std::size_t i = 0; i < kInlineWords; ++i) {
      store(i);
    }
    return;
  }
  for (std::size_t i = 0; i < whole; ++i) {
    store(i);
  }
  if (payload.size() % 8 != 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, payload.data() + whole * 8, payload.size() % 8);
    words[whole].store_relaxed(word);  // relaxed because the number publishes it
  }
}

// Reader: into private words, as many as `bytes` (any value) reach into, at most all. The caller
// has read the number that brought them; a torn copy hurts nobody but the producer who tore it.
inline void inline_load(const Cell<std::uint64_t> (&words)[kInlineWords], std::uint64_t bytes,
                        std::array<std::uint64_t, kInlineWords>& copy) {
  if (bytes == kInlineBytesMax) {  // A number of words known here is cheap.
    for (std::size_t i = 0; i < kInlineWords; ++i) {
      copy[i] = words[i].load_relaxed();  // relaxed because the number brought it
    }
    return;
  }
  for (std::size_t i = 0; i < kInlineWords && i * 8 < bytes; ++i) {
    copy[i] = words[i].load_relaxed();  // relaxed because the number brought it
  }
}

// ---- main ring ----

struct PlaceCopy {
  std::uint64_t number = 0;
  std::uint64_t length = 0;
  std::uint64_t sent_ns = 0;
  std::uint32_t slot = 0;
  std::uint32_t kind_flags = 0;
};

// Writer: the producer. The inline words are stored by the caller between begin and publish.
inline void place_begin(Place& place) {
  place.number.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E1] number 0 before the fields; pairs with [E1] the acquire fence in
                    // place_read()
  ACKBUS_POINT(kPlaceOpen);
}
inline void place_publish(Place& place, const PlaceCopy& copy) {
  place.length.store_relaxed(copy.length);  // relaxed because the number publishes the fields
  place.sent_ns.store_relaxed(copy.sent_ns);
  place.slot.store_relaxed(copy.slot);
  place.kind_flags.store_relaxed(copy.kind_flags);
  ACKBUS_POINT(kPlaceFilled);
  place.number.store_release(
      copy.number);  // [E1] release: commits the message; pairs with [E1] in place_read()
  ACKBUS_POINT(kPlacePublished);
}

// Reader: the consumer and the daemon. False while the place holds another number than `expected`.
inline bool place_read(const Place& place, std::uint64_t expected, PlaceCopy& copy) {
  if (place.number.load_acquire() != expected) {  // [E1] acquire: brings the fields and the payload
    return false;
  }
  copy.number = expected;
  copy.length =
      place.length.load_relaxed();  // relaxed because the numbers around bracket the fields
  copy.sent_ns = place.sent_ns.load_relaxed();
  copy.slot = place.slot.load_relaxed();
  copy.kind_flags = place.kind_flags.load_relaxed();
  fence_acquire();  // [E1] fields before the second look at the number
  return place.number.load_relaxed() == expected;  // relaxed because the fence orders it
}

// ---- descriptors ----

struct DescriptorCopy {
  std::uint64_t number = 0;
  std::uint64_t id[2] = {0, 0};
  std::uint64_t length = 0;
  std::uint64_t offset = 0;
  std::uint64_t sent_ns = 0;
  std::uint64_t key = 0;
  std::uint64_t after = 0;
  std::uint32_t kind_flags = 0;
  std::uint32_t timeout_ms = 0;
  std::uint32_t max_wait_ms = 0;
  std::uint32_t retries_after_slot = 0;
};

inline void descriptor_begin(Descriptor& descriptor) {
  descriptor.number.store_relaxed(
      0);           // relaxed because the fence below orders it before the fields
  fence_release();  // [E2] number 0 before the fields; pairs with [E2] in descriptor_read()
  ACKBUS_POINT(kDescriptorOpen);
}
inline void descriptor_publish(Descriptor& descriptor, const DescriptorCopy& copy) {
  descriptor.id[0].store_relaxed(copy.id[0]);  // relaxed because the number publishes the fields
  descriptor.id[1].store_relaxed(copy.id[1]);
  descriptor.length.store_relaxed(copy.length);
  descriptor.offset.store_relaxed(copy.offset);
  descriptor.sent_ns.store_relaxed(copy.sent_ns);
  descriptor.key.store_relaxed(copy.key);
  descriptor.after.store_relaxed(copy.after);
  descriptor.kind_flags.store_relaxed(copy.kind_flags);
  descriptor.timeout_ms.store_relaxed(copy.timeout_ms);
  descriptor.max_wait_ms.store_relaxed(copy.max_wait_ms);
  descriptor.retries_after_slot.store_relaxed(copy.retries_after_slot);
  ACKBUS_POINT(kDescriptorFilled);
  descriptor.number.store_release(
      copy.number);  // [E2] release: publishes descriptor and inline payload
  ACKBUS_POINT(kDescriptorPublished);
}

// One try. False while the producer rewrites it, or when it holds another sequence than `expected`
// (0: any).
inline bool descriptor_read(const Descriptor& descriptor, std::uint64_t expected,
                            DescriptorCopy& copy) {
  const std::uint64_t number = descriptor.number.load_acquire();  // [E2] acquire: brings the fields
  if (number == 0 || (expected != 0 && number != expected)) {
    return false;
  }
  copy.number = number;
  copy.id[0] =
      descriptor.id[0].load_relaxed();  // relaxed because the numbers around bracket the fields
  copy.id[1] = descriptor.id[1].load_relaxed();
  copy.length = descriptor.length.load_relaxed();
  copy.offset = descriptor.offset.load_relaxed();
  copy.sent_ns = descriptor.sent_ns.load_relaxed();
  copy.key = descriptor.key.load_relaxed();
  copy.after = descriptor.after.load_relaxed();
  copy.kind_flags = descriptor.kind_flags.load_relaxed();
  copy.timeout_ms = descriptor.timeout_ms.load_relaxed();
  copy.max_wait_ms = descriptor.max_wait_ms.load_relaxed();
  copy.retries_after_slot = descriptor.retries_after_slot.load_relaxed();
  fence_acquire();  // [E2] fields before the second look at the number
  return descriptor.number.load_relaxed() == number;  // relaxed because the fence orders it
}

// ---- ack ring and records ----

struct AckPlaceCopy {
  std::uint64_t sequence = 0;
  std::uint64_t acked_ns = 0;
  std::uint32_t slot = 0;
  std::uint32_t code_flags = 0;
};

inline void ack_place_publish(AckPlace& place, std::uint64_t number, const AckPlaceCopy& copy) {
  place.number.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E3] number 0 before the fields; pairs with [E3] in ack_place_read()
  ACKBUS_POINT(kAckPlaceOpen);
  place.sequence.store_relaxed(copy.sequence);  // relaxed because the number publishes the fields
  place.acked_ns.store_relaxed(copy.acked_ns);
  place.slot.store_relaxed(copy.slot);
  place.code_flags.store_relaxed(copy.code_flags);
  ACKBUS_POINT(kAckPlaceFilled);
  place.number.store_release(
      number);  // [E3] release: announces the ack; pairs with [E3] in ack_place_read()
  ACKBUS_POINT(kAckPlacePublished);
}

inline bool ack_place_read(const AckPlace& place, std::uint64_t expected, AckPlaceCopy& copy) {
  if (place.number.load_acquire() !=
      expected) {  // [E3] acquire: brings the fields, the record and its text
    return false;
  }
  copy.sequence =
      place.sequence.load_relaxed();  // relaxed because the numbers around bracket the fields
  copy.acked_ns = place.acked_ns.load_relaxed();
  copy.slot = place.slot.load_relaxed();
  copy.code_flags = place.code_flags.load_relaxed();
  fence_acquire();  // [E3] fields before the second look at the number
  return place.number.load_relaxed() == expected;  // relaxed because the fence orders it
}

// Begun, raised and marked may speak of one sequence twice: given back and begun again, progress
// and then a nack. Their number alone would not tell the two apart for a reader that is in between,
// so their time does: it rises with each rewrite, is stored after the other fields and looked at
// twice.
inline std::uint64_t later_than(const Cell<std::uint64_t>& time_ns, std::uint64_t now_ns) {
  const std::uint64_t before_ns = time_ns.load_relaxed();  // relaxed because its writer asks
  return now_ns > before_ns ? now_ns : before_ns + 1;
}

struct BegunCopy {
  std::uint64_t sequence = 0;
  std::uint64_t begun_ns = 0;
  std::uint32_t attempt = 0;
};

inline void begun_publish(AckRecord& record, const BegunCopy& copy) {
  const std::uint64_t begun_ns = later_than(record.begun_ns, copy.begun_ns);
  record.begun.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E4] number 0 before the fields; pairs with [E4] in begun_read()
  ACKBUS_POINT(kBegunOpen);
  record.begun_attempt.store_relaxed(copy.attempt);  // relaxed because the time publishes it
  record.begun_ns.store_release(begun_ns);           // [E4] release: brings the attempt
  ACKBUS_POINT(kBegunFilled);
  record.begun.store_release(
      copy.sequence);  // [E4] release: begun before the handler runs; pairs with begun_read()
  ACKBUS_POINT_WITH(kBegunPublished, copy.sequence);
}

// A redelivery reached what is running: it runs on as the greater attempt.
inline void raised_publish(AckRecord& record, const BegunCopy& copy) {
  const std::uint64_t raised_ns = later_than(record.raised_ns, copy.begun_ns);
  record.raised.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E5] number 0 before the fields; pairs with [E5] in begun_read()
  ACKBUS_POINT(kRaisedOpen);
  record.raised_attempt.store_relaxed(copy.attempt);  // relaxed because the time publishes it
  record.raised_ns.store_release(raised_ns);          // [E5] release: brings the attempt
  ACKBUS_POINT(kRaisedFilled);
  record.raised.store_release(copy.sequence);  // [E5] release: the attempt in force moves
  ACKBUS_POINT(kRaisedPublished);
}

// Lifts a copy to the raised attempt, if there is one of its sequence.
inline void raised_read(const AckRecord& record, BegunCopy& copy) {
  // relaxed because the time brings the attempt, and both are looked at again
  if (record.raised.load_relaxed() != copy.sequence) {
    return;
  }
  const std::uint64_t raised_ns =
      record.raised_ns.load_acquire();  // [E5] acquire: brings the raised attempt
  const std::uint32_t attempt =
      record.raised_attempt.load_relaxed();  // relaxed because the two times bracket it
  fence_acquire();                           // [E5] fields before the second look
  const bool same = record.raised.load_acquire() == copy.sequence &&  // [E5] acquire: brings the
                    record.raised_ns.load_relaxed() == raised_ns;     // time; relaxed because of it
  if (same && attempt > copy.attempt) {
    copy.begun_ns = raised_ns;
    copy.attempt = attempt;
  }
}

// What this life has begun in the slot, raises included; sequence 0 when nothing, or while it is
// being rewritten.
inline BegunCopy begun_read(const AckRecord& record) {
  BegunCopy copy;
  // relaxed because the time brings the attempt, and both are looked at again
  const std::uint64_t sequence = record.begun.load_relaxed();
  if (sequence == 0) {
    return copy;
  }
  const std::uint64_t begun_ns =
      record.begun_ns.load_acquire();  // [E4] acquire: brings the attempt
  const std::uint32_t attempt =
      record.begun_attempt.load_relaxed();           // relaxed because the two times bracket it
  fence_acquire();                                   // [E4] fields before the second look
  if (record.begun.load_acquire() != sequence ||     // [E4] acquire: brings the time of the begin
      record.begun_ns.load_relaxed() != begun_ns) {  // relaxed because the line above brings it
    return copy;
  }
  copy.sequence = sequence;
  copy.begun_ns = begun_ns;
  copy.attempt = attempt;
  raised_read(record, copy);
  return copy;
}

struct AnswerCopy {
  std::uint64_t sequence = 0;
  std::uint64_t acked_ns = 0;
  std::uint32_t code_flags = 0;
  std::uint32_t attempt = 0;
  std::uint32_t text_lengths = 0;
};

// The text words are stored by the caller between begin and publish.
inline void answer_begin(AckRecord& record) {
  record.acked.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E6] number 0 before the fields; pairs with [E6] in answer_read()
  ACKBUS_POINT(kAnswerOpen);
}
inline void answer_publish(AckRecord& record, const AnswerCopy& copy) {
  record.acked_ns.store_relaxed(copy.acked_ns);  // relaxed because acked publishes the fields
  record.code_flags.store_relaxed(copy.code_flags);
  record.acked_attempt.store_relaxed(copy.attempt);
  record.text_lengths.store_relaxed(copy.text_lengths);
  ACKBUS_POINT(kAnswerFilled);
  record.acked.store_release(
      copy.sequence);  // [E6] release: the answer is given; pairs with [E6] in answer_read()
  ACKBUS_POINT(kAnswerPublished);
}
// False unless the record answers `expected`.
inline bool answer_read(const AckRecord& record, std::uint64_t expected, AnswerCopy& copy) {
  if (record.acked.load_acquire() != expected) {  // [E6] acquire: brings the answer and its text
    return false;
  }
  copy.sequence = expected;
  copy.acked_ns = record.acked_ns.load_relaxed();  // relaxed because acked brackets the fields
  copy.code_flags = record.code_flags.load_relaxed();
  copy.attempt = record.acked_attempt.load_relaxed();
  copy.text_lengths = record.text_lengths.load_relaxed();
  fence_acquire();                                 // [E6] fields before the second look
  return record.acked.load_relaxed() == expected;  // relaxed because the fence orders it
}

struct MarkCopy {
  std::uint64_t sequence = 0;
  std::uint64_t marked_ns = 0;
  MarkKind kind = MarkKind::kReserved;
  std::uint32_t value = 0;
  std::uint32_t delay_ms = 0;
};

inline void mark_publish(AckRecord& record, const MarkCopy& copy) {
  const std::uint64_t marked_ns = later_than(record.marked_ns, copy.marked_ns);
  record.marked.store_relaxed(0);  // relaxed because the fence below orders it before the fields
  fence_release();  // [E7] number 0 before the fields; pairs with [E7] in mark_read()
  ACKBUS_POINT(kMarkOpen);
  // relaxed because the time publishes the fields
  record.mark_kind.store_relaxed(static_cast<std::uint32_t>(copy.kind));
  record.mark_value.store_relaxed(copy.value);
  record.mark_delay_ms.store_relaxed(copy.delay_ms);
  record.marked_ns.store_release(marked_ns);  // [E7] release: brings the fields
  ACKBUS_POINT(kMarkFilled);
  record.marked.store_release(
      copy.sequence);  // [E7] release: progress or nack is visible; pairs with mark_read()
  ACKBUS_POINT(kMarkPublished);
}
inline bool mark_read(const AckRecord& record, std::uint64_t expected, MarkCopy& copy) {
  // relaxed because the time brings the fields, and both are looked at again
  if (expected == 0 || record.marked.load_relaxed() != expected) {
    return false;
  }
  copy.sequence = expected;
  copy.marked_ns = record.marked_ns.load_acquire();  // [E7] acquire: brings the fields
  // relaxed because the two times bracket the fields
  copy.kind = static_cast<MarkKind>(record.mark_kind.load_relaxed());
  copy.value = record.mark_value.load_relaxed();
  copy.delay_ms = record.mark_delay_ms.load_relaxed();
  fence_acquire();                                    // [E7] fields before the second look
  return record.marked.load_acquire() == expected &&  // [E7] acquire: brings the time of the mark
         record.marked_ns.load_relaxed() == copy.marked_ns;  // relaxed because of it
}

}  // namespace ackbus::layout
