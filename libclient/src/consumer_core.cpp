#include "libclient/src/consumer_core.hpp"

#include <algorithm>
#include <cstring>

#include "libclient/src/sleep_fence.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus {

using layout::ControlType;

namespace {

// A consumer that never sleeps looks at its control socket this often: a new link waits no longer.
// Each look is a system call.
constexpr std::uint64_t kControlLookNs = 1'000'000;
// A link that only skips (duplicates, verdicts) gives way to the next one after so many.
constexpr int kSkipsPerTurn = 64;
// So many daemons in a row may die without saying that the producer has its end.
constexpr std::size_t kNewerRingsMax = 8;

layout::AckCode code_of(AckStatus status) {
  switch (status) {
    case AckStatus::kPartialSuccess:
      return layout::AckCode::kPartialSuccess;
    case AckStatus::kFailed:
      return layout::AckCode::kFailed;
    case AckStatus::kSuccess:
      break;
  }
  return layout::AckCode::kSuccess;
}

Error not_running(const Delivery& delivery) {
  return {ErrorCode::kNotFound,
          "message " + std::to_string(delivery.sequence) + " of link " +
              std::to_string(delivery.link) +
              " is not running here: it was answered before, or its link is gone"};
}

}  // namespace

// ---- take ----

void ConsumerCore::take(std::uint64_t deadline_ns, std::unique_lock<std::mutex>& lock,
                        Result<std::optional<Delivery>>& taken) {
  const std::uint64_t started = clock.now_ns();
  const std::uint64_t spin_ns = options.wait == WaitMode::kAdaptive ? options.spin_us * 1000ULL : 0;
  std::uint64_t now = started;
  Delivery& delivery = **taken;
  for (;;) {  // Ends with a message, an error or the deadline.
    if (now >= next_control_look_ns || links.empty()) {
      next_control_look_ns = now + kControlLookNs;
      read_control();
    }
    if (closed) {
      taken = Error{ErrorCode::kClosed,
                    "queue '" + options.queue + "' was removed or the bus was shut down"};
      return;
    }
    if (running < options.max_running && take_one(now, delivery)) {
      return;
    }
    pause_briefly();
    now = clock.now_ns();
    if (!control) {  // Before the deadline: an event loop only ever takes without waiting.
      try_reconnect();
    }
    if (now >= deadline_ns) {
      taken->reset();
      return;
    }
    const bool sleepy = options.wait == WaitMode::kBlock ||
                        (options.wait == WaitMode::kAdaptive && now - started > spin_ns);
    if (sleepy && !arm_and_look()) {
      const std::uint64_t until = control ? deadline_ns : std::min(deadline_ns, reconnect_at_ns);
      if (lock.owns_lock()) {
        sleeps = true;
        lock.unlock();
        waiter.wait(until);
        lock.lock();
        sleeps = false;
      } else {
        waiter.wait(until);
      }
      now = clock.now_ns();
      next_control_look_ns = 0;
    }
  }
}

// One turn over the links, starting behind the one served last, so that none starves.
bool ConsumerCore::take_one(std::uint64_t now, Delivery& delivery) {
  if (epoch == 0 || alone_runs || (wants_alone && !idle())) {
    return false;
  }
  wants_alone = false;
  const auto count = static_cast<std::uint32_t>(links.size());
  std::uint32_t next = next_link < count ? next_link : 0;
  for (std::uint32_t turn = 0; turn < count; ++turn) {
    const std::uint32_t index = next;
    next = index + 1 < count ? index + 1 : 0;
    LinkEnds* ends = links[index].get();
    if (ends == nullptr) {
      continue;
    }
    for (int skips = 0; skips < kSkipsPerTurn; ++skips) {
      const NextResult result = ends->link->next(now, idle(), supersedes, delivery);
      if (result == NextResult::kSkipped) {
        ring(*ends);
        continue;
      }
      if (result == NextResult::kWantsAlone) {  // Nothing else is begun until it had its turn.
        wants_alone = true;
        next_link = index;
        return false;
      }
      if (result == NextResult::kBegun) {
        next_link = next;
        running += 1;
        alone_runs = delivery.alone;
        figures.begun += 1;
        delivery.link = ends->number;
        delivery.link_index = index;
        delivery.link_added = ends->added;
        return true;
      }
      break;
    }
  }
  return false;
}

// ---- answer ----

// Not by its number: a daemon that lost its memory begins again with 1, and so do the sequences.
ConsumerCore::LinkEnds* ConsumerCore::find(const Delivery& delivery) {
  if (delivery.link_index >= links.size()) {
    return nullptr;
  }
  LinkEnds* ends = links[delivery.link_index].get();
  return ends != nullptr && ends->added == delivery.link_added ? ends : nullptr;
}

