// What clients ask on the control socket. Every message is checked for size and for whether this
// client may send it now.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "daemon/bus.hpp"
#include "machine/build.hpp"
#include "shm_layout/check.hpp"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

namespace ackbus::daemon {

using layout::ClientRole;
using layout::ControlType;
using layout::RefusedCode;

namespace {

// The process a pidfd speaks of, as this process's namespace numbers it; 0 when it is no pidfd or
// has ended.
std::uint32_t pid_of(int pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("Pid:", 0) == 0) {
      const long pid = std::strtol(line.c_str() + 4, nullptr, 10);
      return pid > 0 ? static_cast<std::uint32_t>(pid) : 0;
    }
  }
  return 0;
}

// A client names itself by its own pidfd, which works from other PID namespaces too; it must be the
// process that the kernel says connected.
void adopt_pidfd(Connection& connection, Packet& packet) {
  if (!packet.descriptors.empty() && connection.pid != 0 &&
      pid_of(packet.descriptors[0].get()) == connection.pid) {
    connection.pidfd = std::move(packet.descriptors[0]);
  }
  // It has nothing more to give: where the kernel knows how, it refuses the sender (Linux 6.16).
  const int none = 0;
  ::setsockopt(connection.socket.get(), SOL_SOCKET, SO_PASSRIGHTS, &none, sizeof(none));
}

template <typename Message>
bool read_message(const Packet& packet, Message& message) {
  if (packet.bytes.size() != sizeof(Message)) {
    return false;
  }
  std::memcpy(&message, packet.bytes.data(), sizeof(Message));
  return true;
}

std::string text_of(const char (&field)[layout::kNameBytesMax]) {
  return std::string(field, ::strnlen(field, sizeof(field)));
}

// Whether a link or a client still speaks of the queue by its index.
bool is_used(const Bus& bus, std::uint32_t queue) {
  const auto of_queue = [&](const auto& entry) { return entry.second->queue == queue; };
  return std::any_of(bus.links.begin(), bus.links.end(), of_queue) ||
         std::any_of(bus.connections.begin(), bus.connections.end(),
                     [&](const auto& entry) {
                       return entry.second->role != ClientRole::kTool && of_queue(entry);
                     }) ||
         std::find(bus.own_links_coming.begin(), bus.own_links_coming.end(), queue) !=
             bus.own_links_coming.end();
}

bool may_send(ClientRole role, ControlType type) {
  switch (type) {
    case ControlType::kMapped:
    case ControlType::kAgain:
      return role == ClientRole::kProducer || role == ClientRole::kConsumer;
    case ControlType::kDrained:
      return role == ClientRole::kProducer;
    case ControlType::kBye:
      return role == ClientRole::kProducer || role == ClientRole::kConsumer;
    case ControlType::kBell:
    case ControlType::kCreateSegment:
    case ControlType::kPublishSegment:
      return role == ClientRole::kConsumer;
    case ControlType::kOpenSegment:
      return role != ClientRole::kReserved;
    case ControlType::kQuery:
      return role == ClientRole::kTool;
    default:
      return false;
  }
}

}  // namespace

void Bus::handle(Connection& connection, Packet& packet) {
  const auto type = static_cast<ControlType>(packet.header().type);
  if (type == ControlType::kHello) {
    handle_hello(connection, packet);
    return;
  }
  if (!may_send(connection.role, type)) {
    refuse(connection, RefusedCode::kProtocol,
           "control message " + std::to_string(packet.header().type) +
               " is out of order for this client");
    return;
  }
  if (type == ControlType::kQuery) {
    answer_query(connection, packet);
    return;
  }
  if (type == ControlType::kCreateSegment || type == ControlType::kPublishSegment ||
      type == ControlType::kOpenSegment) {
    layout::SegmentMessage message{};
    if (!read_message(packet, message)) {
      refuse(connection, RefusedCode::kProtocol, "a segment message of the wrong size",
             packet.header().request);
    } else if (type == ControlType::kCreateSegment) {
      create_segment(connection, message);
    } else if (type == ControlType::kPublishSegment) {
      publish_segment(connection, message);
    } else {
      open_segment(connection, message);
    }
    return;
  }
  layout::LinkMessage message{};
  if (!read_message(packet, message)) {
    refuse(connection, RefusedCode::kProtocol, "a link message of the wrong size");
    return;
  }
  handle_of_link(connection, type, message);
}

