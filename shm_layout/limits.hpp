// Every maximum of the shared format in one place, with the relations between them asserted. A
// limit that a user can change is a default and a ceiling here; the value in force travels in the
// daemon's messages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ackbus::layout {

inline constexpr std::uint32_t kLayoutVersion =
    1;  // rises with any change of a struct that two processes share

inline constexpr std::size_t kCacheLineBytes = 64;

// A link's slots: the messages it can have outstanding. A power of two.
inline constexpr std::uint32_t kSlotsMin = 4;
inline constexpr std::uint32_t kSlotsDefault = 1024;
inline constexpr std::uint32_t kSlotsMax = 65536;

// Payloads up to this size lie in the descriptor; larger ones in the arena.
inline constexpr std::size_t kInlineBytesMax = 64;
inline constexpr std::size_t kInlineWords = kInlineBytesMax / sizeof(std::uint64_t);
inline constexpr std::uint64_t kArenaBytesDefault = 16ULL << 20;
inline constexpr std::uint64_t kArenaBytesMax = 1ULL << 40;
inline constexpr std::uint64_t kArenaAlignBytes = 64;

// An ack's text (reason or error) and metadata, together, per slot. What is longer is cut and
// flagged.
inline constexpr std::size_t kAckTextBytesMax = 512;
inline constexpr std::size_t kAckTextWords = kAckTextBytesMax / sizeof(std::uint64_t);

// Kinds are numbered 1 to 63; 0 is never valid.
inline constexpr std::uint32_t kKindsMax = 64;
inline constexpr std::size_t kNameBytesMax =
    32;  // names of buses, queues and kinds, with the closing zero
inline constexpr std::uint32_t kQueuesMax = 64;

// File descriptors of the daemon, and those of them that the service manager keeps for the next
// one. A link's share at most, kept: its producer's socket and pidfd, its submission and tracking
// segments, the ack segments of the life in force and of the ended ones; open besides: four pipe
// ends until both peers have them, and another client's socket and pidfd, for there may be as many
// tools and consumers as links. The rest is the daemon's own, the queues' segments and the
// standbys'.
inline constexpr std::uint32_t kEndedLivesMax = 4;  // whose acks a producer has not all taken
inline constexpr std::uint64_t kKeptDescriptorsPerLink = 4 + 1 + kEndedLivesMax;
inline constexpr std::uint64_t kOpenDescriptorsPerLink = kKeptDescriptorsPerLink + 4 + 2;
inline constexpr std::uint64_t kDescriptorsBesideLinks = 512;
static_assert(kDescriptorsBesideLinks >= std::uint64_t{kQueuesMax} * 4 + 256);

// FileDescriptorStoreMax= and LimitNOFILE= for so many links.
inline constexpr std::uint64_t kept_descriptors(std::uint64_t links) {
  return kDescriptorsBesideLinks + kKeptDescriptorsPerLink * links;
}
inline constexpr std::uint64_t open_descriptors(std::uint64_t links) {
  return kDescriptorsBesideLinks + kOpenDescriptorsPerLink * links;
}

// Entries of the supersede high-water table: (kind, key) pairs a life remembers per link. A power
// of two.
inline constexpr std::uint32_t kSupersedeEntries = 256;

// The verdict ring may be lapped, so it is shorter than the table: a quarter of the slots, at least
// this.
inline constexpr std::uint32_t kVerdictPlacesMin = 16;

// Outcome words pack a sequence above an 8-bit code, so sequences stay below 2^56: 130 years at 17
// million a second.
inline constexpr std::uint64_t kSequenceMax = (1ULL << 56) - 1;

// How often a reader tries a seqlock that its writer keeps rewriting before it says so.
inline constexpr int kSeqlockTriesMax = 64;

inline constexpr bool is_power_of_two(std::uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

static_assert(is_power_of_two(kSlotsMin) && is_power_of_two(kSlotsDefault) &&
              is_power_of_two(kSlotsMax));
static_assert(kSlotsMin <= kSlotsDefault && kSlotsDefault <= kSlotsMax);
static_assert(kSlotsMax <= 65536, "a descriptor keeps the slot of `after` in 16 bits");
static_assert(kInlineBytesMax % sizeof(std::uint64_t) == 0 &&
              kAckTextBytesMax % sizeof(std::uint64_t) == 0);
static_assert(is_power_of_two(kSupersedeEntries) && is_power_of_two(kVerdictPlacesMin));
static_assert(kArenaBytesDefault <= kArenaBytesMax && kArenaBytesDefault % kArenaAlignBytes == 0);

inline constexpr std::uint32_t verdict_places(std::uint32_t slots) {
  return slots / 4 > kVerdictPlacesMin ? slots / 4 : kVerdictPlacesMin;
}

}  // namespace ackbus::layout
