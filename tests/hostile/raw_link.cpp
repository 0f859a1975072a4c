#include "tests/hostile/raw_link.hpp"

#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include <atomic>

namespace ackbus::hostile {

using layout::ControlType;

namespace {

std::uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(now.tv_nsec);
}

layout::LinkMessage mapped_message(std::uint64_t link, std::uint64_t epoch) {
  layout::LinkMessage message{};
  message.header = layout::control_header<layout::LinkMessage>(ControlType::kMapped);
  message.link = link;
  message.epoch = epoch;
  return message;
}

}  // namespace

Map::Map(int fd, std::uint64_t bytes, bool writable) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) {
    base_ = static_cast<std::byte*>(at);
    bytes_ = bytes;
  }
}

Map::~Map() {
  if (base_ != nullptr) {
    ::munmap(base_, bytes_);
  }
}

void Map::store_word(std::uint64_t index, std::uint64_t value) const {
  auto* word = reinterpret_cast<std::uint64_t*>(base_) + index % word_count();
  std::atomic_ref<std::uint64_t>(*word).store(value);
}

// ---- producer ----

std::optional<RawProducer> RawProducer::connect(const std::string& socket_path,
                                                const RawProducerOptions& options) {
  RawProducer made{RawClient(socket_path)};
  layout::HelloMessage hello = sound_hello(layout::ClientRole::kProducer, options.queue);
  hello.slots = options.slots;
  hello.arena_bytes = options.arena_bytes;
  hello.min_timeout_ms = options.min_timeout_ms;
  if (!made.client.connected() || !made.client.send(hello) ||
      !made.client.receive_until(ControlType::kLinkGranted) || !made.client.as(made.granted) ||
      made.client.descriptors().size() != 2) {
    return std::nullopt;
  }
  made.submission_fd = std::move(made.client.descriptors()[0]);
  made.tracking_fd = std::move(made.client.descriptors()[1]);
  const layout::SubmissionGeometry geometry{made.granted.slots, made.granted.arena_bytes};
  made.submission = Map(made.submission_fd.get(), geometry.bytes(), true);
  made.tracking =
      Map(made.tracking_fd.get(), layout::TrackingGeometry{made.granted.slots}.bytes(), false);
  made.view = layout::SubmissionView(made.submission.base(), geometry);
  if (options.say_mapped) {
    made.say_mapped();
  }
  return made;
}

void RawProducer::say_mapped() { client.send(mapped_message(granted.link, 0)); }

void RawProducer::take_life() {
  layout::LifeMessage life{};
  if (client.as(life) && client.descriptors().size() == 3) {
    epoch = life.epoch;
    ack_fd = std::move(client.descriptors()[0]);
    ring_fd = std::move(client.descriptors()[1]);
    rung_fd = std::move(client.descriptors()[2]);
    ack = Map(ack_fd.get(), layout::AckGeometry{granted.slots}.bytes(), false);
  }
}

