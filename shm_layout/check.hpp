// Validates a mapped segment's header: the same checks when the daemon made it and when a client
// attaches it. The fingerprint covers the size and the offsets of every shared struct, so two
// builds that would read memory differently refuse each other by name instead of misreading.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm_layout/ack.hpp"
#include "shm_layout/bus.hpp"
#include "shm_layout/control.hpp"
#include "shm_layout/segment.hpp"
#include "shm_layout/submission.hpp"
#include "shm_layout/test_points.hpp"
#include "shm_layout/tracking.hpp"

namespace ackbus::layout {

constexpr std::uint64_t layout_fingerprint() {
  constexpr std::uint64_t kFacts[] = {kLayoutVersion,
                                      sizeof(SegmentHeader),
                                      sizeof(SubmissionWords),
                                      sizeof(Place),
                                      sizeof(Descriptor),
                                      sizeof(ProducerCounters),
                                      sizeof(AckWords),
                                      sizeof(AckPlace),
                                      sizeof(AckRecord),
                                      sizeof(AckText),
                                      sizeof(ConsumerCounters),
                                      sizeof(SupersedeEntry),
                                      sizeof(TrackingWords),
                                      sizeof(PendingEntry),
                                      sizeof(RedeliveryPlace),
                                      sizeof(VerdictPlace),
                                      sizeof(KindRow),
                                      sizeof(QueueRow),
                                      sizeof(BusWords),
                                      offsetof(Place, inline_words),
                                      offsetof(Descriptor, cancel),
                                      offsetof(AckRecord, raised),
                                      offsetof(PendingCopy, due_ns),
                                      offsetof(TrackingWords, interventions),
                                      kKindsMax,
                                      kSupersedeEntries,
                                      kInlineBytesMax,
                                      kAckTextBytesMax,
                                      kLatencyBuckets,
                                      kControlVersion,
                                      sizeof(HelloMessage),
                                      sizeof(LifeMessage)};
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a, 64 bits
  for (const std::uint64_t fact : kFacts) {
    for (int shift = 0; shift < 64; shift += 8) {
      hash = (hash ^ ((fact >> shift) & 0xff)) * 0x100000001b3ULL;
    }
  }
  return hash;
}

// What the attaching side expects, from the daemon's control message.
struct SegmentExpectation {
  SegmentRole role = SegmentRole::kReserved;
  std::uint64_t bytes = 0;
  std::uint64_t slots = 0;
  std::uint64_t arena_bytes = 0;
};

inline SegmentState check_segment(const std::byte* base, std::uint64_t mapped_bytes,
                                  const SegmentExpectation& expected) {
  if (mapped_bytes < sizeof(SegmentHeader) || mapped_bytes < expected.bytes) {
    return SegmentState::kTooSmall;
  }
  const auto& header = *reinterpret_cast<const SegmentHeader*>(base);
  if (header.ready.load_acquire() !=
      kSegmentReady) {  // [E11] acquire: pairs with the daemon's last store to a header
    return SegmentState::kNotReady;
  }
  if (header.magic != kSegmentMagic) {
    return SegmentState::kNotASegment;
  }
  if (header.layout_version != kLayoutVersion) {
    return SegmentState::kOtherVersion;
  }
  if (header.fingerprint != layout_fingerprint()) {
    return SegmentState::kOtherLayout;
  }
  if (header.role != static_cast<std::uint32_t>(expected.role)) {
    return SegmentState::kOtherRole;
  }
  if (header.bytes != expected.bytes || header.slots != expected.slots ||
      header.arena_bytes != expected.arena_bytes) {
    return SegmentState::kOtherGeometry;
  }
  return SegmentState::kOk;
}

// Writer's half, used by the daemon on memory that nobody else has seen yet.
inline void stamp_segment(std::byte* base, const SegmentExpectation& made, std::uint64_t link,
                          std::uint64_t epoch, std::uint64_t main_start,
                          std::uint64_t redelivery_start) {
  auto& header = *reinterpret_cast<SegmentHeader*>(base);
  header.magic = kSegmentMagic;
  header.layout_version = kLayoutVersion;
  header.role = static_cast<std::uint32_t>(made.role);
  header.fingerprint = layout_fingerprint();
  header.bytes = made.bytes;
  header.link = link;
  header.epoch = epoch;
  header.slots = made.slots;
  header.arena_bytes = made.arena_bytes;
  header.main_start = main_start;
  header.redelivery_start = redelivery_start;
  ACKBUS_POINT(kHeaderFilled);
  header.ready.store_release(
      kSegmentReady);  // [E11] release: publishes the header; pairs with [E11] in check_segment()
  ACKBUS_POINT(kHeaderReady);
}

inline constexpr const char* segment_state_name(SegmentState state) {
  switch (state) {
    case SegmentState::kOk:
      return "ok";
    case SegmentState::kTooSmall:
      return "smaller than announced";
    case SegmentState::kNotReady:
      return "not yet complete";
    case SegmentState::kNotASegment:
      return "not an ackbus segment";
    case SegmentState::kOtherVersion:
      return "of another layout version";
    case SegmentState::kOtherLayout:
      return "of another build's layout";
    case SegmentState::kOtherRole:
      return "a segment of another role";
    case SegmentState::kOtherGeometry:
      return "of other sizes than announced";
    case SegmentState::kReserved:
      break;
  }
  return "unknown";
}

}  // namespace ackbus::layout
