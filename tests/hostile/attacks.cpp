#include "tests/hostile/attacks.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <new>

namespace ackbus::hostile {
namespace {

constexpr Attack kAttacks[] = {
    {"scribble", "random and targeted garbage over the whole submission segment in use",
     Side::kProducer, 200'000, "category=violations", scribble_submission},
    {"lie", "every field of descriptor and place in turn, with every nasty value", Side::kProducer,
     700, "category=violations", lie_in_fields},
    {"payload", "payloads that change between validation and use", Side::kProducer, 2'000, "",
     change_payload_in_use},
    {"never-reap", "sends until nothing is free, and never reaps or reads its socket",
     Side::kProducer, 100, "", never_reap},
    {"verdicts", "large tables of messages that end Exhausted as fast as they can", Side::kProducer,
     2'000, "", storm_of_verdicts},
    {"holes", "punches holes, truncates, seals anew and maps writable", Side::kProducer, 50, "",
     punch_and_remap},
    {"acks", "acks what it never got, and sequences of the past and the future", Side::kConsumer,
     20'000, "", ack_what_never_came},
    {"scribble-acks", "garbage over the whole ack segment", Side::kConsumer, 200'000, "",
     scribble_acks},
    {"progress", "begins everything and says Retrying for ever", Side::kConsumer, 200, "",
     progress_for_ever},
    {"segments", "publishes state and frames segments full of garbage", Side::kConsumer, 20, "",
     publish_wrong_segments},
    {"queries", "status queries without end, their answers unread", Side::kControl, 300, "",
     flood_queries},
    {"open-unread", "asks for descriptors without end and takes none", Side::kControl, 300, "",
     flood_segments_unread},
    {"garbage", "huge, short and random control messages", Side::kControl, 500, "refused a client",
     send_garbage_packets},
    {"descriptors", "descriptors of wrong objects, too many, and none", Side::kControl, 300, "",
     send_wrong_descriptors},
    {"half-close", "shuts one direction down in the middle of everything", Side::kControl, 200, "",
     half_close},
    {"reconnect", "connects, asks for a link and leaves, thousands of times", Side::kControl, 2'000,
     "", reconnect},
};

constexpr std::uint64_t kNasty[] = {0,
                                    1,
                                    2,
                                    8,
                                    15,
                                    16,
                                    17,
                                    63,
                                    64,
                                    65,
                                    255,
                                    0xffff,
                                    0x10000,
                                    65535 * 64ULL,
                                    65536 - 8,
                                    65536,
                                    65537,
                                    0x7fff'ffff,
                                    0x8000'0000,
                                    0xffff'ffff,
                                    0x1'0000'0000,
                                    (1ULL << 56) - 1,
                                    1ULL << 56,
                                    1ULL << 63,
                                    UINT64_MAX - 63,
                                    UINT64_MAX};

}  // namespace

Tally* shared_tally() {
  void* page =
      ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    std::abort();
  }
  return new (page) Tally;
}

std::span<const Attack> all_attacks() { return kAttacks; }

const Attack* find_attack(std::string_view name) {
  const auto* found = std::find_if(std::begin(kAttacks), std::end(kAttacks),
                                   [&](const Attack& attack) { return attack.name == name; });
  return found == std::end(kAttacks) ? nullptr : found;
}

std::span<const std::uint64_t> nasty_values() { return kNasty; }

std::uint64_t nasty_value(Ground& ground) {
  switch (ground.random() % 3) {
    case 0:
      return kNasty[ground.random() % std::size(kNasty)];
    case 1:
      return ground.random();
    default:
      return ground.random() % 200;
  }
}

}  // namespace ackbus::hostile
