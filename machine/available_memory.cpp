#include "machine/available_memory.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace ackbus::machine {
namespace {

constexpr std::uint64_t kUnknown = UINT64_MAX;
constexpr int kMaxLines = 1000;  // Of any of the files read here; they have about a hundred.
constexpr int kMaxGroupDepth = 64;

/// The number behind `key` in a file of "key value ..." lines.
std::optional<std::uint64_t> number_after(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  std::uint64_t value = 0;
  for (int line = 0; line < kMaxLines && file >> word; ++line) {
    if (word == key && file >> value) {
      return value;
    }
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

/// The single number a file holds; nothing when it is absent or says "max".
std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

/// The path of this process's group in the unified hierarchy: the line "0::/path".
std::optional<std::string> group_path(const std::string& proc_root) {
  std::ifstream file(proc_root + "/self/cgroup");
  std::string line;
  for (int i = 0; i < kMaxLines && std::getline(file, line); ++i) {
    if (line.rfind("0::/", 0) == 0) {
      return line.substr(3);
    }
  }
  return std::nullopt;
}

/// What one group still allows. Page cache that can be dropped counts as free.
std::uint64_t free_in_group(const std::string& directory) {
  const auto limit = number_in(directory + "/memory.max");
  const auto current = number_in(directory + "/memory.current");
  if (!limit || !current) {
    return kUnknown;
  }
  const std::uint64_t cache = number_after(directory + "/memory.stat", "inactive_file").value_or(0);
  const std::uint64_t used = *current - std::min(*current, cache);
  return *limit - std::min(*limit, used);
}

/// The least that this process's group or any above it allows.
std::uint64_t free_in_groups(const std::string& proc_root, const std::string& group_root) {
  auto path = group_path(proc_root);
  std::uint64_t free = kUnknown;
  for (int depth = 0; path && depth < kMaxGroupDepth; ++depth) {
    free = std::min(free, free_in_group(group_root + *path));
    if (path->size() <= 1) {
      break;
    }
    path->resize(std::max<std::size_t>(path->rfind('/'), 1));
  }
  return free;
}

}  // namespace

std::uint64_t available_memory_bytes(const std::string& proc_root, const std::string& group_root) {
  const auto machine_kib = number_after(proc_root + "/meminfo", "MemAvailable:");
  const std::uint64_t machine = machine_kib ? *machine_kib * 1024 : kUnknown;
  return std::min(machine, free_in_groups(proc_root, group_root));
}

std::uint64_t available_memory_bytes() { return available_memory_bytes("/proc", "/sys/fs/cgroup"); }

}  // namespace ackbus::machine
