// Litmus tests of single records: one thread rewrites a record through the product's own writing
// half, another copies it through the reading half, as often as it likes. A copy that the reader
// takes for whole must be one that was written. Every field says which version it belongs to.
#include "shm_layout/check.hpp"
#include "shm_layout/records.hpp"
#include "tests/weak/litmus.hpp"

namespace ackbus::weak {
namespace {

// Version 1 stands in the record before; the writer rewrites it as version 2. `Record` gives
// write(version) and read(version), which takes a copy of that version or says no, and fails if the
// copy is of mixed versions.
template <typename Record>
struct Rewritten : Scenario {
  Rewritten() {
    record.write(1);
    threads = {[this] { record.write(2); },
               [this] {
                 const std::uint64_t wanted = 1 + choose(2);
                 taken = record.read(wanted) ? wanted : 0;
               }};
  }
  Record record;
  std::uint64_t taken = 0;
};

void one_version(std::uint64_t wanted, std::initializer_list<std::uint64_t> fields) {
  for (const std::uint64_t field : fields) {
    require(field == wanted, "a copy of mixed versions");
  }
}

std::uint32_t narrow(std::uint64_t version) { return static_cast<std::uint32_t>(version); }

std::array<std::byte, 16> payload_of(std::uint64_t version) {
  std::array<std::byte, 16> payload{};
  payload.fill(static_cast<std::byte>(version));
  return payload;
}

bool payload_is(std::uint64_t version,
                const std::array<std::uint64_t, layout::kInlineWords>& copy) {
  return std::memcmp(copy.data(), payload_of(version).data(), 16) == 0;
}

struct PlaceRecord {
  layout::Place& place = shared<layout::Place>();
  void write(std::uint64_t version) {
    layout::place_begin(place);
    layout::inline_store(place.inline_words, payload_of(version));
    layout::place_publish(place, {version, version, version, narrow(version), narrow(version)});
  }
  bool read(std::uint64_t wanted) const {
    layout::PlaceCopy copy;
    if (!layout::place_read(place, wanted, copy)) {
      return false;
    }
    one_version(wanted, {copy.number, copy.length, copy.sent_ns, copy.slot, copy.kind_flags});
    return true;
  }
};

struct DescriptorRecord {
  layout::Descriptor& descriptor = shared<layout::Descriptor>();
  void write(std::uint64_t version) {
    layout::DescriptorCopy copy;
    copy.number = version;
    copy.id[0] = copy.offset = copy.key = version;  // The others keep what they say.
    copy.retries_after_slot = narrow(version);
    layout::descriptor_begin(descriptor);
    layout::inline_store(descriptor.inline_words, payload_of(version));
    layout::descriptor_publish(descriptor, copy);
  }
  // As the daemon copies a dead letter's payload: the words, then the descriptor again.
  bool read(std::uint64_t wanted) const {
    layout::DescriptorCopy copy;
    std::array<std::uint64_t, layout::kInlineWords> words{};
    if (!layout::descriptor_read(descriptor, wanted, copy)) {
      return false;
    }
    one_version(wanted, {copy.id[0], copy.offset, copy.key, copy.retries_after_slot});
    layout::inline_load(descriptor.inline_words, 16, words);
    if (layout::descriptor_read(descriptor, wanted, copy)) {
      require(payload_is(wanted, words), "a payload of another version");
    }
    return true;
  }
};

struct AckPlaceRecord {
  layout::AckPlace& place = shared<layout::AckPlace>();
  void write(std::uint64_t version) {
    layout::ack_place_publish(place, version, {version, version, narrow(version), narrow(version)});
  }
  bool read(std::uint64_t wanted) const {
    layout::AckPlaceCopy copy;
    if (!layout::ack_place_read(place, wanted, copy)) {
      return false;
    }
    one_version(wanted, {copy.sequence, copy.acked_ns, copy.slot, copy.code_flags});
    return true;
  }
};

struct BegunRecord {
  layout::AckRecord& record = shared<layout::AckRecord>();
  void write(std::uint64_t version) {
    layout::begun_publish(record, {version, version, narrow(version)});
  }
  bool read(std::uint64_t wanted) const {
    const layout::BegunCopy copy = layout::begun_read(record);
    if (copy.sequence != wanted) {
      return false;
    }
    one_version(wanted, {copy.begun_ns, copy.attempt});
    return true;
  }
};

// Given back and begun again: the same sequence stands there twice.
struct BegunAgainRecord : BegunRecord {
  void write(std::uint64_t version) {
    layout::begun_publish(record, {9, version, narrow(version)});
  }
  bool read(std::uint64_t) const {
    const layout::BegunCopy copy = layout::begun_read(record);
    require(copy.begun_ns == copy.attempt, "an attempt with the time of another");
    return true;
  }
};

// Raised twice while it runs: the attempt and its time belong together, and are of this sequence.
struct RaisedRecord {
  layout::AckRecord& record = shared<layout::AckRecord>();
  RaisedRecord() { layout::begun_publish(record, {9, 1, 1}); }
  void write(std::uint64_t version) {
    layout::raised_publish(record, {version == 1 ? 8U : 9U, version * 10, narrow(version * 10)});
  }
  bool read(std::uint64_t) const {
    const layout::BegunCopy copy = layout::begun_read(record);
    require(copy.sequence == 9, "what is begun is not seen");
    require(
        (copy.begun_ns == 1 && copy.attempt == 1) || (copy.begun_ns == 20 && copy.attempt == 20),
        "a raised attempt of mixed versions");
    return true;
  }
};

// A second raise of the same sequence: a seqlock number that comes back must not mix the two.
struct RaisedAgainRecord : RaisedRecord {
  void write(std::uint64_t version) {
    layout::raised_publish(record, {9, version * 10, narrow(version * 10)});
  }
  bool read(std::uint64_t) const {
    const layout::BegunCopy copy = layout::begun_read(record);
    require(copy.begun_ns == copy.attempt, "a raised attempt of mixed versions");
    return true;
  }
};

struct AnswerRecord {
  layout::AckRecord& record = shared<layout::AckRecord>();
  layout::AckText& text = shared<layout::AckText>();
  void write(std::uint64_t version) {
    layout::answer_begin(record);
    text.words[0].store_relaxed(version);  // relaxed because the record publishes it
    layout::answer_publish(record,
                           {version, version, narrow(version), narrow(version), narrow(version)});
  }
  bool read(std::uint64_t wanted) const {
    layout::AnswerCopy copy;
    if (!layout::answer_read(record, wanted, copy)) {
      return false;
    }
    one_version(wanted, {copy.acked_ns, copy.code_flags, copy.attempt, copy.text_lengths});
    return true;
  }
};

struct MarkRecord {
  layout::AckRecord& record = shared<layout::AckRecord>();
  void write(std::uint64_t version) {
    layout::mark_publish(record, {version, version, static_cast<layout::MarkKind>(version),
                                  narrow(version), narrow(version)});
  }
  bool read(std::uint64_t wanted) const {
    layout::MarkCopy copy;
    if (!layout::mark_read(record, wanted, copy)) {
      return false;
    }
    one_version(wanted,
                {copy.marked_ns, static_cast<std::uint64_t>(copy.kind), copy.value, copy.delay_ms});
    return true;
  }
};

// A nack after progress: the same sequence stands there twice.
struct MarkAgainRecord : MarkRecord {
  void write(std::uint64_t version) {
    layout::mark_publish(record, {9, version, static_cast<layout::MarkKind>(version),
                                  narrow(version), narrow(version)});
  }
  bool read(std::uint64_t) const {
    layout::MarkCopy copy;
    if (layout::mark_read(record, 9, copy)) {
      one_version(copy.marked_ns,
                  {static_cast<std::uint64_t>(copy.kind), copy.value, copy.delay_ms});
    }
    return true;
  }
};

struct PendingCopyRecord {
  layout::PendingCopy& copy = shared<layout::PendingCopy>();
  void write(std::uint64_t version) {
    layout::PendingCopyValue value;
    value.version = value.sequence = value.due_ns = value.epoch = version;
    value.state = static_cast<layout::PendingState>(version);
    value.attempt = value.retries = narrow(version);
    value.deaths = static_cast<std::uint16_t>(version);
    layout::pending_publish(copy, value);
  }
  bool read(std::uint64_t wanted) const {
    layout::PendingCopyValue value;
    if (!layout::pending_copy_read(copy, value) || value.version != wanted) {
      return false;
    }
    one_version(wanted, {value.sequence, static_cast<std::uint64_t>(value.state), value.attempt,
                         value.retries, value.deaths, value.due_ns, value.epoch});
    return true;
  }
};

// Two copies, written in turn: two looks at an entry never go back in time, and none is mixed.
struct PendingTwice : Scenario {
  layout::PendingEntry& entry = shared<layout::PendingEntry>();
  PendingTwice() {
    write(1);
    write(2);
    threads = {[this] {
                 write(3);
                 write(4);
                 write(5);
               },
               [this] {
                 const std::uint64_t first = look();
                 require(look() >= first, "an entry older than the one seen before");
               }};
  }
  void write(std::uint64_t version) {
    layout::PendingCopyValue value;
    value.version = version;
    value.sequence = 7;
    value.due_ns = version;
    layout::pending_publish(entry.copies[version & 1U], value);
  }
  std::uint64_t look() const {
    const layout::PendingCopyValue value = layout::pending_read(entry);
    require(value.version >= 2, "an entry older than the first look could give");
    one_version(value.version, {value.due_ns});
    return value.version;
  }
};

struct RedeliveryRecord {
  layout::RedeliveryPlace& place = shared<layout::RedeliveryPlace>();
  void write(std::uint64_t version) {
    layout::redelivery_publish(place, version,
                               {version, narrow(version), narrow(version), narrow(version)});
  }
  bool read(std::uint64_t wanted) const {
    layout::RedeliveryCopy copy;
    if (!layout::redelivery_read(place, wanted, copy)) {
      return false;
    }
    one_version(wanted, {copy.sequence, copy.slot, copy.attempt, copy.flags});
    return true;
  }
};

struct VerdictRecord {
  layout::VerdictPlace& place = shared<layout::VerdictPlace>();
  void write(std::uint64_t version) {
    layout::verdict_publish(
        place, version, {version, narrow(version), static_cast<layout::VerdictReason>(version)});
  }
  bool read(std::uint64_t wanted) const {
    layout::VerdictCopy copy;
    if (!layout::verdict_read(place, wanted, copy)) {
      return false;
    }
    one_version(wanted, {copy.sequence, copy.slot, static_cast<std::uint64_t>(copy.reason)});
    return true;
  }
};

// A header is written once; who finds it ready reads plain fields.
struct HeaderStamped : Scenario {
  std::byte* base = allocate(sizeof(layout::SegmentHeader));
  layout::SegmentExpectation expected{layout::SegmentRole::kAck, sizeof(layout::SegmentHeader), 4,
                                      0};
  HeaderStamped() {
    threads = {
        [this] {
          plain_write(base, offsetof(layout::SegmentHeader, ready));
          layout::stamp_segment(base, expected, 1, 1, 1, 1);
        },
        [this] {
          const layout::SegmentState state = layout::check_segment(base, expected.bytes, expected);
          require(state == layout::SegmentState::kOk || state == layout::SegmentState::kNotReady,
                  "a half-written header");
          if (state == layout::SegmentState::kOk) {
            plain_read(base, offsetof(layout::SegmentHeader, ready));
          }
        }};
  }
};

}  // namespace

std::vector<Litmus> record_litmus() {
  return {
      litmus_of<Rewritten<PlaceRecord>>("place", "E1"),
      litmus_of<Rewritten<DescriptorRecord>>("descriptor", "E2"),
      litmus_of<Rewritten<AckPlaceRecord>>("ack_place", "E3"),
      litmus_of<Rewritten<BegunRecord>>("begun", "E4"),
      litmus_of<Rewritten<BegunAgainRecord>>("begun_again", "E4"),
      litmus_of<Rewritten<RaisedRecord>>("raised", "E5"),
      litmus_of<Rewritten<RaisedAgainRecord>>("raised_again", "E5"),
      litmus_of<Rewritten<AnswerRecord>>("answer", "E6"),
      litmus_of<Rewritten<MarkRecord>>("mark", "E7"),
      litmus_of<Rewritten<MarkAgainRecord>>("mark_again", "E7"),
      litmus_of<Rewritten<PendingCopyRecord>>("pending_copy", "E8"),
      litmus_of<PendingTwice>("pending_twice", "E8"),
      litmus_of<Rewritten<RedeliveryRecord>>("redelivery", "E9"),
      litmus_of<Rewritten<VerdictRecord>>("verdict", "E10"),
      litmus_of<HeaderStamped>("header", "E11"),
  };
}

}  // namespace ackbus::weak
