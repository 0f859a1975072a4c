#include "tools/version.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "shm_layout/check.hpp"
#include "tools/text_table.hpp"

#ifndef ACKBUS_VERSION
#define ACKBUS_VERSION "0.1.0"
#endif
#ifndef ACKBUS_BUILD_TYPE
#ifdef __OPTIMIZE__
#define ACKBUS_BUILD_TYPE "optimized"
#else
#define ACKBUS_BUILD_TYPE "unoptimized"
#endif
#endif

namespace ackbus::tools {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "g++ " __VERSION__;
#endif

constexpr const char* kCudaPlugin = "libackbus_cuda.so";

bool is_program(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

std::vector<std::string> search_path() {
  std::vector<std::string> folders;
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    folders.emplace_back(rest.substr(0, colon));
    rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
  }
  return folders;
}

}  // namespace

const char* version_number() { return ACKBUS_VERSION; }

std::string own_folder() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string() : path.parent_path().string();
}

std::string find_program(const std::string& name) {
  const std::string folder = own_folder();
  if (!folder.empty() && is_program(folder + "/" + name)) {
    return folder + "/" + name;
  }
  for (const std::string& other : search_path()) {
    if (!other.empty() && is_program(other + "/" + name)) {
      return other + "/" + name;
    }
  }
  return {};
}

std::string find_cuda_plugin() {
  const std::string folder = own_folder();
  for (const char* place :
       {"/", "/../lib/", "/../lib/ackbus/", "/../lib/x86_64-linux-gnu/ackbus/"}) {
    const std::string path = folder + place + kCudaPlugin;
    std::error_code error;
    if (!folder.empty() && std::filesystem::is_regular_file(path, error)) {
      return std::filesystem::weakly_canonical(path, error).string();
    }
  }
  return {};
}

std::string build_text() {
  return std::string("ackbus ") + version_number() + ", " + kCompiler + ", " + ACKBUS_BUILD_TYPE;
}

std::string version_text() {
  std::array<char, 17> fingerprint{};
  std::snprintf(fingerprint.data(), fingerprint.size(), "%016llx",
                static_cast<unsigned long long>(layout::layout_fingerprint()));
  const std::string plugin = find_cuda_plugin();
  std::string text = std::string("ackbus ") + version_number() + "\n";
  text += std::string("build     ") + kCompiler + ", " + ACKBUS_BUILD_TYPE + "\n";
  text += "layout    version " + std::to_string(layout::kLayoutVersion) + ", fingerprint " +
          fingerprint.data() + "\n";
  text += "backends  cpu (built in), cuda (" +
          (plugin.empty() ? "plug-in not installed" : printable_text(plugin)) + ")\n";
  return text;
}

}  // namespace ackbus::tools
