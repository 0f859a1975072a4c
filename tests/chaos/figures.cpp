#include "tests/chaos/figures.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/chaos/message.hpp"

namespace ackbus::chaos {
namespace {

namespace fs = std::filesystem;

class Page {
 public:
  explicit Page(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t space = line.rfind(' ');
      if (line.starts_with("ackbus_") && space != std::string::npos) {
        values_[line.substr(0, space)] = std::strtod(line.c_str() + space, nullptr);
      }
    }
  }
  [[nodiscard]] bool empty() const { return values_.empty(); }
  [[nodiscard]] std::uint64_t value(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? 0 : static_cast<std::uint64_t>(std::llround(found->second));
  }

 private:
  std::map<std::string, double> values_;
};

class Comparison {
 public:
  Comparison(const Page& page, std::uint64_t& compared) : page_(page), compared_(compared) {}

  void between(const std::string& metric, std::uint16_t kind, const std::string& label,
               std::uint64_t low, std::uint64_t high) {
    const std::string name = "ackbus_" + metric + "{bus=\"default\",kind=\"" +
                             kind_names().at(kind) + "\"" + (label.empty() ? "" : "," + label) +
                             "}";
    const std::uint64_t value = page_.value(name);
    compared_ += 1;
    if (value < low || value > high) {
      differ_.push_back(name + ": " + std::to_string(value) + " instead of " + std::to_string(low) +
                        (low == high ? "" : " to " + std::to_string(high)));
    }
  }
  [[nodiscard]] std::uint64_t retried(std::uint16_t kind) const {
    std::uint64_t sum = 0;
    for (const char* cause : {"timeout", "given_back", "death"}) {
      sum += page_.value("ackbus_messages_retried_total{bus=\"default\",kind=\"" +
                         kind_names().at(kind) + "\",cause=\"" + cause + "\"}");
    }
    return sum;
  }
  void differ(const std::string& line) { differ_.push_back(line); }
  [[nodiscard]] std::vector<std::string> take() { return std::move(differ_); }

 private:
  const Page& page_;
  std::uint64_t& compared_;
  std::vector<std::string> differ_;
};

void compare_endings(Comparison& comparison, std::uint16_t kind, const Expected& expected) {
  constexpr const char* kNames[] = {"",          "success",    "partial_success", "failed",
                                    "exhausted", "superseded", "cancelled"};
  const std::uint64_t unknown = expected.unknown + expected.unknown_sent;
  comparison.between("messages_sent_total", kind, "", expected.sent,
                     expected.sent + expected.unknown_sent);
  comparison.between("messages_posted_total", kind, "", expected.posted,
                     expected.posted + expected.unknown_posted);
  for (std::size_t ending = 1; ending < std::size(kNames); ++ending) {
    comparison.between("messages_outcomes_total", kind,
                       std::string("outcome=\"") + kNames[ending] + "\"", expected.endings[ending],
                       expected.endings[ending] + unknown);
  }
  comparison.between("messages_outcomes_total", kind, "outcome=\"closed\"", 0, 0);
}

void compare_decisions(Comparison& comparison, std::uint16_t kind, const Expected& expected) {
  for (const char* reason : {"retries", "undelivered", "max_age", "poison"}) {
    const auto found = expected.dead.find(reason);
    const std::uint64_t letters = found == expected.dead.end() ? 0 : found->second;
    comparison.between("messages_dead_lettered_total", kind,
                       std::string("reason=\"") + reason + "\"", letters,
                       letters + expected.unknown_sent);
  }
  comparison.between("late_acks_total", kind, "", expected.late, expected.late);
  if (static_cast<Kind>(kind) == kAgain && comparison.retried(kind) != expected.retries) {
    comparison.differ("retries of kind Again: " + std::to_string(comparison.retried(kind)) +
                      " instead of " + std::to_string(expected.retries));
  }
}

// Shared segments in a process's descriptors, each counted once, and how many descriptors it has.
std::uint64_t segment_bytes(pid_t pid, std::uint64_t& descriptors) {
  std::uint64_t bytes = 0;
  std::set<ino_t> seen;
  std::error_code ignored;
  for (const auto& entry :
       fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored)) {
    descriptors += 1;
    const std::string target = fs::read_symlink(entry.path(), ignored).string();
    struct stat facts {};
    if (target.starts_with("/memfd:ackbus") && ::stat(entry.path().c_str(), &facts) == 0 &&
        seen.insert(facts.st_ino).second) {
      bytes += static_cast<std::uint64_t>(facts.st_size);
    }
  }
  return bytes;
}

std::uint64_t mapped_segment_bytes(pid_t pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  std::uint64_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:ackbus") != std::string::npos) {
      char* end = nullptr;
      const std::uint64_t first = std::strtoull(line.c_str(), &end, 16);
      bytes += std::strtoull(end + 1, nullptr, 16) - first;
    }
  }
  return bytes;
}

}  // namespace

const std::map<std::uint16_t, std::string>& kind_names() {
  static const std::map<std::uint16_t, std::string> names{{1, "InitializeGPU"},
                                                          {2, "UpdateGPUGraphData"},
                                                          {3, "UploadConstraintsToGPU"},
                                                          {4, "ComputeForces"},
                                                          {5, "UpdateNodePositions"},
                                                          {6, "SetSharedGPUContext"},
                                                          {10, "Work"},
                                                          {11, "State"},
                                                          {12, "Quick"},
                                                          {13, "Again"}};
  return names;
}

std::vector<std::string> compare_counters(const std::string& text,
                                          const std::map<std::uint16_t, Expected>& expected,
                                          std::uint64_t& compared) {
  const Page page(text);
  compared = 0;
  if (page.empty()) {
    return {"the daemon serves no metrics page"};
  }
  Comparison comparison(page, compared);
  for (const auto& [kind, figures] : expected) {
    if (kind_names().contains(kind)) {
      compare_endings(comparison, kind, figures);
      compare_decisions(comparison, kind, figures);
      compared += static_cast<Kind>(kind) == kAgain ? 1 : 0;
    }
  }
  for (const char* queue : {kWorkQueue, kGpuQueue}) {
    compared += 1;
    const std::string name =
        std::string("ackbus_pending_messages{bus=\"default\",queue=\"") + queue + "\"}";
    if (page.value(name) != 0) {
      comparison.differ(name + ": " + std::to_string(page.value(name)) + " instead of 0");
    }
  }
  return comparison.take();
}

Holdings read_holdings(const Stage& stage) {
  Holdings holdings;
  segment_bytes(stage.daemon_pid(), holdings.daemon_descriptors);
  holdings.mapped_bytes = mapped_segment_bytes(stage.daemon_pid());
  std::uint64_t own = 0;
  holdings.stored_bytes = segment_bytes(::getpid(), own);
  holdings.stored_descriptors = stage.stored_descriptors();
  const nlohmann::json status = stage.ask({{"verb", "status"}});
  if (!status.is_null()) {
    for (const char* segment : {"submission", "ack", "tracking"}) {
      holdings.counted_bytes += status["memory"][segment].get<std::uint64_t>();
    }
  }
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(stage.dead_letter_dir(), ignored)) {
    holdings.letter_files += file.is_regular_file() ? 1 : 0;
  }
  return holdings;
}

}  // namespace ackbus::chaos
