// A link's end: its producer is gone, what it committed is delivered, its figures are folded and
// its memory goes; or it is closed, with the reason. Threads: the bus thread.
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

void Bus::end_link_if_final(Link& link) {
  const bool producer_there = link.connection != 0 && find_connection(link.connection) != nullptr &&
                              !find_connection(link.connection)->said_bye;
  if (link.draining && !producer_there && link.jobs == 0 && !link.handing_over &&
      (link.closed || link.tracker->all_final())) {
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
  record.state = RecordState::kFree;
  ledger.folded();
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
  log.line(
      LogLevel::kWarning, "links", "link closed",
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
