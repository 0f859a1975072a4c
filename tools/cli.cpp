#include "tools/cli.hpp"

#include <CLI/App.hpp>
#include <CLI/CLI.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <memory>

#include "gpu_proc/payload/format.hpp"
#include "shm_layout/limits.hpp"
#include "shm_layout/policy.hpp"
#include "tools/layout_session.hpp"
#include "tools/version.hpp"

namespace ackbus::tools {
namespace {

// What the parsed arguments are stored in, and the command that they chose.
struct CommandLine {
  CommonOptions common;
  std::function<ExitCode()> chosen;
};

void add_common(CLI::App& command, CommonOptions& common) {
  command.add_option("--runtime-dir", common.runtime_dir,
                     "Directory of the bus's socket BUS.sock [$ACKBUS_RUNTIME_DIR, else "
                     "$XDG_RUNTIME_DIR/ackbus, else /run/ackbus]");
  command.add_option("--bus", common.bus, "Name of the bus")->capture_default_str();
  command
      .add_option("--connect-timeout", common.connect_timeout_seconds,
                  "Seconds that the daemon may take to let this command in")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
}

void add_queue_name(CLI::App& command, const std::string& option, std::string& name,
                    const std::string& description) {
  command.add_option(option, name, description)->check(queue_name_problem)->capture_default_str();
}

// A command that only has commands of its own. Its options may stand before or behind theirs.
CLI::App* add_group(CLI::App& app, CommandLine& line, const std::string& name,
                    const std::string& description) {
  CLI::App* group = app.add_subcommand(name, description);
  add_common(*group, line.common);
  group->require_subcommand(1);
  return group;
}

// A command with options of its own; the function is called once the whole line was read without an
// error.
template <typename Options>
std::pair<CLI::App*, std::shared_ptr<Options>> add_command(CLI::App& parent, CommandLine& line,
                                                           const std::string& name,
                                                           const std::string& description,
                                                           CommandFunction<Options> function) {
  CLI::App* command = parent.add_subcommand(name, description);
  add_common(*command, line.common);
  auto options = std::make_shared<Options>();
  command->callback([&line, options, function = std::move(function)] {
    line.chosen = [&line, options, function] { return function(line.common, *options); };
  });
  return {command, options};
}

void add_run(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  const auto [command, options] = add_command<RunOptions>(
      app, line, "run", "Daemon and GPU process under one supervisor", functions.run);
  command->add_option("--backend", options->backend, "What computes: cpu, cuda or auto")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  command->add_option("--config", options->config, "The daemon's configuration, TOML")
      ->check(CLI::ExistingFile);
  command->add_option("--dead-letters", options->dead_letters, "Folder of the dead letters");
  command->add_option("--metrics", options->metrics,
                      "HOST:PORT of the Prometheus endpoint (port 0 takes a free one), or off");
  command->add_option("--threads", options->threads, "Threads of the CPU backend; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  add_queue_name(*command, "--queue", options->queue, "Queue that the GPU process serves");
  command->add_flag_callback(
      "--no-gpu", [options = options] { options->gpu = false; }, "Start the daemon alone");
}

void add_status(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  const auto [command, options] = add_command<StatusOptions>(
      app, line, "status", "Queues, links, messages, memory", functions.status);
  CLI::Option* json = command->add_flag("--json", options->json, "The daemon's answer as JSON");
  CLI::Option* metrics =
      command->add_flag("--metrics", options->metrics, "The protocol's summary by kind");
  CLI::Option* watch = command->add_flag("--watch", options->watch, "Again each second");
  CLI::Option* check = command->add_flag("--check", options->check,
                                         "Exit 10 with a reason when something needs attention");
  json->excludes(metrics);
  check->excludes(json)->excludes(metrics)->excludes(watch);
}

void add_show(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  const auto [command, options] =
      add_command<ShowOptions>(app, line, "show", "What is known of one message", functions.show);
  command->add_option("ID", options->id, "Message id, 36 characters")->required();
  command->add_flag("--json", options->json, "The daemon's answer as JSON");
}

void add_send(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  const auto [command, options] = add_command<SendCommandOptions>(
      app, line, "send", "Send one message and wait for its outcome", functions.send);
  command->add_option("--kind", options->kind, "Kind by name or number")->required();
  add_queue_name(*command, "--queue", options->queue, "Queue");
  command->add_option("--file", options->file, "File with the payload; else standard input");
  command
      ->add_option("--timeout", options->timeout_ms,
                   "Milliseconds from begin to the ack; 0: the kind's")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{layout::kTimeoutMaxMs}));
  command->add_option("--retries", options->retries, "Redeliveries at most; else the kind's")
      ->check(CLI::Range(0U, layout::kRetriesMax));
  command
      ->add_option("--max-wait", options->max_wait_ms,
                   "Milliseconds from commit to begin; 0: the kind's")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{layout::kTimeoutMaxMs}));
  command->add_option("--key", options->key, "Key of a kind that supersedes; 0: none");
  command
      ->add_option("--wait", options->wait_seconds,
                   "Seconds to wait for the outcome; 0: do not wait")
      ->check(CLI::Range(0.0, kWaitSecondsMax))
      ->capture_default_str();
}

