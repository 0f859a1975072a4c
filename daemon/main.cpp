// ackbusd: parse, build, run, close.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "daemon/bus.hpp"
#include "shm_layout/check.hpp"

namespace {

using namespace ackbus::daemon;

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

Result<Config> build_config(const Arguments& arguments) {
  Result<Config> config = arguments.config_path.empty() ? Result<Config>(default_config())
                                                        : load_config(arguments.config_path);
  if (!config) {
    return config;
  }
  if (!arguments.runtime_dir.empty()) {
    config.value().runtime_dir = arguments.runtime_dir;
  }
  if (!arguments.bus.empty()) {
    config.value().name = arguments.bus;
  }
  if (!arguments.metrics.empty()) {
    config.value().metrics = arguments.metrics;
  }
  if (!arguments.dead_letters.empty()) {
    config.value().dead_letter_directory = arguments.dead_letters;
  }
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
  Log& log = daemon_log();
  log.set_level(config.log_level);
  log.set_records_per_minute(config.log_records_per_minute);
  Result<std::unique_ptr<Bus>> bus =
      Bus::open({.config = std::move(config), .config_path = arguments.config_path}, log);
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

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "The daemon of an ackbus bus: owns its memory, reconciles messages with acks, keeps dead "
      "letters."};
  Arguments arguments;
  app.add_option("--config", arguments.config_path, "TOML file; without it the defaults");
  app.add_option("--runtime-dir", arguments.runtime_dir,
                 "directory of the control socket BUS.sock");
  app.add_option("--bus", arguments.bus, "name of the bus (default: default)");
  app.add_option("--metrics", arguments.metrics,
                 "HOST:PORT of the Prometheus endpoint (port 0: a free one), or off");
  app.add_option("--dead-letters", arguments.dead_letters, "directory of the dead letters");
  app.add_flag("--check-config", arguments.check_config, "check the configuration and end");
  app.add_flag("--dump-config", arguments.dump_config, "print the effective configuration and end");
  app.set_version_flag("--version", "ackbusd " ACKBUS_VERSION " (layout version " +
                                        std::to_string(ackbus::layout::kLayoutVersion) +
                                        ", fingerprint " +
                                        std::to_string(ackbus::layout::layout_fingerprint()) + ")");
  CLI11_PARSE(app, argc, argv);
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