void ConsumerCore::finished(LinkEnds& ends) {
  const bool held_back = running >= options.max_running || alone_runs || wants_alone;
  running -= 1;
  alone_runs = alone_runs && !idle();
  if (sleeps || (exposed && held_back)) {
    waiter.raise();  // What waited for this answer may be taken now.
  }
  ring(ends);
}

// Not running here. It may have run on a link that is gone: then this was its end.
Error ConsumerCore::refuse_answer(const Delivery& delivery) {
  for (const auto& ends : removed) {
    if (ends->added == delivery.link_added) {
      ends->link->forget(delivery.slot, delivery.sequence);
    }
  }
  std::erase_if(removed, [](const auto& ends) { return ends->link->running_count() == 0; });
  if (idle() && (wants_alone || alone_runs) && (sleeps || exposed)) {
    waiter.raise();
  }
  alone_runs = alone_runs && !idle();
  return not_running(delivery);
}

Result<void> ConsumerCore::ack(const Delivery& delivery, const Answer& answer) {
  LinkEnds* ends = find(delivery);
  if (ends == nullptr || !ends->link->ack(delivery.slot, delivery.sequence, code_of(answer.status),
                                          answer.text, answer.metadata, clock.now_ns())) {
    return refuse_answer(delivery);
  }
  figures.acked += 1;
  finished(*ends);
  return {};
}

Result<void> ConsumerCore::nack(const Delivery& delivery, std::chrono::milliseconds delay) {
  LinkEnds* ends = find(delivery);
  const auto delay_ms =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(delay.count(), 0, 24LL * 3600 * 1000));
  if (ends == nullptr ||
      !ends->link->give_back(delivery.slot, delivery.sequence, delay_ms, now_ns())) {
    return refuse_answer(delivery);
  }
  figures.given_back += 1;
  finished(*ends);
  layout::LinkMessage bell{};
  bell.header = layout::control_header<layout::LinkMessage>(ControlType::kBell);
  bell.link = delivery.link;
  bell.epoch = epoch;
  // Only a bell: the mark in the record is what counts, and the daemon's next look finds it.
  [[maybe_unused]] const bool rung = control.try_send(bell);
  return {};
}

Result<void> ConsumerCore::progress(const Delivery& delivery, std::uint32_t retries) {
  LinkEnds* ends = find(delivery);
  if (ends == nullptr ||
      !ends->link->progress(delivery.slot, delivery.sequence, retries, now_ns())) {
    return not_running(delivery);
  }
  return {};
}

void ConsumerCore::LinkEnds::ring_also(UniqueFd newer) {
  if (newer_rings.size() == kNewerRingsMax) {
    newer_rings.erase(newer_rings.begin());
  }
  newer_rings.push_back(std::move(newer));
}

void ConsumerCore::ring(LinkEnds& ends) {
  if (ends.link->must_ring()) {
    ACKBUS_POINT(kConsumerRings);
    Waiter::ring(ends.ring.get());
    for (const UniqueFd& newer : ends.newer_rings) {
      Waiter::ring(newer.get());
    }
  }
}

// ---- sleep ----

bool ConsumerCore::arm_and_look() {
  for (const auto& ends : links) {
    if (ends) {
      ends->rung.drain(waiter);
    }
  }
  waiter.lower();
  const bool heard = read_control();
  sleep_generation += 1;
  for (const auto& ends : links) {
    if (ends) {
      ends->link->arm(sleep_generation);
    }
  }
  fence_armed();
  ACKBUS_POINT(kConsumerArmed);
  if (heard) {
    return true;
  }
  if (running >= options.max_running || alone_runs || wants_alone || epoch == 0) {
    return false;  // Nothing could be taken anyway; an answer or a control message comes first.
  }
  return std::any_of(links.begin(), links.end(),
                     [](const auto& ends) { return ends && ends->link->has_work(); });
}

void ConsumerCore::settle_fd() {
  if (exposed && arm_and_look()) {
    waiter.raise();
  }
}

ConsumerStatistics ConsumerCore::statistics() const {
  ConsumerStatistics sum = figures;
  sum.epoch = epoch;
  for (const auto& ends : links) {
    if (ends) {
      sum.links += 1;
      sum.skipped += ends->link->skipped();
      sum.duplicates += ends->link->duplicates();
    }
  }
  return sum;
}

}  // namespace ackbus
