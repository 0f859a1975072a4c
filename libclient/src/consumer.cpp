// The public face of a consumer: refuses a handle from before a fork, takes the lock of a shared
// handle, forwards.
#include <ackbus/consumer.hpp>
#include <utility>

#include "libclient/src/consumer_core.hpp"

namespace ackbus {
namespace {

std::unique_lock<std::mutex> lock_of(ConsumerCore& core) {
  return core.options.shared_between_threads ? std::unique_lock<std::mutex>(core.mutex)
                                             : std::unique_lock<std::mutex>();
}

}  // namespace

Consumer::Consumer(std::unique_ptr<ConsumerCore> core) : core_(std::move(core)) {}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&&) noexcept = default;
Consumer::~Consumer() = default;

Result<Consumer> Consumer::connect(const ConsumerOptions& options) {
  Result<std::unique_ptr<ConsumerCore>> core = ConsumerCore::connect(options);
  if (!core) {
    return core.error();
  }
  return Consumer(std::move(*core));
}

Result<std::optional<Delivery>> Consumer::take(Deadline deadline) {
  Result<std::optional<Delivery>> taken{std::optional<Delivery>(std::in_place)};
  if (core_->forked()) [[unlikely]] {
    taken = forked_error();
    return taken;
  }
  auto lock = lock_of(*core_);
  core_->take(to_ns(deadline), lock, taken);
  core_->settle_fd();
  return taken;
}

Result<void> Consumer::ack(const Delivery& delivery, const Answer& answer) {
  if (core_->forked()) {
    return forked_error();
  }
  const auto lock = lock_of(*core_);
  return core_->ack(delivery, answer);
}

Result<void> Consumer::nack(const Delivery& delivery, std::chrono::milliseconds delay) {
  if (core_->forked()) {
    return forked_error();
  }
  const auto lock = lock_of(*core_);
  return core_->nack(delivery, delay);
}

Result<void> Consumer::progress(const Delivery& delivery, std::uint32_t retries) {
  if (core_->forked()) {
    return forked_error();
  }
  const auto lock = lock_of(*core_);
  return core_->progress(delivery, retries);
}

MessageId Consumer::id(const Delivery& delivery) const {
  if (core_->forked()) {
    return {};
  }
  const auto lock = lock_of(*core_);
  const ConsumerCore::LinkEnds* ends = core_->find(delivery);
  return ends == nullptr ? MessageId() : ends->link->id(delivery.slot, delivery.sequence);
}

bool Consumer::active() const {
  if (core_->forked()) {
    return false;
  }
  const auto lock = lock_of(*core_);
  return core_->epoch != 0;
}

bool Consumer::cancelled(const Delivery& delivery) const {
  if (core_->forked()) {
    return false;
  }
  const auto lock = lock_of(*core_);
  const ConsumerCore::LinkEnds* ends = core_->find(delivery);
  return ends != nullptr && ends->link->cancel_wished(delivery.slot, delivery.sequence);
}

int Consumer::fd() const {
  if (core_->forked()) {
    return -1;
  }
  const auto lock = lock_of(*core_);
  core_->exposed = true;
  core_->settle_fd();
  return core_->waiter.fd();
}

ConsumerStatistics Consumer::statistics() const {
  if (core_->forked()) {
    return {};
  }
  const auto lock = lock_of(*core_);
  return core_->statistics();
}

Result<Segment> Consumer::create_segment(SegmentKind kind, std::uint64_t bytes, Deadline deadline) {
  if (core_->forked()) {
    return forked_error();
  }
  const auto lock = lock_of(*core_);
  return core_->create_segment(kind, bytes, to_ns(deadline));
}

Result<void> Consumer::publish_segment(SegmentKind kind, Deadline deadline) {
  if (core_->forked()) {
    return forked_error();
  }
  const auto lock = lock_of(*core_);
  return core_->publish_segment(kind, to_ns(deadline));
}

std::optional<std::span<const std::byte>> Consumer::predecessor_state() const {
  if (core_->forked()) {
    return std::nullopt;
  }
  const auto lock = lock_of(*core_);
  if (core_->predecessor.base() == nullptr) {
    return std::nullopt;
  }
  return std::span<const std::byte>(core_->predecessor.span());
}

}  // namespace ackbus
