// Texts that the tools and the daemon exchange, and command lines: queries, answers, ids, words of
// the command line, and what a supervised daemon says to `ackbus run`. Data flow: the input's text
// (JSON, or JSON built from the input in the shape of an answer) -> the readers of both sides ->
// the views. Checked: nothing but an error or a text comes of it, and a text is safe to print. One
// thread.
#include <fcntl.h>
#include <unistd.h>

#include <ackbus/message_id.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "daemon/query_text.hpp"
#include "tests/fuzz/input.hpp"
#include "tools/cli.hpp"
#include "tools/command_dead.hpp"
#include "tools/command_show.hpp"
#include "tools/status_model.hpp"
#include "tools/status_view.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

using fuzz::Input;
using nlohmann::json;

// What every answer is made of; an unknown name now and then.
constexpr const char* kNames[] = {"bus",
                                  "incarnation",
                                  "daemon",
                                  "pid",
                                  "uptime_seconds",
                                  "version",
                                  "backlog",
                                  "kinds",
                                  "id",
                                  "name",
                                  "sent",
                                  "success",
                                  "failed",
                                  "exhausted",
                                  "partial_success",
                                  "superseded",
                                  "cancelled",
                                  "closed",
                                  "posted",
                                  "pending",
                                  "retries",
                                  "latency",
                                  "given_back",
                                  "latency_sum_ns",
                                  "dead_lettered",
                                  "queues",
                                  "listed",
                                  "epoch",
                                  "consumer",
                                  "client",
                                  "since_seconds",
                                  "begun",
                                  "standbys",
                                  "links",
                                  "oldest_age_ms",
                                  "stalled",
                                  "age_ms",
                                  "message",
                                  "link",
                                  "queue",
                                  "uid",
                                  "slots",
                                  "arena_bytes",
                                  "free",
                                  "state",
                                  "memory",
                                  "submission",
                                  "ack",
                                  "tracking",
                                  "frames",
                                  "dead_letters",
                                  "count",
                                  "bytes",
                                  "limit_bytes",
                                  "writable",
                                  "letters",
                                  "found",
                                  "slot",
                                  "sequence",
                                  "kind",
                                  "attempt",
                                  "attempts",
                                  "deaths",
                                  "outcome",
                                  "reason",
                                  "letter",
                                  "detail",
                                  "sent_at",
                                  "exhausted_at",
                                  "history",
                                  "payload_bytes",
                                  "attempt_times",
                                  "late_success",
                                  "origin_id",
                                  "times",
                                  "verb",
                                  "limit",
                                  "older_than_seconds",
                                  "tracked",
                                  "key"};

json value(Input& input, int depth);

json object(Input& input, int depth) {
  json made = json::object();
  for (std::uint64_t left = input.below(12); left > 0 && !input.empty(); --left) {
    const std::uint64_t name = input.below(std::size(kNames) + 1);
    made[name < std::size(kNames) ? kNames[name] : input.text(8)] = value(input, depth - 1);
  }
  return made;
}

json value(Input& input, int depth) {
  switch (depth <= 0 ? input.below(6) : input.below(10)) {
    case 0:
      return nullptr;
    case 1:
      return input.flag();
    case 2:
      return input.word(100);
    case 3:
      return -static_cast<std::int64_t>(input.take<std::uint32_t>());
    case 4:
      return static_cast<double>(input.take<float>());
    case 5:
      return input.text(40);
    case 6: {
      json list = json::array();
      for (std::uint64_t left = input.below(30); left > 0 && !input.empty(); --left) {
        list.push_back(value(input, depth - 1));
      }
      return list;
    }
    default:
      return object(input, depth);
  }
}

// An answer to `status` with a value of any sort here and there.
json status_answer(Input& input) {
  const auto maybe = [&](json sound) { return input.below(4) == 0 ? value(input, 2) : sound; };
  json answer = object(input, 2);
  answer["bus"] = maybe("default");
  answer["incarnation"] = maybe(3);
  answer["daemon"] = maybe({{"pid", maybe(7)}, {"uptime_seconds", maybe(1.5)}});
  answer["kinds"] = maybe(json::array({object(input, 2), object(input, 2)}));
  answer["queues"] = maybe(json::array({object(input, 2), object(input, 2)}));
  answer["links"] = maybe(json::array({object(input, 2)}));
  answer["memory"] = maybe(object(input, 1));
  answer["dead_letters"] = maybe(object(input, 1));
  return answer;
}

// No control character but the line feed may reach a terminal.
void check_printable(const std::string& text) {
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    ACKBUS_ASSERT((code >= 0x20 && code != 0x7f) || letter == '\n');
  }
}

