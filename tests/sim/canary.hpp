// Planted bugs, and what has to catch them: a canary plants one fault between the product and what
// it works on (a store to a shared word is lost or changed, a call is said to be done and was not,
// a role is told something else than the library said) and expects that the rule against it fails,
// and no other, while the same seeds without the plant hold.
//
// The product is untouched: Kernel::store_filter, Kernel::call_filter, World::between_taken and
// World::between_delivered stand between it and the simulated machine. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "shm_layout/segment.hpp"
#include "shm_layout/views.hpp"
#include "tests/sim/world.hpp"

namespace ackbus::sim {

// A quiet world: nobody dies, nothing fails, and every kind of message is sent.
WorldOptions canary_world();

using Plant = std::function<void(World&)>;
// Runs seeds 1, 2, ... with and without the plant until the plant is noticed. `other_rule`: one
// that the same fault breaks when another role meets it first; then the next seed is tried.
void expect_caught(const WorldOptions& options, const std::string& rule, const Plant& plant,
                   const std::string& other_rule = "");

// What a shared word holds, past the hook that lets others run.
template <typename T>
T peek(const layout::Cell<T>& cell) {
  T value;
  std::memcpy(&value, static_cast<const void*>(&cell), sizeof(value));
  return value;
}
template <typename T>
void poke(layout::Cell<T>& cell, T value) {
  std::memcpy(static_cast<void*>(&cell), &value, sizeof(value));
}

// A store to a shared word, and which word that is.
class Stored {
 public:
  explicit Stored(Store& store) : store_(store) {}

  [[nodiscard]] std::uint64_t value() const { return store_.value; }
  void change(std::uint64_t value) { store_.value = value; }
  [[nodiscard]] Process& process() const { return store_.process; }
  [[nodiscard]] std::byte* segment() const { return store_.segment; }
  [[nodiscard]] Mapping& mapping() const { return store_.process.mappings.at(store_.segment); }
  void unmap() { store_.process.mappings.erase(store_.segment); }
  [[nodiscard]] bool by(const char* role) const { return store_.process.name.starts_with(role); }

  [[nodiscard]] bool in(layout::SegmentRole role) const {
    return header().role == static_cast<std::uint32_t>(role);
  }
  [[nodiscard]] const layout::SegmentHeader& header() const {
    return *reinterpret_cast<const layout::SegmentHeader*>(store_.segment);
  }
  [[nodiscard]] layout::SubmissionView submission() const {
    return {store_.segment, {header().slots, header().arena_bytes}};
  }
  [[nodiscard]] layout::AckView ack() const { return {store_.segment, {header().slots}}; }
  [[nodiscard]] layout::TrackingView tracking() const { return {store_.segment, {header().slots}}; }
  // Where this process reads the message that a consumer's record of that slot speaks of. Worlds
  // with one producer only: a segment does not say whose it is.
  struct Message {
    std::shared_ptr<Memory> memory;
    layout::SubmissionView submission;
    layout::Descriptor& descriptor;
    [[nodiscard]] bool tracked() const {
      return (layout::flags_of(peek(descriptor.kind_flags)) & layout::kFlagTracked) != 0;
    }
    [[nodiscard]] bool in_arena() const {
      return (layout::flags_of(peek(descriptor.kind_flags)) & layout::kFlagInline) == 0;
    }
  };
  [[nodiscard]] std::optional<Message> message(std::uint32_t slot, std::uint64_t sequence) const;

  [[nodiscard]] bool is(const void* cell) const { return store_.word == cell; }
  // Whether this is the first word of a message's id.
  [[nodiscard]] bool is_word_of_id() const;
  // The row of a table whose field this is.
  template <typename Row, typename T>
  [[nodiscard]] std::optional<std::uint32_t> row(const Row& first, std::uint64_t rows,
                                                 layout::Cell<T> Row::*field) const {
    const auto* table = reinterpret_cast<const std::byte*>(&first);
    if (store_.word < table || store_.word >= table + rows * sizeof(Row)) {
      return std::nullopt;
    }
    const auto index =
        static_cast<std::uint32_t>(static_cast<std::uint64_t>(store_.word - table) / sizeof(Row));
    return is(&((&first)[index].*field)) ? std::optional(index) : std::nullopt;
  }

  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> descriptor(
      layout::Cell<T> layout::Descriptor::*field) const {
    return in(layout::SegmentRole::kSubmission)
               ? row(submission().descriptor(0), header().slots, field)
               : std::nullopt;
  }
  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> place(layout::Cell<T> layout::Place::*field) const {
    return in(layout::SegmentRole::kSubmission) ? row(submission().place(0), header().slots, field)
                                                : std::nullopt;
  }
  // Gives the kind.
  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> sent_counter(
      layout::Cell<T> layout::ProducerCounters::*field) const {
    return in(layout::SegmentRole::kSubmission)
               ? row(submission().counters(0), layout::kKindsMax, field)
               : std::nullopt;
  }
  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> record(
      layout::Cell<T> layout::AckRecord::*field) const {
    return in(layout::SegmentRole::kAck) ? row(ack().record(0), header().slots, field)
                                         : std::nullopt;
  }
  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> ack_place(
      layout::Cell<T> layout::AckPlace::*field) const {
    return in(layout::SegmentRole::kAck) ? row(ack().place(0), header().slots, field)
                                         : std::nullopt;
  }
  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> supersede(
      layout::Cell<T> layout::SupersedeEntry::*field) const {
    return in(layout::SegmentRole::kAck) ? row(ack().supersede(0), layout::kSupersedeEntries, field)
                                         : std::nullopt;
  }
  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> redelivery(
      layout::Cell<T> layout::RedeliveryPlace::*field) const {
    return in(layout::SegmentRole::kTracking) ? row(tracking().redelivery(0), header().slots, field)
                                              : std::nullopt;
  }
  template <typename T>
  [[nodiscard]] std::optional<std::uint32_t> verdict(
      layout::Cell<T> layout::VerdictPlace::*field) const {
    return in(layout::SegmentRole::kTracking)
               ? row(tracking().verdict(0), tracking().verdict_ring_places(), field)
               : std::nullopt;
  }

 private:
  Store& store_;
};

// Sees every store; false: it is lost.
using StorePlant = std::function<bool(Stored&)>;
inline Plant store_plant(const StorePlant& plant) {
  return [plant](World& world) {
    world.kernel().store_filter = [plant](Store& store) {
      Stored stored(store);
      return plant(stored);
    };
  };
}

}  // namespace ackbus::sim
