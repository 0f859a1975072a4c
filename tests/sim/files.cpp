#include "tests/sim/files.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "shm_layout/assert.hpp"

namespace ackbus::sim {

Memory::Memory() { alive += 1; }

Memory::~Memory() {
  std::free(base_);
  alive -= 1;
}

void Memory::grow(std::uint64_t bytes) {
  if (bytes <= bytes_) {
    return;
  }
  ACKBUS_ASSERT(base_ == nullptr);  // Grown once, before anybody maps it.
  const std::uint64_t whole = (bytes + 4095) / 4096 * 4096;
  base_ = static_cast<std::byte*>(std::aligned_alloc(4096, whole));
  ACKBUS_ASSERT(base_ != nullptr);
  std::memset(base_, 0, whole);
  bytes_ = bytes;
}

// ---- pipes ----

PipeFile::PipeFile(std::shared_ptr<Pipe> of, bool reads, bool writes)
    : pipe(std::move(of)), reads_(reads), writes_(writes) {
  pipe->readers += reads_ ? 1 : 0;
  pipe->writers += writes_ ? 1 : 0;
}

PipeFile::~PipeFile() {
  pipe->readers -= reads_ ? 1 : 0;
  pipe->writers -= writes_ ? 1 : 0;
}

std::uint32_t PipeFile::readiness() const {
  std::uint32_t ready = 0;
  if (reads_) {
    ready |= pipe->waiting > 0 ? std::uint32_t{EPOLLIN} : 0;
    ready |= pipe->writers == 0 ? std::uint32_t{EPOLLHUP} : 0;
  }
  if (writes_ && pipe->waiting < Pipe::kCapacityBytes) {
    ready |= EPOLLOUT;
  }
  return ready;
}

long PipeFile::read(void* bytes, std::size_t count) {
  if (!reads_) {
    return -EBADF;
  }
  if (pipe->waiting == 0) {
    return pipe->writers == 0 ? 0 : -EAGAIN;
  }
  const std::size_t taken = std::min(count, pipe->waiting);
  std::memset(bytes, 1, taken);
  pipe->waiting -= taken;
  return static_cast<long>(taken);
}

long PipeFile::write(const void*, std::size_t count) {
  if (!writes_) {
    return -EBADF;
  }
  if (pipe->readers == 0) {
    return -EPIPE;
  }
  if (pipe->waiting + count > Pipe::kCapacityBytes) {
    return -EAGAIN;
  }
  pipe->waiting += count;
  return static_cast<long>(count);
}

// ---- events, timers, processes ----

std::uint32_t EventFile::readiness() const {
  return std::uint32_t{EPOLLOUT} | (count_ > 0 ? std::uint32_t{EPOLLIN} : 0);
}

long EventFile::read(void* bytes, std::size_t count) {
  if (count < sizeof(count_)) {
    return -EINVAL;
  }
  if (count_ == 0) {
    return -EAGAIN;
  }
  std::memcpy(bytes, &count_, sizeof(count_));
  count_ = 0;
  return sizeof(count_);
}

long EventFile::write(const void* bytes, std::size_t count) {
  std::uint64_t added = 0;
  if (count < sizeof(added)) {
    return -EINVAL;
  }
  std::memcpy(&added, bytes, sizeof(added));
  count_ += added;
  return sizeof(added);
}

std::uint32_t TimerFile::readiness() const {
  return at_ns != 0 && at_ns <= now_ns_ ? std::uint32_t{EPOLLIN} : 0;
}

std::uint32_t ProcessFile::readiness() const { return *alive_ ? 0 : std::uint32_t{EPOLLIN}; }

// ---- sockets ----

Endpoint::~Endpoint() {
  if (const auto other = peer.lock()) {
    other->reset = !incoming.empty();
  }
}

std::uint32_t Endpoint::readiness() const {
  std::uint32_t ready = 0;
  const auto other = peer.lock();
  if (!incoming.empty() || peer_gone()) {
    ready |= EPOLLIN;
  }
  if (other == nullptr) {
    ready |= EPOLLHUP | EPOLLOUT;
  } else if (other->incoming.size() < kQueueMax) {
    ready |= EPOLLOUT;
  }
  return ready;
}

int Endpoint::send(Message message) {
  const auto other = peer.lock();
  if (other == nullptr) {
    return reset ? -ECONNRESET : -EPIPE;
  }
  if (other->incoming.size() >= kQueueMax) {
    return -EAGAIN;
  }
  other->incoming.push_back(std::move(message));
  return 0;
}

std::uint32_t Listener::readiness() const { return waiting.empty() ? 0 : std::uint32_t{EPOLLIN}; }

// ---- epoll ----

namespace {

std::uint32_t ready_events(const EpollFile::Item& item) {
  const auto file = item.file.lock();
  return file == nullptr ? 0 : file->readiness() & (item.events | EPOLLHUP | EPOLLERR);
}

}  // namespace

std::uint32_t EpollFile::readiness() const {
  return std::any_of(items_.begin(), items_.end(),
                     [](const auto& entry) { return ready_events(entry.second) != 0; })
             ? std::uint32_t{EPOLLIN}
             : 0;
}

int EpollFile::control(int operation, int fd, const FilePointer& file, std::uint32_t events,
                       std::uint64_t data) {
  std::erase_if(items_, [](const auto& item) { return item.second.file.expired(); });
  const auto key = std::pair(fd, file->number);
  const bool known = items_.contains(key);
  switch (operation) {
    case EPOLL_CTL_ADD:
      if (known) {
        return EEXIST;
      }
      items_[key] = Item{file, events, data};
      return 0;
    case EPOLL_CTL_MOD:
      if (!known) {
        return ENOENT;
      }
      items_[key] = Item{file, events, data};
      return 0;
    case EPOLL_CTL_DEL:
      return items_.erase(key) == 1 ? 0 : ENOENT;
    default:
      return EINVAL;
  }
}

std::vector<EpollFile::Event> EpollFile::ready(std::size_t max, std::size_t turn) const {
  std::vector<Event> events;
  for (const auto& [key, item] : items_) {
    if (const std::uint32_t now = ready_events(item); now != 0) {
      events.push_back({now, item.data});
    }
  }
  if (!events.empty()) {
    std::rotate(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(turn % events.size()),
                events.end());
    events.resize(std::min(events.size(), max));
  }
  return events;
}

}  // namespace ackbus::sim
