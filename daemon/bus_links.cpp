// A link's birth and end: quota, memory, descriptors, books; and what its tracker asks of the
// daemon.
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "daemon/bus.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/check.hpp"

namespace ackbus::daemon {

using layout::ControlType;
using layout::RefusedCode;

namespace {

struct LinkMemory {
  UniqueFd submission;
  UniqueFd tracking;
};

Result<void> stamp(int fd, const layout::SegmentExpectation& made) {
  Result<SegmentMap> map = SegmentMap::map(fd, made.bytes, true);
  if (!map) {
    return map.error();
  }
  layout::stamp_segment(map.value().base(), made, 0, 0, 0, 0);
  return {};
}

// On the worker thread.
Result<LinkMemory> allocate_link(std::uint64_t slots, std::uint64_t arena_bytes) {
  const layout::SubmissionGeometry submission{slots, arena_bytes};
  const layout::TrackingGeometry tracking{slots};
  Result<UniqueFd> first = allocate_segment("ackbus-submission", submission.bytes());
  if (!first) {
    return first.error();
  }
  Result<UniqueFd> second = allocate_segment("ackbus-tracking", tracking.bytes());
  if (!second) {
    return second.error();
  }
  LinkMemory memory{std::move(first.value()), std::move(second.value())};
  const Result<void> stamped =
      stamp(memory.submission.get(),
            {layout::SegmentRole::kSubmission, submission.bytes(), slots, arena_bytes});
  if (!stamped) {
    return stamped.error();
  }
  if (const Result<void> done = stamp(memory.tracking.get(),
                                      {layout::SegmentRole::kTracking, tracking.bytes(), slots, 0});
      !done) {
    return done.error();
  }
  return memory;
}

std::uint64_t bytes_of(std::uint64_t slots, std::uint64_t arena_bytes) {
  return layout::SubmissionGeometry{slots, arena_bytes}.bytes() +
         layout::TrackingGeometry{slots}.bytes() + layout::AckGeometry{slots}.bytes();
}

void fill_random(std::uint64_t (&token)[2]) {
  const LetterId id = random_id();
  std::memcpy(token, id.data(), sizeof(token));
}

}  // namespace

Link* Bus::find_link(std::uint64_t number) {
  const auto found = links.find(number);
  return found == links.end() ? nullptr : found->second.get();
}

// ---- birth ----

std::optional<std::string> Bus::over_quota(const Connection& connection, std::uint64_t slots,
                                           std::uint64_t arena_bytes) const {
  const LimitsConfig& limits = config().limits;
  if (!layout::is_power_of_two(slots) || slots < layout::kSlotsMin || slots > limits.max_slots) {
    return std::to_string(slots) + " slots are not a power of two from 4 to [limits] max_slots = " +
           std::to_string(limits.max_slots);
  }
  if (arena_bytes > limits.max_arena_bytes || arena_bytes % layout::kArenaAlignBytes != 0) {
    return "an arena of " + std::to_string(arena_bytes) +
           " bytes is above [limits] max_arena_bytes = " + std::to_string(limits.max_arena_bytes);
  }
  std::uint64_t bytes = reserved_bytes;
  std::uint64_t bytes_of_user = 0;
  std::uint64_t links_of_user = 0;
  for (const auto& [number, link] : links) {
    bytes += bytes_of(link->slots, link->arena_bytes);
    if (link->uid == connection.uid) {
      bytes_of_user += bytes_of(link->slots, link->arena_bytes);
      links_of_user += 1;
    }
  }
  const std::uint64_t wanted = bytes_of(slots, arena_bytes);
  const std::string user = "user " + std::to_string(connection.uid);
  if (links.size() >= limits.max_links) {
    return "the bus has [limits] max_links = " + std::to_string(limits.max_links) +
           " links already";
  }
  if (links_of_user >= limits.max_links_per_uid) {
    return user + " has [limits] max_links_per_uid = " + std::to_string(limits.max_links_per_uid) +
           " links already";
  }
  if (bytes + wanted > limits.max_memory_bytes) {
    return "a link of " + std::to_string(wanted) + " bytes beside " + std::to_string(bytes) +
           " in use is above [limits] max_memory_bytes = " +
           std::to_string(limits.max_memory_bytes);
  }
  if (bytes_of_user + wanted > limits.max_memory_per_uid_bytes) {
    return user + " would hold " + std::to_string(bytes_of_user + wanted) +
           " bytes, above [limits] max_memory_per_uid_bytes = " +
           std::to_string(limits.max_memory_per_uid_bytes);
  }
  return std::nullopt;
}

void Bus::request_link(Connection& connection, const layout::HelloMessage& hello) {
  if (const auto why = over_quota(connection, hello.slots, hello.arena_bytes)) {
    refuse(connection, RefusedCode::kQuota, *why);
    return;
  }
  const std::uint64_t wanted = bytes_of(hello.slots, hello.arena_bytes);
  const std::uint64_t slots = hello.slots;
  const std::uint64_t arena_bytes = hello.arena_bytes;
  const std::uint64_t number = connection.number;
  reserved_bytes += wanted;
  const bool queued = worker->submit_for<Result<LinkMemory>>(
      [slots, arena_bytes] { return allocate_link(slots, arena_bytes); },
      [this, number, hello, wanted](Result<LinkMemory> memory) {
        reserved_bytes -= wanted;
        Connection* client = find_connection(number);
        if (client == nullptr || client->hung_up) {
          return;  // It died while connecting: the memory goes with this call.
        }
        if (!memory) {
          refuse(*client, RefusedCode::kMemory, memory.error().text);
          return;
        }
        grant_link(*client, hello, std::move(memory.value().submission),
                   std::move(memory.value().tracking));
      });
  if (!queued) {
    reserved_bytes -= wanted;
    refuse(connection, RefusedCode::kQuota, "the daemon is busy allocating for others: try again");
  }
}

void Bus::grant_link(Connection& connection, const layout::HelloMessage& hello, UniqueFd submission,
                     UniqueFd tracking) {
  std::uint32_t index = 0;
  while (index < ledger.header().max_links && ledger.link(index).state != RecordState::kFree) {
    index += 1;
  }
  Result<SegmentMap> table =
      SegmentMap::map(tracking.get(), layout::TrackingGeometry{hello.slots}.bytes(), true);
  if (index == ledger.header().max_links || !table) {
    refuse(connection, RefusedCode::kQuota,
           table ? "no free place in the ledger" : table.error().text);
    return;
  }
  auto link = std::make_unique<Link>(*this, index);
  link->number = ledger.header().next_link++;
  link->queue = connection.queue;
  link->connection = connection.number;
  link->uid = connection.uid;
  link->pid = connection.pid;
  link->client = connection.client;
  link->slots = hello.slots;
  link->arena_bytes = hello.arena_bytes;
  link->submission_fd = std::move(submission);
  link->tracking_fd = std::move(tracking);
  link->tracking = std::move(table.value());
  record_connection(connection);
  LinkRecord& record = ledger.link(index);
  record = LinkRecord{};
  record.queue = link->queue;
  record.number = link->number;
  fill_random(record.token);
  record.connection = connection.number;
  record.slots = link->slots;
  record.arena_bytes = link->arena_bytes;
  record.first_sequence =
      std::max<std::uint64_t>(1, std::min(hello.first_sequence, layout::kSequenceMax / 2));
  record.uid = connection.uid;
  record.gid = connection.gid;
  record.pid = connection.pid;
  record.min_timeout_ms = hello.min_timeout_ms;
  link->client.copy(record.client, sizeof(record.client) - 1);
  const int submission_fd = link->submission_fd.get();
  const int tracking_fd = link->tracking_fd.get();
  [[maybe_unused]] const auto kept = store.put(store_name('s', index), {&submission_fd, 1});
  [[maybe_unused]] const auto kept_too = store.put(store_name('t', index), {&tracking_fd, 1});
  record.state = RecordState::kUsed;  // From here on a new daemon knows the link.
  connection.link = link->number;
  link_by_record[index] = link->number;
  welcome(connection, hello.header.request);
  const Result<UniqueFd> readable = reopen_read_only(tracking_fd);
  layout::LinkGrantedMessage granted{};
  granted.header = layout::control_header<layout::LinkGrantedMessage>(ControlType::kLinkGranted);
  granted.link = link->number;
  std::memcpy(granted.token, record.token, sizeof(granted.token));
  granted.slots = link->slots;
  granted.arena_bytes = link->arena_bytes;
  if (readable) {
    send(connection, granted, {submission_fd, readable.value().get()});
  }
  links.emplace(link->number, std::move(link));
}

// The producer has mapped its segment: nobody else will ever map it writable, so now others may
// read it.
void Bus::submission_mapped(Link& link) {
  if (link.mapped) {
    return;
  }
  const Result<void> sealed = seal_for_readers(link.submission_fd.get());
  const layout::SubmissionGeometry geometry{link.slots, link.arena_bytes};
  Result<SegmentMap> map = SegmentMap::map(link.submission_fd.get(), geometry.bytes(), false);
  if (!sealed || !map) {
    close_link(link, layout::VerdictReason::kClosedViolation,
               sealed ? map.error().text : sealed.error().text);
    return;
  }
  link.submission = std::move(map.value());
  link.submission_view = layout::SubmissionView(link.submission.base(), geometry);
  link.tracker = std::make_unique<LinkTracker>(
      link, link.submission_view, layout::TrackingView(link.tracking.base(), {link.slots}),
      rules_of(link));
  link.mapped = true;
  ledger.link(link.record).mapped = 1;
  write_queue_row(*queues[link.queue]);
  log.line(LogLevel::kInfo, "links", "link opened",
           {{"link", std::to_string(link.number)},
            {"queue", queues[link.queue]->name},
            {"pid", std::to_string(link.pid)},
            {"client", link.client}});
  if (queues[link.queue]->active != 0 && !queues[link.queue]->ending) {
    hand_over(link);
  }
}

// A client that lost its socket (not its daemon's memory) comes back with the link's secret.
void Bus::resume_link(Connection& connection, const layout::HelloMessage& hello) {
  Link* link = find_link(hello.link);
  if (link == nullptr || link->closed ||
      std::memcmp(ledger.link(link->record).token, hello.token, sizeof(hello.token)) != 0 ||
      link->uid != connection.uid) {
    refuse(connection, RefusedCode::kUnknownLink,
           "this daemon does not know link " + std::to_string(hello.link) + ": connect anew");
    return;
  }
  if (Connection* before = find_connection(link->connection); before != nullptr) {
    link->connection = 0;
    before->link = 0;
    const std::uint64_t old_number = before->number;
    hang_up(*before);
    drop_connection(old_number);
  }
  record_connection(connection);
  connection.link = link->number;
  link->connection = connection.number;
  link->pid = connection.pid;
  ledger.link(link->record).connection = connection.number;
  welcome(connection, hello.header.request);
  layout::LinkGrantedMessage granted{};
  granted.header = layout::control_header<layout::LinkGrantedMessage>(ControlType::kLinkGranted);
  granted.link = link->number;
  std::memcpy(granted.token, hello.token, sizeof(granted.token));
  granted.slots = link->slots;
  granted.arena_bytes = link->arena_bytes;
  granted.resumed = 1;
  send(connection, granted);
  for (const auto& old : link->old_lives) {
    tell_life(*link, *old);
  }
  if (link->life && link->life->mapped) {
    send_add_link(
        *link);  // New pipes for both ends: the consumer answers, and then the producer is told.
  }
}

// ---- end ----

void Bus::producer_lost(Link& link) {
  if (!link.mapped) {  // It died while connecting.
    remove_link(link.number);
    return;
  }
  link.draining = true;
  ledger.link(link.record).state = RecordState::kDraining;
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
  fold_link(link);
  LinkRecord& record = ledger.link(link.record);
  record.state = RecordState::kFree;  // After the totals were folded: a crash between counts it
                                      // twice, never less.
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
