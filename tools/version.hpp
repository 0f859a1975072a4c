// What this build is: the text of `ackbus --version`. Data flow: constants of the build and of the
// layout, and one look for the CUDA plug-in, into a few lines. Pure apart from that look; any
// thread.
#pragma once

#include <string>

namespace ackbus::tools {

// The build in a few words: version, compiler and build type.
[[nodiscard]] std::string build_text();

// Version, compiler and build type; layout version and fingerprint; backends. Several lines, the
// last one with its line end.
[[nodiscard]] std::string version_text();

// The folder of the running program's own file; empty when /proc does not say.
[[nodiscard]] std::string own_folder();

// The path of a program of ours: beside the running one, else the first in $PATH; empty when there
// is none.
[[nodiscard]] std::string find_program(const std::string& name);

// The CUDA plug-in's path, beside the program or in the library folder next to it; empty when it is
// not installed.
[[nodiscard]] std::string find_cuda_plugin();

}  // namespace ackbus::tools
