// The command line of `ackbus`: which command, with which options. Data flow: arguments -> checked
// options -> the command's function -> its exit code. It knows every command's options and nothing
// of what they do. Threads: one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/command_bench.hpp"
#include "tools/command_bench_hostile.hpp"
#include "tools/command_dead.hpp"
#include "tools/command_doctor.hpp"
#include "tools/command_layout.hpp"
#include "tools/command_queue.hpp"
#include "tools/command_run.hpp"
#include "tools/command_send.hpp"
#include "tools/command_show.hpp"
#include "tools/command_status.hpp"

namespace ackbus::tools {

template <typename Options>
using CommandFunction = std::function<ExitCode(const CommonOptions&, const Options&)>;

// What each command calls; tests put their own functions here.
struct CommandFunctions {
  CommandFunction<RunOptions> run = run_run;
  CommandFunction<StatusOptions> status = run_status;
  CommandFunction<ShowOptions> show = run_show;
  CommandFunction<SendCommandOptions> send = run_send;
  CommandFunction<LayoutOptions> layout = run_layout;
  CommandFunction<DoctorOptions> doctor = run_doctor;
  CommandFunction<BenchRoundTripOptions> bench_roundtrip = run_bench_roundtrip;
  CommandFunction<BenchThroughputOptions> bench_throughput = run_bench_throughput;
  CommandFunction<BenchHostileOptions> bench_hostile = run_bench_hostile;
  CommandFunction<DeadOptions> dead_list = run_dead_list;
  CommandFunction<DeadOptions> dead_show = run_dead_show;
  CommandFunction<DeadOptions> dead_redrive = run_dead_redrive;
  CommandFunction<DeadOptions> dead_purge = run_dead_purge;
  CommandFunction<QueueOptions> queue_remove = run_queue_remove;
  CommandFunction<ReloadOptions> reload = run_reload;
};

// `arguments` without the program's name. A wrong one is named on standard error and gives kUsage;
// --help and --version print and give kDone.
[[nodiscard]] ExitCode run_command_line(std::vector<std::string> arguments,
                                        const CommandFunctions& functions = {});

}  // namespace ackbus::tools
