// The writing half of ProducerLink: claim a slot, publish a message. In a header, because each
// message passes here and both are inlined into ProducerCore::send (hot.hpp). Runs in the
// producer's process; it writes the submission segment and reads only what this process wrote.
#pragma once

#include <algorithm>
#include <cstring>

#include "libclient/src/hot.hpp"
#include "libclient/src/prefetch.hpp"
#include "libclient/src/producer_link.hpp"  // which includes this file at its end
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

ACKBUS_HOT std::optional<std::uint32_t> ProducerLink::claim() {
  if (free_.empty() || outcomes_.free_nodes() <= claimed_ || closed_ != OutcomeReason::kNone) {
    return std::nullopt;
  }
  // The place lies in the consumer's cache. Asked for now, it is here when commit() writes it; in a
  // stream of messages that is too late, so there it is asked for two messages earlier.
  const std::uint64_t ahead = pending_count_ < kStreamMin ? 0 : kPrefetchPlaces;
  const layout::Place& place = submission_.place(next_sequence_ + ahead);
  prefetch_to_write(&place.number);
  prefetch_to_write(&place.inline_words[layout::kInlineWords - 1]);
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  claimed_ += 1;
  ACKBUS_POINT(kClaimed);
  return slot;
}

ACKBUS_HOT void ProducerLink::write_descriptor(std::uint32_t slot, std::uint64_t sequence,
                                               std::uint32_t kind_flags,
                                               const CommitRequest& request) {
  const SendOptions& options = *request.options;
  layout::DescriptorCopy copy;
  copy.number = sequence;
  static_assert(sizeof(MessageId) == sizeof(copy.id));
  std::memcpy(copy.id, &request.id, sizeof(copy.id));
  copy.length = request.length;
  copy.offset = request.length <= layout::kInlineBytesMax ? 0 : request.offset;
  copy.sent_ns = request.now_ns;
  copy.key = options.key;
  copy.after = request.after_sequence;
  copy.kind_flags = kind_flags;
  copy.timeout_ms = static_cast<std::uint32_t>(options.timeout.count());
  copy.max_wait_ms = static_cast<std::uint32_t>(options.max_wait.count());
  const std::uint32_t retries =
      options.max_retries ? std::min<std::uint32_t>(*options.max_retries, 1000) + 1 : 0;
  copy.retries_after_slot = retries << 16 | (request.after_slot & 0xffffU);
  layout::Descriptor& descriptor = submission_.descriptor(slot);
  layout::descriptor_begin(descriptor);
  layout::inline_store(descriptor.inline_words, request.inlined);
  layout::descriptor_publish(descriptor, copy);
}

ACKBUS_HOT void ProducerLink::write_place(std::uint32_t slot, std::uint64_t sequence,
                                          std::uint32_t kind_flags, const CommitRequest& request) {
  layout::Place& place = submission_.place(sequence);
  layout::place_begin(place);
  layout::inline_store(place.inline_words, request.inlined);
  layout::place_publish(place, {sequence, request.length, request.now_ns, slot, kind_flags});
}

ACKBUS_HOT std::uint64_t ProducerLink::commit(std::uint32_t slot, const CommitRequest& request) {
  const std::uint64_t sequence = next_sequence_;
  Slot& mine = slots_[slot];
  ACKBUS_ASSERT(sequence < layout::kSequenceMax && mine.sequence == 0 && claimed_ > 0);
  claimed_ -= 1;
  next_sequence_ = sequence + 1;
  mine.sequence = sequence;
  mine.sent_ns = request.now_ns;
  mine.kind = request.kind;
  const SendOptions& options = *request.options;
  const bool inlined = request.length <= layout::kInlineBytesMax;
  mine.marks = 0;
  mine.set(kTracked, request.tracked);
  mine.set(kHoldsArena, request.holds_arena);
  auto& counters = submission_.counters(static_cast<std::uint32_t>(request.kind));
  auto& counter = request.tracked ? counters.sent : counters.posted;
  if (request.tracked) {
    mine.node = outcomes_.reserve(slot, sequence, request.kind, request.id, options.forget_outcome);
    pending_count_ += 1;
  }
  const std::uint32_t flags = (request.tracked ? layout::kFlagTracked : 0U) |
                              (inlined ? layout::kFlagInline : 0U) |
                              (request.after_sequence != 0 ? layout::kFlagAfter : 0U) |
                              (options.key != 0 ? layout::kFlagKeyed : 0U);
  const std::uint32_t kind_flags =
      layout::pack_kind(static_cast<std::uint16_t>(request.kind), flags);
  write_descriptor(slot, sequence, kind_flags, request);
  // relaxed because a figure orders nothing; before the place, so that sent never lags what was
  // committed.
  counter.store_relaxed(counter.load_relaxed() + 1);
  ACKBUS_POINT(kSentCounted);
  write_place(slot, sequence, kind_flags, request);
  submission_.words().committed.store_release(
      sequence);  // [E21] release: the message is there; pairs with [E21] in LinkTracker::scan()
  ACKBUS_POINT(kCommitted);
  return sequence;
}

}  // namespace ackbus
