#include "daemon/query_text.hpp"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "machine/build.hpp"

namespace ackbus::daemon {

using layout::PendingState;
using nlohmann::json;

namespace {

constexpr std::size_t kTextMax = 256;
constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kSecondNs = 1'000'000'000;

Error invalid_member(const char* name, const char* wanted) {
  return {ErrorCode::kInvalid, std::string("query: '") + name + "' must be " + wanted};
}

json or_null(std::string text) { return text.empty() ? json() : json(std::move(text)); }

json time_json(const LetterTime& time) {
  return time.realtime_ns == 0 ? json() : json(to_utc(time.realtime_ns));
}

json id_json(const LetterId& id) { return id == LetterId{} ? json() : json(to_text(id)); }

std::string to_hex(std::span<const std::uint8_t> bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

double seconds(std::uint64_t duration_ns) { return static_cast<double>(duration_ns) / 1e9; }

}  // namespace

AnswerCode answer_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kExists:
      return AnswerCode::kInvalid;
    case ErrorCode::kNotFound:
      return AnswerCode::kNotFound;
    case ErrorCode::kPermission:
      return AnswerCode::kPermission;
    case ErrorCode::kFull:
    case ErrorCode::kNoSpace:
    case ErrorCode::kQuota:
      return AnswerCode::kQuota;
    case ErrorCode::kNoMemory:
      return AnswerCode::kMemory;
    case ErrorCode::kBusy:
      return AnswerCode::kBackPressured;
    case ErrorCode::kTimeout:
      return AnswerCode::kTimeout;
    case ErrorCode::kClosed:
    case ErrorCode::kCancelled:
      return AnswerCode::kClosed;
    case ErrorCode::kCorrupt:
    case ErrorCode::kSystem:
    case ErrorCode::kReserved:
      break;
  }
  return AnswerCode::kSystem;
}

// ---- reading a query ----

Result<json> parse_query(std::string_view text) {
  json query = json::parse(text, nullptr, false);
  if (!query.is_object()) {
    return {ErrorCode::kInvalid, "query: not a JSON object: use an ackbus of the daemon's version"};
  }
  return query;
}

Result<std::optional<std::string>> read_text(const json& query, const char* name) {
  const auto found = query.find(name);
  if (found == query.end() || found->is_null()) {
    return std::optional<std::string>();
  }
  if (!found->is_string() || found->get_ref<const std::string&>().size() > kTextMax) {
    return invalid_member(name, "a text of at most 256 bytes");
  }
  return std::optional<std::string>(found->get<std::string>());
}

Result<std::uint64_t> read_count(const json& query, const char* name, std::uint64_t otherwise) {
  const auto found = query.find(name);
  if (found == query.end() || found->is_null()) {
    return otherwise;
  }
  if (!found->is_number_unsigned()) {
    return invalid_member(name, "a whole number, 0 or more");
  }
  return found->get<std::uint64_t>();
}

Result<LetterId> read_id(const json& query, const char* name) {
  const Result<std::optional<std::string>> text = read_text(query, name);
  const std::optional<LetterId> id =
      text && text.value() ? parse_letter_id(*text.value()) : std::nullopt;
  if (!id) {
    return invalid_member(name, "a message id of 36 characters");
  }
  return *id;
}

// ---- texts ----

std::vector<std::string_view> split_text(std::string_view text, std::size_t bytes_max) {
  std::vector<std::string_view> parts;
  do {
    parts.push_back(text.substr(0, bytes_max));
    text.remove_prefix(parts.back().size());
  } while (!text.empty());
  return parts;
}

