// A mapped segment of any content, as each of its readers takes it in: the check of its header, the
// rows of the bus segment, records, texts, frames. Data flow: a sound segment is made, words of it
// are overwritten, and every reader looks at it. Checked: what a reader accepts lies within the
// segment's own bounds, and a segment that nobody overwrote is accepted. One thread.
#include <cstdlib>
#include <memory>
#include <vector>

#include "libclient/src/ack_text.hpp"
#include "libclient/src/session.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/frames.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/link/memory.hpp"
#include "tools/layout_frame.hpp"

namespace ackbus {
namespace {

using fuzz::Input;
using layout::SegmentRole;
using test::SegmentMemory;

void overwrite(Input& input, std::byte* base, std::uint64_t bytes, std::uint64_t near) {
  const std::uint64_t width = input.flag() ? 8 : 4;
  const std::uint64_t at = input.below(bytes / width) * width;
  const std::uint64_t value = input.word(near);
  std::memcpy(base + at, &value, width);
}

// ---- the check that precedes every use ----

void check_header(Input& input) {
  layout::SegmentExpectation made;
  made.role = static_cast<SegmentRole>(1 + input.below(6));
  made.slots = std::uint64_t{4} << input.below(3);
  made.arena_bytes = 4096 * input.below(3);
  made.bytes = layout::SubmissionGeometry{made.slots, made.arena_bytes}.bytes();
  SegmentMemory memory(made.bytes);
  layout::stamp_segment(memory.base(), made, 1, 2, 3, 4);
  const std::uint64_t changes = input.below(4);
  for (std::uint64_t change = 0; change < changes; ++change) {
    overwrite(input, memory.base(), sizeof(layout::SegmentHeader), made.bytes);
  }
  layout::SegmentExpectation expected = made;
  const std::uint64_t lies = input.below(4);
  if (lies == 1) expected.slots = input.word(made.slots);
  if (lies == 2) expected.arena_bytes = input.word(made.arena_bytes);
  if (lies == 3) expected.bytes = input.word(made.bytes);
  const std::uint64_t mapped = input.below(4) == 0 ? input.below(made.bytes) : made.bytes;
  const layout::SegmentState state = layout::check_segment(memory.base(), mapped, expected);
  ACKBUS_ASSERT(layout::segment_state_name(state) != std::string("unknown"));
  if (state == layout::SegmentState::kOk) {
    const auto& header = *reinterpret_cast<const layout::SegmentHeader*>(memory.base());
    ACKBUS_ASSERT(mapped >= expected.bytes && header.bytes == expected.bytes);
    ACKBUS_ASSERT(header.slots == expected.slots && header.arena_bytes == expected.arena_bytes);
  }
  ACKBUS_ASSERT(changes > 0 || lies > 0 || mapped < made.bytes ||
                state == layout::SegmentState::kOk);
}

// ---- the bus segment ----

void read_bus(Input& input) {
  SegmentMemory memory(layout::BusGeometry::bytes());
  const layout::BusView view(memory.base());
  for (std::uint64_t row = input.below(8); row > 0; --row) {
    const std::uint64_t at = input.below(layout::kKindsMax);
    const std::uint64_t from = layout::BusGeometry::kKinds + at * sizeof(layout::KindRow);
    for (std::uint64_t change = 1 + input.below(12); change > 0; --change) {
      overwrite(input, memory.base() + from, sizeof(layout::KindRow), 3);
    }
  }
  for (std::uint32_t kind = 0; kind < 2 * layout::kKindsMax; ++kind) {
    const KindInfo info = read_kind(view, kind);
    ACKBUS_ASSERT(info.name.size() <= layout::kNameBytesMax);
  }
}

// ---- records of a link ----

void read_records(Input& input) {
  constexpr std::uint64_t kSlots = 4;
  const layout::SubmissionGeometry submission_place{kSlots, 4096};
  const layout::AckGeometry ack_place{kSlots};
  const layout::TrackingGeometry tracking_place{kSlots};
  SegmentMemory submission_memory(submission_place.bytes());
  SegmentMemory ack_memory(ack_place.bytes());
  SegmentMemory tracking_memory(tracking_place.bytes());
  SegmentMemory* memories[] = {&submission_memory, &ack_memory, &tracking_memory};
  for (int change = 0; change < 64 && !input.empty(); ++change) {
    SegmentMemory& memory = *memories[input.below(3)];
    overwrite(input, memory.base(), memory.bytes(), 1);
  }
  const layout::SubmissionView submission(submission_memory.base(), submission_place);
  const layout::AckView ack(ack_memory.base(), ack_place);
  const layout::TrackingView tracking(tracking_memory.base(), tracking_place);
  for (std::uint32_t slot = 0; slot < 2 * kSlots; ++slot) {
    layout::DescriptorCopy descriptor;
    ACKBUS_ASSERT(!layout::descriptor_read(submission.descriptor(slot), 0, descriptor) ||
                  descriptor.number != 0);
    layout::PlaceCopy place;
    ACKBUS_ASSERT(!layout::place_read(submission.place(slot), 1, place) || place.number == 1);
    std::array<std::uint64_t, layout::kInlineWords> words{};
    layout::inline_load(submission.place(slot).inline_words, descriptor.length, words);
    const layout::BegunCopy begun = layout::begun_read(ack.record(slot));
    layout::AnswerCopy answer;
    if (layout::answer_read(ack.record(slot), begun.sequence, answer)) {
      std::string text;
      Metadata metadata;
      read_ack_text(ack.text(slot), answer.text_lengths, text, metadata);
      ACKBUS_ASSERT(text.size() <= layout::kAckTextBytesMax);
    }
    layout::MarkCopy mark;
    ACKBUS_ASSERT(!layout::mark_read(ack.record(slot), 0, mark));
    [[maybe_unused]] const auto entry = layout::pending_read(tracking.entry(slot));
    layout::RedeliveryCopy redelivery;
    layout::VerdictCopy verdict;
    [[maybe_unused]] const bool again =
        layout::redelivery_read(tracking.redelivery(slot), 1, redelivery);
    [[maybe_unused]] const bool decided = layout::verdict_read(tracking.verdict(slot), 1, verdict);
  }
}

// Text and metadata of an ack: whatever the lengths and the bytes say, it stays within 512 bytes.
void read_texts(Input& input) {
  layout::AckText words{};
  const auto raw = input.bytes(layout::kAckTextBytesMax);
  std::memcpy(static_cast<void*>(&words), raw.data(), raw.size());
  std::string text;
  Metadata metadata;
  read_ack_text(words, input.take<std::uint32_t>(), text, metadata);
  std::size_t bytes = text.size();
  for (const auto& [name, value] : metadata) {
    bytes += name.size() + value.size() + 4;
  }
  ACKBUS_ASSERT(bytes <= layout::kAckTextBytesMax);
  layout::AckText again{};
  const AckTextWritten written = write_ack_text(again, text, metadata);
  std::string text_again;
  Metadata metadata_again;
  read_ack_text(again, written.lengths, text_again, metadata_again);
  ACKBUS_ASSERT(!written.cut && text_again == text && metadata_again == metadata);
}

// ---- frames ----

// As the GPU process would have written `nodes` nodes in frame `sequence`.
void write_frames(std::byte* base, std::uint64_t nodes, std::uint64_t sequence) {
  auto* header = reinterpret_cast<layout::FramesHeader*>(base);
  const layout::FramesGeometry place = layout::frames_geometry(nodes);
  std::vector<std::uint32_t> ids(nodes);
  std::vector<float> places(3 * nodes, 1.5F);
  for (std::uint32_t node = 0; node < nodes; ++node) ids[node] = node;
  header->magic.store_relaxed(layout::kFramesMagic);
  header->version.store_relaxed(layout::kFramesVersion);
  header->node_capacity.store_relaxed(nodes);
  header->ids_count.store_relaxed(nodes);
  header->ids_checksum.store_relaxed(
      layout::store_shared_words(base + place.ids_offset, ids.data(), nodes * 4));
  header->ids_number.store_release(1);
  std::byte* buffer =
      base + place.buffers_offset + sequence % layout::kFrameBuffers * place.buffer_bytes;
  auto* frame = reinterpret_cast<layout::FrameHeader*>(buffer);
  frame->generation.store_relaxed(1);
  frame->node_count.store_relaxed(nodes);
  frame->positions_checksum.store_relaxed(
      layout::store_shared_words(buffer + place.positions_offset, places.data(), nodes * 12));
  frame->velocities_checksum.store_relaxed(
      layout::store_shared_words(buffer + place.velocities_offset, places.data(), nodes * 12));
  frame->number.store_release(sequence);
  header->latest.store_release(sequence);
}

void read_frames(Input& input) {
  const std::uint64_t nodes = 1 + input.below(40);
  const std::uint64_t sequence = 1 + input.below(6);
  const layout::FramesGeometry place = layout::frames_geometry(nodes);
  const std::uint64_t bytes = (place.total_bytes + 4095) / 4096 * 4096;
  SegmentMemory memory(bytes);
  write_frames(memory.base(), nodes, sequence);
  const std::uint64_t changes = input.below(6);
  for (std::uint64_t change = 0; change < changes; ++change) {
    const std::uint64_t frame =
        place.buffers_offset + sequence % layout::kFrameBuffers * place.buffer_bytes;
    const std::uint64_t starts[] = {0, frame, 0, input.below(bytes / 64) * 64};
    std::byte* at = memory.base() + starts[input.below(4)];
    const std::uint64_t room = static_cast<std::uint64_t>(memory.base() + bytes - at);
    overwrite(input, at, std::min<std::uint64_t>(192, room), nodes);
  }
  const std::uint64_t seen = input.below(4) == 0 ? input.below(bytes) : bytes;
  // Of just that length, so that a read beyond it is found.
  const std::unique_ptr<std::byte, decltype(&std::free)> cut(
      static_cast<std::byte*>(std::malloc(seen)), &std::free);
  if (seen > 0) {
    std::memcpy(cut.get(), memory.base(), seen);
  }
  // Readers hold arrays of as many nodes as they expect, and are told when that is too few.
  const auto expected = static_cast<std::uint32_t>(input.flag() ? nodes : 1 + input.below(64));
  std::vector<float> places(std::size_t{3} * expected);
  std::vector<float> speeds(std::size_t{3} * expected);
  std::vector<std::uint32_t> ids(expected);
  layout::FrameInfo info{};
  const layout::FrameReadResult read = layout::copy_latest_frame(
      cut.get(), seen, places.data(), input.flag() ? speeds.data() : nullptr, expected, info);
  ACKBUS_ASSERT(read != layout::FrameReadResult::kOk || info.node_count <= expected);
  std::uint64_t count = 0;
  std::uint64_t generation = 0;
  const layout::FrameReadResult named =
      layout::copy_node_ids(cut.get(), seen, ids.data(), expected, count, generation);
  ACKBUS_ASSERT(named != layout::FrameReadResult::kOk || count <= expected);
  if (changes == 0 && seen == bytes && expected == nodes) {
    ACKBUS_ASSERT(read == layout::FrameReadResult::kOk && named == layout::FrameReadResult::kOk);
  }
  if (Result<tools::LayoutFrame> frame =
          tools::read_frame({cut.get(), static_cast<std::size_t>(seen)}, expected)) {
    ACKBUS_ASSERT(frame->positions.size() == expected);
  }
}

}  // namespace
}  // namespace ackbus

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ackbus::fuzz::Input input(data, size);
  switch (input.below(5)) {
    case 0:
      ackbus::check_header(input);
      break;
    case 1:
      ackbus::read_bus(input);
      break;
    case 2:
      ackbus::read_records(input);
      break;
    case 3:
      ackbus::read_texts(input);
      break;
    default:
      ackbus::read_frames(input);
  }
  return 0;
}
