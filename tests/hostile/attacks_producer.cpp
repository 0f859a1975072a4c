// What a producer can do to its own segment, which it alone may write.
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <thread>

#include "tests/hostile/attacks.hpp"
#include "tests/hostile/raw_link.hpp"

namespace ackbus::hostile {
namespace {

// A link that a consumer reads; empty while the daemon does not give one.
std::optional<RawProducer> join(Ground& ground, const RawProducerOptions& wished) {
  RawProducerOptions options = wished;
  options.queue = ground.queue;
  std::optional<RawProducer> made = RawProducer::connect(ground.socket_path, options);
  if (!made || !made->wait_for_life()) {
    return std::nullopt;
  }
  ground.connected();
  return made;
}

// Gives the consumer some looks at what was just published; bounded, for it may never read it.
void let_it_be_read(const RawProducer& producer, std::uint64_t sequence) {
  for (int looks = 0; looks < 2'000 && !producer.was_read(sequence); ++looks) {
    if (looks % 100 == 0) {
      producer.ring();
    }
    std::this_thread::yield();
  }
}

}  // namespace

// Mostly one random word at a time; sometimes the words that others look at first; and sound
// messages in between, so that somebody is always reading.
void scribble_submission(Ground& ground) {
  while (ground.goes_on()) {
    std::optional<RawProducer> producer = join(ground, {});
    std::uint64_t sequence = 1;
    for (int round = 0; producer && round < 20'000 && ground.goes_on(); ++round) {
      const std::uint64_t control = layout::SubmissionGeometry{16, 0}.arena() / 8;
      const bool targeted = round % 4 != 0;
      const std::uint64_t word = targeted ? ground.random() % control : ground.random();
      // The header is anybody's guess, too: nothing is computed from it.
      producer->submission.store_word(word, nasty_value(ground));
      if (round % 16 == 0) {
        producer->commit(sequence, RawProducer::sound(sequence));
        sequence += 1;
      }
      if (round % 512 == 0 && !producer->listen()) {
        break;
      }
      ground.step();
    }
  }
}

namespace {

using Lie = void (*)(layout::DescriptorCopy& descriptor, layout::PlaceCopy& place,
                     std::uint64_t value);
using Word = std::uint32_t;

// Each field, in the descriptor alone, in the place alone and in both, which then agree.
constexpr Lie kLies[] = {
    [](auto& d, auto& /*p*/, std::uint64_t v) { d.number = v; },
    [](auto& /*d*/, auto& p, std::uint64_t v) { p.number = v; },
    [](auto& d, auto& p, std::uint64_t v) { d.number = p.number = v; },
    [](auto& /*d*/, auto& p, std::uint64_t v) { p.slot = static_cast<Word>(v); },
    [](auto& d, auto& /*p*/, std::uint64_t v) { d.length = v; },
    [](auto& /*d*/, auto& p, std::uint64_t v) { p.length = v; },
    [](auto& d, auto& p, std::uint64_t v) { d.length = p.length = v; },
    [](auto& d, auto& /*p*/, std::uint64_t v) { d.offset = v; },
    [](auto& d, auto& p, std::uint64_t v) {  // In the arena, where offset and length count.
      d.offset = v;
      d.length = p.length = 64;
      d.kind_flags = p.kind_flags = layout::pack_kind(4, layout::kFlagTracked);
    },
    [](auto& d, auto& p, std::uint64_t v) {
      d.length = p.length = v;
      d.kind_flags = p.kind_flags = layout::pack_kind(4, layout::kFlagTracked);
    },
    [](auto& d, auto& p, std::uint64_t v) { d.sent_ns = p.sent_ns = v; },
    [](auto& d, auto& /*p*/, std::uint64_t v) { d.id[0] = d.id[1] = v; },
    [](auto& d, auto& p, std::uint64_t v) {
      d.key = v;
      d.kind_flags = p.kind_flags =
          layout::pack_kind(2, layout::kFlagTracked | layout::kFlagInline | layout::kFlagKeyed);
    },
    [](auto& d, auto& p, std::uint64_t v) {
      d.after = v;
      d.kind_flags = p.kind_flags =
          layout::pack_kind(4, layout::kFlagTracked | layout::kFlagInline | layout::kFlagAfter);
    },
    [](auto& d, auto& p, std::uint64_t v) {  // Waits for the one before it, in a slot that lies.
      d.after = d.number - 1;
      d.retries_after_slot = static_cast<Word>(v & 0xffff);
      d.kind_flags = p.kind_flags =
          layout::pack_kind(4, layout::kFlagTracked | layout::kFlagInline | layout::kFlagAfter);
    },
    [](auto& d, auto& /*p*/, std::uint64_t v) { d.kind_flags = static_cast<Word>(v); },
    [](auto& /*d*/, auto& p, std::uint64_t v) { p.kind_flags = static_cast<Word>(v); },
    [](auto& d, auto& p, std::uint64_t v) { d.kind_flags = p.kind_flags = static_cast<Word>(v); },
    [](auto& d, auto& p, std::uint64_t v) {  // The number of a kind, with sound flags.
      d.kind_flags = p.kind_flags = layout::pack_kind(static_cast<std::uint16_t>(v),
                                                      layout::kFlagTracked | layout::kFlagInline);
    },
    [](auto& d, auto& /*p*/, std::uint64_t v) { d.timeout_ms = static_cast<Word>(v); },
    [](auto& d, auto& /*p*/, std::uint64_t v) { d.max_wait_ms = static_cast<Word>(v); },
    [](auto& d, auto& /*p*/, std::uint64_t v) {
      d.retries_after_slot = static_cast<Word>(v << 16);
    },
};

void publish_lie(const RawProducer& producer, std::uint64_t sequence, Lie lie,
                 std::uint64_t value) {
  layout::DescriptorCopy descriptor = RawProducer::sound(sequence);
  const std::uint32_t slot = producer.slot_of(sequence);
  layout::PlaceCopy place{sequence, descriptor.length, descriptor.sent_ns, slot,
                          descriptor.kind_flags};
  lie(descriptor, place, value);
  layout::Descriptor& at = producer.view.descriptor(slot);
  layout::descriptor_begin(at);
  layout::descriptor_publish(at, descriptor);
  layout::Place& ring = producer.view.place(sequence);
  layout::place_begin(ring);
  layout::place_publish(ring, place);
  producer.view.words().committed.store_relaxed(sequence);  // relaxed because it is a hint
}

// The two words outside the descriptor's seqlock, and those that others poll.
void publish_word_lies(const RawProducer& producer, std::uint64_t sequence, std::uint64_t value) {
  layout::Descriptor& at = producer.view.descriptor(producer.slot_of(sequence));
  // relaxed because a lie orders nothing
  at.cancel.store_relaxed(value);
  at.outcome.store_relaxed(value);
  producer.view.words().sleeping.store_relaxed(value);
  producer.view.words().committed.store_relaxed(value);
  producer.view.words().cancels.store_relaxed(value);
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    producer.view.counters(kind).sent.store_relaxed(value);
    producer.view.counters(kind).success.store_relaxed(value ^ kind);
  }
}

}  // namespace

