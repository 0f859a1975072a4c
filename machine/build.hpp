// Which build a program is: what the --version of each of ours says. Two programs understand each
// other when layout version and fingerprint are equal, so all print them in the same form.
// Data flow: constants of the build and of the layout into texts. Pure functions, any thread.
#pragma once

#include <string>

namespace ackbus::machine {

// The version, for example "0.1.0".
[[nodiscard]] const char* version_number();

// Compiler and build type, for example "g++ 12.2.0, Release".
[[nodiscard]] std::string compiler_text();

// The layout's version and fingerprint: "version 1, fingerprint 0123456789abcdef".
[[nodiscard]] std::string layout_text();

// The fingerprint as 16 hexadecimal digits.
[[nodiscard]] std::string fingerprint_text(unsigned long long fingerprint);

// What `PROGRAM --version` prints, without the last line end: name and version, then the lines
// "build" and "layout".
[[nodiscard]] std::string version_text(const std::string& program);

}  // namespace ackbus::machine
