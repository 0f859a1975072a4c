#include "tests/fuzz/link_fuzz.hpp"

#include <array>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "daemon/bus_figures.hpp"
#include "libclient/src/payload_bounds.hpp"
#include "tests/link/harness.hpp"

namespace ackbus::fuzz {
namespace {

using layout::AckGeometry;
using layout::SubmissionGeometry;
using layout::TrackingGeometry;
using test::LinkWorld;
using test::Message;
using test::Ticket;

constexpr std::uint32_t kSlots = 4;
constexpr int kOperationsMax = 200;
constexpr std::uint64_t kMs = 1'000'000;

// A table of equal structs in a segment.
struct Region {
  std::uint64_t offset;
  std::uint64_t stride;
  std::uint64_t count;
};

std::vector<Region> regions_of(Hostile hostile) {
  switch (hostile) {
    case Hostile::kSubmission: {
      const SubmissionGeometry place{kSlots, kSlots * LinkWorld::kBytesPerSlot};
      return {{SubmissionGeometry::kWords, sizeof(layout::SubmissionWords), 1},
              {SubmissionGeometry::kRing, sizeof(layout::Place), kSlots},
              {place.descriptors(), sizeof(layout::Descriptor), kSlots},
              {SubmissionGeometry::kCounters, sizeof(layout::ProducerCounters), layout::kKindsMax},
              {0, sizeof(layout::SegmentHeader), 1},
              {place.arena(), 64, kSlots * LinkWorld::kBytesPerSlot / 64}};
    }
    case Hostile::kAck: {
      const AckGeometry place{kSlots};
      return {{AckGeometry::kWords, sizeof(layout::AckWords), 1},
              {AckGeometry::kRing, sizeof(layout::AckPlace), kSlots},
              {place.records(), sizeof(layout::AckRecord), kSlots},
              {place.texts(), sizeof(layout::AckText), kSlots},
              {AckGeometry::kSupersede, sizeof(layout::SupersedeEntry), 8},
              {AckGeometry::kCounters, sizeof(layout::ConsumerCounters), layout::kKindsMax},
              {0, sizeof(layout::SegmentHeader), 1}};
    }
    case Hostile::kTracking: {
      const TrackingGeometry place{kSlots};
      return {{TrackingGeometry::kWords, sizeof(layout::TrackingWords), 1},
              {TrackingGeometry::kRedelivery, sizeof(layout::RedeliveryPlace), kSlots},
              {place.verdicts(), sizeof(layout::VerdictPlace), layout::verdict_places(kSlots)},
              {place.entries(), sizeof(layout::PendingEntry), kSlots},
              {0, sizeof(layout::SegmentHeader), 1}};
    }
  }
  return {};
}

class Scenario {
 public:
  Scenario(Input& input, Hostile hostile)
      : input_(input),
        hostile_(hostile),
        regions_(regions_of(hostile)),
        world_(kSlots, rules(input)) {
    current_ = this;
    bounds_.add(3, "bounded", 4, 32);
    hand_over();
  }
  ~Scenario() {
    layout::access_hook = nullptr;
    current_ = nullptr;
  }
  Scenario(const Scenario&) = delete;
  Scenario& operator=(const Scenario&) = delete;

  void run() {
    for (int operation = 0; operation < kOperationsMax && !input_.empty(); ++operation) {
      if (input_.below(4) == 0) {
        strike_later();
      }
      step();
      layout::access_hook = nullptr;
      check();
    }
    end();
  }

 private:
  static daemon::TrackerRules rules(Input& input) {
    daemon::TrackerRules made = test::test_rules();
    const std::uint8_t way = input.byte();
    for (daemon::KindRule& rule : made.kinds) {
      rule.max_retries = way & 3U;
      rule.clock_from_commit = (way & 4U) != 0;
      rule.max_wait_ms = (way & 8U) != 0 ? 200 : 60'000;
      rule.max_age_ms = (way & 16U) != 0 ? 500 : 600'000;
    }
    return made;
  }
  [[nodiscard]] bool daemon_is_honest() const { return hostile_ != Hostile::kTracking; }

  // ---- strikes ----