void add_layout(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  const auto [command, options] = add_command<LayoutOptions>(
      app, line, "layout", "Lay a graph out in space and draw it", functions.layout);
  command->add_option("GRAPH", options->graph, "Matrix Market file, .mtx or .mtx.gz")->required();
  command->add_option("--steps", options->steps, "Simulation steps")
      ->required()
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}));
  command->add_option("--out", options->picture, "Picture to write, .png or .svg");
  command->add_option("--report", options->report, "JSON report to write");
  command
      ->add_option("--steps-per-message", options->steps_per_message, "Steps of each ComputeForces")
      ->check(CLI::Range(1U, gpu::payload::kMaxSteps))
      ->capture_default_str();
  command->add_option("--window", options->window, "Messages in flight")
      ->check(CLI::Range(1U, kWindowMax))
      ->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--far-field",
          [options = options](const std::string& word) { options->far_field = word == "on"; },
          "on: all pairs repel; off: pairs closer than the cutoff")
      ->check(CLI::IsMember({"on", "off"}))
      ->default_str("on");
  command->add_option("--seed", options->seed, "Seed of the first positions")
      ->capture_default_str();
  command
      ->add_option("--nudge", options->nudge,
                   "Move a few nodes after each so many messages; 0: never")
      ->capture_default_str();
  add_queue_name(*command, "--queue", options->queue, "Queue of the GPU process");
}

void add_doctor(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  const auto [command, options] = add_command<DoctorOptions>(
      app, line, "doctor", "Check this machine; show what a configuration costs", functions.doctor);
  command
      ->add_option_function<std::uint32_t>(
          "--slots", [options = options](const std::uint32_t& slots) { options->slots = slots; },
          "Slots of a link, a power of two")
      ->check(CLI::Range(layout::kSlotsMin, layout::kSlotsMax))
      ->check([](const std::string& text) {
        const bool fits = layout::is_power_of_two(std::strtoull(text.c_str(), nullptr, 10));
        return fits ? std::string() : text + " is no power of two";
      });
  command
      ->add_option("--arena", options->arena_bytes,
                   "Payload arena of a link in bytes; k, m, g count by 1024")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{0}, layout::kArenaBytesMax));
  command->add_option("--links", options->links, "Number of such links")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
}

void add_bench(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  CLI::App* bench =
      add_group(app, line, "bench", "Measure a private bus against this machine's floor");
  const auto add_bytes = [](CLI::App* command, std::uint64_t& bytes) {
    command->add_option("--bytes", bytes, "Payload; k, m, g count by 1024")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::uint64_t{1}, bench::kBytesMax))
        ->capture_default_str();
  };
  {
    const auto [command, options] = add_command<BenchRoundTripOptions>(
        *bench, line, "roundtrip", "One tracked message at a time", functions.bench_roundtrip);
    command->add_option("--messages", options->messages, "Round trips measured")
        ->check(CLI::Range(std::uint64_t{bench::kRounds}, std::uint64_t{100'000'000}))
        ->capture_default_str();
    add_bytes(command, options->bytes);
    command->add_option("--wait", options->wait, "How both sides wait: spin, adaptive or block")
        ->check(CLI::IsMember({"spin", "adaptive", "block"}))
        ->capture_default_str();
    command->add_flag("--json", options->json, "The figures as JSON");
  }
  {
    const auto [command, options] = add_command<BenchThroughputOptions>(
        *bench, line, "throughput", "A window kept full", functions.bench_throughput);
    command->add_option("--seconds", options->seconds, "For bus and floor together")
        ->check(CLI::Range(0.1, 600.0))
        ->capture_default_str();
    add_bytes(command, options->bytes);
    command->add_option("--window", options->window, "Messages outstanding at once")
        ->check(CLI::Range(1U, bench::kWindowMax))
        ->capture_default_str();
    command->add_flag("--json", options->json, "The figures as JSON");
  }
  {
    const auto [command, options] = add_command<BenchHostileOptions>(
        *bench, line, "hostile", "What others lose while a client attacks the bus",
        functions.bench_hostile);
    command->add_option("--attack", options->attacks, "Only this one; may be given again");
    command->add_option("--attacker", options->attacker,
                        "The attacking program; without it ackbus-hostile-peer of the tests");
    command->add_option("--windows", options->windows, "Of each sort, for each attack")
        ->check(CLI::Range(1U, 1000U))
        ->capture_default_str();
    command->add_option("--seconds", options->seconds, "Length of a window")
        ->check(CLI::Range(0.1, 60.0))
        ->capture_default_str();
    command->add_flag("--json", options->json, "The figures as JSON");
  }
}

