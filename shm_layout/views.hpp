// A mapped segment as typed parts: base address and geometry in, references out. The geometry is
// the daemon's, from a control message or its own books; nothing is computed from the segment's
// contents. A reader's mapping is read-only, so a store through a view that its process may not
// write ends that process and nobody else's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm_layout/ack.hpp"
#include "shm_layout/bus.hpp"
#include "shm_layout/submission.hpp"
#include "shm_layout/tracking.hpp"

namespace ackbus::layout {

class SubmissionView {
 public:
  SubmissionView() = default;
  SubmissionView(std::byte* base, SubmissionGeometry geometry)
      : base_(base),
        descriptors_(base + geometry.descriptors()),
        arena_(base + geometry.arena()),
        geometry_(geometry),
        mask_(geometry.slots - 1) {}

  [[nodiscard]] explicit operator bool() const { return base_ != nullptr; }
  [[nodiscard]] std::uint64_t slots() const { return geometry_.slots; }
  [[nodiscard]] std::uint64_t arena_bytes() const { return geometry_.arena_bytes; }
  [[nodiscard]] SegmentHeader& header() const { return *reinterpret_cast<SegmentHeader*>(base_); }
  [[nodiscard]] SubmissionWords& words() const {
    return *reinterpret_cast<SubmissionWords*>(base_ + SubmissionGeometry::kWords);
  }
  [[nodiscard]] ProducerCounters& counters(std::uint32_t kind) const {
    return reinterpret_cast<ProducerCounters*>(base_ +
                                               SubmissionGeometry::kCounters)[kind % kKindsMax];
  }
  [[nodiscard]] Place& place(std::uint64_t number) const {
    return reinterpret_cast<Place*>(base_ + SubmissionGeometry::kRing)[number & mask_];
  }
  [[nodiscard]] Descriptor& descriptor(std::uint32_t slot) const {
    return reinterpret_cast<Descriptor*>(descriptors_)[slot & mask_];
  }
  [[nodiscard]] std::byte* arena() const { return arena_; }

 private:
  std::byte* base_ = nullptr;
  std::byte* descriptors_ = nullptr;
  std::byte* arena_ = nullptr;
  SubmissionGeometry geometry_;
  std::uint64_t mask_ = 0;
};

class AckView {
 public:
  AckView() = default;
  AckView(std::byte* base, AckGeometry geometry)
      : base_(base),
        records_(base + geometry.records()),
        geometry_(geometry),
        mask_(geometry.slots - 1) {}

  [[nodiscard]] explicit operator bool() const { return base_ != nullptr; }
  [[nodiscard]] std::uint64_t slots() const { return geometry_.slots; }
  [[nodiscard]] SegmentHeader& header() const { return *reinterpret_cast<SegmentHeader*>(base_); }
  [[nodiscard]] AckWords& words() const {
    return *reinterpret_cast<AckWords*>(base_ + AckGeometry::kWords);
  }
  [[nodiscard]] ConsumerCounters& counters(std::uint32_t kind) const {
    return reinterpret_cast<ConsumerCounters*>(base_ + AckGeometry::kCounters)[kind % kKindsMax];
  }
  [[nodiscard]] SupersedeEntry& supersede(std::uint32_t index) const {
    return reinterpret_cast<SupersedeEntry*>(base_ +
                                             AckGeometry::kSupersede)[index % kSupersedeEntries];
  }
  [[nodiscard]] AckPlace& place(std::uint64_t number) const {
    return reinterpret_cast<AckPlace*>(base_ + AckGeometry::kRing)[number & mask_];
  }
  [[nodiscard]] AckRecord& record(std::uint32_t slot) const {
    return reinterpret_cast<AckRecord*>(records_)[slot & mask_];
  }
  [[nodiscard]] AckText& text(std::uint32_t slot) const {
    return reinterpret_cast<AckText*>(base_ + geometry_.texts())[slot & mask_];
  }

 private:
  std::byte* base_ = nullptr;
  std::byte* records_ = nullptr;
  AckGeometry geometry_;
  std::uint64_t mask_ = 0;
};

class TrackingView {
 public:
  TrackingView() = default;
  TrackingView(std::byte* base, TrackingGeometry geometry)
      : base_(base),
        entries_(base + geometry.entries()),
        verdicts_(base + geometry.verdicts()),
        geometry_(geometry),
        mask_(geometry.slots - 1),
        verdict_mask_(verdict_places(static_cast<std::uint32_t>(geometry.slots)) - 1) {}

  [[nodiscard]] explicit operator bool() const { return base_ != nullptr; }
  [[nodiscard]] std::uint64_t slots() const { return geometry_.slots; }
  [[nodiscard]] std::uint64_t verdict_ring_places() const { return verdict_mask_ + 1; }
  [[nodiscard]] SegmentHeader& header() const { return *reinterpret_cast<SegmentHeader*>(base_); }
  [[nodiscard]] TrackingWords& words() const {
    return *reinterpret_cast<TrackingWords*>(base_ + TrackingGeometry::kWords);
  }
  [[nodiscard]] RedeliveryPlace& redelivery(std::uint64_t number) const {
    return reinterpret_cast<RedeliveryPlace*>(base_ +
                                              TrackingGeometry::kRedelivery)[number & mask_];
  }
  [[nodiscard]] VerdictPlace& verdict(std::uint64_t number) const {
    return reinterpret_cast<VerdictPlace*>(verdicts_)[number & verdict_mask_];
  }
  [[nodiscard]] PendingEntry& entry(std::uint32_t slot) const {
    return reinterpret_cast<PendingEntry*>(entries_)[slot & mask_];
  }

 private:
  std::byte* base_ = nullptr;
  std::byte* entries_ = nullptr;
  std::byte* verdicts_ = nullptr;
  TrackingGeometry geometry_;
  std::uint64_t mask_ = 0;
  std::uint64_t verdict_mask_ = 0;
};

class BusView {
 public:
  BusView() = default;
  explicit BusView(std::byte* base) : base_(base) {}

  [[nodiscard]] explicit operator bool() const { return base_ != nullptr; }
  [[nodiscard]] SegmentHeader& header() const { return *reinterpret_cast<SegmentHeader*>(base_); }
  [[nodiscard]] BusWords& words() const {
    return *reinterpret_cast<BusWords*>(base_ + BusGeometry::kWords);
  }
  [[nodiscard]] KindRow& kind(std::uint32_t kind) const {
    return reinterpret_cast<KindRow*>(base_ + BusGeometry::kKinds)[kind % kKindsMax];
  }
  [[nodiscard]] QueueRow& queue(std::uint32_t index) const {
    return reinterpret_cast<QueueRow*>(base_ + BusGeometry::kQueues)[index % kQueuesMax];
  }

 private:
  std::byte* base_ = nullptr;
};

}  // namespace ackbus::layout
