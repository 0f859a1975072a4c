// The layout of everything shared, byte by byte, against a file that a person reads in review. A
// change of layout must change kLayoutVersion and this file together: ACKBUS_WRITE_GOLDEN=1 writes
// it anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "shm_layout/check.hpp"
#include "shm_layout/views.hpp"

namespace ackbus::layout {
namespace {

#define STRUCT(type) out << #type << " " << sizeof(type) << " align " << alignof(type) << "\n"
#define FIELD(type, field) out << "  " << offsetof(type, field) << " " << #field << "\n"

void dump_submission(std::ostream& out) {
  STRUCT(SegmentHeader);
  FIELD(SegmentHeader, magic);
  FIELD(SegmentHeader, layout_version);
  FIELD(SegmentHeader, role);
  FIELD(SegmentHeader, fingerprint);
  FIELD(SegmentHeader, bytes);
  FIELD(SegmentHeader, link);
  FIELD(SegmentHeader, epoch);
  FIELD(SegmentHeader, slots);
  FIELD(SegmentHeader, arena_bytes);
  FIELD(SegmentHeader, main_start);
  FIELD(SegmentHeader, redelivery_start);
  FIELD(SegmentHeader, ready);
  STRUCT(SubmissionWords);
  FIELD(SubmissionWords, sleeping);
  FIELD(SubmissionWords, committed);
  FIELD(SubmissionWords, cancels);
  STRUCT(Place);
  FIELD(Place, number);
  FIELD(Place, length);
  FIELD(Place, sent_ns);
  FIELD(Place, slot);
  FIELD(Place, kind_flags);
  FIELD(Place, inline_words);
  STRUCT(Descriptor);
  FIELD(Descriptor, number);
  FIELD(Descriptor, id);
  FIELD(Descriptor, length);
  FIELD(Descriptor, offset);
  FIELD(Descriptor, sent_ns);
  FIELD(Descriptor, key);
  FIELD(Descriptor, after);
  FIELD(Descriptor, kind_flags);
  FIELD(Descriptor, timeout_ms);
  FIELD(Descriptor, max_wait_ms);
  FIELD(Descriptor, retries_after_slot);
  FIELD(Descriptor, cancel);
  FIELD(Descriptor, outcome);
  FIELD(Descriptor, inline_words);
  STRUCT(ProducerCounters);
  FIELD(ProducerCounters, sent);
  FIELD(ProducerCounters, closed);
  FIELD(ProducerCounters, backpressured);
}

void dump_ack(std::ostream& out) {
  STRUCT(AckWords);
  FIELD(AckWords, sleeping);
  FIELD(AckWords, cursor);
  FIELD(AckWords, redelivery_cursor);
  FIELD(AckWords, violation);
  FIELD(AckWords, rejected);
  STRUCT(AckPlace);
  FIELD(AckPlace, number);
  FIELD(AckPlace, sequence);
  FIELD(AckPlace, acked_ns);
  FIELD(AckPlace, slot);
  FIELD(AckPlace, code_flags);
  STRUCT(AckRecord);
  FIELD(AckRecord, begun);
  FIELD(AckRecord, begun_ns);
  FIELD(AckRecord, acked);
  FIELD(AckRecord, acked_ns);
  FIELD(AckRecord, begun_attempt);
  FIELD(AckRecord, code_flags);
  FIELD(AckRecord, acked_attempt);
  FIELD(AckRecord, text_lengths);
  FIELD(AckRecord, raised);
  FIELD(AckRecord, raised_ns);
  FIELD(AckRecord, marked);
  FIELD(AckRecord, marked_ns);
  FIELD(AckRecord, raised_attempt);
  FIELD(AckRecord, mark_kind);
  FIELD(AckRecord, mark_value);
  FIELD(AckRecord, mark_delay_ms);
  STRUCT(AckText);
  STRUCT(ConsumerCounters);
  FIELD(ConsumerCounters, begun);
  FIELD(ConsumerCounters, latency_sum_ns);
  FIELD(ConsumerCounters, latency);
  STRUCT(SupersedeEntry);
  FIELD(SupersedeEntry, number);
  FIELD(SupersedeEntry, kind);
  FIELD(SupersedeEntry, key);
  FIELD(SupersedeEntry, sequence);
}

void dump_tracking(std::ostream& out) {
  STRUCT(TrackingWords);
  FIELD(TrackingWords, epoch);
  FIELD(TrackingWords, start);
  FIELD(TrackingWords, interventions);
  FIELD(TrackingWords, closed);
  STRUCT(PendingCopy);
  FIELD(PendingCopy, version);
  FIELD(PendingCopy, sequence);
  FIELD(PendingCopy, state_reason);
  FIELD(PendingCopy, attempt);
  FIELD(PendingCopy, retries);
  FIELD(PendingCopy, deaths);
  FIELD(PendingCopy, due_ns);
  FIELD(PendingCopy, epoch);
  STRUCT(PendingEntry);
  STRUCT(RedeliveryPlace);
  FIELD(RedeliveryPlace, number);
  FIELD(RedeliveryPlace, sequence);
  FIELD(RedeliveryPlace, slot);
  FIELD(RedeliveryPlace, attempt);
  FIELD(RedeliveryPlace, flags);
  STRUCT(VerdictPlace);
  FIELD(VerdictPlace, number);
  FIELD(VerdictPlace, sequence);
  FIELD(VerdictPlace, slot);
  FIELD(VerdictPlace, reason);
}

void dump_bus(std::ostream& out) {
  STRUCT(BusWords);
  FIELD(BusWords, name);
  FIELD(BusWords, incarnation);
  FIELD(BusWords, next_wake_ns);
  FIELD(BusWords, kinds_moved);
  FIELD(BusWords, started_ns);
  STRUCT(KindRow);
  FIELD(KindRow, number);
  FIELD(KindRow, name);
  FIELD(KindRow, flags);
  FIELD(KindRow, timeout_ms);
  FIELD(KindRow, max_retries);
  FIELD(KindRow, max_wait_ms);
  FIELD(KindRow, max_age_ms);
  FIELD(KindRow, min_payload_bytes);
  FIELD(KindRow, max_payload_bytes);
  STRUCT(QueueRow);
  FIELD(QueueRow, number);
  FIELD(QueueRow, name);
  FIELD(QueueRow, epoch);
  FIELD(QueueRow, consumers);
  FIELD(QueueRow, links);
}

void dump_geometry(std::ostream& out) {
  for (const std::uint64_t slots : {4ULL, 1024ULL}) {
    const SubmissionGeometry submission{slots, 16ULL << 20};
    const AckGeometry ack{slots};
    const TrackingGeometry tracking{slots};
    out << "geometry at " << slots << " slots\n"
        << "  submission words " << SubmissionGeometry::kWords << " counters "
        << SubmissionGeometry::kCounters << " ring " << SubmissionGeometry::kRing << " descriptors "
        << submission.descriptors() << " arena " << submission.arena() << " bytes "
        << submission.bytes() << "\n"
        << "  ack words " << AckGeometry::kWords << " counters " << AckGeometry::kCounters
        << " supersede " << AckGeometry::kSupersede << " ring " << AckGeometry::kRing << " records "
        << ack.records() << " texts " << ack.texts() << " bytes " << ack.bytes() << "\n"
        << "  tracking words " << TrackingGeometry::kWords << " redelivery "
        << TrackingGeometry::kRedelivery << " verdicts " << tracking.verdicts() << " entries "
        << tracking.entries() << " bytes " << tracking.bytes() << "\n";
  }
  out << "bus words " << BusGeometry::kWords << " kinds " << BusGeometry::kKinds << " queues "
      << BusGeometry::kQueues << " bytes " << BusGeometry::bytes() << "\n";
}

TEST(LayoutGolden, IsUnchanged) {
  std::ostringstream out;
  out << "layout version " << kLayoutVersion << "\n";
  dump_submission(out);
  dump_ack(out);
  dump_tracking(out);
  dump_bus(out);
  dump_geometry(out);
  const std::string path =
      std::string(ACKBUS_SOURCE_DIR) + "/tests/unit/shm_layout/layout_golden.txt";
  if (std::getenv("ACKBUS_WRITE_GOLDEN") != nullptr) {
    std::ofstream(path) << out.str();
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::stringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(out.str(), golden.str());
}

// What FORMAT.md and every build promise: nothing in shared memory has padding that nobody named.
TEST(LayoutGolden, HasNoUnnamedPaddingInSmallRecords) {
  EXPECT_EQ(sizeof(AckPlace), 3 * 8U + 2 * 4U);
  EXPECT_EQ(sizeof(AckRecord), 8 * 8U + 8 * 4U);
  EXPECT_EQ(sizeof(PendingCopy), 4 * 8U + 4 * 4U);
  EXPECT_EQ(sizeof(RedeliveryPlace), 2 * 8U + 4 * 4U);
  EXPECT_EQ(sizeof(VerdictPlace), 3 * 8U + 2 * 4U);
  EXPECT_EQ(sizeof(SupersedeEntry), 4 * 8U);
  EXPECT_EQ(sizeof(Descriptor), 10 * 8U + 4 * 4U + kInlineBytesMax);
}

TEST(LayoutGolden, KeepsWhatDifferentReadersPollOnLinesOfTheirOwn) {
  const auto line = [](std::size_t offset) { return offset / kCacheLineBytes; };
  EXPECT_NE(line(offsetof(SubmissionWords, sleeping)), line(offsetof(SubmissionWords, committed)));
  EXPECT_NE(line(offsetof(SubmissionWords, committed)), line(offsetof(SubmissionWords, cancels)));
  EXPECT_NE(line(offsetof(AckWords, sleeping)), line(offsetof(AckWords, cursor)));
}

#undef STRUCT
#undef FIELD

}  // namespace
}  // namespace ackbus::layout
