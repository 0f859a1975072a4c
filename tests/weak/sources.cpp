#include "tests/weak/sources.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>

namespace ackbus::weak {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolders[] = {"shm_layout", "libclient", "daemon", "gpu_proc"};
constexpr const char* kDoor = "shm_layout/cell.hpp";

Operation operation_of(const std::string& name) {
  for (const Operation operation :
       {Operation::kLoadAcquire, Operation::kStoreRelease, Operation::kFenceAcquire,
        Operation::kFenceRelease, Operation::kFenceFull, Operation::kFenceLight}) {
    if (name == operation_name(operation)) {
      return operation;
    }
  }
  return Operation::kBarrier;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

// On the line itself, then below to the end of the statement and one more, then up to three above.
std::string label_near(const std::vector<std::string>& lines, std::size_t index) {
  static const std::regex label(R"(\[([EFPS]\d+)\])");
  std::vector<std::size_t> order;
  for (std::size_t below = index; below < std::min(index + 4, lines.size()); ++below) {
    order.push_back(below);
    if (below > index && lines[below - 1].find(';') != std::string::npos) {
      break;
    }
  }
  for (std::size_t above = 1; above <= 3 && above <= index; ++above) {
    order.push_back(index - above);
  }
  for (const std::size_t line : order) {
    std::smatch match;
    if (std::regex_search(lines[line], match, label)) {
      return match[1];
    }
  }
  return {};
}

void scan_file(const fs::path& root, const fs::path& path, std::vector<SourceOrdering>& found) {
  static const std::regex ordered(
      R"(\b(load_acquire|store_release|fence_acquire|fence_release|fence_full|fence_light|)"
      R"(MEMBARRIER_CMD_GLOBAL_EXPEDITED)\b)");
  const std::string name = fs::relative(path, root).generic_string();
  if (name == kDoor) {
    return;
  }
  const std::vector<std::string> lines = lines_of(path);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string code = lines[i].substr(0, lines[i].find("//"));
    for (std::sregex_iterator match(code.begin(), code.end(), ordered), end; match != end;
         ++match) {
      SourceOrdering one;
      one.site = {name, static_cast<int>(i + 1), operation_of((*match)[1])};
      one.label = one.site.operation == Operation::kBarrier ? "F1" : label_near(lines, i);
      one.text = lines[i] + (i + 1 < lines.size() ? lines[i + 1] : "");
      found.push_back(one);
    }
  }
}

}  // namespace

std::vector<SourceOrdering> source_orderings() {
  const fs::path root = ACKBUS_SOURCE_DIR;
  std::vector<fs::path> paths;
  for (const char* folder : kFolders) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string suffix = entry.path().extension();
      if (suffix == ".hpp" || suffix == ".cpp" || suffix == ".cu" || suffix == ".cuh") {
        paths.push_back(entry.path());
      }
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<SourceOrdering> found;
  for (const fs::path& path : paths) {
    scan_file(root, path, found);
  }
  return found;
}

}  // namespace ackbus::weak