void add_dead(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  CLI::App* dead = add_group(app, line, "dead", "Letters of messages that were given up");
  {
    const auto [command, options] =
        add_command<DeadOptions>(*dead, line, "list", "Letters, newest first", functions.dead_list);
    command->add_option("--limit", options->limit, "Show at most so many")->capture_default_str();
    command->add_option("--queue", options->queue, "Only letters of this queue");
    command->add_option("--kind", options->kind, "Only letters of this kind");
    command->add_option(
        "--reason", options->reason,
        "Only letters of this reason: retries, undelivered, max_age, poison, closed");
    command->add_flag("--json", options->json, "The daemon's answer as JSON");
  }
  {
    const auto [command, options] = add_command<DeadOptions>(
        *dead, line, "show", "One letter with its history", functions.dead_show);
    command->add_option("ID", options->id, "Message id")->required();
    command->add_flag("--json", options->json, "The daemon's answer as JSON");
  }
  {
    const auto [command, options] = add_command<DeadOptions>(
        *dead, line, "redrive", "Send letters again, under new ids", functions.dead_redrive);
    command->add_option("ID", options->id, "Message id, or all")->required();
    command->add_option("--limit", options->limit, "At most so many")->capture_default_str();
    command->add_flag("--json", options->json, "The daemon's answer as JSON");
  }
  {
    const auto [command, options] =
        add_command<DeadOptions>(*dead, line, "purge", "Delete letters", functions.dead_purge);
    command->add_option("ID", options->id, "Message id, or all");
    command->add_option("--older-than", options->older_than_seconds,
                        "Only letters older than so many seconds");
    command->add_flag("--json", options->json, "The daemon's answer as JSON");
  }
}

void add_queue(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  CLI::App* queue = add_group(app, line, "queue", "Queues that the configuration does not list");
  const auto [command, options] = add_command<QueueOptions>(
      *queue, line, "remove", "End a queue: its messages end Closed", functions.queue_remove);
  add_queue_name(*command, "NAME", options->name, "Queue");
  command->get_option("NAME")->required();
  command->add_flag("--json", options->json, "The daemon's answer as JSON");
}

void add_reload(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  const auto [command, options] = add_command<ReloadOptions>(
      app, line, "reload", "Make the daemon read its configuration again", functions.reload);
  command->add_flag("--json", options->json, "The daemon's answer as JSON");
}

void add_everything(CLI::App& app, CommandLine& line, const CommandFunctions& functions) {
  app.set_version_flag("--version", [] {
    std::string text = version_text();
    text.pop_back();  // The library ends the line itself.
    return text;
  });
  add_common(app, line.common);
  add_run(app, line, functions);
  add_status(app, line, functions);
  add_show(app, line, functions);
  add_send(app, line, functions);
  add_layout(app, line, functions);
  add_doctor(app, line, functions);
  add_bench(app, line, functions);
  add_dead(app, line, functions);
  add_queue(app, line, functions);
  add_reload(app, line, functions);
}

}  // namespace

ExitCode run_command_line(std::vector<std::string> arguments, const CommandFunctions& functions) {
  CLI::App app{"ackbus: messages that are tracked, acked and counted, over shared memory",
               "ackbus"};
  CommandLine line;
  add_everything(app, line, functions);
  std::reverse(arguments.begin(), arguments.end());  // The library takes them from the back.
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      app.exit(error);  // --help or --version: printed as asked.
      return ExitCode::kDone;
    }
    return report_error(ExitCode::kUsage, std::string(error.what()) + ": see ackbus --help");
  }
  if (!line.chosen) {
    return report_error(ExitCode::kUsage, "no command is named: see ackbus --help");
  }
  return line.chosen();
}

}  // namespace ackbus::tools
