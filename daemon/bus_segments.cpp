// State and frames segments: made for the active consumer, written by it alone, published to
// whoever may look.
#include <cstring>

#include "daemon/bus.hpp"

namespace ackbus::daemon {

using layout::ControlType;
using layout::RefusedCode;
using layout::SegmentRole;

namespace {

constexpr std::size_t kAnswersUntakenMax = 64;

// 0 state, 1 frames, 2 neither.
std::size_t index_of(std::uint32_t role) {
  if (role == static_cast<std::uint32_t>(SegmentRole::kState)) {
    return 0;
  }
  return role == static_cast<std::uint32_t>(SegmentRole::kFrames) ? 1 : 2;
}

char store_letter(std::size_t index) { return index == 0 ? 'S' : 'F'; }

layout::SegmentMessage answer_to(const layout::SegmentMessage& request) {
  layout::SegmentMessage message = request;
  message.header =
      layout::control_header<layout::SegmentMessage>(ControlType::kSegment, request.header.request);
  return message;
}

}  // namespace

void Bus::create_segment(Connection& connection, const layout::SegmentMessage& message) {
  const std::size_t index = index_of(message.role);
  const Queue& queue = *queues[connection.queue];
  if (index > 1 || message.bytes == 0 || queue.active != connection.number) {
    refuse(connection, RefusedCode::kProtocol,
           "only the active consumer may make a state or frames segment", message.header.request);
    return;
  }
  if (message.bytes > config().limits.max_memory_bytes) {
    refuse(connection, RefusedCode::kQuota,
           "a segment of " + std::to_string(message.bytes) +
               " bytes is above [limits] max_memory_bytes = " +
               std::to_string(config().limits.max_memory_bytes) + ": raise it",
           message.header.request);
    return;
  }
  const std::uint64_t number = connection.number;
  const bool queued = worker->submit_for<Result<UniqueFd>>(
      [bytes = message.bytes, index] {
        return allocate_segment(index == 0 ? "ackbus-state" : "ackbus-frames", bytes);
      },
      [this, number, message, index](Result<UniqueFd> made) {
        Connection* consumer = find_connection(number);
        if (consumer == nullptr || queues[consumer->queue]->active != number) {
          return;
        }
        if (!made) {
          refuse(*consumer, RefusedCode::kMemory, made.error().text, message.header.request);
          return;
        }
        layout::SegmentMessage answer = answer_to(message);
        answer.found = 1;
        const int fd = made.value().get();
        send(*consumer, answer, {fd});
        PublishedSegment& kept = queues[consumer->queue]->made[index];
        std::vector<UniqueFd> unused;  // Freeing gigabytes takes time.
        unused.push_back(std::move(kept.fd));
        worker->release(std::move(unused));
        kept = PublishedSegment{std::move(made.value()), message.bytes,
                                queues[consumer->queue]->epoch};
      });
  if (!queued) {
    refuse(connection, RefusedCode::kQuota, "the daemon is busy allocating for others: try again",
           message.header.request);
  }
}

// The made segment is filled: it is sealed, kept for the successor, and replaces the one before.
// Only then is the consumer answered, so that what it says afterwards rests on it.
void Bus::publish_segment(Connection& connection, const layout::SegmentMessage& message) {
  const std::size_t index = index_of(message.role);
  Queue& queue = *queues[connection.queue];
  const std::uint32_t request = message.header.request;
  if (index > 1 || queue.active != connection.number || queue.made[index].fd.get() < 0) {
    refuse(connection, RefusedCode::kProtocol,
           "no state or frames segment that this life made waits to be published: make it anew",
           request);
    return;
  }
  if (const Result<void> sealed = seal_for_readers(queue.made[index].fd.get()); !sealed) {
    log.line(LogLevel::kError, "consumers", sealed.error().text,
             {{"queue", queue.name}, {"pid", std::to_string(connection.pid)}});
    refuse(connection, RefusedCode::kProtocol, sealed.error().text, request);
    return;
  }
  std::vector<UniqueFd> old;
  old.push_back(std::move(queue.published[index].fd));
  queue.published[index] = std::move(queue.made[index]);
  queue.made[index] = PublishedSegment{};
  const std::string name = store_name(store_letter(index), queue.index);
  [[maybe_unused]] const auto gone = store.remove(name);
  const int fd = queue.published[index].fd.get();
  keep(name, fd);
  QueueRecord& record = ledger.queue(queue.index);
  (index == 0 ? record.state_bytes : record.frames_bytes) = queue.published[index].bytes;
  worker->release(std::move(old));
  layout::SegmentMessage answer = answer_to(message);
  answer.found = 1;
  answer.bytes = queue.published[index].bytes;
  answer.epoch = queue.published[index].epoch;
  send(connection, answer);
}

void Bus::open_segment(Connection& connection, const layout::SegmentMessage& message) {
  const std::size_t index = index_of(message.role);
  const std::string name(message.queue, ::strnlen(message.queue, sizeof(message.queue)));
  if (!may_read_segments(connection, name)) {
    refuse(connection, RefusedCode::kPermission,
           "user " + std::to_string(connection.uid) + " may not read the segments of queue '" +
               name + "': list the user or a group of it under its [[queue]] in the configuration",
           message.header.request);
    return;
  }
  if (connection.outgoing.size() >= kAnswersUntakenMax) {  // Each holds a descriptor.
    log.line(LogLevel::kWarning, "connections",
             "dropped a client that asks for segments and does not read its control socket",
             {{"pid", std::to_string(connection.pid)}, {"client", connection.client}});
    hang_up(connection);
    return;
  }
  layout::SegmentMessage answer = answer_to(message);
  answer.found = 0;
  answer.bytes = 0;
  for (const auto& queue : queues) {
    if (index > 1 || queue->name != name || queue->published[index].fd.get() < 0) {
      continue;
    }
    const Result<UniqueFd> readable = reopen_read_only(queue->published[index].fd.get());
    if (readable) {
      answer.found = 1;
      answer.bytes = queue->published[index].bytes;
      answer.epoch = queue->published[index].epoch;
      send(connection, answer, {readable.value().get()});
      return;
    }
  }
  send(connection, answer);
}

}  // namespace ackbus::daemon
