#include "tools/command_doctor.hpp"

#include <utility>

#include "machine/available_memory.hpp"
#include "machine/build.hpp"
#include "shm_layout/ack.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/submission.hpp"
#include "shm_layout/tracking.hpp"
#include "tools/status_model.hpp"
#include "tools/text_table.hpp"
#include "tools/version.hpp"

namespace ackbus::tools {
namespace {

constexpr std::size_t kDetailWidthMax = 160;

const char* health_text(Health health) {
  switch (health) {
    case Health::kGood:
      return "ok";
    case Health::kRemark:
      return "note";
    case Health::kBad:
      return "BAD";
  }
  return "?";
}

std::string findings_text(const std::vector<Finding>& findings) {
  TextTable table({{"", Align::kLeft}, {"what", Align::kLeft}, {"finding", Align::kLeft}});
  for (const Finding& finding : findings) {
    table.add_row({health_text(finding.health), finding.subject,
                   printable_text(finding.detail, kDetailWidthMax)});
    if (!finding.remedy.empty()) {
      table.add_row({"", "", "-> " + printable_text(finding.remedy, kDetailWidthMax)});
    }
  }
  return table.text();
}

Finding examine_letters(const BusStatus& status) {
  const DeadLetterStatus& letters = status.dead_letters;
  const std::string detail = format_count(letters.count) + " letter(s), " +
                             format_bytes(letters.bytes) + " of " +
                             format_bytes(letters.limit_bytes);
  if (!letters.writable) {
    return {
        Health::kBad, "dead letters", detail + ", letters are refused",
        "the daemon's log has the cause: ackbus dead purge or raise [dead_letters] limits, free "
        "space on the disk, or give the daemon's user the directory"};
  }
  if (letters.limit_bytes != 0 && letters.bytes > letters.limit_bytes / 10 * 9) {
    return {Health::kRemark, "dead letters", detail + ", nearly full",
            "ackbus dead list, then redrive or purge"};
  }
  return {Health::kGood, "dead letters", detail, ""};
}

}  // namespace

std::vector<Finding> examine_daemon(const CommonOptions& common) {
  Result<nlohmann::json> answer = ask_daemon(common, {{"verb", "status"}});
  if (!answer) {
    const bool absent = answer.error().code == ErrorCode::kNoDaemon;
    // The error names its remedy itself. No daemon is how every machine begins.
    return {{absent ? Health::kRemark : Health::kBad, "daemon", answer.error().text, ""}};
  }
  const Result<BusStatus> status = parse_status(answer.value());
  if (!status) {
    return {{Health::kBad, "daemon", status.error().text, ""}};
  }
  // Its layout is this program's own, else it would have refused the connection by name.
  const DaemonStatus& daemon = status->daemon;
  const bool same = daemon.version == machine::version_number();
  Finding finding{same ? Health::kGood : Health::kRemark, "daemon",
                  "ackbusd " + daemon.version + ", pid " + std::to_string(daemon.pid) + ", up " +
                      format_duration(daemon.uptime_seconds) + ", same layout",
                  same ? ""
                       : std::string("this is ackbus ") + machine::version_number() +
                             ": restart the daemon to upgrade it"};
  return {std::move(finding), examine_letters(status.value())};
}

LinkCost link_cost(std::uint32_t slots, std::uint64_t arena_bytes) {
  return {layout::SubmissionGeometry{slots, arena_bytes}.bytes(),
          layout::AckGeometry{slots}.bytes(), layout::TrackingGeometry{slots}.bytes()};
}

std::string cost_text(const DoctorOptions& options) {
  const LinkCost cost = link_cost(options.slots, options.arena_bytes);
  // A verdict place serves four slots.
  constexpr std::uint64_t kSlotBytes =
      sizeof(layout::Place) + sizeof(layout::Descriptor) + sizeof(layout::AckPlace) +
      sizeof(layout::AckRecord) + sizeof(layout::RedeliveryPlace) + sizeof(layout::PendingEntry) +
      sizeof(layout::VerdictPlace) / 4;
  std::string text = "a link of " + format_count(options.slots) + " slots and an arena of " +
                     format_bytes(options.arena_bytes) + " takes " + format_bytes(cost.total()) +
                     ":\n";
  text += "  submission " + format_bytes(cost.submission_bytes) + " (the arena included), ack " +
          format_bytes(cost.ack_bytes) + " (ack texts included), tracking " +
          format_bytes(cost.tracking_bytes) + "\n";
  text += "  " + format_count(kSlotBytes) + " bytes a slot (" +
          format_count(2 * layout::kInlineBytesMax) +
          " of them its two copies of a small payload), and " +
          format_count(layout::kAckTextBytesMax) +
          " for its ack text; during a hand-over one ack segment more\n";
  text += format_count(options.links) + " such link(s) take " +
          format_bytes(cost.total() * options.links) + "\n";
  text += "a service for them needs LimitNOFILE=" +
          std::to_string(layout::open_descriptors(options.links)) +
          " and FileDescriptorStoreMax=" + std::to_string(layout::kept_descriptors(options.links)) +
          "\n";
  return text;
}

ExitCode run_doctor(const CommonOptions& common, const DoctorOptions& options) {
  std::vector<Finding> findings{examine_kernel(),
                                examine_seals(),
                                examine_descriptor_limit(options.links),
                                examine_memory(options, machine::available_memory_bytes()),
                                examine_programs(),
                                examine_devices(),
                                examine_runtime_dir(common)};
  for (Finding& finding : examine_daemon(common)) {
    findings.push_back(std::move(finding));
  }
  bool bad = false;
  for (const Finding& finding : findings) {
    bad = bad || finding.health == Health::kBad;
  }
  const ExitCode printed = print_text(findings_text(findings) + "\n" + cost_text(options));
  return printed == ExitCode::kDone && bad ? ExitCode::kDegraded : printed;
}

}  // namespace ackbus::tools
