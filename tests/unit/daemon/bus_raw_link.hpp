// A producer and a consumer without the library, on a TestBus: what they write into their segments
// is the test's choice. Data flow: kLinkGranted and kAddLink -> mappings -> records, as a library
// writes them. Threads: the test's.
#pragma once

#include <sys/mman.h>

#include "shm_layout/records.hpp"
#include "shm_layout/views.hpp"
#include "tests/unit/daemon/bus_fixture.hpp"

namespace ackbus::daemon {

class RawProducer {
 public:
  RawProducer(TestBus& bus, const std::string& queue)
      : bus_(&bus), client(bus, layout::ClientRole::kProducer, queue) {
    std::optional<Heard> heard = client.hear(layout::ControlType::kLinkGranted);
    EXPECT_TRUE(heard && heard->descriptors.size() == 2);
    granted = heard->as<layout::LinkGrantedMessage>();
    Result<SegmentMap> mapped =
        SegmentMap::map(heard->descriptors[0].get(), geometry().bytes(), true);
    EXPECT_TRUE(mapped.ok());
    submission_ = std::move(mapped.value());
    client.say_of_link(layout::ControlType::kMapped, granted.link, 0);
    bus.turn();
  }
  [[nodiscard]] layout::SubmissionGeometry geometry() const {
    return {granted.slots, granted.arena_bytes};
  }
  [[nodiscard]] Link& link() const { return *(*bus_)->find_link(granted.link); }

  // A descriptor that its writer takes for sound, of the next number and in slot number - 1.
  [[nodiscard]] layout::DescriptorCopy next() const {
    layout::DescriptorCopy copy;
    copy.number = sent_ + 1;
    copy.id[0] = copy.number + granted.link * 1000;
    copy.length = 8;
    copy.sent_ns = monotonic_ns();
    copy.kind_flags = layout::pack_kind(4, layout::kFlagTracked | layout::kFlagInline);
    copy.max_wait_ms = 1000;
    return copy;
  }
  std::uint32_t commit(const layout::DescriptorCopy& copy) {
    const layout::SubmissionView view(submission_.base(), geometry());
    const auto slot = static_cast<std::uint32_t>(sent_ % granted.slots);
    layout::descriptor_publish(view.descriptor(slot), copy);
    layout::place_publish(view.place(copy.number),
                          {copy.number, copy.length, copy.sent_ns, slot, copy.kind_flags});
    view.words().committed.store_release(copy.number);
    sent_ += 1;
    link().tracker->scan_soon();
    bus_->turn();
    return slot;
  }
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  static LetterId id_of(const layout::DescriptorCopy& copy) {
    LetterId id{};
    std::memcpy(id.data(), copy.id, id.size());
    return id;
  }

 private:
  TestBus* bus_;
  SegmentMap submission_;
  std::uint64_t sent_ = 0;

 public:
  TestClient client;
  layout::LinkGrantedMessage granted{};
};

// Serves one link; see bus_fixture.hpp for how a consumer may end.
class RawConsumer {
 public:
  RawConsumer(TestBus& bus, const std::string& queue)
      : client(bus, layout::ClientRole::kConsumer, queue) {}
  // Maps the ack segment of the newest life it was told of; false when it was told of none.
  bool serve(TestBus& bus) {
    std::optional<Heard> heard = client.hear(layout::ControlType::kAddLink);
    if (!heard || heard->descriptors.size() != 5) {
      return false;
    }
    const std::uint64_t mapped_epoch = std::exchange(life, heard->as<layout::LifeMessage>()).epoch;
    if (mapped_epoch != life.epoch) {  // Else it has it, and nobody may map it so once more.
      Result<SegmentMap> mapped = SegmentMap::map(heard->descriptors[2].get(),
                                                  layout::AckGeometry{life.slots}.bytes(), true);
      EXPECT_TRUE(mapped.ok());
      ack_ = std::move(mapped.value());
    }
    client.say_of_link(layout::ControlType::kMapped, life.link, life.epoch);
    bus.turn();
    return true;
  }
  [[nodiscard]] layout::AckView view() const {
    return {ack_.base(), layout::AckGeometry{life.slots}};
  }

 private:
  SegmentMap ack_;

 public:
  TestClient client;
  layout::LifeMessage life{};
};

}  // namespace ackbus::daemon
