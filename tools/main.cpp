// The `ackbus` command.
#include <csignal>
#include <cstdio>
#include <exception>

#include "tools/cli.hpp"

int main(int argc, char** argv) {
  // A reader that went away is seen as a failed write, with an exit code of its own.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return static_cast<int>(ackbus::tools::run_command_line({argv + 1, argv + argc}));
  } catch (const std::exception& error) {
    // Only what nobody can go on after comes here, such as memory that is used up.
    std::fprintf(stderr, "ackbus: %s\n", error.what());
    return static_cast<int>(ackbus::tools::ExitCode::kSystem);
  }
}
