// Who is there: reading, sending with back pressure, and learning that a process has ended.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "daemon/bus.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {

using layout::ClientRole;
using layout::ControlHeader;
using layout::ControlType;

namespace {

constexpr std::uint64_t kHangUpGraceNs = 500'000'000;
constexpr int kPacketsPerTurn = 16;         // one flooding client costs a turn no more than this
constexpr std::size_t kOutgoingMax = 4096;  // a client that never reads is dropped beyond it
constexpr std::size_t kDescriptorsOfPacketMax = 253;  // the kernel's: none is left for it to close

std::vector<UniqueFd> take_descriptors(msghdr& header) {
  std::vector<UniqueFd> descriptors;
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

// 1: sent, 0: no room, -1: the peer is gone.
int send_packet(int socket, const std::vector<std::byte>& bytes, const int* descriptors,
                std::size_t count) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * layout::kControlDescriptorsMax)>
      control{};
  if (count > 0) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int) * count);
    std::memcpy(CMSG_DATA(item), descriptors, sizeof(int) * count);
  }
  for (int tries = 0; tries < 8; ++tries) {
    if (::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      return 1;
    }
    if (errno != EINTR) {
      break;
    }
  }
  // Too many descriptors in flight (ETOOMANYREFS) passes when the peer reads.
  return errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS ? 0 : -1;
}

}  // namespace

ControlHeader Packet::header() const {
  ControlHeader copy{};
  std::memcpy(&copy, bytes.data(), sizeof(copy));
  return copy;
}

Connection* Bus::find_connection(std::uint64_t number) {
  const auto found = connections.find(number);
  return found == connections.end() ? nullptr : found->second.get();
}

// A message leaves the socket when it was acted upon, not before: a daemon that dies in between
// leaves it to the next one, so every message may be handled twice.
void Bus::read_connection(std::uint64_t number) {
  std::vector<std::byte> buffer(layout::kControlBytesMax);
  for (int packets = 0; packets < kPacketsPerTurn; ++packets) {
    Connection* connection = find_connection(number);
    if (connection == nullptr || connection->hung_up || waits_for_its_reader(*connection)) {
      return;
    }
    iovec part{buffer.data(), buffer.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsOfPacketMax)> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t received =
        ::recvmsg(connection->socket.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_PEEK);
    if (received < 0 && errno == ECONNRESET) {
      continue;  // It left something of ours unread; what it had sent before comes next.
    }
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    Packet packet;
    packet.descriptors = take_descriptors(header);
    packet.bytes.assign(buffer.begin(), buffer.begin() + std::max<ssize_t>(received, 0));
    connection->holds_packet = received > 0;
    received <= 0 ? hang_up(*connection) : take_packet(*connection, packet);
    if (connection = find_connection(number); connection != nullptr) {
      drop_packet(*connection);
    }
    closer.close(std::move(packet.descriptors));
    const bool costly = packet.bytes.size() >= sizeof(ControlHeader) &&
                        packet.header().type == static_cast<std::uint16_t>(ControlType::kQuery);
    if (received <= 0 || costly) return;  // A query looks at everything: one a turn and client.
  }
}

// The packet that was looked at leaves the socket. Of a client that is hung up on too: what lies
// unread when a socket is closed would reset it before its reader has heard why.
void Bus::drop_packet(Connection& connection) {
  if (std::exchange(connection.holds_packet, false)) {
    [[maybe_unused]] const ssize_t done = ::recv(connection.socket.get(), nullptr, 0, MSG_DONTWAIT);
  }
}

void Bus::take_packet(Connection& connection, Packet& packet) {
  if (packet.bytes.size() < sizeof(ControlHeader)) {
    refuse(connection, layout::RefusedCode::kProtocol, "a control message shorter than its header");
    return;
  }
  const ControlHeader head = packet.header();
  const bool is_hello = head.type == static_cast<std::uint16_t>(ControlType::kHello);
  if (head.magic != layout::kControlMagic || head.bytes != packet.bytes.size()) {
    refuse(connection, layout::RefusedCode::kProtocol, "a malformed control message");
  } else if (head.version != layout::kControlVersion) {
    refuse(connection, layout::RefusedCode::kVersion,
           "control protocol version " + std::to_string(head.version) + ", this daemon speaks " +
               std::to_string(layout::kControlVersion) + ": install the same release of both");
  } else if (packet.descriptors.size() > (is_hello ? 1U : 0U)) {
    refuse(connection, layout::RefusedCode::kProtocol,
           "a control message with " + std::to_string(packet.descriptors.size()) +
               " descriptors: a hello brings the sender's pidfd, and nothing else brings any");
  } else {
    handle(connection, packet);
  }
}

