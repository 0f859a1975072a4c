// A link's end: its producer is gone, what it committed is delivered, its figures are folded and
// its memory goes; or it is closed, with the reason. And what is kept of a life that ended.
// Threads: the bus thread.
#include <algorithm>
#include <utility>

#include "daemon/bus.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

using layout::ControlType;

void Bus::producer_lost(Link& link) {
  if (!link.mapped) {  // It died while connecting.
    remove_link(link.number);
    return;
  }
  link.draining = true;
  ledger.link(link.record).state = RecordState::kDraining;
  ACKBUS_POINT(kLinkDraining);
  log.line(LogLevel::kInfo, "links", "producer gone; delivering what it committed",
           {{"link", std::to_string(link.number)}, {"pid", std::to_string(link.pid)}});
  link.tracker->scan_soon();
  ring_all();
  end_link_if_final(link);
}

// The producer has to know of each life that may have answered something: one that it was not told
// of, because the daemon before this one died on the way, is told now, before its successor is.
void Bus::keep_ended_life(Link& link, LinkRecord& record) {
  Life& ended = *link.life;
  if (!ended.mapped) {
    [[maybe_unused]] const Result<void> sealed = seal_for_readers(ended.ack_fd.get());
    ended.mapped = true;
    record.life.mapped = 1;
  }
  if (!ended.told) {
    tell_life(link, ended);
  }
}

void Bus::end_link_if_final(Link& link) {
  const bool producer_there = link.connection != 0 && find_connection(link.connection) != nullptr &&
                              !find_connection(link.connection)->said_bye;
  // Its process has ended, so its memory stays as it is: what can't be read now never will be.
  if (link.draining && link.connection == 0 && !link.own && !link.closed && link.tracker &&
      link.tracker->has_unreadable(ledger.link(link.record).first_sequence)) {
    close_link(link, layout::VerdictReason::kClosedViolation,
               "the producer left messages that its main ring does not hold");
  }
  // Without a tracker its producer left before it had mapped anything: nothing was committed.
  const bool all_final = link.closed || !link.tracker || link.tracker->all_final();
  if (link.draining && !producer_there && link.jobs == 0 && !link.handing_over && all_final) {
    remove_link(link.number);
  }
}

void Bus::remove_link(std::uint64_t number) {
  const auto found = links.find(number);
  if (found == links.end()) {
    return;
  }
  Link& link = *found->second;
  if (link.own) {
    for (const RedriveEnd& end : link.own->take_all()) {
      end_redrive(end);
    }
  }
  fold_link(link);
  ACKBUS_POINT(kLinkFolded);
  LinkRecord& record = ledger.link(link.record);
  record.state = RecordState::kFree;  // A daemon that dies before this finds it folded.
  ACKBUS_POINT(kLinkFreed);
  for (const char kind : {'s', 't'}) {
    [[maybe_unused]] const auto gone = store.remove(store_name(kind, link.record));
  }
  std::vector<UniqueFd> descriptors;
  const auto drop_life = [&](Life& life) {
    [[maybe_unused]] const auto gone = store.remove(life_store_name(link.record, life.epoch));
    descriptors.push_back(std::move(life.ack_fd));
  };
  if (link.life) {
    drop_life(*link.life);
  }
  for (const auto& old : link.old_lives) {
    drop_life(*old);
  }
  ACKBUS_POINT(kLinkUnkept);
  if (Connection* consumer = find_connection(queues[link.queue]->active); consumer != nullptr) {
    layout::LinkMessage message{};
    message.header = layout::control_header<layout::LinkMessage>(ControlType::kRemoveLink);
    message.link = link.number;
    send(*consumer, message);
  }
  if (Connection* producer = find_connection(link.connection); producer != nullptr) {
    producer->link = 0;
  }
  descriptors.push_back(std::move(link.submission_fd));
  descriptors.push_back(std::move(link.tracking_fd));
  link_by_record[link.record] = 0;
  Queue& queue = *queues[link.queue];
  log.line(LogLevel::kInfo, "links", "link ended",
           {{"link", std::to_string(number)}, {"queue", queue.name}});
  links.erase(found);
  worker->release(std::move(descriptors));
  write_queue_row(queue);
}

void Bus::close_link(Link& link, layout::VerdictReason reason, const std::string& why) {
  if (link.closed) {
    return;
  }
  link.closed = true;
  link.draining = true;
  if (link.tracker) {
    if (link.own) {
      keep_pending_letters(link, reason);
    }
    link.tracker->close(reason);
  }
  // In a category of its own: an offender that connects again and again uses up that of the links.
  const bool violation = reason == layout::VerdictReason::kClosedViolation;
  log.line(
      LogLevel::kWarning, violation ? "violations" : "links", "link closed",
      {{"link", std::to_string(link.number)}, {"pid", std::to_string(link.pid)}, {"why", why}});
  if (Connection* producer = find_connection(link.connection); producer != nullptr) {
    layout::TextMessage message{};
    message.header = layout::control_header<layout::TextMessage>(ControlType::kClosed);
    message.link = link.number;
    message.code = static_cast<std::uint32_t>(reason);
    message.length = static_cast<std::uint32_t>(why.copy(message.text, sizeof(message.text)));
    send(*producer, message);
  }
}

}  // namespace ackbus::daemon
