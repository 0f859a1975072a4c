#include "tools/version.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "machine/build.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

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
  return std::string("ackbus ") + machine::version_number() + ", " + machine::compiler_text();
}

std::string version_text() {
  const std::string plugin = find_cuda_plugin();
  return machine::version_text("ackbus") + "\nbackends  cpu (built in), cuda (" +
         (plugin.empty() ? "plug-in not installed" : printable_text(plugin)) + ")\n";
}

}  // namespace ackbus::tools