bool RawProducer::listen() {
  for (int packets = 0; packets < 64 && !closed; ++packets) {
    char byte = 0;
    const ssize_t waiting = ::recv(client.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (waiting < 0) {
      return true;
    }
    const ControlType type = waiting == 0 ? ControlType::kReserved : client.receive();
    closed = type == ControlType::kReserved || type == ControlType::kRefused ||
             type == ControlType::kClosed;
    if (type == ControlType::kLife) {
      take_life();
    }
  }
  return !closed;
}

bool RawProducer::wait_for_life() {
  while (!ack) {
    if (!client.receive_until(ControlType::kLife)) {
      return false;
    }
    take_life();
  }
  return true;
}

layout::DescriptorCopy RawProducer::sound(std::uint64_t sequence) {
  layout::DescriptorCopy copy;
  copy.number = sequence;
  copy.id[0] = 0x4000'0000'0000'4000ULL ^ sequence;
  copy.id[1] = 0x80ULL ^ (sequence << 32);
  copy.length = 8;
  copy.sent_ns = now_ns();
  copy.kind_flags = layout::pack_kind(4, layout::kFlagTracked | layout::kFlagInline);
  return copy;
}

void RawProducer::commit(std::uint64_t sequence, const layout::DescriptorCopy& copy) const {
  const std::uint32_t slot = slot_of(sequence);
  layout::Descriptor& descriptor = view.descriptor(slot);
  layout::descriptor_begin(descriptor);
  layout::descriptor_publish(descriptor, copy);
  layout::Place& place = view.place(sequence);
  layout::place_begin(place);
  layout::place_publish(place, {sequence, copy.length, copy.sent_ns, slot, copy.kind_flags});
  view.words().committed.store_relaxed(sequence);  // relaxed because it is a hint
}

bool RawProducer::was_read(std::uint64_t sequence) const {
  const layout::AckView life(ack.base(), {granted.slots});
  const std::uint64_t cursor = life.words().cursor.load_acquire();  // [E12] acquire: as the daemon
  return sequence < cursor || life.words().violation.load_relaxed() != 0;  // relaxed: a figure
}

void RawProducer::ring() const {
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = ::write(ring_fd.get(), &byte, 1);
}

// ---- consumer ----

std::optional<RawConsumer> RawConsumer::connect(const std::string& socket_path,
                                                const std::string& queue) {
  RawConsumer made{RawClient(socket_path)};
  layout::HelloMessage hello = sound_hello(layout::ClientRole::kConsumer, queue);
  hello.slots = 1;  // It would stand by.
  if (!made.client.connected() || !made.client.send(hello) ||
      !made.client.receive_until(ControlType::kActivated)) {
    return std::nullopt;
  }
  layout::ActivatedMessage activated{};
  if (!made.client.as(activated)) {
    return std::nullopt;
  }
  made.epoch = activated.epoch;
  return made;
}

void RawConsumer::take_link() {
  RawLink link;
  if (!client.as(link.life) || client.descriptors().size() != 5) {
    return;
  }
  std::vector<Fd>& fds = client.descriptors();
  link.submission_fd = std::move(fds[0]);
  link.tracking_fd = std::move(fds[1]);
  link.ack_fd = std::move(fds[2]);
  link.rung_fd = std::move(fds[3]);
  link.ring_fd = std::move(fds[4]);
  const layout::SubmissionGeometry geometry{link.life.slots, link.life.arena_bytes};
  link.submission = Map(link.submission_fd.get(), geometry.bytes(), false);
  link.tracking =
      Map(link.tracking_fd.get(), layout::TrackingGeometry{link.life.slots}.bytes(), false);
  link.ack = Map(link.ack_fd.get(), layout::AckGeometry{link.life.slots}.bytes(), true);
  link.from_producer = layout::SubmissionView(link.submission.base(), geometry);
  link.mine = layout::AckView(link.ack.base(), {link.life.slots});
  client.send(mapped_message(link.life.link, link.life.epoch));
  links.push_back(std::move(link));
}

bool RawConsumer::listen(bool wait) {
  for (int packets = 0; packets < 64; ++packets) {
    char byte = 0;
    const bool waits = wait && packets == 0;
    const ssize_t waiting = ::recv(client.fd(), &byte, 1, MSG_PEEK | (waits ? 0 : MSG_DONTWAIT));
    if (waiting < 0) {
      return true;
    }
    const ControlType type = waiting == 0 ? ControlType::kReserved : client.receive();
    if (type == ControlType::kReserved || type == ControlType::kRefused) {
      return false;
    }
    if (type == ControlType::kAddLink) {
      take_link();
    }
    layout::LinkMessage removed{};
    if (type == ControlType::kRemoveLink && client.as(removed)) {
      for (RawLink& link : links) {
        link.gone = link.gone || link.life.link == removed.link;
      }
    }
  }
  return true;
}

}  // namespace ackbus::hostile