// ---- sending ----

// A tool that does not take its answers is asked for no more questions: else it could have the
// daemon keep thousands of answers, and their descriptors, for it.
bool Bus::waits_for_its_reader(const Connection& connection) {
  return connection.role == ClientRole::kTool && !connection.outgoing.empty();
}

void Bus::watch_for_room(const Connection& connection) {
  epoll_event event{};
  event.events = EPOLLOUT | (connection.role == ClientRole::kTool ? 0U : EPOLLIN);
  event.data.u64 = event_tag(EventKind::kSocket, connection.number);
  ::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, connection.socket.get(), &event);
}

bool Bus::send(Connection& connection, const void* message, std::size_t bytes,
               std::vector<int> descriptors) {
  ACKBUS_ASSERT(descriptors.size() <= layout::kControlDescriptorsMax);
  if (connection.hung_up) {
    return false;
  }
  const auto* start = static_cast<const std::byte*>(message);
  Connection::Outgoing outgoing{std::vector<std::byte>(start, start + bytes), {}};
  if (connection.outgoing.empty()) {
    const int sent = send_packet(connection.socket.get(), outgoing.bytes, descriptors.data(),
                                 descriptors.size());
    if (sent != 0) {
      return sent > 0;  // Sent, or gone: the hang-up is reported by epoll.
    }
    watch_for_room(connection);
  }
  if (connection.outgoing.size() >= kOutgoingMax) {
    log.line(LogLevel::kWarning, "connections",
             "dropped a client that does not read its control socket",
             {{"pid", std::to_string(connection.pid)}, {"client", connection.client}});
    hang_up(connection);
    return false;
  }
  for (const int fd : descriptors) {
    outgoing.descriptors.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!outgoing.descriptors.back().valid()) {
      log.line(LogLevel::kError, "descriptors", kOutOfDescriptors,
               {{"pid", std::to_string(connection.pid)}, {"what", "dropped a client"}});
      hang_up(connection);
      return false;
    }
  }
  connection.outgoing.push_back(std::move(outgoing));
  return false;
}

void Bus::flush(Connection& connection) {
  while (!connection.outgoing.empty()) {
    const Connection::Outgoing& next = connection.outgoing.front();
    std::vector<int> descriptors;
    for (const UniqueFd& fd : next.descriptors) {
      descriptors.push_back(fd.get());
    }
    const int sent =
        send_packet(connection.socket.get(), next.bytes, descriptors.data(), descriptors.size());
    if (sent == 0) {
      return;
    }
    if (sent < 0) {
      connection.outgoing.clear();
      break;
    }
    if (Link* link = find_link(next.tells_link); link != nullptr) {
      life_told(*link, next.tells_epoch);
    }
    connection.outgoing.pop_front();
  }
  watch(connection.socket.get(), event_tag(EventKind::kSocket, connection.number));
}

void Bus::refuse(Connection& connection, layout::RefusedCode code, const std::string& text,
                 std::uint32_t request) {
  layout::TextMessage message{};
  message.header = layout::control_header<layout::TextMessage>(ControlType::kRefused, request);
  message.code = static_cast<std::uint32_t>(code);
  message.length = static_cast<std::uint32_t>(text.copy(message.text, sizeof(message.text)));
  send(connection, message);
  refused += 1;
  if (request == 0) {  // Not the answer to a numbered request: the conversation is over.
    hang_up(connection);
  }
  if (connection.role == ClientRole::kReserved) {
    log.line(LogLevel::kInfo, "admission", "refused a client",
             {{"pid", std::to_string(connection.pid)},
              {"uid", std::to_string(connection.uid)},
              {"why", text}});
  }
}

void Bus::wake(std::uint64_t number) {
  Connection* connection = find_connection(number);
  if (connection == nullptr || connection->hung_up || !connection->outgoing.empty()) {
    return;  // What is queued wakes it.
  }
  layout::LinkMessage message{};
  message.header = layout::control_header<layout::LinkMessage>(ControlType::kWake);
  std::vector<std::byte> bytes(sizeof(message));
  std::memcpy(bytes.data(), &message, sizeof(message));
  send_packet(connection->socket.get(), bytes, nullptr, 0);  // A full socket wakes it too.
}

// ---- leaving ----

// Nobody may write where the next life reads: the process behind a hang-up has to end first. One
// that ends in order has a moment for it.
void Bus::end_process_of(Connection& connection) {
  pollfd process{connection.pidfd.get(), POLLIN, 0};
  if (::poll(&process, 1, 0) > 0) {
    return;  // It has ended already.
  }
  connection.killed =
      ::syscall(SYS_pidfd_send_signal, connection.pidfd.get(), SIGKILL, nullptr, 0) == 0;
  log.line(LogLevel::kWarning, "consumers",
           connection.killed
               ? "consumer hung up; its process was killed"
               : "consumer hung up and may not be killed: waiting for its process to end",
           {{"queue", queues[connection.queue]->name}, {"pid", std::to_string(connection.pid)}});
}

