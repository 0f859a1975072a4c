#include "daemon/dead_letter.hpp"

namespace ackbus::daemon {
namespace {

struct ReasonText {
  DeathReason reason;
  const char* text;
};
constexpr std::array<ReasonText, 5> kReasons = {{{DeathReason::kRetries, "retries"},
                                                 {DeathReason::kUndelivered, "undelivered"},
                                                 {DeathReason::kMaxAge, "max_age"},
                                                 {DeathReason::kPoison, "poison"},
                                                 {DeathReason::kClosed, "closed"}}};

bool is_dash_place(std::size_t place) {
  return place == 8 || place == 13 || place == 18 || place == 23;
}

std::optional<std::uint8_t> digit_of(char letter) {
  if (letter >= '0' && letter <= '9') {
    return static_cast<std::uint8_t>(letter - '0');
  }
  if (letter >= 'a' && letter <= 'f') {
    return static_cast<std::uint8_t>(letter - 'a' + 10);
  }
  if (letter >= 'A' && letter <= 'F') {
    return static_cast<std::uint8_t>(letter - 'A' + 10);
  }
  return std::nullopt;
}

}  // namespace

std::string to_text(const LetterId& id) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (const std::uint8_t byte : id) {
    if (is_dash_place(text.size())) {
      text += '-';
    }
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::optional<LetterId> parse_letter_id(std::string_view text) {
  if (text.size() != 36) {
    return std::nullopt;
  }
  LetterId id{};
  std::size_t digits = 0;
  for (std::size_t place = 0; place < text.size(); ++place) {
    if (is_dash_place(place)) {
      if (text[place] != '-') {
        return std::nullopt;
      }
      continue;
    }
    const auto digit = digit_of(text[place]);
    if (!digit) {
      return std::nullopt;
    }
    id[digits / 2] = static_cast<std::uint8_t>(id[digits / 2] << 4U | *digit);
    ++digits;
  }
  return id;
}

const char* to_text(DeathReason reason) {
  for (const ReasonText& entry : kReasons) {
    if (entry.reason == reason) {
      return entry.text;
    }
  }
  return "unknown";
}

std::optional<DeathReason> parse_death_reason(std::string_view text) {
  for (const ReasonText& entry : kReasons) {
    if (entry.text == text) {
      return entry.reason;
    }
  }
  return std::nullopt;
}

DeathReason death_reason_of(layout::VerdictReason reason) {
  switch (reason) {
    case layout::VerdictReason::kRetries:
      return DeathReason::kRetries;
    case layout::VerdictReason::kUndelivered:
      return DeathReason::kUndelivered;
    case layout::VerdictReason::kMaxAge:
      return DeathReason::kMaxAge;
    case layout::VerdictReason::kPoison:
      return DeathReason::kPoison;
    default:
      return layout::is_closed(reason) ? DeathReason::kClosed : DeathReason::kReserved;
  }
}

void continue_history(Letter& letter, const Letter& before) {
  letter.origin_id = before.origin_id == LetterId{} ? before.id : before.origin_id;
  letter.history = before.history;
  letter.history.push_back({before.id, before.exhausted.realtime_ns, before.attempts,
                            static_cast<std::uint32_t>(before.reason)});
  letter.sender_uid = before.sender_uid;
  letter.sender_pid = before.sender_pid;
  letter.sent = before.sent;
}

}  // namespace ackbus::daemon