  [[nodiscard]] std::byte* segment() {
    switch (hostile_) {
      case Hostile::kSubmission:
        return reinterpret_cast<std::byte*>(&world_.submission.header());
      case Hostile::kAck: {
        // Now and then an ended life's, which the producer may still be reading.
        const std::size_t back = world_.lives.size() > 1 && input_.below(4) == 0 ? 2 : 1;
        return reinterpret_cast<std::byte*>(
            &world_.lives[world_.lives.size() - back]->ack.header());
      }
      case Hostile::kTracking:
        return reinterpret_cast<std::byte*>(&world_.tracking.header());
    }
    return nullptr;
  }
  std::byte* pick_word(std::byte* base, std::uint64_t width) {
    const Region& region = regions_[input_.below(regions_.size())];
    const std::uint64_t index = input_.below(region.count);
    const std::uint64_t at = input_.below(region.stride / width) * width;
    return base + region.offset + index * region.stride + at;
  }
  void overwrite_word() {
    std::byte* base = segment();
    const std::uint64_t width = input_.flag() ? 8 : 4;
    std::byte* word = pick_word(base, width);
    std::uint64_t value = 0;
    switch (input_.below(4)) {
      case 0:
        value = input_.word(world_.producer->next_sequence());
        break;
      case 1:
        value = input_.word(world_.now_ns);
        break;
      case 2:
        std::memcpy(&value, word, width);
        value += input_.below(16) - 8;
        break;
      default:
        std::memcpy(&value, pick_word(base, width), width);
    }
    std::memcpy(word, &value, width);
  }
  std::uint64_t sequence() { return input_.word(world_.producer->next_sequence()); }
  std::uint32_t slot() {
    return static_cast<std::uint32_t>(input_.below(8) == 0 ? input_.word(kSlots)
                                                           : input_.below(kSlots));
  }
  std::uint32_t small() { return static_cast<std::uint32_t>(input_.word(1)); }

