// A daemon that says anything: its end of the control socket, and the packets, descriptors and
// segments that it gives out, sound at first and then damaged as the input says. Data flow: input
// -> packets -> sockets; the library that reads them is driven by control_client_fuzz.cpp. Threads:
// the server's own serves the listening socket; all else is the harness's.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "libclient/src/unique_fd.hpp"
#include "shm_layout/check.hpp"
#include "shm_layout/control.hpp"
#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"
#include "tests/fuzz/input.hpp"

namespace ackbus::fuzz {

using layout::ControlType;
using layout::SegmentRole;

inline constexpr std::uint64_t kSlots = 4;
inline constexpr std::uint64_t kArenaBytes = 4096;
inline constexpr std::uint64_t kLink = 7;

inline const std::string& folder() {
  static const std::string made = [] {
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/ackbus-fuzz-XXXXXX" : "/tmp/ackbus-fuzz-XXXXXX";
    ACKBUS_ASSERT(::mkdtemp(name.data()) != nullptr);
    static const std::string kept = name;
    ::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(kept, ignored);
    });
    return kept;
  }();
  return made;
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    count += 1;
  }
  return count;
}

struct Packet {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> descriptors;
};

inline void send_packet(int socket, const Packet& packet) {
  iovec part{const_cast<std::byte*>(packet.bytes.data()), packet.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!packet.descriptors.empty()) {
    const std::size_t bytes = sizeof(int) * packet.descriptors.size();
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(bytes);
    for (std::size_t i = 0; i < packet.descriptors.size(); ++i) {
      const int fd = packet.descriptors[i].get();
      std::memcpy(CMSG_DATA(item) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// ---- the daemon's end of the socket ----

// Answers the n-th connection with the n-th script, then hangs up or stays; further ones are hung
// up on at once.
class Server {
 public:
  struct Script {
    std::vector<Packet> packets;
    bool stays = false;
  };

  explicit Server(std::vector<Script> scripts) : scripts_(std::move(scripts)) {
    const std::string path = folder() + "/default.sock";
    ::unlink(path.c_str());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ACKBUS_ASSERT(
        ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    ACKBUS_ASSERT(::listen(listener_.get(), 64) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    const std::uint64_t one = 1;
    ACKBUS_ASSERT(::write(stop_.get(), &one, sizeof(one)) == sizeof(one));
    thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void send(const Packet& packet) {
    const std::lock_guard lock(mutex_);
    if (!held_.empty()) {
      send_packet(held_.back().get(), packet);
    }
  }
  // Connections that were answered with a script.
  [[nodiscard]] std::size_t served() {
    const std::lock_guard lock(mutex_);
    return served_;
  }
  void hang_up() {
    const std::lock_guard lock(mutex_);
    held_.clear();
  }

 private:
  void serve() {
    for (std::size_t accepted = 0;; ++accepted) {
      std::array<pollfd, 2> waits{{{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
      ::poll(waits.data(), waits.size(), -1);
      if (waits[1].revents != 0) {
        return;
      }
      UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!socket || accepted >= scripts_.size()) {
        continue;
      }
      const std::lock_guard lock(mutex_);
      for (const Packet& packet : scripts_[accepted].packets) {
        send_packet(socket.get(), packet);
      }
      served_ += 1;
      if (scripts_[accepted].stays) {
        held_.push_back(std::move(socket));
      }
    }
  }

  std::vector<Script> scripts_;
  UniqueFd listener_{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
  UniqueFd stop_{::eventfd(0, EFD_CLOEXEC)};
  std::mutex mutex_;  // Protects what follows, except the thread.
  std::size_t served_ = 0;
  std::vector<UniqueFd> held_;
  std::thread thread_;
};

// ---- what it says ----

struct MadeSegment {
  std::byte* base = nullptr;
  std::uint64_t bytes = 0;
  SegmentRole role = SegmentRole::kReserved;
};

class Daemon {
 public:
  explicit Daemon(Input& input) : input_(input) {}
  ~Daemon() {
    for (const MadeSegment& segment : segments_) {
      ::munmap(segment.base, segment.bytes);
    }
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // A conversation as a daemon has it, with a fault here and there.
  Packet packet(ControlType type, std::uint32_t request = 0) {
    Packet made;
    switch (type) {
      case ControlType::kWelcome:
        made = welcome();
        break;
      case ControlType::kLinkGranted:
        made = granted();
        break;
      case ControlType::kLife:
      case ControlType::kAddLink:
        made = life(type);
        break;
      case ControlType::kActivated:
      case ControlType::kStandby:
        made = activated(type);
        break;
      case ControlType::kSegment:
        made = segment_answer(request);
        break;
      case ControlType::kAnswer:
        made = answer(request);
        break;
      case ControlType::kRefused:
      case ControlType::kClosed:
        made = text(type, request);
        break;
      default:
        made = link_message(type);
    }
    damage(made);
    return made;
  }
  // Words of a segment that it gave out; or a whole record, as its writer would store it.
  void scribble() {
    if (segments_.empty()) {
      return;
    }
    const MadeSegment& segment = segments_[input_.below(segments_.size())];
    if (segment.role == SegmentRole::kSubmission && input_.flag()) {
      commit(segment);
      return;
    }
    if (segment.role == SegmentRole::kAck && input_.flag()) {
      acknowledge(segment);
      return;
    }
    const std::uint64_t width = input_.flag() ? 8 : 4;
    const std::uint64_t at = input_.below(segment.bytes / width) * width;
    const std::uint64_t value = input_.word(1);
    std::memcpy(segment.base + at, &value, width);
  }
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }

 private:
  template <typename Message>
  static Packet of(const Message& message) {
    Packet made;
    made.bytes.resize(sizeof(message));
    std::memcpy(made.bytes.data(), &message, sizeof(message));
    return made;
  }
  UniqueFd segment(SegmentRole role, std::uint64_t bytes, std::uint64_t slots,
                   std::uint64_t arena_bytes) {
    UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC));
    const std::uint64_t size = input_.below(16) == 0 ? input_.below(bytes + 4096) : bytes;
    ACKBUS_ASSERT(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
    if (size < sizeof(layout::SegmentHeader)) {
      return fd;
    }
    auto* base = static_cast<std::byte*>(
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    ACKBUS_ASSERT(base != MAP_FAILED);
    layout::stamp_segment(base, {role, bytes, slots, arena_bytes}, kLink, epoch_, 1, 1);
    segments_.push_back({base, size, role});
    if (role == SegmentRole::kBus && size == bytes) {
      fill_bus(base);
    }
    if (role == SegmentRole::kTracking && size == bytes) {
      layout::TrackingView(base, {slots}).words().epoch.store_release(epoch_);
    }
    return fd;
  }
  static void fill_bus(std::byte* base) {
    const layout::BusView view(base);
    for (std::uint32_t kind = 1; kind < 7; ++kind) {
      layout::KindRow& row = view.kind(kind);
      row.flags.store_relaxed(layout::kKindDefined | (kind == 2 ? layout::kKindSupersede : 0U));
      row.timeout_ms.store_relaxed(1000);
      row.max_wait_ms.store_relaxed(1000);
      row.max_payload_bytes.store_relaxed(kind == 3 ? 32 : 0);
      row.number.store_release(1);
    }
  }
  // Both ends of a pipe go to the client, which is all the same to it.
  std::array<UniqueFd, 2> pipe() {
    std::array<int, 2> ends{-1, -1};
    ACKBUS_ASSERT(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }

  Packet welcome() {
    layout::WelcomeMessage message{};
    message.header = layout::control_header<layout::WelcomeMessage>(ControlType::kWelcome);
    message.layout_version = layout::kLayoutVersion;
    message.fingerprint = layout::layout_fingerprint();
    message.bus_bytes = layout::BusGeometry::bytes();
    Packet made = of(message);
    made.descriptors.push_back(segment(SegmentRole::kBus, layout::BusGeometry::bytes(), 0, 0));
    return made;
  }
  Packet granted() {
    const bool odd = input_.below(8) == 0;
    const std::uint64_t slots = odd ? input_.word(kSlots) : kSlots;
    const std::uint64_t arena = odd ? input_.word(kArenaBytes) : kArenaBytes;
    layout::LinkGrantedMessage message{};
    message.header = layout::control_header<layout::LinkGrantedMessage>(ControlType::kLinkGranted);
    message.link = kLink;
    message.slots = slots;
    message.arena_bytes = arena;
    message.resumed = input_.below(4) == 0 ? 1 : 0;
    Packet made = of(message);
    made.descriptors.push_back(segment(SegmentRole::kSubmission,
                                       layout::SubmissionGeometry{kSlots, kArenaBytes}.bytes(),
                                       kSlots, kArenaBytes));
    made.descriptors.push_back(
        segment(SegmentRole::kTracking, layout::TrackingGeometry{kSlots}.bytes(), kSlots, 0));
    return made;
  }
  Packet life(ControlType type) {
    layout::LifeMessage message{};
    message.header = layout::control_header<layout::LifeMessage>(type);
    message.link = input_.below(8) == 0 ? input_.below(9) : kLink;
    message.epoch = type == ControlType::kLife ? (input_.flag() ? ++epoch_ : epoch_) : epoch_;
    if (input_.below(8) == 0) message.epoch = input_.word(epoch_);
    message.main_start = 1 + input_.below(3);
    message.redelivery_start = 1;
    message.slots = input_.below(8) == 0 ? input_.word(kSlots) : kSlots;
    message.arena_bytes = input_.below(8) == 0 ? input_.word(kArenaBytes) : kArenaBytes;
    Packet made = of(message);
    if (type == ControlType::kAddLink) {
      made.descriptors.push_back(segment(SegmentRole::kSubmission,
                                         layout::SubmissionGeometry{kSlots, kArenaBytes}.bytes(),
                                         kSlots, kArenaBytes));
      made.descriptors.push_back(
          segment(SegmentRole::kTracking, layout::TrackingGeometry{kSlots}.bytes(), kSlots, 0));
    }
    made.descriptors.push_back(
        segment(SegmentRole::kAck, layout::AckGeometry{kSlots}.bytes(), kSlots, 0));
    for (UniqueFd& end : pipe()) {
      made.descriptors.push_back(std::move(end));
    }
    return made;
  }
  Packet activated(ControlType type) {
    layout::ActivatedMessage message{};
    message.header = layout::control_header<layout::ActivatedMessage>(type);
    message.epoch = input_.below(8) == 0 ? input_.word(epoch_) : ++epoch_;
    Packet made;
    if (input_.flag()) {
      message.state_bytes = input_.below(4) == 0 ? input_.word(4096) : 4096;
      made = of(message);
      made.descriptors.push_back(segment(SegmentRole::kState, 4096, 0, 0));
    } else {
      made = of(message);
    }
    return made;
  }
  Packet segment_answer(std::uint32_t request) {
    layout::SegmentMessage message{};
    message.header = layout::control_header<layout::SegmentMessage>(ControlType::kSegment, request);
    message.found = static_cast<std::uint32_t>(input_.below(3));
    message.bytes = input_.below(4) == 0 ? input_.word(4096) : 4096;
    Packet made = of(message);
    if (input_.below(4) != 0) {
      made.descriptors.push_back(segment(SegmentRole::kFrames, 4096, 0, 0));
    }
    return made;
  }
  Packet answer(std::uint32_t request) {
    layout::QueryMessage message{};
    const std::string said = input_.text(60);
    message.header = layout::control_header<layout::QueryMessage>(ControlType::kAnswer, request);
    message.header.bytes += static_cast<std::uint32_t>(said.size());
    message.code = input_.below(4) == 0 ? static_cast<std::uint32_t>(input_.word(5)) : 0;
    message.more = static_cast<std::uint32_t>(input_.below(2));
    Packet made = of(message);
    made.bytes.insert(made.bytes.end(), reinterpret_cast<const std::byte*>(said.data()),
                      reinterpret_cast<const std::byte*>(said.data()) + said.size());
    return made;
  }
  Packet text(ControlType type, std::uint32_t request) {
    layout::TextMessage message{};
    message.header = layout::control_header<layout::TextMessage>(type, request);
    message.link = input_.below(4) == 0 ? input_.byte() : kLink;
    message.code = static_cast<std::uint32_t>(input_.below(12));
    const std::string said = input_.text(40);
    message.length =
        static_cast<std::uint32_t>(input_.below(4) == 0 ? input_.word(256) : said.size());
    said.copy(message.text, sizeof(message.text));
    return of(message);
  }
  Packet link_message(ControlType type) {
    layout::LinkMessage message{};
    message.header = layout::control_header<layout::LinkMessage>(type);
    message.link = input_.below(4) == 0 ? input_.byte() : kLink;
    message.epoch = epoch_;
    return of(message);
  }
  void damage(Packet& packet) {
    if (input_.below(8) != 0) {
      return;
    }
    switch (input_.below(5)) {
      case 0:
        packet.descriptors.resize(input_.below(packet.descriptors.size() + 1));
        break;
      case 1:
        packet.descriptors.emplace_back(::memfd_create("other", MFD_CLOEXEC));
        break;
      case 2:
        packet.bytes.resize(input_.below(packet.bytes.size() + 8));
        break;
      case 3:
        if (!packet.descriptors.empty()) {
          packet.descriptors[input_.below(packet.descriptors.size())] =
              UniqueFd(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
        }
        break;
      default: {
        const std::uint32_t value = static_cast<std::uint32_t>(input_.word(1));
        const std::size_t at = input_.below(packet.bytes.size() / 4) * 4;
        std::memcpy(packet.bytes.data() + at, &value, 4);
      }
    }
  }

  // ---- contents ----

  void commit(const MadeSegment& segment) {
    const layout::SubmissionGeometry place{kSlots, kArenaBytes};
    if (segment.bytes < place.bytes()) {
      return;
    }
    const layout::SubmissionView view(segment.base, place);
    const std::uint32_t slot = static_cast<std::uint32_t>(input_.below(kSlots));
    layout::DescriptorCopy copy;
    copy.number = ++committed_;
    copy.length = input_.below(4) == 0 ? input_.word(kArenaBytes) : input_.below(200);
    copy.offset = input_.below(4) == 0 ? input_.word(kArenaBytes) : 0;
    copy.sent_ns = 1;
    const std::uint32_t flags =
        layout::kFlagTracked | (copy.length <= layout::kInlineBytesMax ? layout::kFlagInline : 0U);
    copy.kind_flags = layout::pack_kind(static_cast<std::uint16_t>(1 + input_.below(6)), flags);
    layout::descriptor_publish(view.descriptor(slot), copy);
    layout::place_publish(view.place(copy.number),
                          {copy.number, copy.length, 1, slot, copy.kind_flags});
  }
  void acknowledge(const MadeSegment& segment) {
    const layout::AckGeometry place{kSlots};
    if (segment.bytes < place.bytes()) {
      return;
    }
    const layout::AckView view(segment.base, place);
    const std::uint64_t number = 1 + input_.below(8);
    const std::uint32_t slot = static_cast<std::uint32_t>(input_.below(kSlots));
    const std::uint32_t packed =
        layout::pack_answer(static_cast<layout::AckCode>(1 + input_.below(4)),
                            static_cast<std::uint32_t>(input_.below(4)), 1);
    layout::answer_publish(view.record(slot), {number, 5, packed, 1, input_.take<std::uint32_t>()});
    layout::ack_place_publish(view.place(number), number, {number, 5, slot, packed});
  }

  Input& input_;
  std::vector<MadeSegment> segments_;
  std::uint64_t epoch_ = 1;
  std::uint64_t committed_ = 0;
};

}  // namespace ackbus::fuzz
