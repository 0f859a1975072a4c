// The tools' queries: JSON in, JSON out, over the control socket. docs/commands.md is what people
// see of it.
//
// Data flow: a packet's text is parsed (query_text.hpp), its verb looked up, the asker's right
// checked, the handler answers; what touches dead letters is in bus_query_letters.cpp. Reading is
// for everybody who was admitted; what changes anything, and payloads, only for operators: root,
// the daemon's own user, and whom the configuration names. Threads: the bus thread.
#include "daemon/bus_query.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

namespace ackbus::daemon {

using layout::QueryMessage;
using nlohmann::json;

namespace {

constexpr std::size_t kAnswerTextMax = 60'000;  // a packet; longer answers take several
static_assert(kAnswerTextMax + sizeof(QueryMessage) <= layout::kControlBytesMax);

void answer_status(Bus& bus, const Asker& asker, const json& /*query*/) {
  reply(bus, asker, status_json(gather_figures(bus, monotonic_ns())));
}

// ---- show ----

// The slot of this link that holds the message.
std::optional<FoundMessage> find_in_link(Bus& bus, const Link& link, const LetterId& id) {
  std::uint64_t words[2];
  std::memcpy(words, id.data(), sizeof words);
  for (std::uint32_t slot = 0; slot < link.slots; ++slot) {
    // relaxed because look() reads the whole descriptor again, under its number
    if (link.submission_view.descriptor(slot).id[0].load_relaxed() != words[0]) {
      continue;
    }
    std::optional<LinkTracker::SlotView> view = link.tracker->look(slot);
    if (!view || std::memcmp(view->descriptor.id, words, sizeof words) != 0) {
      continue;
    }
    FoundMessage found;
    found.view = *view;
    found.link = link.number;
    found.slot = slot;
    found.queue = bus.queues[link.queue]->name;
    found.kind = kind_name(bus, layout::kind_of(view->descriptor.kind_flags));
    found.ending = ending_taken(*view);
    if (found.ending == Ending::kReserved && producer_is_gone(bus, link)) {
      found.ending = ending_untaken(*view, slot, memory_of(bus, link).ended_lives);
    }
    return found;
  }
  return std::nullopt;
}

void answer_show(Bus& bus, const Asker& asker, const json& query) {
  const Result<LetterId> id = read_id(query, "id");
  if (!id) {
    reply_error(bus, asker, id.error());
    return;
  }
  const bool has_letter = bus.letters->exists(id.value());
  for (const auto& [number, link] : bus.links) {
    if (!link->tracker || !link->submission_view) {
      continue;
    }
    if (std::optional<FoundMessage> found = find_in_link(bus, *link, id.value())) {
      found->has_letter = has_letter;
      reply(bus, asker, found_json(*found, monotonic_ns()));
      return;
    }
  }
  if (has_letter) {
    answer_show_from_letter(bus, asker, id.value());
    return;
  }
  reply(bus, asker, {{"found", false}});
}

// ---- what changes the bus ----

void answer_shutdown(Bus& bus, const Asker& asker, const json& /*query*/) {
  reply(bus, asker, json::object());
  bus.log.line(LogLevel::kInfo, "bus", "asked to shut down for good");
  bus.shut_down_for_good();
}

void answer_reload(Bus& bus, const Asker& asker, const json& /*query*/) {
  const Result<std::vector<std::string>> reloaded = bus.reload();
  if (!reloaded) {
    reply_error(bus, asker, reloaded.error());
    return;
  }
  reply(bus, asker, {{"waiting_for_restart", reloaded.value()}});
}

std::size_t close_links_of(Bus& bus, const Queue& queue, const std::string& why) {
  std::vector<std::uint64_t> numbers;  // Closing a link may end it.
  for (const auto& [number, link] : bus.links) {
    if (link->queue == queue.index) {
      numbers.push_back(number);
    }
  }
  for (const std::uint64_t number : numbers) {
    if (Link* link = bus.find_link(number); link != nullptr) {
      bus.close_link(*link, layout::VerdictReason::kClosedQueue, why);
    }
  }
  return numbers.size();
}

std::size_t refuse_consumers_of(Bus& bus, const Queue& queue, const std::string& why) {
  std::vector<std::uint64_t> numbers(queue.standbys.begin(), queue.standbys.end());
  numbers.push_back(queue.active);  // Last: nobody is left to take over from it.
  std::size_t refused = 0;
  for (const std::uint64_t number : numbers) {
    Connection* consumer = number == 0 ? nullptr : bus.find_connection(number);
    if (consumer != nullptr) {
      bus.refuse(*consumer, layout::RefusedCode::kNoQueue, why);
      refused += 1;
    }
  }
  return refused;
}

// State and frames, which the queue's next life would have been given.
void drop_segments(Bus& bus, Queue& queue) {
  std::vector<UniqueFd> dropped;
  for (std::size_t index = 0; index < std::size(queue.published); ++index) {
    dropped.push_back(std::move(queue.published[index].fd));
    dropped.push_back(std::move(queue.made[index].fd));
    queue.published[index] = PublishedSegment{};
    queue.made[index] = PublishedSegment{};
    [[maybe_unused]] const auto gone = bus.store.remove(store_name("SF"[index], queue.index));
  }
  bus.ledger.queue(queue.index).state_bytes = 0;
  bus.ledger.queue(queue.index).frames_bytes = 0;
  bus.worker->release(std::move(dropped));
}

void answer_remove_queue(Bus& bus, const Asker& asker, const json& query) {
  const Result<std::optional<std::string>> name = read_text(query, "queue");
  if (!name || !name.value()) {
    reply_error(bus, asker, AnswerCode::kInvalid, "query: 'queue' must name the queue");
    return;
  }
  Queue* found = bus.find_queue(*name.value());
  if (found == nullptr) {
    reply_error(bus, asker, AnswerCode::kNotFound,
                "no queue '" + *name.value() + "': ackbus status lists the queues");
    return;
  }
  Queue& queue = *found;
  if (bus.config().find_queue(queue.name) != nullptr) {
    reply_error(bus, asker, AnswerCode::kInvalid,
                "queue '" + queue.name +
                    "' is in the configuration and would come back with the next client: take its "
                    "[[queue]] out of the file, then ackbus reload, then remove it");
    return;
  }
  const std::string why = "queue '" + queue.name + "' was removed";
  queue.removed = true;
  bus.ledger.queue(queue.index).state = RecordState::kDraining;
  drop_segments(bus, queue);
  const std::size_t links = close_links_of(bus, queue, why);
  const std::size_t consumers = refuse_consumers_of(bus, queue, why);
  bus.write_queue_row(queue);
  bus.log.line(LogLevel::kWarning, "queues", "queue removed",
               {{"queue", queue.name}, {"links", std::to_string(links)}});
  reply(bus, asker, {{"links", links}, {"consumers", consumers}});
}

// ---- verbs ----

struct Verb {
  std::string_view name;
  bool changes;  // or shows a payload: operators only
  QueryHandler handler;
};

constexpr Verb kVerbs[] = {
    {"status", false, answer_status},
    {"show", false, answer_show},
    {"dead_list", false, answer_dead_list},
    {"dead_show", false, answer_dead_show},
    {"dead_payload", true, answer_dead_payload},
    {"dead_redrive", true, answer_dead_redrive},
    {"dead_purge", true, answer_dead_purge},
    {"shutdown", true, answer_shutdown},
    {"reload", true, answer_reload},
    {"remove_queue", true, answer_remove_queue},
};

std::string_view text_of(const Packet& packet) {
  const auto* start = reinterpret_cast<const char*>(packet.bytes.data());
  return {start + sizeof(QueryMessage), packet.bytes.size() - sizeof(QueryMessage)};
}

}  // namespace

void reply(Bus& bus, const Asker& asker, const json& answer) {
  if (Connection* connection = bus.find_connection(asker.connection); connection != nullptr) {
    bus.send_answer(*connection, asker.request, static_cast<std::uint32_t>(AnswerCode::kDone),
                    to_line(answer));
  }
}

void reply_error(Bus& bus, const Asker& asker, AnswerCode code, const std::string& text) {
  if (Connection* connection = bus.find_connection(asker.connection); connection != nullptr) {
    bus.send_answer(*connection, asker.request, static_cast<std::uint32_t>(code), text);
  }
}

void reply_error(Bus& bus, const Asker& asker, const Error& error) {
  reply_error(bus, asker, answer_code_of(error.code), error.text);
}

void Bus::answer_query(Connection& connection, const Packet& packet) {
  if (packet.bytes.size() < sizeof(QueryMessage)) {
    send_answer(connection, packet.header().request,
                static_cast<std::uint32_t>(AnswerCode::kInvalid), "query: shorter than its header");
    return;
  }
  const Asker asker{connection.number, packet.header().request};
  const Result<json> query = parse_query(text_of(packet));
  if (!query) {
    reply_error(*this, asker, query.error());
    return;
  }
  const Result<std::optional<std::string>> name = read_text(query.value(), "verb");
  const auto verb = std::find_if(std::begin(kVerbs), std::end(kVerbs), [&](const Verb& candidate) {
    return name && name.value() && candidate.name == *name.value();
  });
  if (verb == std::end(kVerbs)) {
    reply_error(*this, asker, AnswerCode::kInvalid,
                "query: unknown verb: use an ackbus of the daemon's version");
    return;
  }
  if (verb->changes && !may_operate(connection)) {
    reply_error(*this, asker, AnswerCode::kPermission,
                std::string(verb->name) + ": user " + std::to_string(connection.uid) +
                    " may not: list the user or a group of it under [tools] as an operator in the "
                    "configuration");
    return;
  }
  verb->handler(*this, asker, query.value());
}

void Bus::send_answer(Connection& connection, std::uint32_t request, std::uint32_t code,
                      const std::string& text) {
  std::vector<std::string_view> parts = split_text(text, kAnswerTextMax);
  for (std::size_t part = 0; part < parts.size(); ++part) {
    QueryMessage message{};
    message.header = layout::control_header<QueryMessage>(layout::ControlType::kAnswer, request);
    message.header.bytes += static_cast<std::uint32_t>(parts[part].size());
    message.code = code;
    message.more = part + 1 < parts.size() ? 1 : 0;
    std::vector<std::byte> bytes(message.header.bytes);
    std::memcpy(bytes.data(), &message, sizeof message);
    std::copy_n(reinterpret_cast<const std::byte*>(parts[part].data()), parts[part].size(),
                bytes.data() + sizeof message);
    send(connection, bytes.data(), bytes.size());
  }
}

}  // namespace ackbus::daemon