  void forge_submission() {
    layout::DescriptorCopy copy;
    copy.number = sequence();
    copy.id[0] = copy.number;
    copy.length = input_.word(LinkWorld::kBytesPerSlot);
    copy.offset = input_.word(kSlots * LinkWorld::kBytesPerSlot);
    copy.sent_ns = input_.word(world_.now_ns);
    copy.key = input_.below(3);
    copy.after = input_.below(4) == 0 ? sequence() : 0;
    const std::uint16_t kind =
        static_cast<std::uint16_t>(input_.below(4) == 0 ? small() : input_.below(7));
    copy.kind_flags = layout::pack_kind(kind, input_.byte());
    copy.timeout_ms = small();
    copy.max_wait_ms = small();
    copy.retries_after_slot = small();
    const std::uint32_t in_slot = slot();
    if (input_.flag()) {
      layout::descriptor_publish(world_.submission.descriptor(in_slot), copy);
    }
    if (input_.flag()) {
      layout::place_publish(world_.submission.place(copy.number),
                            {copy.number, copy.length, copy.sent_ns, in_slot, copy.kind_flags});
      world_.submission.words().committed.store_release(copy.number);
    }
    if (input_.below(4) == 0) {
      layout::Descriptor& descriptor = world_.submission.descriptor(in_slot);
      descriptor.cancel.store_release(copy.number);
      descriptor.outcome.store_release(layout::pack_outcome(copy.number, input_.byte()));
      world_.submission.words().cancels.store_release(input_.word(1));
    }
  }
  void forge_ack() {
    const layout::AckView ack(segment(), AckGeometry{kSlots});
    layout::AckRecord& record = ack.record(slot());
    const std::uint32_t answer =
        input_.flag() ? layout::pack_answer(static_cast<layout::AckCode>(input_.below(9)),
                                            static_cast<std::uint32_t>(input_.below(4)), 1)
                      : small();
    const std::uint64_t time_ns = input_.word(world_.now_ns);
    switch (input_.below(7)) {
      case 0:
        layout::begun_publish(record, {sequence(), time_ns, small()});
        break;
      case 1:
        layout::raised_publish(record, {sequence(), time_ns, small()});
        break;
      case 2:
        layout::answer_publish(record, {sequence(), time_ns, answer, small(), small()});
        break;
      case 3:
        layout::mark_publish(
            record, {sequence(), time_ns, static_cast<layout::MarkKind>(input_.below(4)), small(),
                     small()});
        break;
      case 4: {
        const std::uint64_t number = input_.word(world_.producer->next_sequence());
        layout::ack_place_publish(ack.place(number), number, {sequence(), time_ns, slot(), answer});
        break;
      }
      case 5:
        ack.words().cursor.store_release(sequence());
        ack.words().redelivery_cursor.store_release(input_.word(1));
        break;
      default:
        ack.words().violation.store_release(input_.byte());
        ack.words().sleeping.store_release(input_.byte());
    }
  }
  void forge_tracking() {
    layout::TrackingView& view = world_.tracking;
    const std::uint64_t number = input_.word(1);
    switch (input_.below(5)) {
      case 0:
        layout::verdict_publish(
            view.verdict(number), number,
            {sequence(), slot(), static_cast<layout::VerdictReason>(input_.below(12))});
        break;
      case 1:
        layout::redelivery_publish(view.redelivery(number), number,
                                   {sequence(), slot(), small(), input_.byte()});
        break;
      case 2: {
        layout::PendingCopyValue value;
        value.version = input_.word(3);
        value.sequence = sequence();
        value.state = static_cast<layout::PendingState>(input_.below(8));
        value.reason = static_cast<layout::VerdictReason>(input_.below(12));
        value.attempt = small();
        value.retries = small();
        value.epoch = input_.word(1);
        layout::pending_publish(view.entry(slot()).copies[input_.below(2)], value);
        break;
      }
      case 3:
        view.words().interventions.store_release(input_.word(1));
        break;
      default:
        overwrite_word();
    }
  }
  void strike() {
    if (input_.flag()) {
      overwrite_word();
      return;
    }
    switch (hostile_) {
      case Hostile::kSubmission:
        forge_submission();
        break;
      case Hostile::kAck:
        forge_ack();
        break;
      case Hostile::kTracking:
        forge_tracking();
        break;
    }
  }
  // At the n-th access to shared memory from now on: between two reads of one call.
  void strike_later() {
    strike_in_ = 1 + input_.below(64);
    layout::access_hook = &Scenario::on_access;
  }
  static bool on_access(const void* /*word*/, bool /*is_store*/) {
    if (--current_->strike_in_ == 0) {
      layout::access_hook = nullptr;
      current_->strike();
    }
    return true;
  }

  // ---- honest operations ----