// One lie at a time, otherwise sound. A link that was closed for it is replaced, and so is one
// whose ring the lie has stopped.
void lie_in_fields(Ground& ground) {
  while (ground.goes_on()) {
    for (std::size_t lie = 0; lie <= std::size(kLies) && ground.goes_on(); ++lie) {
      std::optional<RawProducer> producer;
      std::uint64_t sequence = 1;
      for (const std::uint64_t value : nasty_values()) {
        if (!producer || !producer->listen() || !producer->was_read(sequence - 1)) {
          producer = join(ground, {});
          sequence = 1;
        }
        if (!producer || !ground.goes_on()) {
          break;
        }
        if (lie < std::size(kLies)) {
          publish_lie(*producer, sequence, kLies[lie], value);
        } else {
          producer->commit(sequence, RawProducer::sound(sequence));
          publish_word_lies(*producer, sequence, value);
        }
        let_it_be_read(*producer, sequence);
        sequence += 1;
        ground.step();
      }
    }
  }
}

// A second thread rewrites the arena and the inline words all the time. What a handler reads twice
// it may read differently.
void change_payload_in_use(Ground& ground) {
  while (ground.goes_on()) {
    std::optional<RawProducer> producer = join(ground, {});
    if (!producer) {
      continue;
    }
    std::atomic<bool> done{false};
    std::thread changer([&, seed = ground.random()] {
      std::mt19937_64 random(seed);
      const std::uint64_t first = layout::SubmissionGeometry{16, 0}.arena() / 8;
      while (!done.load()) {
        producer->submission.store_word(first + random() % (65536 / 8), random());
        layout::Place& place = producer->view.place(random() % 16);
        // relaxed because a lie orders nothing
        place.inline_words[random() % layout::kInlineWords].store_relaxed(random());
      }
    });
    for (std::uint64_t sequence = 1; sequence < 2'000 && ground.goes_on(); ++sequence) {
      layout::DescriptorCopy descriptor = RawProducer::sound(sequence);
      if (sequence % 2 == 0) {
        descriptor.kind_flags = layout::pack_kind(4, layout::kFlagTracked);
        descriptor.length = 65536;
      }
      producer->commit(sequence, descriptor);
      let_it_be_read(*producer, sequence);
      if (!producer->listen()) {
        break;
      }
      ground.step();
    }
    done.store(true);
    changer.join();
  }
}

