#include "tools/command_show.hpp"

#include <ackbus/message_id.hpp>
#include <optional>

#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

std::string line(const std::string& name, const std::string& value) {
  constexpr std::size_t kNameWidth = 13;
  return name + std::string(kNameWidth - name.size(), ' ') + value + "\n";
}

}  // namespace

std::string show_text(const std::string& id, const nlohmann::json& answer) {
  std::string text = line("message", id);
  text += line("kind", field_text(answer, "kind"));
  text += line("queue", field_text(answer, "queue"));
  text += line("link", field_text(answer, "link"));
  text += line("slot", field_text(answer, "slot"));
  text += line("sequence", field_text(answer, "sequence"));
  text += line("state", field_text(answer, "state"));
  text += line("attempt", field_text(answer, "attempt") + ", " +
                              field_text(answer, "retries", "0") + " retries");
  if (field(answer, "next_retry_ms").is_number()) {
    text += line("next retry", "in " + format_count(field_count(answer, "next_retry_ms")) + " ms");
  }
  text += line("age", format_duration(field_real(answer, "age_ms") / 1000.0));
  text += line("outcome", field_text(answer, "outcome", "not known yet"));
  if (field_flag(answer, "dead_letter", false)) {
    text += line("dead letter", "kept: ackbus dead show " + id);
  }
  return text;
}

ExitCode run_show(const CommonOptions& common, const ShowOptions& options) {
  const std::optional<MessageId> id = MessageId::parse(options.id);
  if (!id) {
    return report_error(ExitCode::kUsage, "'" + options.id +
                                              "' is not a message id: 36 characters like "
                                              "123e4567-e89b-42d3-a456-426614174000");
  }
  const std::string text = id->to_string();
  const Result<nlohmann::json> answer = ask_daemon(common, {{"verb", "show"}, {"id", text}});
  if (!answer) {
    return report_error(answer.error());
  }
  if (!field_flag(answer.value(), "found", false)) {
    return report_error(
        ExitCode::kNotFound,
        "message " + text +
            " is not known: no slot holds it (any more) and no dead letter has its id; was it sent "
            "on this bus?");
  }
  return print_text(options.json ? json_text(answer.value()) : show_text(text, answer.value()));
}

}  // namespace ackbus::tools