  void step() {
    switch (input_.below(16)) {
      case 0:
      case 1:
      case 2:
        commit();
        break;
      case 3:
      case 4:
        take();
        break;
      case 5:
      case 6:
        answer();
        break;
      case 7:
        world_.reap();
        break;
      case 8:
        take_outcomes();
        break;
      case 9:
        cancel();
        break;
      case 10:
        if (daemon_is_honest()) look();
        break;
      case 11:
        if (daemon_is_honest()) hand_over();
        break;
      case 12:
        if (daemon_is_honest()) restart_daemon();
        break;
      case 13:
        question();
        break;
      default:
        strike();
    }
  }
  void commit() {
    Message message;
    message.kind = static_cast<Kind>(1 + input_.below(6));
    message.tracked = input_.below(4) != 0;
    message.bytes = input_.flag() ? input_.below(65) : input_.below(LinkWorld::kBytesPerSlot + 1);
    message.options.key = input_.below(3);
    message.options.timeout = std::chrono::milliseconds(input_.below(3) * 50);
    message.options.max_wait = std::chrono::milliseconds(input_.below(3) * 100);
    if (input_.below(4) == 0 && !tickets_.empty()) {
      const Ticket& before = tickets_[input_.below(tickets_.size())];
      message.options.after_sequence = before.sequence;
      message.after_slot = before.slot;
    }
    if (const std::optional<Ticket> ticket = world_.try_commit(message)) {
      tickets_.push_back(*ticket);
      if (message.tracked) {
        open_.insert(ticket->sequence);
      }
    }
  }
  void take() {
    if (world_.consumer == nullptr) {
      return;
    }
    const std::optional<Delivery> begun = world_.take();
    if (!begun) {
      return;
    }
    const std::byte* arena = world_.submission.arena();
    const auto* at = begun->payload.data();
    const bool in_arena =
        at >= arena && at + begun->payload.size() <= arena + world_.submission.arena_bytes();
    ACKBUS_ASSERT(begun->slot < kSlots && begun->attempt >= 1);
    ACKBUS_ASSERT(static_cast<std::uint32_t>(begun->kind) >= 1 &&
                  static_cast<std::uint32_t>(begun->kind) < layout::kKindsMax);
    ACKBUS_ASSERT(begun->payload.size() <= layout::kInlineBytesMax || in_arena);
    ACKBUS_ASSERT(world_.consumer->running(begun->slot, begun->sequence));
    if (begun->kind == static_cast<Kind>(3)) {
      ACKBUS_ASSERT(begun->payload.size() >= 4 && begun->payload.size() <= 32);
    }
    std::uint64_t sum = 0;  // Every byte of it can be read.
    for (const std::byte byte : begun->payload) {
      sum += static_cast<std::uint64_t>(byte);
    }
    ACKBUS_ASSERT(sum <= 255 * begun->payload.size());
    begun_.push_back(*begun);
  }
  void answer() {
    if (world_.consumer == nullptr || begun_.empty()) {
      return;
    }
    const std::size_t which = input_.below(begun_.size());
    const Delivery begun = begun_[which];
    switch (input_.below(5)) {
      case 0:
        std::ignore = world_.progress(begun, static_cast<std::uint32_t>(input_.below(5)));
        return;
      case 1:
        std::ignore = world_.give_back(begun, static_cast<std::uint32_t>(input_.below(3) * 40));
        break;
      default: {
        const auto code = static_cast<layout::AckCode>(1 + input_.below(3));
        const std::vector<std::pair<std::string, std::string>> metadata(input_.below(3),
                                                                        {"name", "value"});
        std::ignore = world_.consumer->ack(begun.slot, begun.sequence, code, input_.text(600),
                                           metadata, world_.now_ns);
      }
    }
    begun_.erase(begun_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  // Each message ends at most once, and only one that was sent and is tracked.
  void take_outcomes() {
    while (std::optional<OutcomeStore::Node> node = world_.outcomes.take_oldest()) {
      ACKBUS_ASSERT(open_.erase(node->sequence) == 1);
      const auto code = static_cast<std::uint8_t>(node->outcome.code);
      ACKBUS_ASSERT(code >= 1 && code <= static_cast<std::uint8_t>(OutcomeCode::kClosed));
      if (node->outcome.notes != nullptr) {
        std::size_t bytes = node->outcome.notes->text.size();
        for (const auto& [name, value] : node->outcome.notes->metadata) {
          bytes += name.size() + value.size() + 4;
        }
        ACKBUS_ASSERT(bytes <= layout::kAckTextBytesMax);
      }
    }
  }
  void cancel() {
    if (!tickets_.empty()) {
      const Ticket& ticket = tickets_[input_.below(tickets_.size())];
      std::ignore = world_.producer->cancel(ticket.slot, ticket.sequence);
    }
  }
  // The daemon's loop for a while; run_until() ends by itself or the world asserts.
  void look() {
    constexpr std::array<std::uint64_t, 4> kSpansMs{0, 20, 150, 1'000};
    world_.host.store_broken = input_.below(8) == 0;
    world_.letters_run = input_.below(8) != 0;
    world_.tracker->scan_soon();
    world_.run_for(kSpansMs[input_.below(kSpansMs.size())] * kMs);
    for (const daemon::LetterDraft& draft : world_.host.jobs) {
      ACKBUS_ASSERT(draft.slot < kSlots && draft.descriptor.number != 0);
      ACKBUS_ASSERT(daemon_reason_is_known(draft.reason));
    }
  }
  static bool daemon_reason_is_known(layout::VerdictReason reason) {
    return reason == layout::VerdictReason::kRetries ||
           reason == layout::VerdictReason::kUndelivered ||
           reason == layout::VerdictReason::kMaxAge || reason == layout::VerdictReason::kPoison;
  }
  void hand_over() {
    if (world_.lives.size() > 6) {
      return;
    }
    if (!world_.lives.empty()) {
      world_.letters_run = true;
      world_.host.store_broken = false;
      for (int jobs = 0; jobs < 64 && world_.run_letter_job(); ++jobs) {
      }
      if (!world_.tracker->letters_idle()) {
        return;
      }
      world_.kill_consumer();
    }
    begun_.clear();
    world_.hand_over(input_.below(8) != 0);
    world_.consumer->bound_payloads(bounds_);
  }
  void restart_daemon() {
    world_.restart_tracker();
    world_.tracker->scan_soon();
  }

  // ---- what is asked besides ----

  [[nodiscard]] daemon::LinkMemory memory() {
    daemon::LinkMemory made;
    made.tracker = world_.tracker.get();
    made.submission = world_.submission;
    if (!world_.lives.empty()) {
      made.life = world_.lives.back()->ack;
    }
    for (std::size_t life = 0; life + 1 < world_.lives.size(); ++life) {
      made.ended_lives.push_back(world_.lives[life]->ack);
    }
    made.producer_gone = input_.flag();
    return made;
  }
  void question() {
    // What the sleepers and the writers ask between their steps.
    std::ignore = world_.producer->has_work();
    std::ignore = world_.consumer->has_work();
    std::ignore = world_.producer->must_ring();
    std::ignore = world_.consumer->must_ring();
    std::ignore = world_.producer->awaits_life();
    for (const Ticket& ticket : tickets_) {
      std::ignore = world_.producer->slot_of(ticket.sequence);
      std::ignore = world_.consumer->cancel_wished(ticket.slot, ticket.sequence);
      std::ignore = world_.consumer->id(ticket.slot, ticket.sequence);
    }
    if (const std::optional<std::uint32_t> claimed = world_.producer->claim()) {
      world_.producer->unclaim(*claimed);
    }
    if (!daemon_is_honest()) {
      return;
    }
    const daemon::LinkMemory look_at = memory();
    const daemon::KindTotals totals = daemon::read_link(look_at);
    for (const auto& total : totals) {
      ACKBUS_ASSERT(total.sent >= daemon::settled_count(total));
    }
    [[maybe_unused]] const daemon::KindTotals ended = daemon::read_ended_link(look_at);
    const daemon::SlotCounts counts =
        daemon::count_slots(look_at, test::test_rules(), input_.flag(), world_.now_ns);
    ACKBUS_ASSERT(counts.pending <= kSlots && counts.begun <= kSlots);
    if (look_at.life) {
      std::ignore = daemon::read_consumer(look_at.life);
    }
    std::ignore = world_.tracker->all_final();
    std::ignore = world_.tracker->letters_to_remove();
  }
  void check() {
    ACKBUS_ASSERT(world_.producer->in_use() <= kSlots);
    ACKBUS_ASSERT(world_.producer->pending_count() <= kSlots);
    if (world_.consumer != nullptr) {
      ACKBUS_ASSERT(world_.consumer->running_count() <= kSlots);
    }
  }
  // Whatever the peer did: every tracked message has one outcome once the link is closed.
  void end() {
    if (daemon_is_honest()) {
      world_.host.store_broken = false;
      world_.letters_run = true;
      look();
      world_.tracker->close(layout::VerdictReason::kClosedQueue);
    }
    world_.reap();
    world_.producer->close_all(OutcomeReason::kUnknown, world_.now_ns);
    take_outcomes();
    ACKBUS_ASSERT(open_.empty() && world_.producer->pending_count() == 0);
  }

  inline static Scenario* current_ = nullptr;
  Input& input_;
  Hostile hostile_;
  std::vector<Region> regions_;
  PayloadBounds bounds_;
  LinkWorld world_;
  std::vector<Ticket> tickets_;
  std::set<std::uint64_t> open_;  // tracked, and not taken yet
  std::vector<Delivery> begun_;
  std::uint64_t strike_in_ = 0;
};

}  // namespace

void run_link(Input& input, Hostile hostile) {
  Scenario scenario(input, hostile);
  scenario.run();
}

}  // namespace ackbus::fuzz