// Its ack ring fills up, its pipe fills up, and the daemon's messages to it pile up.
void never_reap(Ground& ground) {
  while (ground.goes_on()) {
    std::vector<RawProducer> producers;
    for (int count = 0; count < 4 && ground.goes_on(); ++count) {
      std::optional<RawProducer> producer = join(ground, {.slots = 1024});
      for (std::uint64_t sequence = 1; producer && sequence <= 1024; ++sequence) {
        producer->commit(sequence, RawProducer::sound(sequence));
        // relaxed because it is a hint: asleep, and asleep anew each time
        producer->view.words().sleeping.store_relaxed(sequence);
      }
      if (producer) {
        producer->ring();
        let_it_be_read(*producer, 1024);
        producers.push_back(std::move(*producer));
      }
      ground.step();
    }
    for (int looks = 0; looks < 200 && ground.goes_on(); ++looks) {
      ::poll(nullptr, 0, 1);
      ground.step();
    }
  }
}

// Messages that nobody will read (their places are beyond the consumer's next one), each of which
// is to end Exhausted after a millisecond, in the largest table that there is.
void storm_of_verdicts(Ground& ground) {
  constexpr std::uint32_t kSlots = 4096;
  while (ground.goes_on()) {
    std::optional<RawProducer> producer =
        join(ground, {.slots = kSlots, .arena_bytes = 4096, .min_timeout_ms = 1});
    std::uint64_t sequence = 2;
    while (producer && producer->listen() && ground.goes_on() && sequence < 8ULL * kSlots) {
      layout::DescriptorCopy descriptor = RawProducer::sound(sequence);
      descriptor.id[0] ^= ground.random();
      descriptor.id[1] ^= ground.random();
      descriptor.timeout_ms = 1;
      descriptor.max_wait_ms = 1;
      producer->commit(sequence, descriptor);
      sequence += sequence % kSlots == 0 ? 2 : 1;  // Never the place that would be read next.
      ground.step();
      if (sequence % 64 == 0) {
        std::this_thread::yield();
      }
    }
  }
}

void punch_and_remap(Ground& ground) {
  while (ground.goes_on()) {
    RawProducerOptions options;
    options.queue = ground.queue;
    options.say_mapped = ground.random() % 2 == 0;
    std::optional<RawProducer> producer = RawProducer::connect(ground.socket_path, options);
    if (!producer) {
      continue;
    }
    ground.connected();
    const int fd = producer->submission_fd.get();
    const auto page = static_cast<off_t>(ground.random() % 16 * 4096);
    ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page, 32768);
    ::madvise(producer->submission.base(), 65536, MADV_REMOVE);
    [[maybe_unused]] const int cut = ::ftruncate(fd, 4096);
    [[maybe_unused]] const int grown = ::ftruncate(fd, 1 << 30);
    ::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE);
    ::fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL);
    ::fchmod(fd, ground.random() % 2 == 0 ? 0 : 0777);
    const Map writable(producer->tracking_fd.get(), 4096, true);
    if (!options.say_mapped) {
      producer->say_mapped();
    }
    producer->commit(1, RawProducer::sound(1));
    producer->client.set_patience(1);
    const layout::ControlType heard = producer->client.receive();
    if (heard == layout::ControlType::kLife) {
      const Map again(fd, producer->submission.bytes(), true);
      ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 65536);
    }
    ground.step();
  }
}

}  // namespace ackbus::hostile
