// ackbusd: parse, build, run, close.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>

#include "daemon/bus.hpp"
#include "machine/build.hpp"

namespace {

using namespace ackbus::daemon;

constexpr int kExitUsage = 2;  // as the ackbus command's (docs/commands.md)

struct Arguments {
  std::string config_path;
  std::string runtime_dir;
  std::string bus;
  std::string metrics;
  std::string dead_letters;
  bool check_config = false;
  bool dump_config = false;
};

int fail(const Error& error) {
  std::fprintf(stderr, "ackbusd: %s\n", error.text.c_str());
  return 1;
}

// What the command line says goes over the file, now and at every reload.
void apply(const Arguments& arguments, Config& config) {
  for (const auto& [said, key] :
       {std::pair(&arguments.runtime_dir, &config.runtime_dir),
        std::pair(&arguments.bus, &config.name), std::pair(&arguments.metrics, &config.metrics),
        std::pair(&arguments.dead_letters, &config.dead_letter_directory)}) {
    if (!said->empty()) {
      *key = *said;
    }
  }
}

Result<Config> build_config(const Arguments& arguments) {
  Result<Config> config = arguments.config_path.empty() ? Result<Config>(default_config())
                                                        : load_config(arguments.config_path);
  if (!config) {
    return config;
  }
  apply(arguments, config.value());
  if (!is_valid_bus_name(config.value().name)) {
    return Error{ErrorCode::kInvalid,
                 "--bus '" + config.value().name + "': use 1 to 31 of a-z 0-9 _ -"};
  }
  if (!is_valid_metrics_address(config.value().metrics)) {
    return Error{ErrorCode::kInvalid, "--metrics '" + config.value().metrics +
                                          "': use HOST:PORT with a numeric host, or off"};
  }
  if (const Result<void> completed =
          complete_config(config.value(), Environment::of_this_process());
      !completed) {
    return completed.error();
  }
  return config;
}

int serve(const Arguments& arguments, Config config) {
  // A log whose reader is gone or whose file may not grow is an error of that write, not our end.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  Log& log = daemon_log();
  log.set_level(config.log_level);
  log.set_records_per_minute(config.log_records_per_minute);
  raise_descriptor_limit();
  Result<std::unique_ptr<Bus>> bus =
      Bus::open({.config = std::move(config),
                 .config_path = arguments.config_path,
                 .command_line = [&arguments](Config& fresh) { apply(arguments, fresh); }},
                log);
  if (!bus) {
    return fail(bus.error());
  }
  Bus& open_bus = *bus.value();
  if (open_bus.exporter) {
    std::printf("metrics on port %u\n", static_cast<unsigned>(open_bus.exporter->port()));
    std::fflush(stdout);
  }
  log.line(LogLevel::kInfo, "daemon", "serving",
           {{"bus", open_bus.config().name},
            {"incarnation", std::to_string(open_bus.ledger.header().incarnation)},
            {"links", std::to_string(open_bus.links.size())}});
  open_bus.notify.ready("serving bus " + open_bus.config().name);
  open_bus.run();
  log.line(LogLevel::kInfo, "daemon", "ended", {{"bus", open_bus.config().name}});
  return 0;
}

// The exit status when there is nothing more to do, after --help or a mistake on the command line.
std::optional<int> parse(int argc, char** argv, Arguments& arguments) {
  CLI::App app{
      "The daemon of an ackbus bus: owns its memory, reconciles messages with acks, keeps dead "
      "letters."};
  app.add_option("--config", arguments.config_path, "TOML file; without it the defaults");
  app.add_option("--runtime-dir", arguments.runtime_dir,
                 "directory of the control socket BUS.sock");
  app.add_option("--bus", arguments.bus, "name of the bus (default: default)");
  app.add_option("--metrics", arguments.metrics,
                 "HOST:PORT of the Prometheus endpoint (port 0: a free one), or off");
  app.add_option("--dead-letters", arguments.dead_letters, "directory of the dead letters");
  app.add_flag("--check-config", arguments.check_config, "check the configuration and end");
  app.add_flag("--dump-config", arguments.dump_config, "print the effective configuration and end");
  app.set_version_flag("--version", ackbus::machine::version_text("ackbusd"));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      return app.exit(error);  // --help or --version: printed as asked.
    }
    std::fprintf(stderr, "ackbusd: %s: see ackbusd --help\n", error.what());
    return kExitUsage;
  }
  return std::nullopt;
}

}  // namespace

// Nothing is caught once it serves: whatever is thrown there ends the process where it stands, and
// the next daemon goes on from what this one had stored.
int main(int argc, char** argv) {
  Arguments arguments;
  try {
    if (const std::optional<int> done = parse(argc, argv, arguments)) {
      return *done;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ackbusd: %s\n", error.what());
    return kExitUsage;
  }
  Result<Config> config = build_config(arguments);
  if (!config) {
    return fail(config.error());
  }
  if (arguments.dump_config) {
    std::fputs(dump_config(config.value()).c_str(), stdout);
    return 0;
  }
  if (arguments.check_config) {
    std::printf("configuration is sound\n");
    return 0;
  }
  return serve(arguments, std::move(config.value()));
}