std::string to_line(const json& answer) {
  return answer.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string to_utc(std::uint64_t realtime_ns) {
  const auto whole = static_cast<time_t>(realtime_ns / kSecondNs);
  struct tm parts {};
  gmtime_r(&whole, &parts);
  char day[32] = {};
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  char text[48] = {};
  std::snprintf(text, sizeof text, "%s.%03uZ", day,
                static_cast<unsigned>(realtime_ns % kSecondNs / kMillisecondNs));
  return text;
}

std::string to_base64(std::span<const std::byte> bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8U | (i < count ? std::to_integer<std::uint32_t>(bytes[at + i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      text += i <= count ? kDigits[group >> (18U - 6U * i) & 63U] : '=';
    }
  }
  return text;
}

// ---- status ----

namespace {

json kind_json(const KindFigures& kind) {
  const EndedTotals& totals = kind.totals;
  return {{"id", kind.id},
          {"name", kind.name},
          {"sent", totals.sent},
          {"success", totals.success},
          {"partial_success", totals.partial_success},
          {"failed", totals.failed},
          {"exhausted", totals.exhausted},
          {"superseded", totals.superseded},
          {"cancelled", totals.cancelled},
          {"closed", totals.closed},
          {"posted", totals.posted},
          {"pending", pending_count(totals)},
          {"retries", retry_count(kind.own)},
          {"dead_lettered", dead_lettered_count(kind.own)},
          {"given_back", totals.given_back},
          {"latency_sum_ns", totals.latency_sum_ns},
          {"latency", totals.latency}};
}

json queue_json(const QueueFigures& queue) {
  json consumer;
  if (queue.consumer) {
    consumer = {{"pid", queue.consumer->pid},
                {"client", queue.consumer->client},
                {"since_seconds", seconds(queue.consumer->connected_ns)},
                {"begun", queue.begun}};
  }
  json stalled;
  if (queue.stall) {
    stalled = {{"pid", queue.stall->pid},
               {"age_ms", queue.stall->age_ns / kMillisecondNs},
               {"message", to_text(queue.stall->id)}};
  }
  return {{"name", queue.name},           {"listed", queue.listed},
          {"epoch", queue.epoch},         {"consumer", std::move(consumer)},
          {"standbys", queue.standbys},   {"links", queue.links},
          {"pending", queue.pending},     {"oldest_age_ms", queue.oldest_age_ns / kMillisecondNs},
          {"stalled", std::move(stalled)}};
}

json link_json(const LinkFigures& link) {
  return {{"link", link.number},
          {"queue", link.queue},
          {"pid", link.pid},
          {"uid", link.uid},
          {"client", link.client},
          {"slots", link.slots},
          {"arena_bytes", link.arena_bytes},
          {"pending", link.pending},
          {"free", link.free},
          {"sent", link.sent},
          {"state", link.state}};
}

}  // namespace

json status_json(const BusFigures& figures) {
  json kinds = json::array();
  for (const KindFigures& kind : figures.kinds) {
    kinds.push_back(kind_json(kind));
  }
  json queues = json::array();
  for (const QueueFigures& queue : figures.queues) {
    queues.push_back(queue_json(queue));
  }
  json links = json::array();
  for (const LinkFigures& link : figures.links) {
    links.push_back(link_json(link));
  }
  return {{"bus", figures.bus},
          {"incarnation", figures.daemon.incarnation},
          {"daemon",
           {{"pid", figures.daemon.pid},
            {"uptime_seconds", seconds(figures.daemon.uptime_ns)},
            {"version", machine::version_number()},
            {"backlog", figures.daemon.backlog}}},
          {"kinds", std::move(kinds)},
          {"queues", std::move(queues)},
          {"links", std::move(links)},
          {"memory",
           {{"submission", figures.memory.submission},
            {"ack", figures.memory.ack},
            {"tracking", figures.memory.tracking},
            {"state", figures.memory.state},
            {"frames", figures.memory.frames}}},
          {"dead_letters",
           {{"count", figures.letters.count},
            {"bytes", figures.letters.bytes},
            {"limit_bytes", figures.letters.limit_bytes},
            {"writable", figures.letters.writable}}}};
}

// ---- one message ----

const char* state_of(const LinkTracker::SlotView& view) {
  if (!view.committed) {
    return "claimed";
  }
  if (ending_taken(view) != Ending::kReserved) {
    return "settled";
  }
  if (view.entry.state == PendingState::kExhausting) {
    return "exhausting";
  }
  if (view.entry.state == PendingState::kVerdict) {
    return "verdict";
  }
  if (view.acked || view.entry.state == PendingState::kFinal) {
    return "answered";
  }
  if (view.entry.state == PendingState::kWaiting) {
    return "waiting";
  }
  if (view.begun.sequence != 0 && view.begun.attempt >= view.entry.attempt) {
    return "begun";
  }
  return view.entry.state == PendingState::kQueued ? "queued" : "committed";
}

json found_json(const FoundMessage& message, std::uint64_t now_ns) {
  const LinkTracker::SlotView& view = message.view;
  const std::uint64_t age_ns = now_ns - std::min(view.descriptor.sent_ns, now_ns);
  json next_retry;
  if (view.entry.state == PendingState::kWaiting) {
    next_retry = (view.entry.due_ns - std::min(view.entry.due_ns, now_ns)) / kMillisecondNs;
  }
  return {{"found", true},
          {"link", message.link},
          {"queue", message.queue},
          {"slot", message.slot},
          {"sequence", view.descriptor.number},
          {"kind", message.kind},
          {"state", state_of(view)},
          {"attempt", std::max(view.entry.attempt, view.begun.attempt)},
          {"retries", view.entry.retries},
          {"next_retry_ms", std::move(next_retry)},
          {"age_ms", age_ns / kMillisecondNs},
          {"outcome", message.ending == Ending::kReserved ? json() : json(to_text(message.ending))},
          {"dead_letter", message.has_letter}};
}

// ---- dead letters ----

json letter_json(const Letter& letter) {
  return {{"id", to_text(letter.id)},
          {"kind", letter.kind_name},
          {"queue", letter.queue},
          {"link", letter.link_id},
          {"sequence", letter.sequence},
          {"attempts", letter.attempts},
          {"deaths", letter.deaths},
          {"reason", to_text(letter.reason)},
          {"bytes", letter.payload_bytes},
          {"payload_kept", letter.payload_stored},
          {"exhausted_at", time_json(letter.exhausted)},
          {"late_success", letter.late_success},
          {"origin", id_json(letter.origin_id)}};
}

json full_letter_json(const Letter& letter) {
  json answer = letter_json(letter);
  json attempts = json::array();
  for (const LetterTime& time : letter.attempt_times) {
    attempts.push_back({{"at", time_json(time)}, {"monotonic_ns", time.monotonic_ns}});
  }
  json history = json::array();
  for (const PreviousDeath& death : letter.history) {
    history.push_back({{"id", to_text(death.id)},
                       {"exhausted_at", time_json({0, death.exhausted_realtime_ns})},
                       {"attempts", death.attempts},
                       {"reason", to_text(static_cast<DeathReason>(death.reason))}});
  }
  answer["bus"] = letter.bus;
  answer["kind_id"] = letter.kind_id;
  answer["detail"] = or_null(letter.detail);
  answer["sender_uid"] = letter.sender_uid;
  answer["sender_pid"] = letter.sender_pid;
  answer["key"] = letter.supersede_key;
  answer["sent_at"] = time_json(letter.sent);
  answer["first_begun_at"] = time_json(letter.first_begun);
  answer["attempt_times"] = std::move(attempts);
  answer["history"] = std::move(history);
  answer["payload_sha256"] = to_hex(letter.payload_sha256);
  return answer;
}

json found_letter_json(const Letter& letter, std::uint64_t realtime_ns) {
  const std::uint64_t sent_ns = letter.sent.realtime_ns;
  const std::uint64_t age_ns = sent_ns == 0 ? 0 : realtime_ns - std::min(sent_ns, realtime_ns);
  const Ending ending =
      letter.reason == DeathReason::kClosed ? Ending::kClosed : Ending::kExhausted;
  return {{"found", true},
          {"link", letter.link_id},
          {"queue", letter.queue},
          {"slot", nullptr},
          {"sequence", letter.sequence},
          {"kind", letter.kind_name},
          {"state", "dead-lettered"},
          {"attempt", letter.attempts},
          {"retries", letter.attempts == 0 ? 0 : letter.attempts - 1},
          {"next_retry_ms", nullptr},
          {"age_ms", age_ns / kMillisecondNs},
          {"outcome", to_text(letter.late_success ? Ending::kSuccess : ending)},
          {"dead_letter", true}};
}

}  // namespace ackbus::daemon
