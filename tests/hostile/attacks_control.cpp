// What anybody who may connect can do to the control socket.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <thread>

#include "tests/hostile/attacks.hpp"
#include "tests/hostile/raw_link.hpp"

namespace ackbus::hostile {

using layout::ControlType;

namespace {

std::vector<std::byte> query_packet(std::string_view text) {
  layout::QueryMessage message{};
  message.header = layout::control_header<layout::QueryMessage>(ControlType::kQuery, 1);
  message.header.bytes += static_cast<std::uint32_t>(text.size());
  std::vector<std::byte> packet(message.header.bytes);
  std::memcpy(packet.data(), &message, sizeof(message));
  std::memcpy(packet.data() + sizeof(message), text.data(), text.size());
  return packet;
}

std::optional<RawClient> tool(Ground& ground) {
  RawClient client(ground.socket_path);
  if (!client.connected() || !client.send(sound_hello(layout::ClientRole::kTool)) ||
      !client.receive_until(ControlType::kWelcome)) {
    return std::nullopt;
  }
  ground.connected();
  return client;
}

// Sends until there is no room for a while, or the daemon hangs up; the client is not read.
template <typename Send>
void flood(Ground& ground, const Send& send) {
  int without_room = 0;
  while (ground.goes_on() && without_room < 200) {
    if (send()) {
      without_room = 0;
      ground.step();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      without_room += 1;
      ground.step();
      ::poll(nullptr, 0, 1);
    } else {
      return;
    }
  }
}

}  // namespace

void flood_queries(Ground& ground) {
  const std::vector<std::byte> query = query_packet("{\"verb\":\"status\"}");
  while (ground.goes_on()) {
    if (const std::optional<RawClient> client = tool(ground)) {
      flood(ground, [&] { return client->send(query.data(), query.size(), {}, MSG_DONTWAIT); });
    }
  }
}

void flood_segments_unread(Ground& ground) {
  layout::SegmentMessage message{};
  message.header = layout::control_header<layout::SegmentMessage>(ControlType::kOpenSegment, 1);
  message.role = static_cast<std::uint32_t>(layout::SegmentRole::kFrames);
  ground.queue.copy(message.queue, sizeof(message.queue) - 1);
  while (ground.goes_on()) {
    if (const std::optional<RawClient> client = tool(ground)) {
      flood(ground, [&] { return client->send(&message, sizeof(message), {}, MSG_DONTWAIT); });
    }
  }
}

void send_garbage_packets(Ground& ground) {
  while (ground.goes_on()) {
    const RawClient client(ground.socket_path);
    if (!client.connected()) {
      continue;
    }
    ground.connected();
    const std::size_t sizes[] = {0, 1, 15, 16, 17, 143, 144, 145, 4096, 65536, 100'000};
    std::vector<std::byte> noise(sizes[ground.random() % std::size(sizes)]);
    for (std::byte& byte : noise) {
      byte = static_cast<std::byte>(ground.random());
    }
    if (ground.random() % 2 == 0 && noise.size() >= sizeof(layout::ControlHeader)) {
      const layout::ControlHeader header{layout::kControlMagic, layout::kControlVersion,
                                         static_cast<std::uint16_t>(ground.random() % 40),
                                         static_cast<std::uint32_t>(noise.size()),
                                         static_cast<std::uint32_t>(ground.random())};
      std::memcpy(noise.data(), &header, sizeof(header));
    }
    if (ground.random() % 2 == 0) {
      client.send(sound_hello(static_cast<layout::ClientRole>(1 + ground.random() % 3)));
    }
    client.send(noise.data(), noise.size());
    ground.step();
  }
}

namespace {

// A socket whose close waits: unsent data, a peer that never reads, and a linger of an hour.
Fd lingering_socket(Fd& listener, std::vector<Fd>& kept) {
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
  Fd near(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::connect(near.get(), reinterpret_cast<const sockaddr*>(&address), length);
  kept.emplace_back(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::array<char, 65536> bytes{};
  while (::send(near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  const linger wait{1, 3600};
  ::setsockopt(near.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof(wait));
  return near;
}

Fd wrong_object(Ground& ground, Fd& listener, std::vector<Fd>& kept) {
  int ends[2] = {-1, -1};
  switch (ground.random() % 9) {
    case 0:
      if (::pipe2(ends, O_CLOEXEC) == 0) {
        kept.emplace_back(ends[1]);
      }
      return Fd(ends[0]);
    case 1:
      return Fd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    case 2:
      return Fd(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    case 3:
      return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    case 4: {
      Fd memory(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
      [[maybe_unused]] const int sized = ::ftruncate(memory.get(), 4096);
      return memory;
    }
    case 5: {
      Fd sparse(::memfd_create("sparse", MFD_CLOEXEC));
      [[maybe_unused]] const int sized = ::ftruncate(sparse.get(), off_t{1} << 42);
      return sparse;
    }
    case 6:
      return Fd(::epoll_create1(EPOLL_CLOEXEC));
    case 7:  // Somebody else's pidfd: this process is not the one that connected.
      return Fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getppid(), 0)));
    default:
      return kept.size() > 200 ? Fd() : lingering_socket(listener, kept);
  }
}

}  // namespace

void send_wrong_descriptors(Ground& ground) {
  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  ::listen(listener.get(), 64);
  std::vector<Fd> kept;
  while (ground.goes_on()) {
    RawClient client(ground.socket_path);
    if (!client.connected()) {
      continue;
    }
    ground.connected();
    client.set_patience(2);
    std::vector<Fd> objects;
    std::vector<int> numbers;
    const std::uint64_t counts[] = {1, 1, 1, 2, 16, 17, 253};
    for (std::uint64_t left = counts[ground.random() % std::size(counts)]; left > 0; --left) {
      objects.push_back(wrong_object(ground, listener, kept));
      if (objects.back().get() >= 0) {
        numbers.push_back(objects.back().get());
      }
    }
    // Not as a consumer: the daemon ends the process of one that hangs up.
    const auto role =
        ground.random() % 2 == 0 ? layout::ClientRole::kProducer : layout::ClientRole::kTool;
    if (!client.send(sound_hello(role, ground.queue), numbers)) {
      for (const Fd& object : objects) {  // This process is the last holder: its close would wait.
        const linger at_once{0, 0};
        ::setsockopt(object.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      }
    }
    objects.clear();  // The daemon's copy is the last one.
    if (ground.random() % 2 == 0) {
      client.receive();
    }
    ground.step();
  }
}

void half_close(Ground& ground) {
  while (ground.goes_on()) {
    RawClient client(ground.socket_path);
    if (!client.connected()) {
      continue;
    }
    ground.connected();
    const int way = ground.random() % 2 == 0 ? SHUT_WR : SHUT_RD;
    const std::uint64_t when = ground.random() % 3;
    // Not as a consumer: the daemon ends the process of one that hangs up.
    const auto role =
        ground.random() % 2 == 0 ? layout::ClientRole::kProducer : layout::ClientRole::kTool;
    if (when == 0) {
      ::shutdown(client.fd(), way);
    }
    client.send(sound_hello(role, ground.queue));
    if (when == 1) {
      ::shutdown(client.fd(), way);
    }
    client.set_patience(1);
    if (way == SHUT_WR || when == 2) {
      client.receive();
    }
    if (when == 2) {
      ::shutdown(client.fd(), way);
    }
    ground.step();
  }
}

void reconnect(Ground& ground) {
  while (ground.goes_on()) {
    RawClient client(ground.socket_path);
    if (client.connected()) {
      ground.connected();
      client.send(sound_hello(layout::ClientRole::kProducer, ground.queue));
      if (ground.random() % 2 == 0) {
        client.receive_until(ControlType::kLinkGranted);
      }
    }
    ground.step();
  }
}

}  // namespace ackbus::hostile