void view_answer(const json& answer) {
  if (Result<BusStatus> status = parse_status(answer)) {
    check_printable(status_text(*status));
    for (const std::string& problem : find_problems(*status, 5000)) {
      check_printable(problem);
    }
    check_printable(status_text(*status, {&*status, 2.0}));
    const std::string summary = metrics_of(*status).summary();
    ACKBUS_ASSERT(!summary.empty());
    for (const KindStatus& kind : status->kinds) {
      ACKBUS_ASSERT(latency_bound_ns(kind, 50) <= latency_bound_ns(kind, 99));
    }
  }
  check_printable(dead_list_text(answer));
  check_printable(show_text("id", answer));
  ACKBUS_ASSERT(json_text(answer).ends_with('\n'));
  ACKBUS_ASSERT(format_bytes(field_count(answer, "bytes")).size() < 32);
}

// The daemon's half.
void read_as_query(const std::string& text) {
  const daemon::Result<json> query = daemon::parse_query(text);
  if (!query) {
    return;
  }
  for (const char* name : {"verb", "id", "queue", "reason"}) {
    const auto read = daemon::read_text(query.value(), name);
    ACKBUS_ASSERT(!read.ok() || !read.value() || read.value()->size() <= 256);
  }
  const auto count = daemon::read_count(query.value(), "limit", 100);
  const auto id = daemon::read_id(query.value(), "id");
  ACKBUS_ASSERT(!id.ok() || daemon::parse_letter_id(daemon::to_text(id.value())) == id.value());
  ACKBUS_ASSERT(!count.ok() || daemon::to_line(query.value()).find('\n') == std::string::npos);
  std::string joined;
  for (const std::string_view part : daemon::split_text(text, 7)) {
    ACKBUS_ASSERT(part.size() <= 7);
    joined += part;
  }
  ACKBUS_ASSERT(joined == text);
}

void read_as_id(const std::string& text) {
  if (const std::optional<MessageId> id = MessageId::parse(text)) {
    ACKBUS_ASSERT(MessageId::parse(id->to_string()) == id);
  }
  if (const std::optional<MessageId> id = MessageId::from_json(text)) {
    ACKBUS_ASSERT(MessageId::from_json(id->to_json()) == id);
  }
}

// Standard output and error go nowhere while a command line is read.
class Silence {
 public:
  Silence() : out_(::dup(1)), error_(::dup(2)) {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(nowhere, 1);
    ::dup2(nowhere, 2);
    ::close(nowhere);
  }
  ~Silence() {
    ::fflush(stdout);
    ::fflush(stderr);
    ::dup2(out_, 1);
    ::dup2(error_, 2);
    ::close(out_);
    ::close(error_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  int out_;
  int error_;
};

template <typename Options>
CommandFunction<Options> checked(bool (*in_range)(const Options&)) {
  return [in_range](const CommonOptions& common, const Options& options) {
    ACKBUS_ASSERT(common.connect_timeout_seconds > 0 && in_range(options));
    return ExitCode::kDone;
  };
}

template <typename Options>
CommandFunction<Options> accepted() {
  return checked<Options>([](const Options&) { return true; });
}

void read_command_line(const std::string& text) {
  CommandFunctions functions;
  functions.run = accepted<RunOptions>();
  functions.status = accepted<StatusOptions>();
  functions.show = accepted<ShowOptions>();
  functions.send = checked<SendCommandOptions>(
      [](const SendCommandOptions& options) { return !options.queue.empty(); });
  functions.layout = accepted<LayoutOptions>();
  functions.doctor = accepted<DoctorOptions>();
  functions.bench_roundtrip = accepted<BenchRoundTripOptions>();
  functions.bench_throughput = accepted<BenchThroughputOptions>();
  functions.dead_list = accepted<DeadOptions>();
  functions.dead_show = accepted<DeadOptions>();
  functions.dead_redrive = accepted<DeadOptions>();
  functions.dead_purge = accepted<DeadOptions>();
  functions.queue_remove = accepted<QueueOptions>();
  functions.reload = accepted<ReloadOptions>();
  std::vector<std::string> words(1);
  for (const char letter : text) {
    if (letter == ' ' || letter == '\0') {
      words.emplace_back();
    } else {
      words.back() += letter;
    }
  }
  const Silence silence;
  [[maybe_unused]] const ExitCode code = run_command_line(words, functions);
}

}  // namespace
}  // namespace ackbus::tools

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ackbus::tools;  // NOLINT(google-build-using-namespace)
  ackbus::fuzz::Input input(data, size);
  switch (input.below(6)) {
    case 0:
      view_answer(status_answer(input));
      break;
    case 1:
      view_answer(object(input, 4));
      break;
    case 2: {
      const std::string text = input.rest_as_text();
      read_as_query(text);
      const json answer = json::parse(text, nullptr, false);
      if (answer.is_object()) {
        view_answer(answer);
      }
      break;
    }
    case 3:
      read_as_id(input.rest_as_text());
      break;
    case 4: {
      read_as_query(object(input, 3).dump(-1, ' ', false, json::error_handler_t::replace));
      break;
    }
    default:
      read_command_line(input.rest_as_text());
  }
  return 0;
}
