#include "machine/build.hpp"

#include <array>
#include <cstdio>

#include "shm_layout/check.hpp"

namespace ackbus::machine {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "g++ " __VERSION__;
#endif

}  // namespace

const char* version_number() { return ACKBUS_VERSION; }

std::string compiler_text() { return std::string(kCompiler) + ", " + ACKBUS_BUILD_TYPE; }

std::string fingerprint_text(unsigned long long fingerprint) {
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", fingerprint);
  return digits.data();
}

std::string layout_text() {
  return "version " + std::to_string(layout::kLayoutVersion) + ", fingerprint " +
         fingerprint_text(layout::layout_fingerprint());
}

std::string version_text(const std::string& program) {
  return program + " " + version_number() + "\nbuild     " + compiler_text() + "\nlayout    " +
         layout_text();
}

}  // namespace ackbus::machine
