// ackbus-gpu: the consumer that we ship. Parses, chooses a backend, connects, works.
#include <signal.h>
#include <systemd/sd-daemon.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <thread>

#include "gpu_proc/backend_select.hpp"
#include "gpu_proc/worker.hpp"
#include "machine/build.hpp"

namespace {

volatile std::sig_atomic_t g_stop = 0;

void install_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_stop = 1; };
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
}

struct Arguments {
  ackbus::ConsumerOptions connect;
  std::string backend = "auto";
  unsigned threads = 0;
  double patience_s = 10;
};

// The daemon may still be starting: tries until the patience is used up.
ackbus::Result<ackbus::Consumer> connect(const Arguments& arguments) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(arguments.patience_s);
  for (;;) {
    ackbus::Result<ackbus::Consumer> consumer = ackbus::Consumer::connect(arguments.connect);
    const bool away = !consumer && (consumer.error().code == ackbus::ErrorCode::kNoDaemon ||
                                    consumer.error().code == ackbus::ErrorCode::kDisconnected);
    if (!away || g_stop != 0 || std::chrono::steady_clock::now() >= deadline) {
      return consumer;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

int work(const Arguments& arguments) {
  ackbus::gpu::BackendChoice choice =
      ackbus::gpu::select_backend(arguments.backend, arguments.threads);
  if (!choice.backend) {
    std::fprintf(stderr, "ackbus-gpu: %s\n", choice.reason.c_str());
    return ackbus::gpu::kExitUnavailable;
  }
  std::fprintf(stderr, "ackbus-gpu: %s\n", choice.reason.c_str());
  ackbus::Result<ackbus::Consumer> consumer = connect(arguments);
  if (!consumer) {
    std::fprintf(stderr, "ackbus-gpu: %s\n", consumer.error().text.c_str());
    return ackbus::gpu::exit_status_of(consumer.error().code);
  }
  ackbus::gpu::Worker worker(*consumer, *choice.backend, [] { ::sd_notify(0, "WATCHDOG=1"); });
  return worker.run(g_stop, [&] {
    ::sd_notify(0, ("READY=1\nSTATUS=serving queue " + arguments.connect.queue).c_str());
    std::fprintf(stderr, "ackbus-gpu: serving queue %s\n", arguments.connect.queue.c_str());
  });
}

// The exit status when there is nothing more to do, after --help or a mistake on the command line.
std::optional<int> parse(int argc, char** argv, Arguments& arguments) {
  CLI::App app{"Simulates force-directed graphs for the producers of an ackbus queue."};
  arguments.connect.client = "ackbus-gpu";
  arguments.connect.max_running = 1;  // One message at a time: the engine is one simulation.
  app.add_option("--runtime-dir", arguments.connect.runtime_dir,
                 "directory of the control socket BUS.sock");
  app.add_option("--bus", arguments.connect.bus, "name of the bus")->capture_default_str();
  app.add_option("--queue", arguments.connect.queue, "queue to serve")->capture_default_str();
  app.add_option("--backend", arguments.backend, "auto, cpu or cuda")->capture_default_str();
  app.add_option("--threads", arguments.threads,
                 "threads of the CPU backend; 0: one per processor");
  app.add_option("--connect-timeout", arguments.patience_s, "seconds to wait for the daemon")
      ->capture_default_str();
  app.set_version_flag("--version",
                       ackbus::machine::version_text("ackbus-gpu") + "\nbackends  cpu (built in)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      return app.exit(error);  // --help or --version: printed as asked.
    }
    std::fprintf(stderr, "ackbus-gpu: %s: see ackbus-gpu --help\n", error.what());
    return ackbus::gpu::kExitUsage;
  }
  return std::nullopt;
}

}  // namespace

// Nothing is caught once it serves: whatever is thrown there ends the process where it stands, as a
// death and not with a goodbye, so that a message that causes it is found out.
int main(int argc, char** argv) {
  Arguments arguments;
  try {
    if (const std::optional<int> done = parse(argc, argv, arguments)) {
      return *done;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ackbus-gpu: %s\n", error.what());
    return ackbus::gpu::kExitUsage;
  }
  install_signals();
  return work(arguments);
}
