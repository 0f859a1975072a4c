// `ackbus doctor`: whether this machine and this user can have a bus, and what a configuration
// costs. Data flow: looks at the kernel, limits, folders, devices and the daemon -> one finding
// each, with a remedy where something is wrong -> a table. Threads: one. It changes nothing but one
// anonymous page of memory of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/daemon_query.hpp"
#include "tools/exit_codes.hpp"

namespace ackbus::tools {

struct DoctorOptions {
  std::uint32_t slots = 1024;  // of the configuration whose cost is shown
  std::uint64_t arena_bytes = 16ULL << 20;
  std::uint32_t links = 1;
};

enum class Health : std::uint8_t { kGood = 1, kRemark, kBad };

struct Finding {
  Health health = Health::kGood;
  std::string subject;
  std::string detail;
  std::string remedy;  // empty when there is nothing to do
};

// kDone when nothing is bad, else kDegraded.
[[nodiscard]] ExitCode run_doctor(const CommonOptions& common, const DoctorOptions& options);

// The single looks.
[[nodiscard]] Finding examine_kernel();
[[nodiscard]] Finding examine_seals();
[[nodiscard]] Finding examine_descriptor_limit(std::uint32_t links);
[[nodiscard]] Finding examine_memory(const DoctorOptions& options, std::uint64_t available_bytes);
[[nodiscard]] Finding examine_runtime_dir(const CommonOptions& common);
[[nodiscard]] Finding examine_devices();
[[nodiscard]] Finding examine_programs();
// Whether the daemon answers, and what its status says about its dead-letter directory.
[[nodiscard]] std::vector<Finding> examine_daemon(const CommonOptions& common);

// What one link of this geometry takes, by segment.
struct LinkCost {
  std::uint64_t submission_bytes = 0;
  std::uint64_t ack_bytes = 0;  // one for each life; two exist during a hand-over
  std::uint64_t tracking_bytes = 0;

  [[nodiscard]] std::uint64_t total() const {
    return submission_bytes + ack_bytes + tracking_bytes;
  }
};
[[nodiscard]] LinkCost link_cost(std::uint32_t slots, std::uint64_t arena_bytes);

// Several lines: by segment, by slot, for all links.
[[nodiscard]] std::string cost_text(const DoctorOptions& options);

}  // namespace ackbus::tools
