// A link's birth: quota, memory, descriptors, books. Data flow: a producer's hello -> memory made
// on the worker -> the books and the manager's store -> granted -> mapped by its producer, and read
// from then on. Its end is in bus_link_end.cpp. Threads: the bus thread, and the worker where said.
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "daemon/bus.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/test_points.hpp"

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
           std::to_string(limits.max_slots) + ": ask for fewer, or raise it";
  }
  if (arena_bytes > limits.max_arena_bytes || arena_bytes % layout::kArenaAlignBytes != 0) {
    return "an arena of " + std::to_string(arena_bytes) +
           " bytes is above [limits] max_arena_bytes = " + std::to_string(limits.max_arena_bytes) +
           ": ask for less, or raise it";
  }
  std::uint64_t bytes = reserved_bytes;
  std::uint64_t bytes_of_user = 0;
  std::uint64_t links_of_user = 0;
  for (const auto& [number, link] : links) {
    bytes += link_bytes(link->slots, link->arena_bytes);
    if (link->uid == connection.uid) {
      bytes_of_user += link_bytes(link->slots, link->arena_bytes);
      links_of_user += 1;
    }
  }
  const std::uint64_t wanted = link_bytes(slots, arena_bytes);
  const std::string user = "user " + std::to_string(connection.uid);
  if (links.size() >= limits.max_links) {
    return "the bus has [limits] max_links = " + std::to_string(limits.max_links) +
           " links already: end a producer, or raise it";
  }
  if (std::optional<std::string> full = store_is_full(1, 0)) {
    return full;
  }
  if (links_of_user >= limits.max_links_per_uid) {
    return user + " has [limits] max_links_per_uid = " + std::to_string(limits.max_links_per_uid) +
           " links already: end one of its producers, or raise it";
  }
  if (bytes + wanted > limits.max_memory_bytes) {
    return "a link of " + std::to_string(wanted) + " bytes beside " + std::to_string(bytes) +
           " in use is above [limits] max_memory_bytes = " +
           std::to_string(limits.max_memory_bytes) + ": ask for less, or raise it";
  }
  if (bytes_of_user + wanted > limits.max_memory_per_uid_bytes) {
    return user + " would hold " + std::to_string(bytes_of_user + wanted) +
           " bytes, above [limits] max_memory_per_uid_bytes = " +
           std::to_string(limits.max_memory_per_uid_bytes) + ": ask for less, or raise it";
  }
  return std::nullopt;
}

