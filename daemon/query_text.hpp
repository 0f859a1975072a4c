// The texts of queries and answers: JSON from values and values from JSON, no bus and no clock.
//
// Purpose: what a tool asks is hostile input, read and checked here; what it is answered is built
// here, from plain values. Data flow: bus_query.cpp parses a packet's text, reads its members with
// the functions below, and answers with their JSON. Threads: pure functions, any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/bus_figures.hpp"
#include "daemon/dead_letter.hpp"
#include "daemon/result.hpp"
#include "daemon/tracker.hpp"

namespace ackbus::daemon {

/// QueryMessage.code of an answer: the numbers of the library's ackbus::ErrorCode, which the daemon
/// may not include. A test keeps them equal.
enum class AnswerCode : std::uint32_t {
  kDone = 0,
  kNoDaemon = 1,
  kPermission = 2,
  kVersion = 3,
  kQuota = 4,
  kMemory = 5,
  kInvalid = 6,
  kBackPressured = 7,
  kTimeout = 8,
  kClosed = 9,
  kDisconnected = 10,
  kForked = 11,
  kNotFound = 12,
  kProtocol = 13,
  kSystem = 14,
};

/// What a tool may do about an error of the daemon.
[[nodiscard]] AnswerCode answer_code_of(ErrorCode code);

// ---- reading a query ----

/// The object of a query's text, or kInvalid.
[[nodiscard]] Result<nlohmann::json> parse_query(std::string_view text);
/// A member that may be missing or null, else must be a text of at most 256 bytes.
[[nodiscard]] Result<std::optional<std::string>> read_text(const nlohmann::json& query,
                                                           const char* name);
/// A member that may be missing or null, then `otherwise`, else must be a whole number, 0 or more.
[[nodiscard]] Result<std::uint64_t> read_count(const nlohmann::json& query, const char* name,
                                               std::uint64_t otherwise);
/// A message id that must be there.
[[nodiscard]] Result<LetterId> read_id(const nlohmann::json& query, const char* name);

// ---- building answers ----

/// The parts of at most `bytes_max` bytes that an answer travels in; at least one, perhaps empty.
[[nodiscard]] std::vector<std::string_view> split_text(std::string_view text,
                                                       std::size_t bytes_max);
/// One line of JSON; bytes that are no UTF-8 (a client names itself) are replaced.
[[nodiscard]] std::string to_line(const nlohmann::json& answer);
/// ISO 8601, UTC, milliseconds: "2025-01-31T12:00:00.123Z".
[[nodiscard]] std::string to_utc(std::uint64_t realtime_ns);
[[nodiscard]] std::string to_base64(std::span<const std::byte> bytes);

[[nodiscard]] nlohmann::json status_json(const BusFigures& figures);

/// One message in a slot, as `ackbus show` tells it.
struct FoundMessage {
  LinkTracker::SlotView view;
  std::uint64_t link = 0;
  std::uint32_t slot = 0;
  std::string queue;
  std::string kind;
  Ending ending = Ending::kReserved;
  bool has_letter = false;
};
[[nodiscard]] nlohmann::json found_json(const FoundMessage& message, std::uint64_t now_ns);

/// "claimed", "committed", "begun", "waiting", "queued", "exhausting", "verdict", "answered" or
/// "settled": what happened last to a message.
[[nodiscard]] const char* state_of(const LinkTracker::SlotView& view);

/// A dead letter in a list, and with everything that is known of it.
[[nodiscard]] nlohmann::json letter_json(const Letter& letter);
[[nodiscard]] nlohmann::json full_letter_json(const Letter& letter);
/// The answer of `ackbus show` for a message that only its dead letter remembers.
[[nodiscard]] nlohmann::json found_letter_json(const Letter& letter, std::uint64_t realtime_ns);

}  // namespace ackbus::daemon
