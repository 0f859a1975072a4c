// What a consumer can do to the producers of its queue and to the daemon, which both read what it
// writes.
#include <poll.h>
#include <sys/mman.h>

#include <thread>

#include "tests/hostile/attacks.hpp"
#include "tests/hostile/raw_link.hpp"

namespace ackbus::hostile {
namespace {

std::optional<RawConsumer> join(Ground& ground) {
  std::optional<RawConsumer> made = RawConsumer::connect(ground.socket_path, ground.queue);
  if (made) {
    made->client.set_patience(1);
    ground.connected();
  }
  return made;
}

void ring(const RawLink& link) {
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = ::write(link.ring_fd.get(), &byte, 1);
}

// Runs `work` on every link there is, again and again, until told to stop or thrown out.
template <typename Work>
void on_every_link(Ground& ground, const Work& work) {
  while (ground.goes_on()) {
    std::optional<RawConsumer> consumer = join(ground);
    bool there = consumer.has_value();
    while (there && ground.goes_on()) {
      there = consumer->listen(consumer->links.empty());
      for (RawLink& link : consumer->links) {
        if (!link.gone && link.ack) {
          work(link);
          ground.step();
        }
      }
    }
  }
}

// The greatest sequence that its producer has published.
std::uint64_t newest(const RawLink& link) {
  return link.from_producer.words().committed.load_relaxed();  // relaxed because it is a hint
}

std::uint64_t some_sequence(Ground& ground, const RawLink& link) {
  const std::uint64_t now = newest(link);
  switch (ground.random() % 4) {
    case 0:
      return now + ground.random() % 64;  // not sent yet
    case 1:
      return now - std::min(now, ground.random() % 4096);  // long ago, or just now
    default:
      return nasty_value(ground);
  }
}

}  // namespace

void ack_what_never_came(Ground& ground) {
  std::uint64_t number = 1;
  std::uint64_t link_number = 0;
  on_every_link(ground, [&](RawLink& link) {
    number = link.life.link == link_number ? number : 1;
    link_number = link.life.link;
    const auto slot = static_cast<std::uint32_t>(ground.random() % link.life.slots);
    const std::uint64_t sequence = some_sequence(ground, link);
    const auto packed = static_cast<std::uint32_t>(nasty_value(ground));
    layout::AckRecord& record = link.mine.record(slot);
    layout::begun_publish(record, {sequence, nasty_value(ground), packed});
    layout::answer_begin(record);
    for (layout::Cell<std::uint64_t>& word : link.mine.text(slot).words) {
      word.store_relaxed(~0ULL);  // relaxed because a lie orders nothing: no end, no pairs
    }
    // A text without end, with metadata behind it.
    layout::answer_publish(record, {sequence, nasty_value(ground), packed, packed,
                                    static_cast<std::uint32_t>(nasty_value(ground))});
    layout::ack_place_publish(link.mine.place(number), number,
                              {sequence, nasty_value(ground), slot, packed});
    number += ground.random() % 1000 == 0 ? 2 : 1;
    ring(link);
  });
}

void scribble_acks(Ground& ground) {
  on_every_link(ground, [&](RawLink& link) {
    for (int words = 0; words < 64; ++words) {
      link.ack.store_word(ground.random(), nasty_value(ground));
    }
    // The cursors, the violation, and the table that the next life is given.
    const std::uint64_t words_at = layout::AckGeometry::kWords / 8;
    link.ack.store_word(words_at + 8 + ground.random() % 4, nasty_value(ground));
    link.ack.store_word(layout::AckGeometry::kSupersede / 8 + ground.random() % 1024,
                        nasty_value(ground));
    ring(link);
  });
}

void progress_for_ever(Ground& ground) {
  on_every_link(ground, [&](RawLink& link) {
    const std::uint64_t now = newest(link);
    const std::uint64_t slots = link.life.slots;
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      layout::DescriptorCopy descriptor;
      if (!layout::descriptor_read(link.from_producer.descriptor(slot), 0, descriptor)) {
        continue;
      }
      layout::AckRecord& record = link.mine.record(slot);
      layout::begun_publish(record, {descriptor.number, descriptor.sent_ns, 1});
      layout::mark_publish(record, {descriptor.number, UINT64_MAX, layout::MarkKind::kProgress,
                                    UINT32_MAX, UINT32_MAX});
    }
    link.mine.words().cursor.store_release(now + 1);  // [E12] release: as if all had been read
    ::poll(nullptr, 0, 1);
  });
}

// Right sizes, wrong contents; publishing what was never made; and writing on afterwards.
void publish_wrong_segments(Ground& ground) {
  // Never hangs up: the daemon would end its process.
  std::optional<RawConsumer> consumer = join(ground);
  for (std::uint32_t request = 1; consumer && ground.goes_on(); ++request) {
    layout::SegmentMessage message{};
    message.header = layout::control_header<layout::SegmentMessage>(
        layout::ControlType::kCreateSegment, request);
    message.role = request % 8 == 7 ? 99 : 5 + request % 2;
    message.bytes = request % 8 == 6 ? nasty_value(ground) >> 20 : 1 << 20;
    message.epoch = nasty_value(ground);
    consumer->client.send(message);
    layout::SegmentMessage made{};
    const bool is_made = consumer->client.receive_until(layout::ControlType::kSegment) &&
                         consumer->client.as(made) && !consumer->client.descriptors().empty();
    Map map;
    if (is_made && made.bytes <= 1 << 24) {
      map = Map(consumer->client.descriptors()[0].get(), made.bytes, true);
      for (std::uint64_t word = 0; map && word < 4096; ++word) {
        map.store_word(word < 64 ? word : ground.random(), nasty_value(ground));
      }
    }
    message.header = layout::control_header<layout::SegmentMessage>(
        layout::ControlType::kPublishSegment, request + 100);
    consumer->client.send(message);
    consumer->client.receive();
    for (std::uint64_t word = 0; map && word < 4096; ++word) {
      map.store_word(word, nasty_value(ground));
    }
    ground.step();
  }
}

}  // namespace ackbus::hostile
