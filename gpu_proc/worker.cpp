#include "gpu_proc/worker.hpp"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>

namespace ackbus::gpu {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kTakePause = 500ms;  // how long one take waits; a signal ends it earlier
constexpr auto kAlivePause = 1s;
constexpr auto kProgressPause = 200ms;  // long work says so this often
// For the daemon to make or publish a segment: below the WatchdogSec= of the unit, which nobody
// feeds meanwhile.
constexpr auto kSegmentPatience = 15s;

SegmentKind kind_of(SegmentRole role) {
  return role == SegmentRole::kState ? SegmentKind::kState : SegmentKind::kFrames;
}

AckStatus status_of(Reply::Status status) {
  switch (status) {
    case Reply::Status::kSuccess:
      return AckStatus::kSuccess;
    case Reply::Status::kPartialSuccess:
      return AckStatus::kPartialSuccess;
    case Reply::Status::kFailed:
    case Reply::Status::kReserved:
      break;
  }
  return AckStatus::kFailed;
}

}  // namespace

int exit_status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kPermission:
    case ErrorCode::kVersion:
    case ErrorCode::kNotFound:
    case ErrorCode::kInvalid:
      return kExitUnavailable;
    default:
      return kExitFailed;
  }
}

int Worker::run(const volatile std::sig_atomic_t& stop, const std::function<void()>& serving) {
  bool said = false;
  while (stop == 0) {
    Result<std::optional<Delivery>> taken = consumer_.take(steady_clock::now() + kTakePause);
    if (!taken) {
      std::fprintf(stderr, "ackbus-gpu: %s\n", taken.error().text.c_str());
      return taken.error().code == ErrorCode::kClosed ? 0 : kExitRestart;
    }
    alive_if_due();
    const ConsumerStatistics now = consumer_.statistics();
    const std::uint64_t epoch = now.epoch;
    if (epoch != 0 && now.lives != lives_) {
      lives_ = now.lives;
      begin_life(epoch);
      if (unpublished_) {
        return kExitRestart;
      }
    }
    if (epoch != 0 && !said) {
      said = true;
      serving();
    }
    if (*taken) {
      if (const int status = answer(**taken); status != 0) {
        return status;
      }
    }
  }
  return 0;
}

// A new life, also when a daemon that lost its memory was followed by another: the state comes from
// the predecessor's segment, or from this process's own last one.
void Worker::begin_life(std::uint64_t epoch) {
  const std::optional<Segment> own = std::exchange(slots_[0].published, std::nullopt);
  slots_[0] = Slot{};
  slots_[1] = Slot{};
  std::optional<std::span<const std::byte>> state = consumer_.predecessor_state();
  Engine::Links links = Engine::Links::kKept;
  if (!state && own) {
    state = own->bytes();
    links = Engine::Links::kNumberedAnew;
  }
  EngineOptions options;
  options.epoch = epoch;
  engine_ = std::make_unique<Engine>(backend_, *this, options);
  if (!state) {
    return;
  }
  const std::string problem = engine_->restore(*state, links);
  const SimulationState& restored = engine_->state();
  if (!problem.empty()) {
    std::fprintf(stderr, "ackbus-gpu: life %llu starts empty: %s\n",
                 static_cast<unsigned long long>(epoch), problem.c_str());
  } else {
    std::fprintf(stderr, "ackbus-gpu: life %llu restored %zu nodes at step %llu\n",
                 static_cast<unsigned long long>(epoch), restored.graph.ids.size(),
                 static_cast<unsigned long long>(restored.steps));
  }
}

void Worker::alive_if_due() {
  const auto now = steady_clock::now();
  if (now - said_alive_ >= kAlivePause) {
    said_alive_ = now;
    alive_();
  }
}

int Worker::answer(const Delivery& delivery) {
  Reply reply;
  try {
    copy_.resize((delivery.payload.size() + 7) / 8);
    std::memcpy(copy_.data(), delivery.payload.data(), delivery.payload.size());
    auto reported = steady_clock::now();
    DeliveryContext context{delivery.link, delivery.sequence, delivery.attempt, [&] {
                              const auto now = steady_clock::now();
                              alive_if_due();
                              if (now - reported >= kProgressPause) {
                                reported = now;
                                // A link that is gone needs no progress.
                                [[maybe_unused]] const auto told = consumer_.progress(delivery);
                              }
                            }};
    const std::span<const std::byte> copied =
        std::as_bytes(std::span(copy_)).first(delivery.payload.size());
    reply = engine_->handle(static_cast<gpu::Kind>(static_cast<std::uint16_t>(delivery.kind)),
                            copied, context);
  } catch (const std::bad_alloc&) {
    reply.status = Reply::Status::kFailed;
    reply.text = "no memory for a payload of " + std::to_string(delivery.payload.size()) + " bytes";
  }
  if (reply.must_exit) {
    std::fprintf(stderr, "ackbus-gpu: the device is lost (%s): leaving to be started again\n",
                 reply.text.c_str());
    return kExitRestart;
  }
  if (unpublished_) {
    return kExitRestart;
  }
  send(delivery, reply);
  return 0;
}

void Worker::send(const Delivery& delivery, const Reply& reply) {
  Answer made;
  made.status = status_of(reply.status);
  made.text = reply.text;
  made.metadata = reply.metadata;
  // Not found means that the link ended while the work ran: nobody waits for the answer.
  [[maybe_unused]] const Result<void> acked = consumer_.ack(delivery, made);
}

// ---- segments ----

std::span<std::byte> Worker::create(SegmentRole role, std::size_t bytes) {
  Result<Segment> made =
      consumer_.create_segment(kind_of(role), bytes, steady_clock::now() + kSegmentPatience);
  if (!made) {
    failure_ = made.error().text;
    return {};
  }
  slot_of(role).created = std::move(*made);
  return slot_of(role).created->bytes();
}

// Without the daemon this life is over, and the next one starts from this process's own memory.
// With it, a segment that is not published would hide from a successor what is answered from here
// on: better to leave now, before the answer, and begin again from the published one.
void Worker::publish(SegmentRole role) {
  alive_if_due();
  Slot& slot = slot_of(role);
  const Result<void> published =
      consumer_.publish_segment(kind_of(role), steady_clock::now() + kSegmentPatience);
  if (!published) {
    const bool life_ends = published.error().code == ErrorCode::kDisconnected;
    unpublished_ = !life_ends;
    std::fprintf(stderr, "ackbus-gpu: a segment is not published: %s%s\n",
                 published.error().text.c_str(), life_ends ? "" : ": leaving to be started again");
  }
  slot.published = std::move(slot.created);
  slot.created.reset();
}

}  // namespace ackbus::gpu