void Bus::handle_of_link(Connection& connection, ControlType type,
                         const layout::LinkMessage& message) {
  if (type == ControlType::kBye && connection.role == ClientRole::kConsumer) {
    // It has unmapped what it wrote and ends this life of its own will (docs/adr/0005).
    connection.said_bye = true;
    queues[connection.queue]->ended_in_order =
        queues[connection.queue]->active == connection.number;
    hang_up(connection);
    return;
  }
  if (type == ControlType::kAgain && message.link == 0) {
    activate_again(connection);
    return;
  }
  Link* link = find_link(message.link);
  if (link == nullptr) {
    return;  // It ended meanwhile.
  }
  const bool owner = link->connection == connection.number;
  const bool serves = connection.role == ClientRole::kConsumer && connection.queue == link->queue &&
                      queues[link->queue]->active == connection.number;
  if (type == ControlType::kMapped && owner && message.epoch == 0) {
    submission_mapped(*link);
  } else if (type == ControlType::kMapped && serves && message.epoch != 0) {
    life_mapped(*link, message.epoch, message.header.request);
  } else if (type == ControlType::kAgain && (owner || serves)) {
    send_later(*link, message.epoch);
  } else if (type == ControlType::kDrained && owner) {
    life_drained(*link, message.epoch);
  } else if (type == ControlType::kBell && serves && link->tracker) {
    link->tracker->scan_soon();
  } else if (type == ControlType::kBye && owner) {
    connection.said_bye = true;
    link->draining = true;
    ledger.link(link->record).state = RecordState::kDraining;
    end_link_if_final(*link);
  }
}

void Bus::handle_hello(Connection& connection, Packet& packet) {
  layout::HelloMessage hello{};
  if (connection.recovered) {
    return;  // The daemon before this one took it in, and died before it took it from the socket.
  }
  if (connection.role != ClientRole::kReserved) {
    refuse(connection, RefusedCode::kProtocol, "a second hello on one connection");
    return;
  }
  if (!read_message(packet, hello)) {
    refuse(connection, RefusedCode::kProtocol,
           "a hello of " + std::to_string(packet.bytes.size()) + " bytes, expected " +
               std::to_string(sizeof(hello)) + ": install the same release of daemon and client");
    return;
  }
  if (hello.layout_version != layout::kLayoutVersion ||
      hello.fingerprint != layout::layout_fingerprint()) {
    refuse(connection, RefusedCode::kVersion,
           "client has layout version " + std::to_string(hello.layout_version) + " (" +
               machine::fingerprint_text(hello.fingerprint) + "), this daemon " +
               std::to_string(layout::kLayoutVersion) + " (" +
               machine::fingerprint_text(layout::layout_fingerprint()) +
               "): install the same release of both");
    return;
  }
  adopt_pidfd(connection, packet);
  if (connection.pidfd.get() < 0) {
    refuse(connection, RefusedCode::kProtocol,
           "no pidfd came with the hello and the process can't be opened: is it still running?");
    return;
  }
  const auto role = static_cast<ClientRole>(hello.role);
  connection.client = text_of(hello.client);
  const std::string queue = text_of(hello.queue);
  if (role == ClientRole::kTool) {
    connection.role = role;
    welcome(connection, hello.header.request);
    return;
  }
  if (role != ClientRole::kProducer && role != ClientRole::kConsumer) {
    refuse(connection, RefusedCode::kProtocol, "a hello with an unknown role");
    return;
  }
  const Result<std::uint32_t> admitted = admit(connection, queue, role, hello.link != 0);
  if (!admitted) {
    refuse(connection,
           admitted.error().code == ErrorCode::kPermission ? RefusedCode::kPermission
                                                           : RefusedCode::kNoQueue,
           admitted.error().text);
    return;
  }
  connection.queue = admitted.value();
  if (role == ClientRole::kProducer && hello.link != 0) {
    connection.role = role;
    resume_link(connection, hello);
  } else if (role == ClientRole::kProducer) {
    connection.role = role;
    request_link(connection, hello);
  } else {
    connection.role = role;
    consumer_arrived(connection, hello.slots != 0);
  }
}

void Bus::welcome(Connection& connection, std::uint32_t request) {
  if (const Result<void> welcomed = try_welcome(connection, request); !welcomed) {
    refuse(connection, RefusedCode::kMemory, welcomed.error().text);
  }
}

