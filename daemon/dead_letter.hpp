// A dead letter in memory: a message that ended Exhausted (or Closed), with its history and the
// reason. The bytes on disk are in dead_letter_format.hpp; the store is in dead_letters.hpp. Plain
// values, no threads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shm_layout/tracking.hpp"

namespace ackbus::daemon {

/// The 16 bytes of a message id (a version 4 UUID); all zero means none.
using LetterId = std::array<std::uint8_t, 16>;

/// The 36-character text of an id: 8-4-4-4-12 lower-case hexadecimal digits.
[[nodiscard]] std::string to_text(const LetterId& id);

/// The id of a 36-character text, digits in either case; nothing for any other text.
[[nodiscard]] std::optional<LetterId> parse_letter_id(std::string_view text);

/// Why a message became a dead letter. The numbers are on disk: never change one, only add.
enum class DeathReason : std::uint32_t {
  kReserved = 0,
  kRetries = 1,      ///< All retries used up.
  kUndelivered = 2,  ///< Never begun within max_wait.
  kMaxAge = 3,       ///< Still Retrying at max_age.
  kPoison = 4,       ///< The only message begun at two deaths of a consumer.
  kClosed = 5,       ///< Its queue or its bus was shut down for good.
};

/// "retries", "undelivered", "max_age", "poison", "closed"; "unknown" for no valid reason.
[[nodiscard]] const char* to_text(DeathReason reason);
[[nodiscard]] std::optional<DeathReason> parse_death_reason(std::string_view text);

/// The reason on disk for a verdict in shared memory: every way of being closed is kClosed;
/// kReserved for a verdict that leaves no letter. The two are numbered apart, for memory may change
/// with a version and disks must not.
[[nodiscard]] DeathReason death_reason_of(layout::VerdictReason reason);

/// One instant on both clocks, in nanoseconds; zero means it never came.
struct LetterTime {
  std::uint64_t monotonic_ns;  // CLOCK_MONOTONIC of the boot in which it was taken.
  std::uint64_t realtime_ns;   // CLOCK_REALTIME: since 1970.
  bool operator==(const LetterTime&) const = default;
};

/// One earlier death of a redriven message.
struct PreviousDeath {
  LetterId id;  // The id it died under.
  std::uint64_t exhausted_realtime_ns;
  std::uint32_t attempts;
  std::uint32_t reason;  // A DeathReason.
  bool operator==(const PreviousDeath&) const = default;
};

constexpr std::size_t kLetterAttemptTimes = 16;  // The first so many attempts are kept.
constexpr std::size_t kLetterHistory = 8;        // The latest so many redrives are kept.

struct Letter {
  LetterId id{};
  LetterId origin_id{};  // The first id of a redriven message; all zero when it was never redriven.
  std::string bus;       // Texts are cut to what the file holds: 32, 64, 64 and 120 bytes.
  std::string queue;
  std::string kind_name;
  std::string detail;  // For people: what happened last.
  std::uint32_t kind_id = 0;
  DeathReason reason = DeathReason::kReserved;
  std::uint64_t link_id = 0;
  std::uint64_t sequence = 0;
  std::uint32_t attempts = 0;
  std::uint32_t deaths = 0;
  std::uint32_t sender_uid = 0;  // Of the producer, also of a redriven message.
  std::uint32_t sender_pid = 0;
  std::uint64_t supersede_key = 0;  // With the next two: what a redrive needs to send it as it was.
  std::uint64_t timeout_ns = 0;
  std::uint32_t max_retries = 0;
  LetterTime sent{};  // By its producer: a redrive does not change it.
  LetterTime first_begun{};
  LetterTime exhausted{};
  std::vector<LetterTime> attempt_times;  // Cut to the first kLetterAttemptTimes.
  std::vector<PreviousDeath> history;     // Oldest first; cut to the latest kLetterHistory.
  bool late_success = false;              // A Success came after the verdict.

  // Filled by the store; ignored when writing.
  std::uint64_t payload_bytes = 0;  // The length of the message's payload.
  bool payload_stored = false;      // False: too long, only length and hash were kept.
  std::array<std::uint8_t, 32> payload_sha256{};

  bool operator==(const Letter&) const = default;
};

/// Makes `letter` the next one of a message that was redriven from the letter `before`: origin,
/// history, sender and first time of sending go on; what it went through since is its own.
void continue_history(Letter& letter, const Letter& before);

}  // namespace ackbus::daemon