void Bus::request_link(Connection& connection, const layout::HelloMessage& wished) {
  layout::HelloMessage hello = wished;
  hello.slots = wished.slots == 0 ? config().limits.default_slots : wished.slots;
  hello.arena_bytes =
      wished.arena_bytes == 0 ? config().limits.default_arena_bytes : wished.arena_bytes;
  if (const auto why = over_quota(connection, hello.slots, hello.arena_bytes)) {
    refuse(connection, RefusedCode::kQuota, *why);
    return;
  }
  if (!has_descriptors_for_link()) {
    refuse(connection, RefusedCode::kQuota, std::string("the daemon is ") + kOutOfDescriptors);
    return;
  }
  const std::uint64_t wanted = link_bytes(hello.slots, hello.arena_bytes);
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

// The link in the books, with a place of its own; not in force before its state says so.
LinkRecord& Bus::book_link(const Link& link, const layout::HelloMessage& hello, std::uint32_t gid) {
  LinkRecord& record = ledger.link(link.record);
  record = LinkRecord{};
  record.queue = link.queue;
  record.number = link.number;
  fill_random(record.token);
  record.connection = link.connection;
  record.slots = link.slots;
  record.arena_bytes = link.arena_bytes;
  record.first_sequence =
      std::max<std::uint64_t>(1, std::min(hello.first_sequence, layout::kSequenceMax / 2));
  record.uid = link.uid;
  record.gid = gid;
  record.pid = link.pid;
  record.min_timeout_ms = hello.min_timeout_ms;
  link.client.copy(record.client, sizeof(record.client) - 1);
  return record;
}

bool Bus::keep_link(const Link& link, Connection& connection) {
  if (keep(store_name('s', link.record), link.submission_fd.get()) &&
      keep(store_name('t', link.record), link.tracking_fd.get()) && record_connection(connection)) {
    return true;
  }
  for (const char kind : {'s', 't'}) {
    [[maybe_unused]] const auto gone = store.remove(store_name(kind, link.record));
  }
  return false;
}

void Bus::grant_link(Connection& connection, const layout::HelloMessage& hello, UniqueFd submission,
                     UniqueFd tracking) {
  std::uint32_t index = 0;
  while (index < ledger.header().max_links && ledger.link(index).state != RecordState::kFree) {
    index += 1;
  }
  Result<SegmentMap> table =
      SegmentMap::map(tracking.get(), layout::TrackingGeometry{hello.slots}.bytes(), true);
  // Mapped before it is given away, so that a link which was granted is never closed for want of
  // it.
  Result<SegmentMap> submitted = SegmentMap::map(
      submission.get(), layout::SubmissionGeometry{hello.slots, hello.arena_bytes}.bytes(), false);
  // Others may have been granted theirs while this one's memory was being made.
  const auto over = over_quota(connection, hello.slots, hello.arena_bytes);
  if (over || index == ledger.header().max_links || !table || !submitted) {
    refuse(connection, RefusedCode::kQuota,
           over     ? *over
           : !table ? table.error().text
           : !submitted
               ? submitted.error().text
               : "the bus has " + std::to_string(index) + " links already, all it can hold");
    std::vector<UniqueFd> unused;
    unused.push_back(std::move(submission));
    unused.push_back(std::move(tracking));
    worker->release(std::move(unused));
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
  link->submission = std::move(submitted.value());
  LinkRecord& record = book_link(*link, hello, connection.gid);
  if (!keep_link(*link, connection)) {
    refuse(connection, RefusedCode::kQuota,
           "the service manager does not keep this link's memory: see the daemon's log");
    return;
  }
  ACKBUS_POINT(kLinkKept);
  record.state = RecordState::kUsed;  // From here on a new daemon knows the link.
  ACKBUS_POINT(kLinkBooked);
  connection.link = link->number;
  link_by_record[index] = link->number;
  Link& placed = *links.emplace(link->number, std::move(link)).first->second;
  if (const Result<void> told = tell_granted(placed, connection, hello.header.request); !told) {
    refuse(connection, RefusedCode::kQuota, told.error().text);
  }
}

// All or nothing: on an error nothing was said.
Result<void> Bus::tell_granted(const Link& link, Connection& connection, std::uint32_t request) {
  const Result<UniqueFd> readable = reopen_read_only(link.tracking_fd.get());
  if (!readable) {
    return readable.error();
  }
  if (const Result<void> welcomed = try_welcome(connection, request); !welcomed) {
    return welcomed;
  }
  layout::LinkGrantedMessage granted{};
  granted.header = layout::control_header<layout::LinkGrantedMessage>(ControlType::kLinkGranted);
  granted.link = link.number;
  std::memcpy(granted.token, ledger.link(link.record).token, sizeof(granted.token));
  granted.slots = link.slots;
  granted.arena_bytes = link.arena_bytes;
  send(connection, granted, {link.submission_fd.get(), readable.value().get()});
  ACKBUS_POINT(kLinkGranted);
  return {};
}

// The producer has mapped its segment: nobody else will ever map it writable, so now others may
// read it.
void Bus::submission_mapped(Link& link) {
  if (link.mapped) {
    return;
  }
  const Result<void> sealed = seal_for_readers(link.submission_fd.get());
  const layout::SubmissionGeometry geometry{link.slots, link.arena_bytes};
  if (!sealed) {
    close_link(link, layout::VerdictReason::kClosedViolation, sealed.error().text);
    return;
  }
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
  if (!record_connection(connection)) {
    refuse(connection, RefusedCode::kQuota,
           "the daemon has no place for one more client: see its log");
    return;
  }
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
    link->life->told = false;  // It was, on a socket that may have gone unread.
    send_add_link(
        *link);  // New pipes for both ends: the consumer answers, and then the producer is told.
  }
}

}  // namespace ackbus::daemon