// The socket is closed; what happens to links and lives waits for the process to end
// (docs/architecture.md, consumer lives).
void Bus::hang_up(Connection& connection) {
  if (connection.hung_up) {
    return;
  }
  connection.hung_up = true;
  connection.outgoing.clear();
  drop_packet(connection);
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, connection.socket.get(), nullptr);
  ::shutdown(connection.socket.get(), SHUT_WR);  // It is told now, whenever the closer gets there.
  closer.close(std::move(connection.socket));
  const bool owns_nothing = connection.role == ClientRole::kTool ||
                            connection.role == ClientRole::kReserved ||
                            (connection.role == ClientRole::kProducer && connection.link == 0);
  // A closed link carries nothing any more, and one that was not mapped never did, so what its
  // process may still write concerns nobody.
  const Link* link =
      connection.role == ClientRole::kProducer ? find_link(connection.link) : nullptr;
  const bool unread = link != nullptr && (link->closed || !link->mapped);
  if (owns_nothing || connection.said_bye || unread) {
    ended_connections.push_back(connection.number);
    return;
  }
  if (connection.role == ClientRole::kConsumer) {
    Queue& queue = *queues[connection.queue];
    if (queue.active == connection.number) {
      queue.ending = true;
      queue.ended_in_order = false;
      connection.kill_at_ns = monotonic_ns() + kHangUpGraceNs;
    } else {
      ended_connections.push_back(connection.number);  // It stood by: it owns nothing.
      return;
    }
  }
  watch(connection.pidfd.get(), event_tag(EventKind::kProcess, connection.number));
}

// Not at once: whoever noticed the hang-up may still hold the connection.
void Bus::drop_gone() {
  for (const std::uint64_t number : std::exchange(ended_connections, {})) {
    process_ended(number);
  }
}

void Bus::process_ended(std::uint64_t number) {
  Connection* connection = find_connection(number);
  if (connection == nullptr) return;
  if (connection->role == ClientRole::kProducer) {
    if (Link* link = find_link(connection->link); link != nullptr && link->connection == number) {
      link->connection = 0;
      ledger.link(link->record).connection = 0;
      producer_lost(*link);
    }
  } else if (connection->role == ClientRole::kConsumer) {
    Queue& queue = *queues[connection->queue];
    if (queue.active == number) {
      drop_connection(number);
      consumer_ended(queue);
      return;
    }
    std::erase(queue.standbys, number);
    write_queue_row(queue);
  }
  drop_connection(number);
}

void Bus::drop_connection(std::uint64_t number) {
  const auto found = connections.find(number);
  if (found == connections.end()) {
    return;
  }
  Connection& connection = *found->second;
  if (connection.recorded) {
    ledger.connection(connection.record).state = RecordState::kFree;
    [[maybe_unused]] const auto socket_gone = store.remove(store_name('c', connection.record));
    [[maybe_unused]] const auto process_gone = store.remove(store_name('p', connection.record));
  }
  connections.erase(found);
}

// Before its client is answered, so that a daemon that dies then leaves nobody without its books.
bool Bus::record_connection(Connection& connection) {
  if (connection.recorded || connection.role == ClientRole::kTool) {
    return true;
  }
  std::uint32_t index = 0;
  while (index < ledger.header().max_connections &&
         ledger.connection(index).state != RecordState::kFree) {
    index += 1;
  }
  if (index == ledger.header().max_connections ||
      !keep(store_name('c', index), connection.socket.get())) {
    return false;
  }
  if (!keep(store_name('p', index), connection.pidfd.get())) {
    [[maybe_unused]] const auto gone = store.remove(store_name('c', index));
    return false;
  }
  ConnectionRecord& record = ledger.connection(index);
  record.role = static_cast<std::uint32_t>(connection.role);
  record.number = connection.number;
  record.since_ns = connection.since_ns;
  record.uid = connection.uid;
  record.gid = connection.gid;
  record.pid = connection.pid;
  record.queue = connection.queue;
  connection.client.copy(record.client, sizeof(record.client) - 1);
  record.client[std::min(connection.client.size(), sizeof(record.client) - 1)] = 0;
  ACKBUS_POINT(kConnectionKept);
  record.state = RecordState::kUsed;
  connection.record = index;
  connection.recorded = true;
  return true;
}

}  // namespace ackbus::daemon
