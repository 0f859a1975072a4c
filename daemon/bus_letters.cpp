// Dead letters: from a tracker's draft to the disk on the worker, and redrive over a link of the
// daemon's own. While its message is under way a letter stays in the store, marked
// (begin_redrive(), end_redrive()), so that it outlives the daemon's memory. Threads: the bus
// thread, and what it gives to the worker.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "daemon/bus.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/check.hpp"

namespace ackbus::daemon {
namespace {

// On the worker at once. Each waits for the disk, and whoever connects waits behind them.
constexpr std::uint32_t kLettersOfLinkMax = 32;

LetterId id_of(const layout::DescriptorCopy& descriptor) {
  LetterId id{};
  std::memcpy(id.data(), descriptor.id, id.size());
  return id;
}

// Both clocks for an instant of the monotonic one.
LetterTime time_of(std::uint64_t at_ns, std::uint64_t now_monotonic, std::uint64_t now_realtime) {
  if (at_ns == 0) {
    return {};
  }
  const std::uint64_t ago = now_monotonic > at_ns ? now_monotonic - at_ns : 0;
  return {at_ns, now_realtime > ago ? now_realtime - ago : 0};
}

// The payload as it lies in the producer's memory: hostile, so the range is checked; empty when it
// makes no sense.
std::vector<std::byte> copy_payload(const layout::SubmissionView& view,
                                    const layout::DescriptorCopy& descriptor, std::uint32_t slot) {
  const bool inlined = (layout::flags_of(descriptor.kind_flags) & layout::kFlagInline) != 0;
  std::vector<std::byte> payload;
  if (inlined) {
    std::uint64_t words[layout::kInlineWords];
    for (std::size_t i = 0; i < layout::kInlineWords; ++i) {
      // relaxed because the descriptor is checked again after the copy
      words[i] = view.descriptor(slot).inline_words[i].load_relaxed();
    }
    payload.resize(std::min<std::uint64_t>(descriptor.length, sizeof(words)));
    std::memcpy(payload.data(), words, payload.size());
    return payload;
  }
  if (descriptor.offset > view.arena_bytes() ||
      descriptor.length > view.arena_bytes() - descriptor.offset) {
    return payload;
  }
  payload.resize(descriptor.length);
  std::memcpy(payload.data(), view.arena() + descriptor.offset, payload.size());
  return payload;
}

// On the bus thread, when the worker has tried.
void finish_letter(Bus& bus, const LetterPlace& place, const Letter& letter,
                   const Result<void>& written) {
  LetterResult result = LetterResult::kWritten;
  const bool stolen_id = !written && written.error().code == ErrorCode::kExists;
  if (!written) {
    result = written.error().code == ErrorCode::kCancelled || stolen_id ? LetterResult::kSettled
                                                                        : LetterResult::kFailed;
  }
  if (result == LetterResult::kFailed) {
    bus.ledger.own(static_cast<std::uint16_t>(letter.kind_id)).letters_refused += 1;
    bus.letter_health.refused(place, written.error(), bus.letters->sender_of(letter));
  } else {
    bus.letter_health.done(place);
  }
  bus.letters_being_written.erase(letter.id);
  Link* link = bus.find_link(place.link);
  ACKBUS_ASSERT(link != nullptr);  // A link with jobs is not removed.
  link->jobs -= 1;
  link->tracker->letter_done(place.slot, place.sequence, result, monotonic_ns());
  if (stolen_id) {
    bus.close_link(*link, layout::VerdictReason::kClosedViolation, written.error().text);
  }
}

}  // namespace

LetterOwner owner_of(const Link& link, const layout::DescriptorCopy& descriptor) {
  LetterOwner owner{id_of(descriptor), link.number, descriptor.number, link.uid};
  if (link.own) {
    owner.sender_uid.reset();
  }
  return owner;
}

// ---- letters ----

Letter Bus::letter_of(const Link& link, const LetterDraft& draft) const {
  const std::uint64_t now = monotonic_ns();
  const std::uint64_t wall = realtime_ns();
  Letter letter;
  letter.id = id_of(draft.descriptor);
  letter.bus = config().name;
  letter.queue = queues[link.queue]->name;
  letter.kind_id = layout::kind_of(draft.descriptor.kind_flags);
  const KindConfig* kind = config().find_kind(static_cast<std::uint16_t>(letter.kind_id));
  letter.kind_name = kind == nullptr ? "kind " + std::to_string(letter.kind_id) : kind->name;
  letter.reason = death_reason_of(draft.reason);
  letter.link_id = link.number;
  letter.sequence = draft.descriptor.number;
  letter.attempts = draft.attempts;
  letter.deaths = draft.deaths;
  letter.sender_uid = link.uid;
  letter.sender_pid = link.pid;
  letter.supersede_key = draft.descriptor.key;
  letter.timeout_ns = draft.descriptor.timeout_ms * 1'000'000ULL;
  letter.max_retries = draft.descriptor.retries_after_slot >> 16;
  letter.sent = time_of(draft.descriptor.sent_ns, now, wall);
  const std::uint64_t first = draft.attempt_ns.empty() ? draft.begun_ns : draft.attempt_ns.front();
  letter.first_begun = time_of(first, now, wall);
  letter.exhausted = {now, wall};
  for (const std::uint64_t at : draft.attempt_ns) {
    letter.attempt_times.push_back(time_of(at, now, wall));
  }
  return letter;
}

void Link::write_letter(LetterDraft draft) { bus.write_letter(*this, draft); }

void Bus::write_letter(Link& link, const LetterDraft& draft) {
  const LetterPlace place{link.number, draft.slot, draft.descriptor.number};
  if (link.jobs >= kLettersOfLinkMax) {
    put_off_letters.push_back(place);  // Others need the worker, too.
    return;
  }
  const layout::DescriptorCopy descriptor = draft.descriptor;
  const layout::SubmissionView view = link.submission_view;
  // The life's view is copied: a hand-over waits until no letter is being written, so it stays
  // mapped.
  const layout::AckView ack = link.life && link.life->mapped
                                  ? layout::AckView(link.life->ack.base(), {link.slots})
                                  : layout::AckView();
  const Letter letter = letter_of(link, draft);
  link.jobs += 1;
  forget_corrections(letter.id);
  letters_being_written.insert(letter.id);
  const bool queued = worker->submit_for<Result<void>>(
      [letter, place, descriptor, view, ack, store_of_letters = letters] {
        const std::vector<std::byte> payload = copy_payload(view, descriptor, place.slot);
        return store_of_letters->write(letter, payload, [&] {
          layout::DescriptorCopy now{};
          layout::AnswerCopy answer;
          const bool same =
              layout::descriptor_read(view.descriptor(place.slot), place.sequence, now);
          const bool acked =
              ack && layout::answer_read(ack.record(place.slot), place.sequence, answer) &&
              layout::answer_code(answer.code_flags) != layout::AckCode::kSkippedVerdict;
          return same && !acked;
        });
      },
      [this, letter, place](const Result<void>& written) {
        finish_letter(*this, place, letter, written);
      });
  if (!queued) {
    link.jobs -= 1;
    letters_being_written.erase(letter.id);
    put_off_letters.push_back(place);  // The worker is full.
  }
}

// The tracker that asked for them was in the middle of its work then.
void Bus::note_put_off_letters(std::uint64_t now_ns) {
  for (const LetterPlace& letter : std::exchange(put_off_letters, {})) {
    if (Link* link = find_link(letter.link); link != nullptr) {
      link->tracker->letter_done(letter.slot, letter.sequence, LetterResult::kPutOff, now_ns);
      link->waiting_letters.push_back(letter);
    }
  }
}

// Every letter that is done makes room for the next: the loop turns after each.
void Bus::write_waiting_letters(Link& link, std::uint64_t now_ns) {
  while (!link.waiting_letters.empty() && link.jobs < kLettersOfLinkMax) {
    const LetterPlace letter = link.waiting_letters.front();
    link.waiting_letters.pop_front();
    link.tracker->letter_room(letter.slot, letter.sequence, now_ns);
  }
}

std::uint64_t Bus::watch_letters(std::uint64_t now_ns) {
  return letter_health.watch(now_ns, [this](const LetterPlace& place) {
    const Link* link = find_link(place.link);
    const auto view =
        link != nullptr && link->tracker ? link->tracker->look(place.slot) : std::nullopt;
    return !view || view->descriptor.number != place.sequence ||
           view->entry.state != layout::PendingState::kExhausting;
  });
}

void Bus::keep_pending_letters(Link& link, layout::VerdictReason reason) {
  for (std::uint32_t slot = 0; slot < link.slots; ++slot) {
    const auto view = link.tracker->look(slot);
    const bool pending = view && view->committed && !view->acked &&
                         layout::outcome_sequence(view->outcome) != view->descriptor.number;
    if (!pending) {
      continue;
    }
    LetterDraft draft;
    draft.slot = slot;
    draft.descriptor = view->descriptor;
    draft.reason = reason;
    draft.attempts = link.tracker->attempts_begun(*view, slot);
    draft.begun_ns = view->begun.begun_ns;
    // Copied here: the link's memory may go before the worker comes to it.
    std::vector<std::byte> payload = copy_payload(link.submission_view, draft.descriptor, slot);
    const bool queued = worker->submit(
        [this, store_of_letters = letters, letter = letter_of(link, draft),
         payload = std::move(payload)] {
          const Result<void> kept = store_of_letters->write(letter, payload);
          if (const Result<void> ended = store_of_letters->end_redrive(letter.id, kept.ok());
              !kept || !ended) {
            log.line(LogLevel::kError, "dead_letters",
                     kept ? ended.error().text : kept.error().text);
          }
        },
        {});
    if (!queued) {
      log.line(LogLevel::kWarning, "dead_letters",
               "the worker is full: a redriven message was closed, and its letter is as it was",
               {{"id", to_text(letter_of(link, draft).id)}});
    }
  }
}

// ---- redrive ----

namespace {

// On the worker thread: memory for the daemon's own link.
Result<std::pair<UniqueFd, UniqueFd>> allocate_own_link(std::uint64_t arena_bytes) {
  const layout::SubmissionGeometry submission{kOwnLinkSlots, arena_bytes};
  const layout::TrackingGeometry tracking{kOwnLinkSlots};
  Result<UniqueFd> first = allocate_segment("ackbus-redrive", submission.bytes());
  Result<UniqueFd> second = allocate_segment("ackbus-tracking", tracking.bytes());
  if (!first || !second) {
    return first ? second.error() : first.error();
  }
  Result<SegmentMap> made = SegmentMap::map(first.value().get(), submission.bytes(), true);
  Result<SegmentMap> table = SegmentMap::map(second.value().get(), tracking.bytes(), true);
  if (!made || !table) {
    return made ? table.error() : made.error();
  }
  layout::stamp_segment(
      made.value().base(),
      {layout::SegmentRole::kSubmission, submission.bytes(), kOwnLinkSlots, arena_bytes}, 0, 0, 0,
      0);
  layout::stamp_segment(table.value().base(),
                        {layout::SegmentRole::kTracking, tracking.bytes(), kOwnLinkSlots, 0}, 0, 0,
                        0, 0);
  return std::pair(std::move(first.value()), std::move(second.value()));
}

}  // namespace

Link* Bus::own_link(std::uint32_t queue) {
  for (const auto& [number, link] : links) {
    if (link->queue == queue && link->own && !link->closed) {
      return link.get();
    }
  }
  if (std::find(own_links_coming.begin(), own_links_coming.end(), queue) !=
      own_links_coming.end()) {
    return nullptr;
  }
  const std::uint64_t arena_bytes = layout::align_up(
      std::max<std::uint64_t>(config().dead_letter_limits.payload_limit_bytes, 4096), 4096);
  own_links_coming.push_back(queue);
  const bool queued = worker->submit_for<Result<std::pair<UniqueFd, UniqueFd>>>(
      [arena_bytes] { return allocate_own_link(arena_bytes); },
      [this, queue, arena_bytes](Result<std::pair<UniqueFd, UniqueFd>> made) {
        std::erase(own_links_coming, queue);
        std::uint32_t index = 0;
        while (index < ledger.header().max_links &&
               ledger.link(index).state != RecordState::kFree) {
          index += 1;
        }
        if (!made || index == ledger.header().max_links) {
          log.state(LogLevel::kError, "dead_letters", "redrive",
                    made ? "no free link" : made.error().text);
          return;
        }
        auto link = std::make_unique<Link>(*this, index);
        link->number = ledger.header().next_link++;
        link->queue = queue;
        link->uid = ::geteuid();
        link->pid = static_cast<std::uint32_t>(::getpid());
        link->client = "redrive";
        link->slots = kOwnLinkSlots;
        link->arena_bytes = arena_bytes;
        link->submission_fd = std::move(made.value().first);
        link->tracking_fd = std::move(made.value().second);
        LinkRecord& record = ledger.link(index);
        record = LinkRecord{};
        record.queue = queue;
        record.number = link->number;
        record.slots = link->slots;
        record.arena_bytes = arena_bytes;
        record.first_sequence = 1;
        record.uid = link->uid;
        record.own = 1;
        record.mapped = 1;
        link->client.copy(record.client, sizeof(record.client) - 1);
        keep(store_name('s', index), link->submission_fd.get());
        keep(store_name('t', index), link->tracking_fd.get());
        record.state = RecordState::kUsed;
        link_by_record[index] = link->number;
        Link& placed = *links.emplace(link->number, std::move(link)).first->second;
        adopt_own_link(placed);
        if (queues[queue]->active != 0 && !queues[queue]->ending) {
          hand_over(placed);
        }
      });
  if (!queued) {
    std::erase(own_links_coming, queue);
  }
  return nullptr;
}

// The submission segment of this link is not sealed against new writers, as its tracking segment is
// not: a restarted daemon maps both again.
void Bus::adopt_own_link(Link& link) {
  const layout::SubmissionGeometry geometry{link.slots, link.arena_bytes};
  Result<SegmentMap> made = SegmentMap::map(link.submission_fd.get(), geometry.bytes(), true);
  Result<SegmentMap> table =
      SegmentMap::map(link.tracking_fd.get(), layout::TrackingGeometry{link.slots}.bytes(), true);
  if (!made || !table) {
    log.state(LogLevel::kError, "dead_letters", "redrive",
              made ? table.error().text : made.error().text);
    link.closed = true;
    return;
  }
  link.submission = std::move(made.value());
  link.tracking = std::move(table.value());
  link.submission_view = layout::SubmissionView(link.submission.base(), geometry);
  const layout::TrackingView tracking_view(link.tracking.base(), {link.slots});
  link.tracker =
      std::make_unique<LinkTracker>(link, link.submission_view, tracking_view, rules_of(link));
  link.own = std::make_unique<OwnLink>(link.submission_view, tracking_view, *letters);
  link.mapped = true;
}

Result<void> Bus::redrive(const StoredLetter& stored, const LetterId& new_id) {
  const std::uint32_t queue = find_or_make_queue(stored.letter.queue);
  if (queue >= layout::kQueuesMax) {
    return Error{ErrorCode::kFull, "the bus has no place for queue '" + stored.letter.queue + "'"};
  }
  Link* link = own_link(queue);
  if (link == nullptr) {
    return Error{ErrorCode::kBusy, "the daemon's own link to queue '" + stored.letter.queue +
                                       "' is being made: try again"};
  }
  if (!link->own->send(stored.letter, new_id, stored.payload, monotonic_ns())) {
    return Error{ErrorCode::kBusy, "the daemon's own link to queue '" + stored.letter.queue +
                                       "' is full: its consumer has to take some first"};
  }
  ledger.own(stored.letter.kind_id).redriven += 1;
  wake(queues[queue]->active);
  return {};
}

void Bus::end_redrive(const RedriveEnd& end) {
  submit_or_keep([this, store_of_letters = letters, end] {
    if (const Result<void> ended = store_of_letters->end_redrive(end.id, end.done); !ended) {
      log.line(LogLevel::kError, "dead_letters", ended.error().text);
    }
  });
}

void Bus::return_lost_redrives() {
  for (const LetterId& id : letters->redriven()) {
    const bool held = std::any_of(links.begin(), links.end(), [&](const auto& link) {
      return link.second->own && link.second->own->holds(id);
    });
    if (!held) {
      end_redrive({id, false});
    }
  }
}

}  // namespace ackbus::daemon
