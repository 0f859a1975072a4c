// Queries about dead letters: list, show, payload, purge; redrive is in bus_redrive.cpp. Data flow:
// the bus thread checks the query and hands the disk work to the worker; the completion answers, if
// the asker is still there. Threads: the bus thread; what on_worker() takes first runs on the
// worker and touches nothing but the store.
#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>

#include "daemon/bus_query.hpp"

namespace ackbus::daemon {

using nlohmann::json;

namespace {

constexpr std::uint64_t kListDefault = 100;
constexpr std::uint64_t kListMax = 1000;
constexpr std::uint32_t kQueryJobsMax = 8;  // verdicts need the worker too
constexpr std::size_t kPayloadShownMax = std::size_t{32} * 1024;
constexpr std::uint64_t kSecondNs = 1'000'000'000;

// ---- reading ----

Result<std::uint32_t> read_kind(const Bus& bus, const std::string& name) {
  for (const KindConfig& kind : bus.config().kinds) {
    if (kind.name == name) {
      return std::uint32_t{kind.id};
    }
  }
  return {ErrorCode::kInvalid, "no kind '" + name + "': ackbus status lists the kinds"};
}

Result<DeadLetterFilter> read_filter(const Bus& bus, const json& query) {
  DeadLetterFilter filter;
  const Result<std::optional<std::string>> queue = read_text(query, "queue");
  const Result<std::optional<std::string>> kind = read_text(query, "kind");
  const Result<std::optional<std::string>> reason = read_text(query, "reason");
  for (const auto* member : {&queue, &kind, &reason}) {
    if (!*member) {
      return member->error();
    }
  }
  filter.queue = queue.value();
  if (kind.value()) {
    const Result<std::uint32_t> id = read_kind(bus, *kind.value());
    if (!id) {
      return id.error();
    }
    filter.kind_id = id.value();
  }
  if (reason.value()) {
    filter.reason = parse_death_reason(*reason.value());
    if (!filter.reason) {
      return {ErrorCode::kInvalid, "no reason '" + *reason.value() +
                                       "': retries, undelivered, max_age, poison or closed"};
    }
  }
  return filter;
}

// A place in a listing as text: "1764000000000000000:73c67f59-...". It is an answer's `next` and
// the next query's `after`.
std::string place_text(const ListingPlace& place) {
  return std::to_string(place.exhausted_realtime_ns) + ":" + to_text(place.id);
}

Result<std::optional<ListingPlace>> read_after(const json& query) {
  const Result<std::optional<std::string>> text = read_text(query, "after");
  if (!text) {
    return text.error();
  }
  if (!text.value()) {
    return std::optional<ListingPlace>();
  }
  const std::string& given = *text.value();
  ListingPlace place;
  const char* const end = given.data() + given.size();
  const auto [colon, error] = std::from_chars(given.data(), end, place.exhausted_realtime_ns);
  const std::optional<LetterId> id =
      error == std::errc() && colon != end && *colon == ':'
          ? parse_letter_id(std::string_view(colon + 1, static_cast<std::size_t>(end - colon - 1)))
          : std::nullopt;
  if (!id) {
    return {ErrorCode::kInvalid,
            "after: not a place in a listing: give what the last answer named as next"};
  }
  place.id = *id;
  return std::optional(place);
}

Error no_letter(const LetterId& id) {
  return {ErrorCode::kNotFound, "no dead letter " + to_text(id) + ": ackbus dead list shows them"};
}

// The letter without its payload, then `done`; an asker of one that is not there is told so.
void with_letter(Bus& bus, const Asker& asker, const LetterId& id,
                 std::function<void(const Letter&)> done) {
  const auto work = [id](DeadLetters& store) {
    DeadLetterFilter filter;
    filter.id = id;
    return store.list(filter, 1);
  };
  on_worker<std::vector<Letter>>(
      bus, asker, work, [&bus, asker, id, done = std::move(done)](std::vector<Letter> letters) {
        if (letters.empty()) {
          reply_error(bus, asker, no_letter(id));
        } else {
          done(letters.front());
        }
      });
}

}  // namespace

bool take_place(Bus& bus, const Asker& asker) {
  if (bus.query_jobs >= kQueryJobsMax) {
    reply_error(bus, asker, AnswerCode::kBackPressured, kTooManyQueries);
    return false;
  }
  bus.query_jobs += 1;
  return true;
}

// ---- verbs ----

void answer_dead_list(Bus& bus, const Asker& asker, const json& query) {
  const Result<DeadLetterFilter> filter = read_filter(bus, query);
  const Result<std::uint64_t> limit = read_count(query, "limit", kListDefault);
  const Result<std::optional<ListingPlace>> after = read_after(query);
  if (!filter || !limit || !after) {
    reply_error(bus, asker, !filter ? filter.error() : !limit ? limit.error() : after.error());
    return;
  }
  const std::size_t count = std::min(limit.value(), kListMax);
  on_worker<LetterPage>(
      bus, asker,
      [wanted = filter.value(), count, behind = after.value()](DeadLetters& store) {
        return store.page(wanted, count, behind);
      },
      [&bus, asker](const LetterPage& page) {
        json list = json::array();
        for (const Letter& letter : page.letters) {
          list.push_back(letter_json(letter));
        }
        reply(bus, asker,
              {{"letters", std::move(list)},
               {"more", page.more},
               {"next", page.next ? json(place_text(*page.next)) : json(nullptr)}});
      });
}

void answer_dead_show(Bus& bus, const Asker& asker, const json& query) {
  const Result<LetterId> id = read_id(query, "id");
  if (!id) {
    reply_error(bus, asker, id.error());
    return;
  }
  with_letter(bus, asker, id.value(),
              [&bus, asker](const Letter& letter) { reply(bus, asker, full_letter_json(letter)); });
}

void answer_show_from_letter(Bus& bus, const Asker& asker, const LetterId& id) {
  with_letter(bus, asker, id, [&bus, asker](const Letter& letter) {
    reply(bus, asker, found_letter_json(letter, realtime_ns()));
  });
}

void answer_dead_payload(Bus& bus, const Asker& asker, const json& query) {
  const Result<LetterId> id = read_id(query, "id");
  if (!id) {
    reply_error(bus, asker, id.error());
    return;
  }
  on_worker<Result<StoredLetter>>(
      bus, asker, [wanted = id.value()](DeadLetters& store) { return store.read(wanted); },
      [&bus, asker](Result<StoredLetter> stored) {
        if (!stored) {
          reply_error(bus, asker, stored.error());
          return;
        }
        const std::vector<std::byte>& payload = stored.value().payload;
        const std::span<const std::byte> shown(payload.data(),
                                               std::min(payload.size(), kPayloadShownMax));
        reply(bus, asker,
              {{"payload_base64", to_base64(shown)},
               {"bytes", stored.value().letter.payload_bytes},
               {"payload_kept", stored.value().letter.payload_stored},
               {"cut", shown.size() < stored.value().letter.payload_bytes}});
      });
}

void answer_dead_purge(Bus& bus, const Asker& asker, const json& query) {
  const Result<std::optional<std::string>> id = read_text(query, "id");
  const Result<std::uint64_t> age_seconds = read_count(query, "older_than_seconds", 0);
  if (!id || !age_seconds) {
    reply_error(bus, asker, !id ? id.error() : age_seconds.error());
    return;
  }
  if (!id.value() && age_seconds.value() == 0) {
    reply_error(bus, asker, AnswerCode::kInvalid,
                "dead_purge: name a message id, 'all' or an age above 0 seconds");
    return;
  }
  DeadLetterFilter filter;
  if (id.value() && *id.value() != "all") {
    const Result<LetterId> named = read_id(query, "id");
    if (!named) {
      reply_error(bus, asker, named.error());
      return;
    }
    filter.id = named.value();
  }
  if (age_seconds.value() != 0) {
    const std::uint64_t now_ns = realtime_ns();
    const std::uint64_t age_ns = std::min(age_seconds.value(), now_ns / kSecondNs) * kSecondNs;
    filter.older_than_realtime_ns = now_ns - age_ns;
  }
  on_worker<Result<DeadLetterAmount>>(
      bus, asker, [filter](DeadLetters& store) { return store.purge(filter); },
      [&bus, asker](Result<DeadLetterAmount> purged) {
        if (!purged) {
          reply_error(bus, asker, purged.error());
          return;
        }
        reply(bus, asker, {{"purged", purged.value().letters}});
      });
}

}  // namespace ackbus::daemon
