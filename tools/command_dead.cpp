#include "tools/command_dead.hpp"

#include <ackbus/message_id.hpp>

#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr std::size_t kValueWidthMax = 1000;

// The id in its plain form, "all" where that is allowed, or an error that names what was given.
Result<std::string> read_selection(const std::string& given, bool all_allowed) {
  if (all_allowed && given == "all") {
    return given;
  }
  if (const std::optional<MessageId> id = MessageId::parse(given)) {
    return id->to_string();
  }
  return Error{ErrorCode::kInvalid, "'" + given + "' is not a message id" +
                                        (all_allowed ? " or 'all'" : "") +
                                        ": ackbus dead list shows the ids"};
}

nlohmann::json list_request(const DeadOptions& options) {
  nlohmann::json request = {{"verb", "dead_list"}};
  for (const auto& [name, wanted] :
       {std::pair("queue", &options.queue), std::pair("kind", &options.kind),
        std::pair("reason", &options.reason)}) {
    if (!wanted->empty()) {
      request[name] = *wanted;
    }
  }
  return request;
}

// One answer out of as many as it takes: the daemon gives a page of letters at a time and the place
// where the next begins.
Result<nlohmann::json> list_letters(DaemonSession& session, const DeadOptions& options) {
  nlohmann::json request = list_request(options);
  nlohmann::json letters = nlohmann::json::array();
  while (true) {
    request["limit"] = options.limit - letters.size();
    Result<nlohmann::json> answer = session.ask(request, kQueryTimeout);
    if (!answer) {
      return answer;
    }
    const nlohmann::json& page = field(answer.value(), "letters");
    const std::size_t shown = page.is_array() ? page.size() : 0;
    if (shown != 0) {
      letters.insert(letters.end(), page.begin(), page.end());
    }
    request["after"] = field(answer.value(), "next");
    if (shown == 0 || letters.size() >= options.limit || !request["after"].is_string()) {
      answer.value()["letters"] = std::move(letters);
      return answer;
    }
  }
}

// Every field of a letter, one a line, whatever the daemon's version adds.
std::string letter_text(const nlohmann::json& letter) {
  std::string text;
  for (const auto& [name, value] : letter.items()) {
    const std::string shown =
        value.is_string() ? value.get<std::string>()
                          : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text += printable_text(name, 40) + ": " + printable_text(shown, kValueWidthMax) + "\n";
  }
  return text;
}

ExitCode ask_and_print(const CommonOptions& common, const nlohmann::json& request, bool json,
                       std::string (*render)(const nlohmann::json&)) {
  const Result<nlohmann::json> answer = ask_daemon(common, request);
  if (!answer) {
    return report_error(answer.error());
  }
  return print_text(json ? json_text(answer.value()) : render(answer.value()));
}

std::string redriven_text(const nlohmann::json& answer) {
  const nlohmann::json& redriven = field(answer, "redriven");
  if (!redriven.is_array() || redriven.empty()) {
    return "nothing was redriven: there is no such letter\n";
  }
  std::string text;
  for (const nlohmann::json& letter : redriven) {
    text += "redriven " + field_text(letter, "id") + " as " + field_text(letter, "new_id") + "\n";
  }
  return text;
}

std::string purged_text(const nlohmann::json& answer) {
  return "purged " + format_count(field_count(answer, "purged")) + " letter(s)\n";
}

}  // namespace

std::string dead_list_text(const nlohmann::json& answer) {
  const nlohmann::json& letters = field(answer, "letters");
  if (!letters.is_array() || letters.empty()) {
    return "no dead letters\n";
  }
  TextTable table({{"message", Align::kLeft},
                   {"kind", Align::kLeft},
                   {"queue", Align::kLeft},
                   {"link", Align::kRight},
                   {"attempts", Align::kRight},
                   {"deaths", Align::kRight},
                   {"reason", Align::kLeft},
                   {"payload", Align::kRight},
                   {"exhausted at", Align::kLeft},
                   {"remarks", Align::kLeft}});
  for (const nlohmann::json& letter : letters) {
    std::string remarks = field_flag(letter, "payload_kept", true) ? "" : "payload not kept ";
    remarks += field_flag(letter, "late_success", false) ? "late success " : "";
    remarks += field(letter, "origin").is_string() ? "from " + field_text(letter, "origin") : "";
    table.add_row({field_text(letter, "id"), field_text(letter, "kind"),
                   field_text(letter, "queue"), field_text(letter, "link"),
                   field_text(letter, "attempts"), field_text(letter, "deaths"),
                   field_text(letter, "reason"), format_bytes(field_count(letter, "bytes")),
                   field_text(letter, "exhausted_at"), remarks});
  }
  const std::uint64_t more = field_count(answer, "more");
  return table.text() +
         (more == 0 ? "" : "and " + format_count(more) + " older: --limit shows more of them\n");
}

ExitCode run_dead_list(const CommonOptions& common, const DeadOptions& options) {
  Result<DaemonSession> session = DaemonSession::open(common);
  if (!session) {
    return report_error(session.error());
  }
  const Result<nlohmann::json> answer = list_letters(session.value(), options);
  if (!answer) {
    return report_error(answer.error());
  }
  return print_text(options.json ? json_text(answer.value()) : dead_list_text(answer.value()));
}

ExitCode run_dead_show(const CommonOptions& common, const DeadOptions& options) {
  const Result<std::string> id = read_selection(options.id, false);
  if (!id) {
    return report_error(id.error());
  }
  return ask_and_print(common, {{"verb", "dead_show"}, {"id", id.value()}}, options.json,
                       letter_text);
}

ExitCode run_dead_redrive(const CommonOptions& common, const DeadOptions& options) {
  const Result<std::string> id = read_selection(options.id, true);
  if (!id) {
    return report_error(id.error());
  }
  const nlohmann::json request = {
      {"verb", "dead_redrive"}, {"id", id.value()}, {"limit", options.limit}};
  const Result<nlohmann::json> answer = ask_daemon(common, request);
  if (!answer) {
    return report_error(answer.error());
  }
  const ExitCode printed =
      print_text(options.json ? json_text(answer.value()) : redriven_text(answer.value()));
  const bool none =
      !field(answer.value(), "redriven").is_array() || field(answer.value(), "redriven").empty();
  // A named letter that is not there is an error; "all" of nothing is done.
  return printed == ExitCode::kDone && none && id.value() != "all" ? ExitCode::kNotFound : printed;
}

ExitCode run_dead_purge(const CommonOptions& common, const DeadOptions& options) {
  nlohmann::json request = {{"verb", "dead_purge"},
                            {"id", nullptr},
                            {"older_than_seconds", options.older_than_seconds.value_or(0)}};
  if (options.id.empty() && !options.older_than_seconds) {
    return report_error(ExitCode::kUsage,
                        "dead purge needs a message id, 'all' or --older-than SECONDS");
  }
  if (!options.id.empty()) {
    const Result<std::string> id = read_selection(options.id, true);
    if (!id) {
      return report_error(id.error());
    }
    request["id"] = id.value();
  }
  return ask_and_print(common, request, options.json, purged_text);
}

}  // namespace ackbus::tools
