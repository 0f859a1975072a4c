// A link as a daemon hands it to a consumer, with the producer's and the daemon's side of its
// memory and both of its pipes in the test's hands: for what only a certain order of control
// messages shows. Data flow: the test commits, fuzz::Server sends add(), the consumer under test
// takes and answers, the test looks at what it stored and rang. Threads: the test's own.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "libclient/src/mapping.hpp"
#include "tests/fuzz/hostile_daemon.hpp"

namespace ackbus::process_test {

struct Pipe {
  Pipe() {
    int ends[2] = {-1, -1};
    ACKBUS_ASSERT(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    rung = UniqueFd(ends[0]);
    ring = UniqueFd(ends[1]);
  }
  // Takes what was rung since the last call.
  [[nodiscard]] bool was_rung() const {
    char bytes[64];
    return ::read(rung.get(), bytes, sizeof(bytes)) > 0;
  }
  UniqueFd rung;
  UniqueFd ring;
};

class ScriptedLink {
 public:
  static constexpr std::uint64_t kSlots = 4;
  static constexpr std::uint64_t kArenaBytes = 4096;

  ScriptedLink(std::uint64_t number, std::uint64_t epoch) : number_(number), epoch_(epoch) {}

  // kAddLink with the consumer's ends of these two pipes.
  [[nodiscard]] fuzz::Packet add(const Pipe& to_consumer, const Pipe& to_producer) const {
    layout::LifeMessage message{};
    message.header = layout::control_header<layout::LifeMessage>(layout::ControlType::kAddLink);
    message.link = number_;
    message.epoch = epoch_;
    message.main_start = 1;
    message.redelivery_start = 1;
    message.slots = kSlots;
    message.arena_bytes = kArenaBytes;
    fuzz::Packet made;
    made.bytes.resize(sizeof(message));
    std::memcpy(made.bytes.data(), &message, sizeof(message));
    for (const int fd : {submission_.fd.get(), tracking_.fd.get(), ack_.fd.get(),
                         to_consumer.rung.get(), to_producer.ring.get()}) {
      made.descriptors.emplace_back(::dup(fd));
    }
    return made;
  }

  // As a producer that sleeps from then on.
  void commit(std::uint64_t sequence, std::uint32_t slot) {
    const std::uint32_t kind_flags =
        layout::pack_kind(4, layout::kFlagTracked | layout::kFlagInline);
    layout::DescriptorCopy copy;
    copy.number = sequence;
    copy.sent_ns = 1;
    copy.kind_flags = kind_flags;
    layout::descriptor_publish(submission().descriptor(slot), copy);
    layout::place_publish(submission().place(sequence), {sequence, 0, 1, slot, kind_flags});
    submission().words().sleeping.store_release(sequence);
  }
  [[nodiscard]] bool answered(std::uint64_t sequence, std::uint32_t slot) const {
    const layout::AckView view(ack_.mapping.base(), layout::AckGeometry{kSlots});
    layout::AnswerCopy copy;
    return layout::answer_read(view.record(slot), sequence, copy);
  }

 private:
  struct Made {
    explicit Made(layout::SegmentExpectation wished, std::uint64_t link, std::uint64_t epoch)
        : fd(::memfd_create("scripted", MFD_CLOEXEC)) {
      ACKBUS_ASSERT(::ftruncate(fd.get(), static_cast<off_t>(wished.bytes)) == 0);
      Result<Mapping> made = Mapping::map(fd.get(), wished.bytes, true);
      ACKBUS_ASSERT(made.ok());
      mapping = std::move(*made);
      layout::stamp_segment(mapping.base(), wished, link, epoch, 1, 1);
    }
    UniqueFd fd;
    Mapping mapping;
  };
  [[nodiscard]] layout::SubmissionView submission() const {
    return {submission_.mapping.base(), {kSlots, kArenaBytes}};
  }

  std::uint64_t number_;
  std::uint64_t epoch_;
  Made submission_{{layout::SegmentRole::kSubmission,
                    layout::SubmissionGeometry{kSlots, kArenaBytes}.bytes(), kSlots, kArenaBytes},
                   number_,
                   epoch_};
  Made tracking_{
      {layout::SegmentRole::kTracking, layout::TrackingGeometry{kSlots}.bytes(), kSlots, 0},
      number_,
      epoch_};
  Made ack_{
      {layout::SegmentRole::kAck, layout::AckGeometry{kSlots}.bytes(), kSlots, 0}, number_, epoch_};
};

}  // namespace ackbus::process_test
