// The bytes of a dead letter on disk: a header of 1024 bytes, then the payload.
// docs/dead-letters.md draws it and says what each crash leaves behind. Little-endian, natural
// alignment, every byte named. Version 1.
//
// Invariants of a valid file:
//  1. The file is exactly header_bytes + stored_bytes long.
//  2. header_crc32 is the CRC-32 (zlib) of the header with header_crc32 and late_success taken as
//  zero.
//  3. payload_crc32 is the CRC-32 of the stored bytes; stored_bytes is payload_bytes or 0.
//  4. late_success is one byte that no checksum covers, so that it can be set in place: one byte
//  cannot be torn.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "daemon/dead_letter.hpp"

namespace ackbus::daemon {

constexpr std::array<char, 8> kLetterMagic = {'a', 'c', 'k', 'b', 'u', 's', 'D', 'L'};
constexpr std::uint32_t kLetterVersion = 1;
constexpr std::uint8_t kLetterNotLate = 0;
constexpr std::uint8_t kLetterLate = 0xA5;

struct LetterHeader {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t header_bytes;
  std::uint32_t header_crc32;
  std::uint32_t payload_crc32;
  std::uint64_t payload_bytes;
  std::uint64_t stored_bytes;
  std::array<std::uint8_t, 32> payload_sha256;
  LetterId message_id;
  LetterId origin_id;
  std::uint64_t link_id;
  std::uint64_t sequence;
  std::uint32_t kind_id;
  std::uint32_t reason;
  std::uint32_t attempts;
  std::uint32_t deaths;
  std::uint32_t sender_uid;
  std::uint32_t sender_pid;
  LetterTime sent;
  LetterTime first_begun;
  LetterTime exhausted;
  std::array<LetterTime, kLetterAttemptTimes> attempt_times;
  std::array<PreviousDeath, kLetterHistory> history;
  std::uint32_t attempt_time_count;
  std::uint32_t history_count;
  std::uint64_t supersede_key;
  std::uint64_t timeout_ns;
  std::uint32_t max_retries;
  std::uint32_t reserved_zero;
  std::array<char, 32> bus;  // Texts are padded with zero bytes, not terminated.
  std::array<char, 64> queue;
  std::array<char, 64> kind_name;
  std::array<char, 120> detail;
  std::uint8_t late_success;
  std::array<std::uint8_t, 7> reserved_zeros;
};

static_assert(std::endian::native == std::endian::little);
static_assert(std::is_trivially_copyable_v<LetterHeader>);
static_assert(std::has_unique_object_representations_v<LetterHeader>);  // No hidden padding.
static_assert(sizeof(LetterTime) == 16);
static_assert(sizeof(PreviousDeath) == 32);
static_assert(sizeof(LetterHeader) == 1024);
static_assert(offsetof(LetterHeader, version) == 8);
static_assert(offsetof(LetterHeader, header_crc32) == 16);
static_assert(offsetof(LetterHeader, payload_bytes) == 24);
static_assert(offsetof(LetterHeader, payload_sha256) == 40);
static_assert(offsetof(LetterHeader, message_id) == 72);
static_assert(offsetof(LetterHeader, origin_id) == 88);
static_assert(offsetof(LetterHeader, link_id) == 104);
static_assert(offsetof(LetterHeader, kind_id) == 120);
static_assert(offsetof(LetterHeader, sent) == 144);
static_assert(offsetof(LetterHeader, attempt_times) == 192);
static_assert(offsetof(LetterHeader, history) == 448);
static_assert(offsetof(LetterHeader, attempt_time_count) == 704);
static_assert(offsetof(LetterHeader, supersede_key) == 712);
static_assert(offsetof(LetterHeader, bus) == 736);
static_assert(offsetof(LetterHeader, queue) == 768);
static_assert(offsetof(LetterHeader, kind_name) == 832);
static_assert(offsetof(LetterHeader, detail) == 896);
static_assert(offsetof(LetterHeader, late_success) == 1016);

}  // namespace ackbus::daemon