Result<void> Bus::try_welcome(Connection& connection, std::uint32_t request) {
  const Result<UniqueFd> readable = reopen_read_only(bus_fd.get());
  if (!readable) {
    return readable.error();
  }
  layout::WelcomeMessage message{};
  message.header = layout::control_header<layout::WelcomeMessage>(ControlType::kWelcome, request);
  message.layout_version = layout::kLayoutVersion;
  message.fingerprint = layout::layout_fingerprint();
  message.bus_bytes = layout::BusGeometry::bytes();
  config().name.copy(message.bus, sizeof(message.bus) - 1);
  send(connection, message, {readable.value().get()});
  return {};
}

Result<std::uint32_t> Bus::admit(const Connection& connection, const std::string& name,
                                 ClientRole role, bool resumes) {
  if (!is_valid_name(name)) {
    return Error{ErrorCode::kInvalid,
                 "queue name '" + name + "' is not 1 to 31 of A-Z a-z 0-9 _ . -"};
  }
  const QueueConfig* configured = config().find_queue(name);
  if (configured == nullptr && !config().any_queue) {
    return Error{ErrorCode::kNotFound,
                 "no queue '" + name + "' on bus '" + config().name +
                     "': add a [[queue]] to the configuration, or set any_queue = true"};
  }
  // A queue that is not listed begins with a consumer: a producer that misspells a name is told so.
  if (configured == nullptr && role == ClientRole::kProducer && !resumes &&
      find_queue(name) == nullptr) {
    return Error{ErrorCode::kNotFound,
                 "no queue '" + name + "' on bus '" + config().name +
                     "': correct the name (ackbus status lists the queues), start its consumer "
                     "first, or add a [[queue]] to the configuration"};
  }
  static const AccessList kOwnerOnly;
  const AccessList& access =
      configured == nullptr
          ? kOwnerOnly
          : (role == ClientRole::kProducer ? configured->producers : configured->consumers);
  const std::vector<gid_t> groups = groups_of(connection);
  if (!access.allows(connection.uid, groups, ::geteuid())) {
    return Error{ErrorCode::kPermission,
                 "user " + std::to_string(connection.uid) + " may not " +
                     (role == ClientRole::kProducer ? "send to" : "consume from") + " queue '" +
                     name +
                     "': list the user or a group of it under [[queue]] in the configuration"};
  }
  const std::uint32_t index = find_or_make_queue(name);
  if (index >= layout::kQueuesMax) {
    return Error{ErrorCode::kFull,
                 "the bus has " + std::to_string(layout::kQueuesMax) +
                     " queues already: remove one that nobody needs (ackbus queue remove NAME)"};
  }
  return index;
}

Queue* Bus::find_queue(const std::string& name) {
  const auto found = std::find_if(queues.begin(), queues.end(), [&](const auto& queue) {
    return queue->name == name && !queue->removed;
  });
  return found == queues.end() ? nullptr : found->get();
}

std::uint32_t Bus::find_or_make_queue(const std::string& name) {
  const auto of_name = std::find_if(queues.begin(), queues.end(),
                                    [&](const auto& queue) { return queue->name == name; });
  Queue* queue = of_name == queues.end() ? nullptr : of_name->get();
  if (queue == nullptr && queues.size() < layout::kQueuesMax) {
    queues.push_back(std::make_unique<Queue>());
    queue = queues.back().get();
    queue->index = static_cast<std::uint32_t>(queues.size() - 1);
    ledger.queue(queue->index) = QueueRecord{};
  }
  if (queue == nullptr) {
    const auto unused = std::find_if(queues.begin(), queues.end(), [&](const auto& other) {
      return other->removed && !is_used(*this, other->index);
    });
    if (unused == queues.end()) {
      return layout::kQueuesMax;
    }
    queue = unused->get();  // Its epochs go on: nothing of the queue before can be taken for new.
  }
  queue->name = name;
  queue->removed = false;
  QueueRecord& record = ledger.queue(queue->index);
  std::memset(record.name, 0, sizeof(record.name));
  name.copy(record.name, sizeof(record.name) - 1);
  record.state = RecordState::kUsed;
  write_queue_row(*queue);
  return queue->index;
}

}  // namespace ackbus::daemon
