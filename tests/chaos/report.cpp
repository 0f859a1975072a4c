#include "tests/chaos/report.hpp"

#include <algorithm>
#include <cstdio>

#include "tests/chaos/roles.hpp"

namespace ackbus::chaos {
namespace {

using nlohmann::json;

constexpr std::size_t kMissingLinesMax = 16;
constexpr std::size_t kLettersOfAPage = 1000;
constexpr int kPurgesMax = 12;  // each is waited for a few seconds

void row(const std::string& name, const std::string& figure) {
  std::printf("%-58s %s\n", name.c_str(), figure.c_str());
}

void row(const std::string& name, std::uint64_t figure) { row(name, std::to_string(figure)); }

std::string percentiles_ms(std::vector<std::uint64_t> samples_ns) {
  if (samples_ns.empty()) {
    return "no samples";
  }
  std::sort(samples_ns.begin(), samples_ns.end());
  const auto at = [&](double share) {
    const auto last = static_cast<double>(samples_ns.size() - 1);
    return static_cast<double>(samples_ns[static_cast<std::size_t>(share * last + 0.5)]) / 1e6;
  };
  char text[128];
  std::snprintf(text, sizeof text, "%.1f / %.1f / %.1f (of %zu)", at(0.5), at(0.99), at(1.0),
                samples_ns.size());
  return text;
}

std::uint64_t above(std::uint64_t now, std::uint64_t before) {
  return now > before ? now - before : 0;
}

}  // namespace

bool Report::end_round() {
  const bool quiet = stage_.quiesce();
  rounds_ += 1;
  count_events();
  if (!quiet) {
    return false;
  }
  verifier_.add_round(stage_, list_letters());
  for (std::string& line :
       compare_counters(stage_.metrics_page(), verifier_.expected(), compared_)) {
    differing_.push_back("round " + std::to_string(rounds_) + ": " + line);
  }
  if (is_clean()) {
    purge_letters();
    stage_.forget_round();
  }
  return true;
}

// All of the round, page by page.
json Report::list_letters() {
  json all = json::array();
  json request = {{"verb", "dead_list"}, {"limit", kLettersOfAPage}};
  do {
    const json page = stage_.ask(request);
    if (page.is_null()) {
      differing_.push_back("the daemon does not list its dead letters");
      return all;
    }
    all.insert(all.end(), page["letters"].begin(), page["letters"].end());
    request["after"] = page["next"];
  } while (!request["after"].is_null());
  return all;
}

// A slow disk takes longer over it than one question waits for its answer.
void Report::purge_letters() {
  for (int i = 0; i < kPurgesMax; ++i) {
    const json purged = stage_.ask({{"verb", "dead_purge"}, {"id", "all"}});
    const json left = stage_.ask({{"verb", "dead_list"}, {"limit", 1}});
    if (!purged.is_null() && !left.is_null() && left["letters"].empty()) {
      return;
    }
  }
  differing_.push_back("the daemon does not purge its dead letters");
}

void Report::count_events() {
  for (const Event& event : stage_.events()) {
    const auto victim = static_cast<std::size_t>(event.victim);
    kills_[victim] += event.what == Event::What::kKill ? 1 : 0;
    stops_[victim] += event.what == Event::What::kStop ? 1 : 0;
  }
}

void Report::compare_holdings() {
  if (!is_clean() || !baseline_) {
    return;
  }
  // The daemon closes what a client left on a thread of its own: a leak is what stays.
  Holdings now = read_holdings(stage_);
  for (int i = 0; i < 200 && now.daemon_descriptors > baseline_->daemon_descriptors; ++i) {
    pause_ms(10);
    now = read_holdings(stage_);
  }
  leaked_descriptors_ += above(now.daemon_descriptors, baseline_->daemon_descriptors) +
                         above(now.stored_descriptors, baseline_->stored_descriptors);
  leaked_bytes_ += above(now.stored_bytes, baseline_->stored_bytes) +
                   above(now.mapped_bytes, baseline_->mapped_bytes) + now.counted_bytes;
  leaked_files_ += above(now.letter_files, baseline_->letter_files);
}

bool Report::is_clean() const {
  const Findings& found = verifier_.findings();
  return found.lines.empty() && differing_.empty() && stage_.troubles().empty() &&
         leaked_descriptors_ == 0 && leaked_bytes_ == 0 && leaked_files_ == 0;
}

void Report::print_progress(std::uint64_t past_s) const {
  std::printf("chaos: %llu s, round %llu, %llu messages judged, points %zu of %zu, armed:%s\n",
              static_cast<unsigned long long>(past_s), static_cast<unsigned long long>(rounds_),
              static_cast<unsigned long long>(verifier_.findings().messages),
              schedule_.points_hit(), schedule_.points_wanted(), schedule_.armed_text().c_str());
  std::fflush(stdout);
}

std::vector<std::string> Report::print_kills() const {
  std::vector<std::string> missing;
  for (std::size_t victim = 0; victim < kVictims; ++victim) {
    row(std::string("kills: ") + kVictimNames[victim], kills_[victim]);
    if (schedule_.random_kills()[victim] == 0) {
      missing.push_back(std::string(kVictimNames[victim]) + " was never killed at a random time");
    }
  }
  for (std::size_t victim = 0; victim < kVictims; ++victim) {
    row(std::string("stops: ") + kVictimNames[victim], stops_[victim]);
    if (schedule_.random_stops()[victim] == 0) {
      missing.push_back(std::string(kVictimNames[victim]) + " was never stopped");
    }
  }
  std::uint64_t kills_at_points = 0;
  for (std::size_t point = 0; point < layout::kPointCount; ++point) {
    kills_at_points += schedule_.kills_at(point);
    if (schedule_.kills_at(point) == 0 && schedule_.points_wanted() != 0) {
      missing.push_back(std::string("nobody was killed at ") + all_points()[point].name + ": " +
                        all_points()[point].where);
    }
  }
  row("named points with a kill",
      std::to_string(schedule_.points_hit()) + " of " + std::to_string(schedule_.points_wanted()));
  row("kills at named points", kills_at_points);
  return missing;
}

void Report::print_findings() const {
  const Findings& found = verifier_.findings();
  row("rounds", rounds_);
  row("messages", found.messages);
  row("executions of their handlers", found.executions);
  row("lost", found.lost);
  row("wrong payloads", found.wrong_payloads);
  row("outcomes that nothing bears out", found.wrong_outcomes);
  row("cancelled, but run", found.cancelled_run);
  row("superseded, but run afterwards", found.superseded_run);
  row("dead letters twice, missing, or unmarked for a success", found.bad_letters);
  row("acked state that the GPU process lost", found.gpu_state_lost);
  row("duplicates: the consumer died with it begun", found.duplicates_death);
  row("duplicates: the consumer died while it acked", found.duplicates_acking);
  row("duplicates: given back", found.duplicates_given_back);
  row("duplicates: forbidden", found.forbidden_duplicates);
  row("run once, timed out, answered late", found.answered_late);
  row("untracked messages gone with their consumer", found.posts_gone);
  row("recovery ms, consumer killed, p50 / p99 / max",
      percentiles_ms(found.consumer_recoveries_ns));
  row("recovery ms, daemon restarted, p50 / p99 / max", percentiles_ms(found.daemon_recoveries_ns));
  row("calls that failed, processes that ended by themselves",
      found.troubles + stage_.troubles().size());
  row("GPU process left to be started again", stage_.gpu_restarts());
  row("leaked descriptors", leaked_descriptors_);
  row("leaked bytes", leaked_bytes_);
  row("leaked files", leaked_files_);
  row("counters compared", compared_);
  row("counters that differ", differing_.size());
}

void Report::print_lines() const {
  for (const std::string& line : verifier_.findings().lines) {
    std::printf("chaos: %s\n", line.c_str());
  }
  for (const std::string& line : stage_.troubles()) {
    std::printf("chaos: %s\n", line.c_str());
  }
  for (const std::string& line : differing_) {
    std::printf("chaos: %s\n", line.c_str());
  }
}

int Report::print() {
  const std::vector<std::string> missing = print_kills();
  print_findings();
  print_lines();
  for (std::size_t i = 0; i < std::min(missing.size(), kMissingLinesMax); ++i) {
    std::printf("chaos: %s\n", missing[i].c_str());
  }
  if (missing.size() > kMissingLinesMax) {
    std::printf("chaos: and %zu more that did not happen\n", missing.size() - kMissingLinesMax);
  }
  const bool good = is_clean() && missing.empty();
  std::printf("chaos: %s\n", good ? "passed" : "FAILED; the folder of the run is left as it is");
  std::fflush(stdout);
  return good ? 0 : 1;
}

}  // namespace ackbus::chaos
