#include "tools/command_queue.hpp"

#include <algorithm>
#include <string_view>

#include "shm_layout/limits.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {

std::string queue_name_problem(const std::string& name) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  const bool good = !name.empty() && name.size() < layout::kNameBytesMax &&
                    name.find_first_not_of(kAllowed) == std::string::npos;
  return good ? std::string()
              : "queue name '" + printable_text(name) + "' is not 1 to " +
                    std::to_string(layout::kNameBytesMax - 1) + " of A-Z a-z 0-9 _ . -";
}

std::string removed_text(const std::string& name, const nlohmann::json& answer) {
  return "removed queue " + name + ": closed " + format_count(field_count(answer, "links")) +
         " link(s), sent away " + format_count(field_count(answer, "consumers")) + " consumer(s)\n";
}

std::string reloaded_text(const nlohmann::json& answer) {
  std::string keys;
  const nlohmann::json& waiting = field(answer, "waiting_for_restart");
  for (const nlohmann::json& key : waiting.is_array() ? waiting : nlohmann::json::array()) {
    if (key.is_string()) {
      keys += (keys.empty() ? "" : ", ") + printable_text(key.get_ref<const std::string&>());
    }
  }
  return "configuration reloaded\n" +
         (keys.empty() ? "" : "only a restart of ackbusd takes what changed in: " + keys + "\n");
}

ExitCode run_queue_remove(const CommonOptions& common, const QueueOptions& options) {
  const Result<nlohmann::json> answer =
      ask_daemon(common, {{"verb", "remove_queue"}, {"queue", options.name}});
  if (!answer) {
    return report_error(answer.error());
  }
  return print_text(options.json ? json_text(answer.value())
                                 : removed_text(options.name, answer.value()));
}

ExitCode run_reload(const CommonOptions& common, const ReloadOptions& options) {
  const Result<nlohmann::json> answer = ask_daemon(common, {{"verb", "reload"}});
  if (!answer) {
    return report_error(answer.error());
  }
  return print_text(options.json ? json_text(answer.value()) : reloaded_text(answer.value()));
}

}  // namespace ackbus::tools
